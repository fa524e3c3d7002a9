// The configuration that an import writes, key by key: each value is shown to whoever reads the configuration before it
// stands in it, and what is refused is told with the line it came from. Tables come in the order in which they were
// first written to.

internal import PosternDaemon
internal import PosternMail

struct ImportedTables {
    private struct Table {
        let name: String
        let isArray: Bool
        /// Assignments with their comments, each a line.
        var lines: [String]
    }

    private var tables: [Table] = []
    private(set) var leftOut: [ImportRemark] = []
    private(set) var warnings: [ImportRemark] = []

    /// `name` of a single table gets `key = value`, or the line is left out with what the reader says of it.
    /// - Parameter value: as TOML has it.
    /// - Parameter why: for the comment beside it; empty: the line's own text tells nothing more.
    mutating func set(_ name: String, _ key: String, _ value: String, from line: ImportedLine, why: String = "") {
        let assignment = "\(key) = \(value)"
        if let problem = Self.problem(in: "[\(name)]\n\(assignment)\n") {
            leave(line, problem)
            return
        }
        // TOML 1.0, "Comment": no controls but tab; what stands here was read from somebody's file.
        let text = why.isEmpty ? assignment : "\(assignment)  # \(LogText.escaped(Array(why.utf8)))"
        guard let index = tables.firstIndex(where: { $0.name == name && !$0.isArray }) else {
            tables.append(Table(name: name, isArray: false, lines: [text]))
            return
        }
        // The same key again: the later line counts, as it does for the programs whose settings these are.
        tables[index].lines.removeAll { $0.hasPrefix("\(key) = ") }
        tables[index].lines.append(text)
    }

    /// One more `[[name]]`.
    /// - Returns: whether it was taken.
    @discardableResult
    mutating func append(
        _ name: String, _ assignments: [(key: String, value: String)], from line: ImportedLine
    ) -> Bool {
        let lines = assignments.map { "\($0.key) = \($0.value)" }
        if let problem = Self.problem(in: "[[\(name)]]\n" + lines.joined(separator: "\n") + "\n") {
            leave(line, problem)
            return false
        }
        tables.append(Table(name: name, isArray: true, lines: lines))
        return true
    }

    mutating func leave(_ line: ImportedLine, _ reason: String) {
        leftOut.append(ImportRemark(line: line, text: reason))
    }

    mutating func warn(_ line: ImportedLine, _ text: String) {
        warnings.append(ImportRemark(line: line, text: text))
    }

    /// What was warned of since there were so many: of a line that then was left out it says nothing more.
    mutating func takeBackWarnings(after count: Int) { warnings.removeLast(max(0, warnings.count - count)) }

    /// - Parameter head: comment lines above all.
    func settings(head: [String]) -> ImportedSettings {
        let parts = tables.map { table in
            (table.isArray ? ["[[\(table.name)]]"] : ["[\(table.name)]"]) + table.lines
        }
        let text = parts.map { $0.joined(separator: "\n") + "\n" }.joined(separator: "\n")
        let comments = head.map { "# \($0)\n" }.joined()
        return ImportedSettings(
            toml: text.isEmpty ? "" : comments + text, leftOut: Self.inOrder(leftOut), warnings: Self.inOrder(warnings))
    }

    /// Files in the order in which they were first spoken of, their lines in theirs.
    private static func inOrder(_ remarks: [ImportRemark]) -> [ImportRemark] {
        var files: [String: Int] = [:]
        for remark in remarks where files[remark.line.file] == nil { files[remark.line.file] = files.count }
        return remarks.enumerated().sorted { left, right in
            (files[left.element.line.file] ?? 0, left.element.line.number, left.offset)
                < (files[right.element.line.file] ?? 0, right.element.line.number, right.offset)
        }.map(\.element)
    }

    static func list(_ values: [String]) -> String {
        "[" + values.map(ImportedSettings.quoted).joined(separator: ", ") + "]"
    }

    /// What is wrong with a piece of configuration by itself. Private keys are not looked for: that is `postern check`'s
    /// to say, on the machine that has them.
    private static func problem(in toml: String) -> String? {
        guard let problem = ImportedSettings.check(toml).problems.first(where: { !$0.keyPath.hasSuffix(".file") })
        else {
            return nil
        }
        // TOML's own: a word where a number belongs.
        guard !problem.keyPath.isEmpty else { return "expected a number or a word that the key takes" }
        return "\(problem.keyPath.replacing("[1]", with: "")): \(problem.text)"
    }
}
