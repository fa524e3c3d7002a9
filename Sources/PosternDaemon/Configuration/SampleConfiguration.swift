// Texts made of the declarations: the sample file with every key, and what a snapshot has other than the defaults.

public enum SampleConfiguration {
    /// The content of `contrib/postern.toml`: every key with its sentence and its default, commented out.
    public static var text: String {
        var lines = comment(
            "Postern's configuration: all keys with their defaults. An empty file is a good one: verify, strip forged "
                + "results, add ours; refuse nothing. Uncomment what you want otherwise, then try: postern check")
        lines += comment(
            "Durations are written \"300ms\" \"90s\" \"5m\" \"2h\" \"35d\", sizes \"64MiB\". A list takes values and "
                + "\"file:NAME\": one value a line, # comments. Paths are relative to this file's folder.")
        for table in Configuration.schema.flatMap(\.withAllBelow) {
            lines.append("")
            lines += comment(table.doc)
            lines.append(table.isArray ? "#\(table.header)" : table.header)
            for key in table.keys where key.isInSample {
                lines += comment(key.isRequired ? "\(key.doc) Required." : key.doc)
                lines.append("#\(key.name) = \(key.sample)")
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Longest line of a comment, in columns.
    private static let maxColumns = 100

    private static func comment(_ text: String) -> [String] {
        var lines: [String] = []
        var line = "#"
        for word in text.split(separator: " ") {
            if line.count + 1 + word.count > maxColumns {
                lines.append(line)
                line = "#"
            }
            line += " \(word)"
        }
        return lines + [line]
    }
}

extension Configuration {
    /// What differs from the defaults, as TOML with its tables' headers; empty if nothing does. Values given by `file:`
    /// are written out, paths are absolute.
    public var differences: String {
        func lines(_ values: TableValues) -> [String] {
            let own = values.differences
            let shown = own.isEmpty ? [] : [values.declaration.header] + own + [""]
            return shown + values.declaration.tables.flatMap { values[$0].flatMap(lines) }
        }
        let shown = Self.schema.flatMap { tables[$0.path] ?? [] }.flatMap(lines)
        return shown.dropLast().map { "\($0)\n" }.joined()
    }
}
