// Which name a DNS list is asked for about one request (RFC 5782 §2.1, §2.4, §3), and which names prove that a list
// works (§5). Names come from strangers: only what is a hostname is asked for, never an address literal or `unknown`.

internal import PosternDNS
internal import PosternMail

/// What one list is asked for one request.
enum DNSBLQuery {
    case ask(DomainName)
    /// There is nothing to ask about, and why.
    case none(String)

    init(_ request: PolicyRequest, _ list: DNSBLListSettings) {
        switch list.by {
        case .client:
            guard let client = request.client else {
                self = .none("the client has no address")
                return
            }
            // A zone so long that no address fits below it is asked for nothing.
            self = Self.name(of: client, in: list.zone).map { .ask($0) } ?? .none("the name is too long")
        case .sender, .helo, .clientName:
            guard let name = Self.subject(list.by, of: request) else {
                self = .none(Self.absence(of: list.by, in: request))
                return
            }
            // RFC 1035 §2.3.4: a name that cannot be asked is on no list.
            self = (try? list.zone.prefixed(name)).map { .ask($0) } ?? .none("the name is too long")
        }
    }

    /// The name that a list is asked about; nil where there is none that can be on a list.
    static func subject(_ by: DNSBLSubject, of request: PolicyRequest) -> DomainName? {
        switch by {
        case .client: nil
        case .sender: host(request.senderDomain, text: nil)
        case .helo: host(nil, text: request[.heloName])
        case .clientName: host(nil, text: request[.clientName])
        }
    }

    private static func host(_ domain: DomainName?, text: ArraySlice<UInt8>?) -> DomainName? {
        // What is no name is on no list of names.
        guard let name = domain ?? text.flatMap({ try? DomainName(text: $0) }),
            // `unknown`, `localhost` and RFC 5782 §5's TEST are single labels.
            name.isHostname(minLabels: 2),
            // RFC 1123 §2.1: a name whose last label is a number is an address, or a try at one.
            let top = name.labels.last, !top.allSatisfy(\.isASCIIDigit)
        else { return nil }
        return name
    }

    private static func absence(of by: DNSBLSubject, in request: PolicyRequest) -> String {
        switch by {
        case .client: "the client has no address"
        case .sender: request[.sender].isEmpty ? "the null sender has no domain" : "the sender's domain is no hostname"
        case .helo: request[.heloName].isEmpty ? "no HELO name" : "the HELO name is no hostname"
        case .clientName: "the client's name is not known"
        }
    }

    /// An address below a list's zone; nil for a zone that has no room for it. IPv4-mapped addresses are IPv4.
    static func name(of address: IPAddress, in zone: DomainName) -> DomainName? {
        name(labels: labels(of: address.unmapped), in: zone)
    }

    private static func name(labels: [[UInt8]], in zone: DomainName) -> DomainName? {
        try? DomainName(labels: labels + zone.labels.map { Array($0) })  // no room: there is no such name
    }

    /// RFC 5782 §2.1: an IPv4 address's octets in decimal, the last one first; §2.4: an IPv6 address's 32 nibbles.
    private static func labels(of address: IPAddress) -> [[UInt8]] {
        switch address {
        case .v4: address.octets.reversed().map { Array(String($0).utf8) }
        case .v6:
            address.octets.reversed().flatMap { [$0 & 15, $0 >> 4] }.map { Array(String($0, radix: 16).utf8) }
        }
    }
}

/// The questions that prove a list: what must be listed, and what must not.
struct DNSBLProbe: Hashable, Sendable {
    /// Where one is missing, the list is not asked for what has no room below its zone.
    let questions: [Question]
    /// In the questions' order.
    let expectations: [Expectation]

    enum Expectation: Hashable, Sendable {
        case listed, notListed
        /// The same for IPv6, which many lists do not have: only a wrong listing speaks against them.
        case listedV6, notListedV6
    }

    init(_ list: DNSBLListSettings) {
        let pairs: [(DomainName?, Expectation)]
        switch list.by {
        case .client:
            // RFC 5782 §5: 127.0.0.2 is listed and 127.0.0.1 is not; with IPv6 ::FFFF:7F00:2 and ::FFFF:7F00:1.
            let v6 = { (last: UInt64) in DNSBLQuery.mapped(last, in: list.zone) }
            pairs = [
                (DNSBLQuery.name(of: .v4(0x7F00_0002), in: list.zone), .listed),
                (DNSBLQuery.name(of: .v4(0x7F00_0001), in: list.zone), .notListed),
                (v6(0xFFFF_7F00_0002), .listedV6), (v6(0xFFFF_7F00_0001), .notListedV6),
            ]
        case .sender, .helo, .clientName:
            // RFC 5782 §5: TEST is listed and INVALID is not.
            pairs = [
                (try? list.zone.prefixed("test"), .listed),  // no room: not asked
                (try? list.zone.prefixed("invalid"), .notListed),
            ]
        }
        let asked = pairs.compactMap { name, expectation in name.map { (Question($0, .a), expectation) } }
        questions = asked.map(\.0)
        expectations = asked.map(\.1)
    }
}

extension DNSBLQuery {
    /// An IPv4-mapped address as the IPv6 address that it is, for the probes.
    fileprivate static func mapped(_ low: UInt64, in zone: DomainName) -> DomainName? {
        name(labels: labels(of: .v6(0, low)), in: zone)
    }
}
