// postern-dns's statistics as tables for people. What the daemon says is data: controls in it are not printed.

internal import PosternDaemon

enum StatisticsText {
    static func text(_ document: ControlDocument) -> String {
        var lines: [String] = []
        for (key, title, label) in [("zones", "ZONE", "zone"), ("clients", "CLIENT", "client")] {
            let rows = (document[key]?.elements ?? []).filter { key == "clients" || count($0, "questions") > 0 }
            lines += table(
                [title, "questions", "hits", "stale", "failed"],
                rows.map { row in
                    [
                        printable(row[label]?.text), "\(count(row, "questions"))",
                        row["hits_per_mille"]?.number.map(percent) ?? "-", "\(count(row, "stale"))",
                        "\(count(row, "failed"))",
                    ]
                })
            lines.append("")
        }
        lines += table(
            ["UPSTREAM", "queries", "failures", "round trip", ""],
            (document["upstreams"]?.elements ?? []).map { row in
                [
                    printable(row["upstream"]?.text), "\(count(row, "queries"))", "\(count(row, "failures"))",
                    row["round_trip_us"]?.number.map(milliseconds) ?? "-",
                    row["left"] == .boolean(true) ? "not asked: it was silent" : "",
                ]
            })
        lines.append("")
        let cache: ControlDocument = document["cache"] ?? [:]
        lines.append(
            "cache: \(count(cache, "answers")) answers in \(count(cache, "octets") / 1024) KiB, "
                + "\(count(cache, "evictions")) evicted, \(count(cache, "prefetches")) asked for again in time")
        return lines.map { $0 + "\n" }.joined()
    }

    /// The first column is left-aligned, the last is a remark, those between are numbers.
    private static func table(_ head: [String], _ rows: [[String]]) -> [String] {
        let all = [head] + rows
        let widths = head.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            let cells = zip(row, widths).enumerated().map { column, cell in
                let space = String(repeating: " ", count: cell.1 - cell.0.count)
                return column == 0 || cell.0.isEmpty || (column == 4 && head[4].isEmpty)
                    ? cell.0 + space : space + cell.0
            }
            let line = cells.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed())
        }
    }

    private static func printable(_ text: String?) -> String { DaemonControl.printable(text ?? "unknown") }
    private static func count(_ row: ControlDocument, _ key: String) -> Int64 { row[key]?.number ?? 0 }

    /// `98.3 %`
    static func percent(_ perMille: Int64) -> String {
        let perMille = max(0, min(perMille, 1000))
        return "\(perMille / 10).\(perMille % 10) %"
    }

    /// `12.3 ms`
    static func milliseconds(_ microseconds: Int64) -> String {
        let tenths = max(0, microseconds) / 100
        return "\(tenths / 10).\(tenths % 10) ms"
    }
}
