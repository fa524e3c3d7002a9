// What several imports print, as one configuration: tables of one name become one, a key that two programs were told
// differently is taken of the first, and the other is told. The pieces are our own output: a line that begins with `[` is
// a table's head, and an assignment ends where the next one begins.

internal import PosternDaemon

struct MergedSettings {
    private struct Table {
        let head: String
        var assignments: [Assignment] = []
    }
    private struct Assignment {
        /// With the comment lines before it.
        var lines: [String]
        let key: String
        let peer: String
        var value: [String] { lines.filter { !$0.hasPrefix("#") }.map(Self.withoutComment) }

        /// `key = value  # why` without the reason, as `ImportedTables` writes it.
        private static func withoutComment(_ line: String) -> String {
            line.firstRange(of: "  # ").map { String(line[..<$0.lowerBound]) } ?? line
        }
    }

    private var comments: [String] = []
    private var tables: [Table] = []
    private var leftOut: [ImportRemark] = []
    private var warnings: [ImportRemark] = []
    private(set) var peers: [String] = []

    /// - Parameter peer: whose settings these are: `opendkim`.
    mutating func add(_ settings: ImportedSettings, of peer: String) {
        peers.append(peer)
        leftOut += settings.leftOut
        warnings += settings.warnings
        var table: Table?
        var before: [String] = []
        for line in settings.toml.split(separator: "\n").map(String.init) {
            if line.hasPrefix("[") {
                if let table { append(table) }
                table = Table(head: line)
                comments += before
                before = []
            } else if line.hasPrefix("#") {
                before.append(line)
            } else if let end = line.firstRange(of: " = "), !line.hasPrefix(" ") {
                table?.assignments.append(
                    Assignment(lines: before + [line], key: String(line[..<end.lowerBound]), peer: peer))
                before = []
            } else if let last = table?.assignments.indices.last {
                table?.assignments[last].lines.append(line)
            }
        }
        if let table { append(table) }
        comments += before
    }

    /// Sets a key that none of them has set.
    mutating func set(_ head: String, _ key: String, _ line: String) {
        let index = tables.firstIndex { $0.head == head } ?? tables.endIndex
        if index == tables.endIndex { tables.append(Table(head: head)) }
        guard !tables[index].assignments.contains(where: { $0.key == key }) else { return }
        tables[index].assignments.append(Assignment(lines: [line], key: key, peer: ""))
    }

    private mutating func append(_ table: Table) {
        guard !table.head.hasPrefix("[["), let index = tables.firstIndex(where: { $0.head == table.head }) else {
            tables.append(table)
            return
        }
        for assignment in table.assignments {
            guard let known = tables[index].assignments.first(where: { $0.key == assignment.key }) else {
                tables[index].assignments.append(assignment)
                continue
            }
            guard known.value != assignment.value else { continue }
            let line = ImportedLine(
                file: assignment.peer, number: 0, text: assignment.value.joined(separator: " "))
            leftOut.append(
                ImportRemark(
                    line: line, text: "\(table.head) has \(assignment.key) of \(known.peer)'s; merge them by hand"))
        }
    }

    var settings: ImportedSettings {
        let single = tables.filter { !$0.head.hasPrefix("[[") }
        let several = tables.filter { $0.head.hasPrefix("[[") }
        let parts = (single + several).map { table in
            ([table.head] + table.assignments.flatMap(\.lines)).joined(separator: "\n") + "\n"
        }
        let text = parts.joined(separator: "\n")
        return ImportedSettings(
            toml: text.isEmpty ? "" : comments.map { $0 + "\n" }.joined() + text, leftOut: leftOut,
            warnings: warnings)
    }
}
