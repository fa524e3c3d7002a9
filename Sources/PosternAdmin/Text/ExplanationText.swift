// What postern-policy explains, for people. A daemon's document is data: controls in it are not printed.

internal import PosternDaemon

enum ExplanationText {
    static func text(_ document: ControlDocument) -> String {
        var lines = ["\(word(document, "action")): \(word(document, "text"))"]
        if let score = document["score"]?.number, score != 0 { lines.append("score: \(score)") }
        return (lines + checks(document)).map { $0 + "\n" }.joined()
    }

    /// One line a check, its DNS questions below it.
    static func checks(_ document: ControlDocument) -> [String] {
        let checks = document["checks"]?.elements ?? []
        let rows = checks.map { check in
            let score = check["score"]?.number ?? 0
            let isShadow = check["shadow"] == .boolean(true)
            return [
                "  " + word(check, "check"), word(check, "outcome") + (isShadow ? " (shadow)" : ""),
                score == 0 ? "" : "\(score > 0 ? "+" : "")\(score)", word(check, "reason"),
            ]
        }
        return zip(checks, Columns.lines(rows)).flatMap { check, line in
            [line] + (check["exchanges"]?.elements ?? []).map { "      " + DaemonControl.printable($0.text ?? "") }
        }
    }

    private static func word(_ document: ControlDocument, _ key: String) -> String {
        DaemonControl.printable(document[key]?.text ?? "unknown")
    }
}

/// Rows of words below one another.
enum Columns {
    /// - Returns: a line for each row, without white space at its end.
    static func lines(_ rows: [[String]]) -> [String] {
        let count = rows.map(\.count).max() ?? 0
        let widths = (0..<count).map { column in
            rows.map { $0.dropFirst(column).first?.count ?? 0 }.max() ?? 0
        }
        return rows.map { row in
            let cells = zip(row, widths).filter { $0.1 > 0 }.map { cell, width in
                cell + String(repeating: " ", count: width - cell.count)
            }
            return String(cells.joined(separator: "  ").reversed().drop { $0 == " " }.reversed())
        }
    }
}
