// What postern-dns has counted, for the control socket and for metrics. Zones' query keys are hidden; users are told by
// their names, in metrics only those of a closed set.

import Glibc
import PosternDaemon
import PosternForwarder
import PosternMail

extension ForwarderStatistics {
    /// `dns stats`.
    func document(_ counters: ForwarderCounters) -> ControlDocument {
        [
            "zones": .list(namedZones.map { Self.document("zone", $0.name, $0.tally) }),
            "clients": .list(namedClients(\.longName).map { Self.document("client", $0.name, $0.tally) }),
            "upstreams": .list(
                upstreams.map { upstream in
                    [
                        "upstream": .text("\(upstream.upstream)"), "queries": .count(upstream.queries),
                        "failures": .count(upstream.failures),
                        "round_trip_us": upstream.roundTrip.map { .number($0.nanoseconds / 1000) } ?? .null,
                        "left": .boolean(upstream.isLeft),
                    ]
                }),
            "cache": [
                "answers": .number(counters.cachedAnswers), "octets": .number(counters.cachedOctets),
                "evictions": .count(counters.evictions), "prefetches": .count(counters.prefetches),
            ],
        ]
    }

    private static func document(_ key: String, _ name: String, _ tally: Tally) -> ControlDocument {
        .object([
            .init(key, .text(name)), .init("questions", .count(tally.questions)), .init("cached", .count(tally.cached)),
            .init("local", .count(tally.local)), .init("stale", .count(tally.stale)),
            .init("asked", .count(tally.asked)), .init("failed", .count(tally.failed)),
            .init("hits_per_mille", tally.hitRate.map { .number($0) } ?? .null),
        ])
    }

    /// The same as counters.
    var readings: [CounterReading] {
        func readings(_ noun: String, _ tallies: [(name: String, tally: Tally)]) -> [CounterReading] {
            let fields: [(String, KeyPath<Tally, UInt64>)] = [
                ("questions", \.questions), ("cached", \.cached), ("stale", \.stale), ("failed", \.failed),
            ]
            return fields.flatMap { field, path in
                tallies.map { name, tally in
                    CounterReading(
                        CounterName("postern_dns_\(noun)_\(field)_total", noun, name), tally[keyPath: path])
                }
            }
        }
        let upstreams = upstreams.flatMap { upstream in
            func name(_ metric: String) -> CounterName {
                CounterName("postern_dns_upstream_\(metric)", "upstream", "\(upstream.upstream)")
            }
            return [
                CounterReading(name("tries_total"), upstream.queries),
                CounterReading(name("failed_tries_total"), upstream.failures),
                CounterReading(
                    name("round_trip_microseconds"),
                    UInt64(clamping: (upstream.roundTrip?.nanoseconds ?? 0) / 1000)),
            ]
        }
        return readings("zone", namedZones) + readings("client", namedClients(\.shortName)) + upstreams
    }

    /// Whether upstreams are asked; one that was silent too often is only probed.
    var gauges: [CounterReading] {
        upstreams.map { upstream in
            CounterReading(
                CounterName("postern_dns_upstream_working", "upstream", "\(upstream.upstream)"), upstream.isLeft ? 0 : 1
            )
        }
    }

    // MARK: Names

    /// By name; configured zones first.
    private var namedZones: [(name: String, tally: Tally)] {
        let configured = zones.compactMap { zone, tally -> (name: String, tally: Tally)? in
            guard case .configured(let name) = zone else { return nil }
            return (ZoneName.redacted(name), tally)
        }
        let rest: [(Zone, String)] = [(.authentication, "mail authentication"), (.other, "other")]
        return Self.merged(configured) + rest.map { ($1, zones[$0] ?? Tally()) }
    }

    private func namedClients(_ name: (Client) -> String) -> [(name: String, tally: Tally)] {
        Self.merged(clients.map { (name($0.key), $0.value) })
    }

    /// What has the same name, as zones that differ by their key alone have, is added up.
    private static func merged(_ tallies: [(name: String, tally: Tally)]) -> [(name: String, tally: Tally)] {
        Dictionary(tallies.map { ($0.name, $0.tally) }, uniquingKeysWith: +).sorted { $0.key < $1.key }
            .map { ($0.key, $0.value) }
    }
}

extension ForwarderStatistics.Tally {
    static func + (left: Self, right: Self) -> Self {
        var sum = left
        for path in [\Self.questions, \.cached, \.stale, \.local, \.asked, \.failed] as [WritableKeyPath<Self, UInt64>]
        {
            sum[keyPath: path] += right[keyPath: path]
        }
        return sum
    }
}

extension ForwarderStatistics.Client {
    /// The user's name, or its number.
    var longName: String {
        switch self {
        case .user(let user): Self.name(ofUser: user) ?? "user \(user)"
        case .tcp: "tcp"
        case .udp: "udp"
        case .control: "control"
        case .others: "others"
        }
    }

    /// One of a closed set: daemons of ours, root, or how the question came.
    var shortName: String {
        guard case .user = self else { return longName }
        let name = longName
        return name.hasPrefix("postern-") || name == "root" ? name : "others"
    }

    /// Source: getpwuid_r(3).
    private static func name(ofUser user: UInt32) -> String? {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16_384)
        guard getpwuid_r(user, &entry, &buffer, buffer.count, &found) == 0, let name = found?.pointee.pw_name else {
            return nil
        }
        return LogText.escaped(String(cString: name).utf8)
    }
}

extension ControlDocument {
    static func count(_ value: UInt64) -> ControlDocument { .number(Int64(clamping: value)) }
}
