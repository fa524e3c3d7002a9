// What is right in each table and yet hardly meant when the tables are read together. `check` tells it; nothing is
// refused because of it.

internal import PosternAdmission
internal import PosternDNS
public import PosternMail

enum ConfigurationAdvice {
    static func give(on configuration: Configuration, _ reader: inout ValueReader) {
        let tables = configuration.tables
        if let dnsbl = tables[DNSBLTable.declaration.path]?.first { lists(configuration, dnsbl, &reader) }
        if let greylist = tables[GreylistTable.declaration.path]?.first { scores(configuration, greylist, &reader) }
        if let dmarc = tables[DMARCTable.declaration.path]?.first {
            DMARCAdvice.give(on: configuration.dmarc, dmarc, &reader)
        }
        RuleAdvice.give(
            on: configuration.rules, tables[RuleTable.declaration.path] ?? [],
            hasLists: !configuration.dnsbl.lists.isEmpty, &reader)
    }

    // MARK: Scores

    private static func scores(_ configuration: Configuration, _ greylist: TableValues, _ reader: inout ValueReader) {
        let settings = configuration.greylist
        guard settings.clients == .suspicious else { return }
        let place = greylist.position(of: GreylistTable.suspiciousScore)
        let path = "greylist.suspicious_score"
        let refusing = [configuration.dnsbl.rejectScore, configuration.dnsbl.deferScore].compactMap { $0 }.min()
        if let refusing, settings.suspiciousScore >= refusing {
            reader.advise(
                "nobody waits: clients with a score of \(refusing) are refused, which is no more than this",
                at: place, keyPath: path)
        }
        let hasScores =
            !configuration.dnsbl.lists.isEmpty
            || configuration.tables[RuleTable.declaration.path]?.contains { $0[RuleTable.action]?.isScore == true }
                == true
        if settings.suspiciousScore > 0, !hasScores {
            reader.advise(
                "nobody waits: there is no [[dnsbl.list]] and no rule with a score", at: place, keyPath: path)
        }
    }

    // MARK: Lists

    private static func lists(_ configuration: Configuration, _ dnsbl: TableValues, _ reader: inout ValueReader) {
        let settings = configuration.dnsbl
        if let reject = settings.rejectScore, let `defer` = settings.deferScore, `defer` >= reject {
            reader.advise(
                "nobody is deferred: clients with a score of \(reject) are rejected",
                at: dnsbl.position(of: DNSBLTable.deferScore),
                keyPath: "dnsbl.defer_score")
        }
        for table in dnsbl[DNSBLListTable.declaration] {
            guard let zone = table[DNSBLListTable.zone] else { continue }
            let place = table.position(of: DNSBLListTable.zone)
            if let since = KnownLists.deadSince(zone) {
                reader.advise(
                    "this list answers no more since \(since), and may list everybody one day: remove it", at: place,
                    keyPath: "\(table.path).zone")
            }
            let servers = upstreams(for: zone, configuration.dns)
            if let server = servers.first(where: { KnownLists.owner(ofPublicResolver: $0) != nil }) {
                reader.advise(refusal(of: server), at: place, keyPath: "\(table.path).zone")
            }
        }
    }

    /// Why a public resolver will not do.
    fileprivate static func refusal(of server: IPAddress) -> String {
        let owner = KnownLists.owner(ofPublicResolver: server) ?? "somebody else"
        return "DNS lists refuse or mislead public resolvers such as \(server) (\(owner)): ask by one of your own, for "
            + "all zones or by [[dns.zone]]"
    }

    /// - Returns: none where those of /etc/resolv.conf are asked.
    fileprivate static func upstreams(for name: DomainName, _ dns: DNSSettings) -> [IPAddress] {
        let zones = dns.zones.filter { !$0.upstreams.isEmpty && name.isEqualOrBelow($0.name) }
        let nearest = zones.max { $0.name.labelCount < $1.name.labelCount }
        return (nearest?.upstreams ?? dns.upstreams).compactMap { endpoint in
            if case .udp(let host, _) = endpoint { IPAddress(host) } else { nil }
        }
    }
}

extension Configuration {
    /// What is to be said where `dns.upstream` names nobody, and lists are asked by the system's own resolvers.
    /// - Parameter resolvers: those of /etc/resolv.conf.
    public func advice(onSystemResolvers resolvers: [IPAddress]) -> [String] {
        let isAsked = dnsbl.lists.contains { ConfigurationAdvice.upstreams(for: $0.zone, dns).isEmpty }
        guard isAsked, let server = resolvers.first(where: { KnownLists.owner(ofPublicResolver: $0) != nil }) else {
            return []
        }
        return ["/etc/resolv.conf: nameserver: \(ConfigurationAdvice.refusal(of: server))"]
    }
}

extension WrittenAction {
    fileprivate var isScore: Bool { if case .score = action { true } else { false } }
}
