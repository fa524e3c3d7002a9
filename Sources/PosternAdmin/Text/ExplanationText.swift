// What postern-policy explains, for people. A daemon's document is data: controls in it are not printed.

internal import PosternDaemon

enum ExplanationText {
    static func text(_ document: ControlDocument) -> String {
        var lines = ["\(document.word("action")): \(document.word("text"))"]
        let score = document.count("score")
        if score != 0 { lines.append("score: \(score)") }
        return (lines + checks(document)).map { $0 + "\n" }.joined()
    }

    /// One line a check, its DNS questions below it.
    static func checks(_ document: ControlDocument) -> [String] {
        let checks = document["checks"]?.elements ?? []
        let rows = checks.map { check in
            let score = check.count("score")
            return [
                "  " + check.word("check"), check.word("outcome") + (check.holds("shadow") ? " (shadow)" : ""),
                score == 0 ? "" : "\(score > 0 ? "+" : "")\(score)", check.word("reason"),
            ]
        }
        return zip(checks, Columns.lines(rows)).flatMap { check, line in
            [line] + check.words("exchanges").map { "      " + $0 }
        }
    }
}
