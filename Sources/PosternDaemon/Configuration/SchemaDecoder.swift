// Reads a document against the declared tables. Goes on after each problem, so that all are told at once; a value that
// is wrong is left out and has its default.

struct SchemaDecoder {
    let schema: [TableDeclaration]
    var reader: ValueReader
    /// What is done with the files that a table names; asked with the name of the table at the root.
    let files: (String) -> FileAccess

    /// The tables at the root by their paths, each `[table]` once; an absent one holds defaults only.
    mutating func decode(_ root: TomlTable) -> [String: [TableValues]] {
        var decoded: [String: [TableValues]] = [:]
        for table in schema { decoded[table.path] = table.isArray ? [] : [TableValues(table, path: table.path)] }
        for entry in root.entries {
            guard let table = schema.first(where: { $0.path == entry.key }) else {
                reportUnknownTable(entry)
                continue
            }
            reader.files = files(table.path)
            let tables = read(table, entry, parent: "")
            if !tables.isEmpty { decoded[table.path] = tables }
        }
        return decoded
    }

    /// From here on the files of this table are meant.
    mutating func enter(_ table: TableDeclaration) { reader.files = files(table.path) }

    // MARK: Tables

    /// The table or tables under a declared name; none if it is something else.
    private mutating func read(_ table: TableDeclaration, _ entry: TomlTable.Entry, parent: String) -> [TableValues] {
        let path = parent.isEmpty ? table.name : "\(parent).\(table.name)"
        switch (entry.node.value, table.isArray) {
        case (.table(let content), false):
            return [read(table, content, path: path, at: entry.node.position)]
        case (.array(let elements), true) where elements.allSatisfy(\.isTable):
            return elements.enumerated().compactMap { index, element in
                guard case .table(let content) = element.value else { return nil }
                return read(table, content, path: "\(path)[\(index + 1)]", at: element.position)
            }
        case (.table, true):
            reader.report(
                "expected \(table.header), found a table; write its header in two pairs of brackets",
                at: entry.node.position, keyPath: path)
        case (.array(let elements), false) where elements.first?.isTable == true:
            reader.report(
                "expected one \(table.header), found a list of tables; write its header in one pair of brackets",
                at: entry.node.position, keyPath: path)
        default:
            reader.report(
                "expected \(table.isArray ? "tables" : "a table") \(table.header), found \(entry.node.found)",
                at: entry.node.position, keyPath: path)
        }
        return []
    }

    private mutating func read(
        _ table: TableDeclaration, _ content: TomlTable, path: String, at position: SourcePosition
    ) -> TableValues {
        var values = TableValues(table, path: path, position: position)
        var given: Set<String> = []
        for entry in content.entries {
            given.insert(entry.key)
            if let key = table.keys.first(where: { $0.name == entry.key }) {
                reader.keyPath = "\(path).\(key.name)"
                values.mention(key, at: entry.node.position)
                guard let value = key.value(of: entry.node, &reader) else { continue }
                values.set(key, to: value)
            } else if let below = table.tables.first(where: { $0.name == entry.key }) {
                for inner in read(below, entry, parent: path) { values.append(inner) }
            } else {
                reportUnknownKey(entry, in: table, path: path)
            }
        }
        for key in table.keys where key.isRequired && !given.contains(key.name) {
            reader.report(
                "expected the key \"\(key.name)\" in \(table.header), found none; for example: "
                    + "\(key.name) = \(key.sample)",
                at: position, keyPath: "\(path).\(key.name)")
        }
        return values
    }

    // MARK: What is not declared

    private var allTables: [TableDeclaration] { schema.flatMap(\.withAllBelow) }

    private mutating func reportUnknownKey(_ entry: TomlTable.Entry, in table: TableDeclaration, path: String) {
        guard !reader.isFull else { return }
        let owners = allTables.filter { owner in owner.path != table.path && owner.has(entry.key) }
        let hint: String
        if let near = nearest(to: entry.key, in: table.keys.map(\.name) + table.tables.map(\.name)) {
            hint = owners.isEmpty ? "; do you mean \"\(near)\"?" : Self.belongs(to: owners)
        } else if !owners.isEmpty {
            hint = Self.belongs(to: owners)
        } else if let (near, owner) = nearestElsewhere(to: entry.key) {
            hint = "; do you mean \"\(near)\" of \(owner.header)?"
        } else {
            hint = ""
        }
        reader.report(
            "expected a key of \(table.header), found \(quoted(entry.key))\(hint)", at: entry.keyPosition,
            keyPath: "\(path).\(printable(entry.key))")
    }

    private mutating func reportUnknownTable(_ entry: TomlTable.Entry) {
        guard !reader.isFull else { return }
        let owners = allTables.filter { $0.has(entry.key) }
        let hint: String
        if entry.node.isTable, let near = nearest(to: entry.key, in: schema.map(\.name)) {
            hint = "; do you mean \"\(near)\"?"
        } else if !owners.isEmpty {
            hint = Self.belongs(to: owners)
        } else if entry.node.isTable {
            hint = "; there are \(schema.map(\.header).joined(separator: " "))"
        } else if let (near, owner) = nearestElsewhere(to: entry.key) {
            hint = "; do you mean \"\(near)\" of \(owner.header)?"
        } else {
            hint = ""
        }
        reader.report(
            "expected a table that Postern knows, found \(quoted(entry.key))\(hint)", at: entry.keyPosition,
            keyPath: printable(entry.key))
    }

    private static func belongs(to owners: [TableDeclaration]) -> String {
        let headers = owners.map(\.header).joined(separator: " or ")
        return ", which belongs to \(headers): write it below that header"
    }

    private func nearestElsewhere(to name: String) -> (name: String, owner: TableDeclaration)? {
        guard let near = nearest(to: name, in: allTables.flatMap { $0.keys.lazy.filter(\.isInSample).map(\.name) }),
            let owner = allTables.first(where: { $0.has(near) })
        else { return nil }
        return (near, owner)
    }
}

extension TableDeclaration {
    /// Whether it holds a key or a table of that name.
    fileprivate func has(_ name: String) -> Bool {
        keys.contains { $0.name == name } || tables.contains { $0.name == name }
    }
}

extension TomlNode {
    fileprivate var isTable: Bool { if case .table = value { true } else { false } }
}
