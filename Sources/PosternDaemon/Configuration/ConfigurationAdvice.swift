// What is right in each table and yet hardly meant when the tables are read together. `check` tells it; nothing is
// refused because of it.

internal import PosternAdmission
internal import PosternDNS
internal import PosternMail

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
            if let dead = KnownLists.dead(zone) {
                reader.advise("this list is dead (\(dead)): remove it", at: place, keyPath: "\(table.path).zone")
            }
            let servers = upstreams(for: zone, configuration.dns)
            if let server = servers.first(where: KnownLists.isPublicResolver) {
                reader.advise(
                    "DNS lists refuse or mislead public resolvers such as \(server): ask by one of your own, for all "
                        + "zones or by [[dns.zone]]",
                    at: place, keyPath: "\(table.path).zone")
            }
        }
    }

    private static func upstreams(for name: DomainName, _ dns: DNSSettings) -> [IPAddress] {
        let zones = dns.zones.filter { !$0.upstreams.isEmpty && name.isEqualOrBelow($0.name) }
        let nearest = zones.max { $0.name.labelCount < $1.name.labelCount }
        return (nearest?.upstreams ?? dns.upstreams).compactMap { endpoint in
            if case .udp(let host, _) = endpoint { IPAddress(host) } else { nil }
        }
    }
}

extension WrittenAction {
    fileprivate var isScore: Bool { if case .score = action { true } else { false } }
}

/// What is known of lists and resolvers everywhere.
enum KnownLists {
    private static let deadZones = [
        ("ahbl.org", "2015"), ("emailbasura.org", "2019"), ("spamcannibal.org", "2018"), ("sorbs.net", "June 2024"),
        ("ix.dnsbl.manitu.net", "2025"),
    ]

    /// Since when the list answers no more; nil for one that is not known to be dead. Some list the world at last.
    static func dead(_ zone: DomainName) -> String? {
        deadZones.first { dead in
            // The names above are names.
            (try? DomainName(dead.0)).map(zone.isEqualOrBelow) ?? false
        }.map { "since \($0.1)" }
    }

    /// Resolvers for everyone: Google, Cloudflare, Quad9, OpenDNS. Lists answer them with 127.255.255.254 or nothing.
    private static let publicResolvers: Set<IPAddress> = Set(
        [
            "8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844",
            "1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001",
            "9.9.9.9", "149.112.112.112", "2620:fe::fe", "2620:fe::9",
            "208.67.222.222", "208.67.220.220", "2620:119:35::35", "2620:119:53::53",
        ].compactMap { IPAddress($0) })

    static func isPublicResolver(_ address: IPAddress) -> Bool { publicResolvers.contains(address) }
}
