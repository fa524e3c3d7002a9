// A configuration for people and programs: what `postern show` prints. Made of `differences`, so that what hides secrets
// there hides them here, and of the declarations' defaults.

/// A configuration as text.
public struct ShownConfiguration: Hashable, Sendable {
    /// Reads back as a configuration that means the same, but for secrets, which are hidden.
    public let toml: String
    /// The same as one JSON object on one line; null where nothing is set.
    public let json: String
}

extension Configuration {
    /// This configuration as text.
    /// - Parameter all: also what is as by default. What has no value of its own then stands in a comment, with what
    ///   is done in its place.
    public func shown(all: Bool) -> ShownConfiguration {
        let text = differences
        let root: TomlTable
        do throws(TomlSyntaxError) { root = try TomlDocument.parse(Array(text.utf8)) } catch {
            preconditionFailure("what differs is TOML, found \(error.text)")
        }
        guard all else { return ShownConfiguration(toml: text, json: root.json) }
        let settled = settledDefaults
        let tables = Self.schema.flatMap { ShownTable.tables($0, in: root, settled: settled) }
        let lines = tables.map { $0.lines.joined(separator: "\n") + "\n" }
        return ShownConfiguration(toml: lines.joined(separator: "\n"), json: ShownTable.json(tables))
    }

    /// What keys without a default of their own are taken for, by table and key, as TOML.
    private var settledDefaults: [String: String] {
        [
            "host.name": tomlString("\(host.name)"), "host.authserv_id": tomlString(host.authservID),
            "host.strip_authserv_ids": "[\(host.stripAuthservIDs.map(tomlString).joined(separator: ", "))]",
        ]
    }
}

/// One table with all that holds in it.
private struct ShownTable {
    struct Line {
        let name: String
        /// As TOML and as JSON; nil where nothing is set.
        let value: (toml: String, json: String)?
        /// What is done where nothing is set.
        let substitute: String?
    }

    let declaration: TableDeclaration
    let values: [Line]
    let below: [ShownTable]

    /// The table as `parent` holds it: once, or as often as an array has it.
    static func tables(
        _ declaration: TableDeclaration, in parent: TomlTable, settled: [String: String]
    ) -> [ShownTable] {
        let node = parent.entries.first { $0.key == declaration.name }?.node
        switch node?.value {
        case .table(let table)?: return [ShownTable(declaration, table, settled)]
        case .array(let elements)?:
            return elements.compactMap { element in
                guard case .table(let table) = element.value else { return nil }
                return ShownTable(declaration, table, settled)
            }
        default: return declaration.isArray ? [] : [ShownTable(declaration, TomlTable(entries: []), settled)]
        }
    }

    private init(_ declaration: TableDeclaration, _ table: TomlTable, _ settled: [String: String]) {
        self.declaration = declaration
        values = declaration.keys.map { key in
            if let node = table.entries.first(where: { $0.key == key.name })?.node {
                return Line(name: key.name, value: (node.toml, node.json), substitute: nil)
            }
            if let text = settled["\(declaration.path).\(key.name)"] ?? key.defaultText,
                // One key with its default is a document, as the sample file is.
                let node = try? TomlDocument.parse(Array("value = \(text)".utf8)).entries.first?.node
            {
                return Line(name: key.name, value: (text, node.json), substitute: nil)
            }
            return Line(name: key.name, value: nil, substitute: key.substitute)
        }
        below = declaration.tables.flatMap { Self.tables($0, in: table, settled: settled) }
    }

    var lines: [String] {
        var lines = [declaration.header]
        for line in values {
            if let value = line.value {
                lines.append("\(line.name) = \(value.toml)")
            } else if let substitute = line.substitute {
                lines.append("# \(line.name): \(substitute)")
            }
        }
        return lines + below.flatMap { [""] + $0.lines }
    }

    /// Tables with their names, arrays in one piece.
    static func json(_ tables: [ShownTable], after values: [String] = []) -> String {
        var members = values
        var seen: Set<String> = []
        for table in tables where seen.insert(table.declaration.path).inserted {
            let name = JSONLine.quoted(table.declaration.name)
            let same = tables.filter { $0.declaration.path == table.declaration.path }.map(\.json)
            members.append("\(name):\(table.declaration.isArray ? "[\(same.joined(separator: ","))]" : same.joined())")
        }
        return "{\(members.joined(separator: ","))}"
    }

    private var json: String {
        Self.json(below, after: values.map { "\(JSONLine.quoted($0.name)):\($0.value?.json ?? "null")" })
    }
}

// MARK: Defaults

extension KeyDeclaration {
    /// The default as TOML; nil for a key that has none.
    fileprivate var defaultText: String? { (self as? any DefaultedKey)?.fallbackText }

    /// The end of the doc sentence that tells what is done without the key.
    fileprivate var substitute: String? {
        let mark = "Default: "
        var rest = doc[...]
        while !rest.isEmpty, !rest.hasPrefix(mark) { rest = rest.dropFirst() }
        guard !rest.isEmpty else { return nil }
        let sentence = rest.dropFirst(mark.count)
        return String(sentence.last == "." ? sentence.dropLast() : sentence)
    }
}

/// A key that may be absent, whatever the type of its value.
private protocol DefaultedKey {
    var fallbackText: String? { get }
}

extension Key: DefaultedKey {
    /// Without a default `sample` is an example only.
    fileprivate var fallbackText: String? { (fallback as? any Absentable)?.isAbsent == true ? nil : sample }
}

/// An optional, whatever it wraps.
private protocol Absentable {
    var isAbsent: Bool { get }
}

extension Optional: Absentable {
    fileprivate var isAbsent: Bool { self == nil }
}

// MARK: Values

extension TomlNode {
    /// As TOML writes it, on one line.
    fileprivate var toml: String {
        switch value {
        case .table(let table):
            table.entries.isEmpty
                ? "{}"
                : "{ \(table.entries.map { "\(tomlString($0.key)) = \($0.node.toml)" }.joined(separator: ", ")) }"
        case .array(let elements): "[\(elements.map(\.toml).joined(separator: ", "))]"
        case .string(let text): tomlString(text)
        case .integer(let number): "\(number)"
        case .float(let number): "\(number)"
        case .boolean(let flag): flag ? "true" : "false"
        case .dateTime(let text): text
        }
    }

    /// Source: RFC 8259.
    fileprivate var json: String {
        switch value {
        case .table(let table): table.json
        case .array(let elements): "[\(elements.map(\.json).joined(separator: ","))]"
        case .string(let text), .dateTime(let text): JSONLine.quoted(text)
        case .integer(let number): "\(number)"
        case .float(let number): number.isFinite ? "\(number)" : "null"
        case .boolean(let flag): flag ? "true" : "false"
        }
    }
}

extension TomlTable {
    fileprivate var json: String {
        "{\(entries.map { "\(JSONLine.quoted($0.key)):\($0.node.json)" }.joined(separator: ","))}"
    }
}
