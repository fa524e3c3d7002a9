// What a table holds once it is read: values by their keys, each with the place where it stands.

struct TableValues: Sendable {
    let declaration: TableDeclaration
    /// Such as `dkim` or `dkim.key[2]`.
    let path: String
    /// Where the table's header stands; the file's first octet if it has none.
    let position: SourcePosition
    private var values: [String: any Sendable] = [:]
    /// Where the file gives a key, right or wrong.
    private var mentions: [String: SourcePosition] = [:]
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
        return held as? Value ?? key.fallback
    }

    /// The key's value; nil if it is missing or wrong, which is a problem already.
    subscript<Value>(key: RequiredKey<Value>) -> Value? { values[key.name] as? Value }

    /// The key's value, of whatever type; nil if the key is absent or wrong.
    func held(_ key: any KeyDeclaration) -> (any Sendable)? { values[key.name] }

    /// The tables below, in the order in which they are written; none if it is absent.
    subscript(table: TableDeclaration) -> [TableValues] { tables[table.name] ?? [] }

    /// Where the key's value stands; the table's place if it has none.
    func position(of key: any KeyDeclaration) -> SourcePosition { mentions[key.name] ?? position }

    /// Whether the file gives the key, right or wrong.
    func gives(_ key: any KeyDeclaration) -> Bool { mentions[key.name] != nil }

    mutating func mention(_ key: any KeyDeclaration, at position: SourcePosition) { mentions[key.name] = position }

    mutating func set(_ key: any KeyDeclaration, to value: any Sendable) { values[key.name] = value }

    mutating func append(_ table: TableValues) { tables[table.declaration.name, default: []].append(table) }

    /// The keys whose values are not the defaults, as lines of TOML.
    var differences: [String] {
        declaration.keys.compactMap { key in
            guard let held = values[key.name], let written = key.difference(held) else { return nil }
            return "\(key.name) = \(written)"
        }
    }
}
