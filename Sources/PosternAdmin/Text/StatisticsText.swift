// postern-dns's statistics as tables for people. What the daemon says is data: controls in it are not printed.

internal import PosternDaemon

enum StatisticsText {
    static func text(_ document: ControlDocument) -> String {
        var lines: [String] = []
        for (key, title, label) in [("zones", "ZONE", "zone"), ("clients", "CLIENT", "client")] {
            let rows = (document[key]?.elements ?? []).filter { key == "clients" || $0.count("questions") > 0 }
            let head = [title, "questions", "hits", "stale", "failed"]
            let cells = rows.map { row in
                [
                    row.word(label), "\(row.count("questions"))", row["hits_per_mille"]?.number.map(percent) ?? "-",
                    "\(row.count("stale"))", "\(row.count("failed"))",
                ]
            }
            lines += Columns.lines([head] + cells, numbers: 1..<5) + [""]
        }
        let head = ["UPSTREAM", "queries", "failures", "round trip", ""]
        let cells = (document["upstreams"]?.elements ?? []).map { row in
            [
                row.word("upstream"), "\(row.count("queries"))", "\(row.count("failures"))",
                row["round_trip_us"]?.number.map(milliseconds) ?? "-",
                row.holds("left") ? "not asked: it was silent" : "",
            ]
        }
        lines += Columns.lines([head] + cells, numbers: 1..<4) + [""]
        let cache: ControlDocument = document["cache"] ?? [:]
        lines.append(
            "cache: \(cache.count("answers")) answers in \(cache.count("octets") / 1024) KiB, "
                + "\(cache.count("evictions")) evicted, \(cache.count("prefetches")) asked for again in time")
        return lines.map { $0 + "\n" }.joined()
    }

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
