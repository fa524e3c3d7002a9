// `postern status --fleet` as text and as JSON: the hosts side by side, then what differs.

internal import PosternDaemon

struct FleetReport {
    let url: String
    let members: [FleetStore.Member]

    private var differences: [FleetDifference] { FleetComparison.differences(members) }

    var status: ExitStatus { differences.contains { $0.severity == .error } ? .negative : .done }

    // MARK: Text

    private static let head = ["HOST", "HEARD", "VERSION", "DAEMONS", "GENERATIONS", "AUTHSERV-ID", "KEYS"]

    var text: String {
        let rows = members.map { member -> [String] in
            guard let host = member.document else {
                return [
                    member.name, "\(StatusCommand.uptime(member.age)) ago", member.isDamaged ? "damaged" : "silent",
                ]
            }
            let well = host.daemons.count(where: \.isWell)
            let generations = Set(host.daemons.compactMap(\.generation)).sorted().map { "\($0)" }
            return [
                host.name, "\(StatusCommand.uptime(member.age)) ago", host.version, "\(well) of \(host.daemons.count)",
                generations.joined(separator: ","), host.authservID, "\(host.keys.count)",
            ]
        }
        var lines = ["fleet of \(url): \(members.count == 1 ? "1 host" : "\(members.count) hosts")"]
        lines += rows.isEmpty ? [] : Columns.lines([Self.head] + rows)
        let found = differences
        guard !found.isEmpty else {
            return (lines + (rows.isEmpty ? [] : ["nothing differs"])).map { $0 + "\n" }.joined()
        }
        lines.append("")
        for difference in found {
            let values = Self.grouped(difference.values)
            let what = difference.subject == "host" ? difference.values.map(\.host) : values
            lines.append("\(difference.severity.rawValue): \(difference.subject): \(what.joined(separator: "; "))")
            if !difference.why.isEmpty { lines.append("  why: \(difference.why)") }
        }
        return lines.map { $0 + "\n" }.joined()
    }

    /// More hosts than this are counted, not named.
    private static let maxNames = 5

    /// Each value once, with the hosts that have it, in the order of the first of them.
    private static func grouped(_ values: [FleetDifference.Value]) -> [String] {
        var order: [String] = []
        var hosts: [String: [String]] = [:]
        for value in values {
            let text = value.text.flatMap { $0.isEmpty ? nil : $0 } ?? "nothing"
            if hosts[text] == nil { order.append(text) }
            hosts[text, default: []].append(value.host)
        }
        return order.map { text in
            let names = hosts[text] ?? []
            let who = names.count > maxNames ? "\(names.count) hosts" : names.joined(separator: ", ")
            return "\(text) on \(who)"
        }
    }

    // MARK: JSON

    var json: JSONValue {
        [
            "store": .text(url),
            "hosts": .list(
                members.map { member in
                    [
                        "name": .text(member.name), "heard": .number(Int(member.age)),
                        "clock_ahead": .optional(member.clockAhead.map { Int(clamping: $0) }),
                        "document": member.document.map { JSONValue($0.document) } ?? .null,
                    ]
                }),
            "differences": .list(
                differences.map { difference in
                    [
                        "severity": .text(difference.severity.rawValue), "subject": .text(difference.subject),
                        "values": .list(
                            difference.values.map { ["host": .text($0.host), "value": .optional($0.text)] }),
                        "why": .text(difference.why),
                    ]
                }),
        ]
    }
}
