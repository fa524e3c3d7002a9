// Declarations of keys and tables. A key is declared once, with its name, type, default and one doc sentence; decoding,
// the sample file, `show` and the reports on unknown keys all follow from that declaration.

/// A key without its type, as a table lists it.
protocol KeyDeclaration: Sendable {
    var name: String { get }
    /// One sentence or two for the admin, wrapped in the sample file.
    var doc: String { get }
    var isRequired: Bool { get }
    /// Whether the sample file shows it; a `not_` form is told of above its table.
    var isInSample: Bool { get }
    /// The value that the sample file shows: the default, or an example where there is none.
    var sample: String { get }
    /// Reads a value, or reports why it cannot.
    func value(of node: TomlNode, _ reader: inout ValueReader) -> (any Sendable)?
    /// The value as TOML writes it if it is not the default.
    func difference(_ value: any Sendable) -> String?
}

extension KeyDeclaration {
    var isRequired: Bool { false }
    var isInSample: Bool { true }
}

/// A key that may be absent.
struct Key<Value: Sendable>: KeyDeclaration {
    let name: String
    let doc: String
    let fallback: Value
    let sample: String
    private let type: ValueType<Value>

    init(_ name: String, _ type: ValueType<Value>, default fallback: Value, _ doc: String) {
        (self.name, self.type, self.fallback, self.doc) = (name, type, fallback, doc)
        sample = type.write(fallback)
    }

    /// A key whose default is made of something else than a value, which `doc` tells.
    init<Wrapped>(_ name: String, _ type: ValueType<Wrapped>, example: Wrapped, _ doc: String)
    where Value == Wrapped? {
        (self.name, self.fallback, self.doc) = (name, nil, doc)
        self.type = .optional(type)
        sample = type.write(example)
    }

    func value(of node: TomlNode, _ reader: inout ValueReader) -> (any Sendable)? { type.read(node, &reader) }

    func difference(_ value: any Sendable) -> String? {
        guard let value = value as? Value else { return nil }
        let written = type.write(value)
        return written == type.write(fallback) ? nil : written
    }
}

/// A key without which its table makes no sense.
struct RequiredKey<Value: Sendable>: KeyDeclaration {
    let name: String
    let doc: String
    let sample: String
    private let type: ValueType<Value>

    init(_ name: String, _ type: ValueType<Value>, example: Value, _ doc: String) {
        (self.name, self.type, self.doc) = (name, type, doc)
        sample = type.write(example)
    }

    var isRequired: Bool { true }

    func value(of node: TomlNode, _ reader: inout ValueReader) -> (any Sendable)? { type.read(node, &reader) }

    func difference(_ value: any Sendable) -> String? { (value as? Value).map(type.write) }
}

/// A table, or an array of tables.
struct TableDeclaration: Sendable {
    /// Such as `dkim` or `dkim.key`.
    let path: String
    let isArray: Bool
    /// What the table is about; stands above its header in the sample file.
    let doc: String
    let keys: [any KeyDeclaration]
    /// Tables below this one.
    let tables: [TableDeclaration]

    init(
        _ path: String, isArray: Bool = false, _ doc: String, keys: [any KeyDeclaration],
        tables: [TableDeclaration] = []
    ) {
        (self.path, self.isArray, self.doc, self.keys, self.tables) = (path, isArray, doc, keys, tables)
    }

    /// The last part of the path.
    var name: String { String(path.split(separator: ".").last ?? "") }
    /// `[dkim]` or `[[dkim.key]]`.
    var header: String { isArray ? "[[\(path)]]" : "[\(path)]" }
    /// This table and all below it.
    var withAllBelow: [TableDeclaration] { [self] + tables.flatMap(\.withAllBelow) }
}
