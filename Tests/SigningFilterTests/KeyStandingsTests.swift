// What metrics tell of keys: by what DNS says of them, and when they signed.

import PosternAuth
import PosternDNS
import PosternMail
import PosternSocket
import TestSupport
import Testing

@testable import postern_dkim

@Suite("standing of keys") struct KeyStandingsTests {
    /// Two keys, and the record of each.
    struct Keys {
        let keys: [DKIMSigningKey]
        let records: [String]

        init() throws {
            let domain = try DomainName("example.org")
            let privateKeys = [try PrivateKey.generate(.ed25519), try PrivateKey.generate(.ed25519)]
            keys = try zip(["s1", "s2"], privateKeys).map { selector, key in
                DKIMSigningKey(domain: domain, selector: try DomainName(selector), privateKey: key)
            }
            records = try zip(["s1", "s2"], privateKeys).map { selector, key in
                "\(selector)._domainkey.example.org. 60 IN TXT \"\(try key.publicKeyRecord)\"\n"
            }
        }
    }

    static func told(_ standings: KeyStandings, _ keys: [DKIMSigningKey]) -> [String: UInt64] {
        Dictionary(
            uniqueKeysWithValues: standings.gauges(of: keys).map { reading in
                (reading.name.description.replacing("postern_dkim_key_", with: ""), reading.value)
            })
    }

    @Test("published, not published, and not known: silence changes nothing")
    func published() throws {
        let (sample, log, standings) = (try Keys(), RecordingLog(), KeyStandings())
        var now = MonotonicTime(nanoseconds: 0)
        func look(_ zone: String, failing: Set<DomainName> = []) throws -> Int {
            let resolver = try ZoneResolver(zone: zone, failing: failing)
            standings.look(at: sample.keys, dns: { resolver }, now: now, log: log)
            return resolver.asked.count
        }
        #expect(Self.told(standings, sample.keys).isEmpty)
        let failing = Set(try ["s1", "s2"].map { try DomainName("\($0)._domainkey.example.org") })
        #expect(try look("", failing: failing) == 2)
        #expect(Self.told(standings, sample.keys).isEmpty)
        #expect(try look(sample.records.joined()) == 0)  // not so soon
        now = now + KeyStandings.intervalAfterFailure
        #expect(try look(sample.records[0] + sample.records[0].replacing("s1", with: "s2")) == 2)
        let both =
            [
                "published{key=\"s1._domainkey.example.org\"}": 1, "published{key=\"s2._domainkey.example.org\"}": 0,
            ] as [String: UInt64]
        #expect(Self.told(standings, sample.keys) == both)
        now = now + KeyStandings.intervalAfterFailure
        #expect(try look(sample.records.joined()) == 0)
        now = now + KeyStandings.interval
        #expect(try look("", failing: failing) == 2)
        #expect(Self.told(standings, sample.keys) == both)
        now = now + KeyStandings.intervalAfterFailure
        #expect(try look(sample.records.joined()) == 2)
        #expect(Self.told(standings, sample.keys).values.allSatisfy { $0 == 1 })
        #expect(Self.told(standings, [sample.keys[0]]).count == 1)
        #expect(log.lines.count { $0.contains("DNS does not publish it") } == 1)
    }

    @Test("a key's last use is told")
    func used() throws {
        let (sample, standings) = (try Keys(), KeyStandings())
        standings.used([sample.keys[1]], at: UnixTime(seconds: 1_795_000_000))
        #expect(
            Self.told(standings, sample.keys) == [
                "last_use_timestamp_seconds{key=\"s2._domainkey.example.org\"}": 1_795_000_000
            ])
    }
}
