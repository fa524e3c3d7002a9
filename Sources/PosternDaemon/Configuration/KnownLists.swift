// What is known of DNS lists and resolvers everywhere: lists that are dead, some of which list the whole world at last,
// and resolvers for everyone, which lists do not answer. For warnings only; nothing is refused because of it.

public import PosternMail

public enum KnownLists {
    /// Zones with all that is below them, and since when they are no use.
    private static let deadZones: [(zone: String, since: String)] = [
        ("orbs.org", "June 2001"), ("orbz.org", "March 2002"),
        ("relays.osirusoft.com", "August 2003"), ("ordb.org", "December 2006"), ("dsbl.org", "2008"),
        ("rfc-ignorant.org", "2012"), ("njabl.org", "March 2013"), ("ahbl.org", "January 2015"),
        ("spamcannibal.org", "May 2018"), ("emailbasura.org", "2019"), ("sorbs.net", "June 2024"),
        ("ix.dnsbl.manitu.net", "January 2025"),
    ]
    private static let dead = deadZones.compactMap { zone, since in
        (try? DomainName(zone)).map { (zone: $0, since: since) }  // they are names
    }

    /// Since when a list answers no more; nil for one that is not known to be dead.
    public static func deadSince(_ zone: DomainName) -> String? {
        dead.first { zone.isEqualOrBelow($0.zone) }?.since
    }

    /// Resolvers for everyone. Lists answer them with 127.255.255.254, with "no such name", or not at all.
    private static let publicResolvers: [(owner: String, addresses: [String])] = [
        ("Google", ["8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"]),
        (
            "Cloudflare",
            [
                "1.1.1.1", "1.0.0.1", "1.1.1.2", "1.0.0.2", "1.1.1.3", "1.0.0.3", "2606:4700:4700::1111",
                "2606:4700:4700::1001", "2606:4700:4700::1112", "2606:4700:4700::1002", "2606:4700:4700::1113",
                "2606:4700:4700::1003",
            ]
        ),
        (
            "Quad9",
            [
                "9.9.9.9", "149.112.112.112", "9.9.9.10", "149.112.112.10", "9.9.9.11", "149.112.112.11", "2620:fe::fe",
                "2620:fe::9", "2620:fe::10", "2620:fe::fe:10", "2620:fe::11", "2620:fe::fe:11",
            ]
        ),
        (
            "OpenDNS",
            [
                "208.67.222.222", "208.67.220.220", "208.67.222.123", "208.67.220.123", "2620:119:35::35",
                "2620:119:53::53", "2620:0:ccc::2", "2620:0:ccd::2",
            ]
        ),
        ("Level 3", ["4.2.2.1", "4.2.2.2", "4.2.2.3", "4.2.2.4", "4.2.2.5", "4.2.2.6"]),
        ("Verisign", ["64.6.64.6", "64.6.65.6", "2620:74:1b::1:1", "2620:74:1c::2:2"]),
        ("AdGuard", ["94.140.14.14", "94.140.15.15", "2a10:50c0::ad1:ff", "2a10:50c0::ad2:ff"]),
        ("DNS.WATCH", ["84.200.69.80", "84.200.70.40"]),
        ("DNS4EU", ["86.54.11.1", "86.54.11.13", "86.54.11.100", "86.54.11.200"]),
    ]
    private static let owners: [IPAddress: String] = Dictionary(
        publicResolvers.flatMap { owner, addresses in
            addresses.compactMap { IPAddress($0) }.map { ($0, owner) }  // they are addresses
        }, uniquingKeysWith: { first, _ in first })

    /// Who runs a resolver for everyone; nil for any other.
    public static func owner(ofPublicResolver address: IPAddress) -> String? { owners[address] }

    static let resolverCount = owners.count
}
