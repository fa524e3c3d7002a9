// `[dnsbl]`: what postern-policy does about the score that the DNS lists give a client (RFC 5782).

internal import PosternAdmission

enum DNSBLTable {
    static let rejectScore = Key(
        "reject_score", .integer(in: 0...1000), default: 4,
        "The score from which a client is refused for good (5xx). 0: never.")
    static let deferScore = Key(
        "defer_score", .integer(in: 0...1000), default: 0, "The score from which it is refused for now (4xx). 0: never."
    )
    static let budget = Key(
        "budget", .duration(in: .milliseconds(100) ... .seconds(7)), default: .seconds(3),
        "How long all lists together are waited for. Who does not answer in time lists nobody.")
    static let reason = Key(
        "reason", .boolean, default: false, "Tell a refused client the list's own reason (its TXT record).")
    static let shadow = Key("shadow", .boolean, default: false, "Only log and count what would be done.")

    static let declaration = TableDeclaration(
        "dnsbl", "DNS block and allow lists: postern-policy adds up their scores. Without lists none is asked.",
        keys: [rejectScore, deferScore, budget, reason, shadow], tables: [DNSBLListTable.declaration])
}

extension DNSBLSettings {
    init(_ values: TableValues, _ reader: inout ValueReader) {
        self.init(
            rejectScore: Self.threshold(values[DNSBLTable.rejectScore]),
            deferScore: Self.threshold(values[DNSBLTable.deferScore]), budget: values[DNSBLTable.budget],
            tellsReason: values[DNSBLTable.reason], shadow: values[DNSBLTable.shadow],
            lists: DNSBLListSettings.lists(values[DNSBLListTable.declaration], &reader))
    }

    private static func threshold(_ score: Int) -> Int? { score > 0 ? score : nil }
}
