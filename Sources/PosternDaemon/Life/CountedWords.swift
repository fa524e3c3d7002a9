// The words under which metrics count an outcome, as members of its JSON line: the metric without `postern_DAEMON_` and
// `_total`, and in it the label with its value, so that a query for the log and one for the metrics say the same:
//
//     postern_dmarc_spf_total{result="fail"}     "spf":{"result":"fail"}
//     postern_dkim_signatures_total{result=…}    "signatures":{"result":["pass","fail"]}   there may be several
//     postern_dkim_forged_fields_removed_total   "forged_fields_removed":2                 no label: how many
//
// Which metrics stand in lines, and how, MetricFamily declares; what it does not know stands in none.

import PosternMail

enum CountedWords {
    /// Most values of one label, and longest value in octets; ours are shorter, a list's or limit's name may not be.
    static let maxValues = 8
    static let maxValueOctets = 64
    /// Octets of all of them in a line: what the longest line of a message needs, twice.
    static let maxOctets = 1024

    /// - Parameter program: the daemon's name.
    /// - Returns: members in the order in which they were counted.
    static func members(of readings: [CounterReading], program: String) -> [JSONLine.Member] {
        var families: [(family: MetricFamily, values: [String], amount: UInt64)] = []
        for reading in readings where reading.value > 0 {
            guard let family = MetricFamily.logged[fullName(reading.name.metric, program)],
                family.label?.key == reading.name.label?.key
            else { continue }
            let value = reading.name.label.map { [LogRendering.cut($0.value, to: maxValueOctets)] } ?? []
            if let index = families.firstIndex(where: { $0.family.name == family.name }) {
                if families[index].values.count < maxValues { families[index].values += value }
                families[index].amount &+= reading.value
            } else {
                families.append((family, value, reading.value))
            }
        }
        var members: [JSONLine.Member] = []
        var octets = 0
        for (family, values, amount) in families {
            let member = JSONLine.Member(family.noun, value(family, values, amount))
            octets += member.description.utf8.count + ",".utf8.count
            guard octets <= maxOctets else { break }
            members.append(member)
        }
        return members
    }

    private static func value(_ family: MetricFamily, _ values: [String], _ amount: UInt64) -> JSONLine.Value {
        switch (family.inLog, family.label) {
        case (.several, let label?): .object([.init(label.key, .list(values.map(JSONLine.Value.text)))])
        case (_, let label?): .object([.init(label.key, .optional(values.first))])
        case (_, nil): .number(Int(clamping: amount))
        }
    }

    /// A door that two daemons have counts under names without the daemon's.
    private static func fullName(_ metric: String, _ program: String) -> String {
        guard !metric.hasPrefix("postern_") else { return metric }
        return "\(program.replacing("-", with: "_"))_\(metric)"
    }
}
