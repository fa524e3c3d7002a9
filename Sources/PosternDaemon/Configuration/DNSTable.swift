// `[dns]`: what postern-dns asks, keeps, and answers itself.

public import PosternDNS
public import PosternMail

public struct DNSSettings: Sendable {
    /// Servers to ask, in order: `.udp` with an IP address. None: those of /etc/resolv.conf.
    public let upstreams: [Endpoint]
    /// How long one server is waited for.
    public let timeout: Duration
    public let cacheOctets: Int
    /// Bounds for how long answers are kept.
    public let ttl: ClosedRange<Duration>
    /// Longest time that an answer "there is none" is kept. Source: RFC 2308 §5.
    public let negativeTTLMax: Duration
    /// How long answers for mail authentication outlive their TTL while no server answers. Source: RFC 8767.
    public let stale: Duration
    /// The same for DKIM keys.
    public let staleKeys: Duration
    /// Whether questions are asked in mixed case. Source: draft-vixie-dnsext-dns0x20.
    public let mixedCase: Bool
    /// The file of answers that we give ourselves, absolute.
    public let staticZonePath: String?
    /// What it holds; without names for daemons other than postern-dns.
    public let staticZone: StaticZone
    public let zones: [DNSZoneSettings]
}

enum DNSTable {
    private static let day = Duration.seconds(86_400)

    static let upstream = Key(
        "upstream", .list(of: .upstream, atMost: 16), default: [],
        "DNS servers to ask, in order, as ADDRESS or ADDRESS:PORT. Empty: those of /etc/resolv.conf.")
    static let timeout = Key(
        "timeout", .duration(in: .milliseconds(50) ... .seconds(10)), default: .milliseconds(1500),
        "How long one server is waited for before the next one is asked.")
    static let cache = Key("cache", .size(in: (1 << 20)...(64 << 30)), default: 64 << 20, "Memory for cached answers.")
    static let ttlMin = Key(
        "ttl_min", .duration(in: .zero ... .seconds(3600)), default: .zero, "Shortest time that an answer is kept.")
    static let ttlMax = Key(
        "ttl_max", .duration(in: .seconds(1)...day * 7), default: day, "Longest time that an answer is kept.")
    static let negativeTTLMax = Key(
        "negative_ttl_max", .duration(in: .zero...day), default: .seconds(60),
        "Longest time that an answer \"there is none\" is kept.")
    static let stale = Key(
        "stale", .duration(in: .zero...day * 7), default: day,
        "How long answers for SPF and DMARC may be used after their time while no server answers (RFC 8767).")
    static let staleKeys = Key(
        "stale_keys", .duration(in: .zero...day * 7), default: .seconds(6 * 3600), "The same for DKIM keys.")
    static let mixedCase = Key(
        "mixed_case", .boolean, default: false,
        "Ask in mixed case (0x20), which makes answers harder to forge; a few servers cannot bear it.")
    static let staticZone = Key(
        "static", .path, example: "static.zone",
        "A zone file (RFC 1035 §5) of answers that postern-dns gives itself. Default: none.")

    static let declaration = TableDeclaration(
        "dns", "The DNS cache that all daemons share.",
        keys: [
            upstream, timeout, cache, ttlMin, ttlMax, negativeTTLMax, stale, staleKeys, mixedCase, staticZone,
        ], tables: [DNSZoneTable.declaration])
}

extension DNSSettings {
    /// Longest zone file, in octets: some ten thousand records.
    private static let maxZoneOctets = 4 << 20

    init(_ values: TableValues, _ reader: inout ValueReader) {
        upstreams = values[DNSTable.upstream]
        timeout = values[DNSTable.timeout]
        cacheOctets = values[DNSTable.cache]
        ttl = Self.bounds(
            values[DNSTable.ttlMin], values[DNSTable.ttlMax],
            at: values.position(of: values.gives(DNSTable.ttlMin) ? DNSTable.ttlMin : DNSTable.ttlMax),
            keyPath: "dns.\(values.gives(DNSTable.ttlMin) ? "ttl_min" : "ttl_max")", &reader)
        negativeTTLMax = values[DNSTable.negativeTTLMax]
        stale = values[DNSTable.stale]
        staleKeys = values[DNSTable.staleKeys]
        mixedCase = values[DNSTable.mixedCase]
        staticZonePath = values[DNSTable.staticZone]
        staticZone = Self.zone(staticZonePath, at: values.position(of: DNSTable.staticZone), &reader) ?? StaticZone()
        zones = DNSZoneSettings.zones(values[DNSZoneTable.declaration], &reader)
    }

    /// The bounds, or a problem and the upper one alone.
    static func bounds(
        _ least: Duration, _ most: Duration, at position: SourcePosition, keyPath: String, _ reader: inout ValueReader
    ) -> ClosedRange<Duration> {
        guard least <= most else {
            reader.report(
                "expected ttl_min of at most ttl_max, found \"\(Quantity.duration(least))\" and "
                    + "\"\(Quantity.duration(most))\"",
                at: position, keyPath: keyPath)
            return most...most
        }
        return least...most
    }

    private static func zone(_ path: String?, at position: SourcePosition, _ reader: inout ValueReader) -> StaticZone? {
        guard let path, reader.opensFiles else { return nil }
        reader.keyPath = "dns.static"
        guard let octets = reader.octets(ofFile: path, cap: maxZoneOctets, at: position) else { return nil }
        do throws(MasterFileError) {
            return try StaticZone(text: octets)
        } catch {
            reader.report(
                "expected a zone file (RFC 1035 §5), found \(printable(error.reason, most: 200))", inFile: path,
                line: error.line, column: 1, anchor: position)
            return nil
        }
    }

    /// Reports upstreams that are postern-dns itself: each question would come back for ever.
    func checkThatNoUpstream(is listening: [Endpoint], _ values: TableValues, _ reader: inout ValueReader) {
        var own: Set<String> = []
        for case .udp(let host, let port) in listening {
            own.insert("\(host == "localhost" ? "127.0.0.1" : host) \(port)")
        }
        for case .tcp(let host, let port) in listening {
            own.insert("\(host == "localhost" ? "127.0.0.1" : host) \(port)")
        }
        func check(_ upstreams: [Endpoint], _ table: TableValues, _ key: any KeyDeclaration) {
            for case .udp(let host, let port) in upstreams where own.contains("\(host) \(port)") {
                reader.report(
                    "expected servers other than postern-dns itself, found \(host):\(port), where it listens",
                    at: table.position(of: key), keyPath: "\(table.path).upstream")
            }
        }
        check(upstreams, values, DNSTable.upstream)
        for (zone, table) in zip(zones, values[DNSZoneTable.declaration]) {
            check(zone.upstreams, table, DNSZoneTable.upstream)
        }
    }
}
