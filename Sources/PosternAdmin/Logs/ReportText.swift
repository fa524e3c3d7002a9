// A report for people at a terminal or in a mail: columns, no lines wider than they must be.

extension Report {
    /// Longest word of a column; what is longer is cut.
    private static let maxWidth = 60

    var text: String {
        var text = "Mail from \(period)\n"
        text +=
            "\(counts.postfixLines) lines of Postfix, \(counts.posternLines) of Postern, "
            + "\(reading.lines) lines read, \(ReportNumber.octets(reading.octets))\n"
        for table in tables { text += "\n" + Self.text(of: table) }
        if tables.isEmpty { text += "\nNothing happened.\n" }
        return text
    }

    private static func text(of table: ReportTable) -> String {
        let columns = table.rows.map(\.words.count).max() ?? 0
        let rows = table.rows.map { row in row.words.map { cut($0) } }
        let widths = (0..<columns).map { column in
            rows.compactMap { $0.dropFirst(column).first?.count }.max() ?? 0
        }
        let width = table.rows.map { "\($0.count)".count }.max() ?? 0
        var text = "\(table.title)\n"
        for (words, row) in zip(rows, table.rows) {
            let number = "\(row.count)"
            var line = "  " + String(repeating: " ", count: width - number.count) + number
            for (word, width) in zip(words, widths) where width > 0 {
                line += "  " + word + String(repeating: " ", count: width - word.count)
            }
            if !row.note.isEmpty { line += "  \(row.note)" }
            while line.last == " " { line.removeLast() }
            text += line + "\n"
        }
        if !table.about.isEmpty { text += "  \(table.about)\n" }
        return text
    }

    private static func cut(_ word: String) -> String {
        word.count > maxWidth ? word.prefix(maxWidth - 3) + "..." : word
    }
}
