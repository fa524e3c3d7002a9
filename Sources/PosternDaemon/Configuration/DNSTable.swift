// `[dns]`: what postern-dns asks, keeps, and answers itself.

public import PosternDNS
public import PosternMail

public struct DNSSettings: Sendable {
    /// Servers to ask, in order: `.udp` with an IP address. None: those of /etc/resolv.conf.
    public let upstreams: [Endpoint]
    public let cacheOctets: Int
    /// Longest time that an answer "there is none" is kept. Source: RFC 2308 §5.
    public let negativeTTLMax: Duration
    /// The file of answers that we give ourselves, absolute.
    public let staticZonePath: String?
    /// What it holds; without names for daemons other than postern-dns.
    public let staticZone: StaticZone
}

enum DNSTable {
    static let upstream = Key(
        "upstream", .list(of: .upstream, atMost: 16), default: [],
        "DNS servers to ask, in order, as ADDRESS or ADDRESS:PORT. Empty: those of /etc/resolv.conf.")
    static let cache = Key("cache", .size(in: (1 << 20)...(64 << 30)), default: 64 << 20, "Memory for cached answers.")
    static let negativeTTLMax = Key(
        "negative_ttl_max", .duration(in: .zero ... .seconds(86_400)), default: .seconds(60),
        "Longest time that an answer \"there is none\" is kept.")
    static let staticZone = Key(
        "static", .path, example: "static.zone",
        "A zone file (RFC 1035 §5) of answers that postern-dns gives itself. Default: none.")

    static let declaration = TableDeclaration(
        "dns", "The DNS cache that all daemons share.", keys: [upstream, cache, negativeTTLMax, staticZone])
}

extension DNSSettings {
    /// Longest zone file, in octets: some ten thousand records.
    private static let maxZoneOctets = 4 << 20

    init(_ values: TableValues, _ reader: inout ValueReader) {
        upstreams = values[DNSTable.upstream]
        cacheOctets = values[DNSTable.cache]
        negativeTTLMax = values[DNSTable.negativeTTLMax]
        staticZonePath = values[DNSTable.staticZone]
        staticZone = Self.zone(staticZonePath, at: values.position(of: DNSTable.staticZone), &reader) ?? StaticZone()
    }

    private static func zone(_ path: String?, at position: SourcePosition, _ reader: inout ValueReader) -> StaticZone? {
        guard let path, reader.opensFiles else { return nil }
        reader.keyPath = "dns.static"
        do throws(FileError) {
            let octets = try FileReading.octets(path, cap: maxZoneOctets)
            do throws(MasterFileError) {
                return try StaticZone(text: octets)
            } catch {
                reader.report(
                    "expected a zone file (RFC 1035 §5), found \(printable(error.reason, most: 200))", inFile: path,
                    line: error.line, column: 1, anchor: position)
            }
        } catch {
            reader.report("expected a readable file \(printable(path)), found \(error.found)", at: position)
        }
        return nil
    }
}
