// A lint of SPF for people and for programs.

internal import PosternDaemon
internal import PosternMail

extension SPFLint {
    /// Each line with its line end: records as a tree, problems below theirs, then the sums.
    var lines: String {
        var lines: [String] = []
        for visit in visits {
            let indent = String(repeating: "  ", count: visit.depth)
            let via = visit.via.map { "\($0) -> " } ?? ""
            let record = visit.record.map(ZoneText.quoted) ?? "no record"
            lines.append("\(indent)\(via)\(visit.domain): \(record) (look-ups: \(visit.count.lookups))")
            lines += visit.problems.map { "\(indent)  \($0)" }
        }
        lines.append(
            "look-ups: \(count.lookups) of at most \(Self.maxLookups); without an answer: \(count.void4) for IPv4, "
                + "\(count.void6) for IPv6 clients, of at most \(Self.maxVoidLookups)")
        lines += problems.map { "  \($0)" }
        return lines.map { $0 + "\n" }.joined()
    }

    /// Every member is always there.
    var json: JSONValue {
        [
            "domain": .text("\(domain)"), "permerror": .boolean(isPermerror), "complete": .boolean(!isIncomplete),
            "lookups": .number(count.lookups),
            "void_lookups": ["ipv4": .number(count.void4), "ipv6": .number(count.void6)],
            "records": .list(
                visits.map { visit in
                    [
                        "domain": .text("\(visit.domain)"), "via": .optional(visit.via), "depth": .number(visit.depth),
                        "record": visit.record.map(JSONValue.octets) ?? .null, "lookups": .number(visit.count.lookups),
                        "problems": .list(visit.problems.map(\.json)),
                    ]
                }), "problems": .list(problems.map(\.json)),
        ]
    }
}

extension SPFLint.Problem: CustomStringConvertible {
    /// `error: "ipv4:192.0.2.1": no such mechanism`.
    var description: String { "\(severity.rawValue): \(term.map { "\(JSONLine.quoted($0)): " } ?? "")\(text)" }

    fileprivate var json: JSONValue {
        ["severity": .text(severity.rawValue), "term": .optional(term), "text": .text(text)]
    }
}
