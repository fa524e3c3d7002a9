// What a table holds once it is read: values by their keys, each with the place where it stands.

struct TableValues: Sendable {
    private struct Held: Sendable {
        let value: any Sendable
        let position: SourcePosition
    }

    let declaration: TableDeclaration
    /// Such as `dkim` or `dkim.key[2]`.
    let path: String
    /// Where the table's header stands; the file's first octet if it has none.
    let position: SourcePosition
    private var values: [String: Held] = [:]
    private var tables: [String: [TableValues]] = [:]

    /// An absent table: every key has its default.
    init(_ declaration: TableDeclaration, path: String, position: SourcePosition = .start) {
        self.declaration = declaration
        self.path = path
        self.position = position
    }

    /// The key's value, or its default.
    subscript<Value>(key: Key<Value>) -> Value {
        guard let held = values[key.name] else { return key.fallback }
        return held.value as? Value ?? key.fallback
    }

    /// The key's value; nil if it is missing or wrong, which is a problem already.
    subscript<Value>(key: RequiredKey<Value>) -> Value? { values[key.name]?.value as? Value }

    /// The tables below, in the order in which they are written; none if it is absent.
    subscript(table: TableDeclaration) -> [TableValues] { tables[table.name] ?? [] }

    /// Where the key's value stands; the table's place if it has none.
    func position(of key: any KeyDeclaration) -> SourcePosition { values[key.name]?.position ?? position }

    /// Whether the file gives the key.
    func gives(_ key: any KeyDeclaration) -> Bool { values[key.name] != nil }

    mutating func set(_ key: any KeyDeclaration, to value: any Sendable, at position: SourcePosition) {
        values[key.name] = Held(value: value, position: position)
    }

    mutating func append(_ table: TableValues) { tables[table.declaration.name, default: []].append(table) }

    /// The keys whose values are not the defaults, as lines of TOML.
    var differences: [String] {
        declaration.keys.compactMap { key in
            guard let held = values[key.name], let written = key.difference(held.value) else { return nil }
            return "\(key.name) = \(written)"
        }
    }
}
