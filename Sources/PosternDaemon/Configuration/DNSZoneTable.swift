// `[[dns.zone]]`: what postern-dns does otherwise for the names of one zone, such as those of a DNS list.

public import PosternMail

/// What holds for a zone's names; nil where `[dns]` holds for them as well. The longest zone that fits a name wins.
public struct DNSZoneSettings: Sendable {
    /// The zone and all names below it.
    public let name: DomainName
    /// Servers to ask instead, in order; none: those of `[dns]`.
    public let upstreams: [Endpoint]
    public let timeout: Duration?
    public let ttlMin: Duration?
    public let ttlMax: Duration?
    public let stale: Duration?
    /// Most questions that are sent in a second; nil for no bound.
    public let questionsPerSecond: Int?
}

enum DNSZoneTable {
    private static let day = Duration.seconds(86_400)

    static let name = RequiredKey(
        "name", .text(.zone), example: Example.name("zen", "spamhaus", "org"), "The zone, with all names below it.")
    static let upstream = Key<[Endpoint]?>(
        "upstream", .list(of: .upstream, atLeast: 1, atMost: 16), example: [.udp(host: "127.0.0.1", port: 5353)],
        "Servers to ask, such as a recursive resolver of your own. Default: those of [dns].")
    static let timeout = Key<Duration?>(
        "timeout", .duration(in: .milliseconds(50) ... .seconds(10)), example: .seconds(1),
        "How long one of them is waited for. Default: as in [dns].")
    static let ttlMin = Key<Duration?>(
        "ttl_min", .duration(in: .zero ... .seconds(3600)), example: .seconds(10),
        "Shortest time that an answer is kept. Default: as in [dns].")
    static let ttlMax = Key<Duration?>(
        "ttl_max", .duration(in: .seconds(1)...day * 7), example: .seconds(3600),
        "Longest time that an answer is kept. Default: as in [dns].")
    static let stale = Key<Duration?>(
        "stale", .duration(in: .zero...day * 7), example: .zero,
        "How long answers may be used after their time. Default: as in [dns], and \"0s\" for DNS lists.")
    static let questionsPerSecond = Key<Int?>(
        "questions_per_second", .integer(in: 1...1_000_000), example: 200,
        "Most questions that are sent in a second. Default: no bound.")

    static let declaration = TableDeclaration(
        "dns.zone", isArray: true, "A zone that is asked for otherwise than the rest; write this table once for each.",
        keys: [name, upstream, timeout, ttlMin, ttlMax, stale, questionsPerSecond])
}

extension DNSZoneSettings {
    /// All zones whose names are right, in their order.
    static func zones(_ tables: [TableValues], _ reader: inout ValueReader) -> [DNSZoneSettings] {
        var owners: [DomainName: String] = [:]
        return tables.compactMap { table in
            guard let zone = DNSZoneSettings(table, &reader) else { return nil }
            if let owner = owners[zone.name] {
                reader.report(
                    "expected each zone once, found \(ZoneName.redacted(zone.name)), which is \(owner)'s",
                    at: table.position(of: DNSZoneTable.name), keyPath: "\(table.path).name")
            }
            owners[zone.name] = table.path
            return zone
        }
    }

    private init?(_ values: TableValues, _ reader: inout ValueReader) {
        guard let name = values[DNSZoneTable.name] else { return nil }
        self.name = name
        upstreams = values[DNSZoneTable.upstream] ?? []
        timeout = values[DNSZoneTable.timeout]
        ttlMin = values[DNSZoneTable.ttlMin]
        ttlMax = values[DNSZoneTable.ttlMax]
        if let ttlMin, let ttlMax {
            _ = DNSSettings.bounds(
                ttlMin, ttlMax, at: values.position(of: DNSZoneTable.ttlMin), keyPath: "\(values.path).ttl_min", &reader
            )
        }
        stale = values[DNSZoneTable.stale]
        questionsPerSecond = values[DNSZoneTable.questionsPerSecond]
    }
}
