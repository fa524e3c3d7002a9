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
            standings.look(at: sample.keys, isRequired: true, dns: { resolver }, now: now, log: log)
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
        #expect(
            log.warnings == [
                "key s2._domainkey.example.org: DNS does not publish it as it is; it does not sign until then, and "
                    + "`postern dkim testkey` tells what is wrong"
            ])
        #expect(log.lines.count { $0.contains("s2._domainkey.example.org: DNS publishes it, it signs") } == 1)
    }

    @Test("after a reload DNS is asked at once")
    func lookAgain() throws {
        let (sample, log, standings) = (try Keys(), RecordingLog(), KeyStandings())
        let zone = try ZoneResolver(zone: sample.records.joined())
        func look() -> Int {
            let before = zone.asked.count
            standings.look(
                at: sample.keys, isRequired: true, dns: { zone }, now: MonotonicTime(nanoseconds: 0), log: log)
            return zone.asked.count - before
        }
        #expect(look() == 2)
        #expect(look() == 0)
        standings.lookAgain()
        #expect(look() == 2)
        #expect(look() == 0)
    }

    @Test("a key that is not published rests while another of its domain can sign, and the last never does")
    func required() throws {
        let (sample, log, standings) = (try Keys(), RecordingLog(), KeyStandings())
        var now = MonotonicTime(nanoseconds: 0)
        func signing(after zone: String, failing: Set<DomainName> = [], isRequired: Bool = true) throws -> [String] {
            let resolver = try ZoneResolver(zone: zone, failing: failing)
            standings.look(at: sample.keys, isRequired: isRequired, dns: { resolver }, now: now, log: log)
            now = now + KeyStandings.interval
            return standings.published(among: sample.keys).map { "\($0.selector)" }
        }
        #expect(standings.published(among: sample.keys).count == 2, "before anybody looked")
        #expect(try signing(after: sample.records[0]) == ["s1"])
        let both = Set(try ["s1", "s2"].map { try DomainName("\($0)._domainkey.example.org") })
        #expect(try signing(after: "", failing: both) == ["s1"], "silence changes nothing")
        #expect(try signing(after: sample.records.joined()) == ["s1", "s2"])
        #expect(try signing(after: "") == ["s1", "s2"], "none is published: the domain's mail is signed all the same")
        #expect(try signing(after: sample.records[1]) == ["s2"])
        #expect(log.warnings.count { $0.contains("it does not sign until then") } == 1)
        #expect(log.warnings.count { $0.contains("it signs all the same") } == 2)
    }

    @Test("while its record is missing a key is looked at more often")
    func soon() throws {
        let (sample, standings) = (try Keys(), KeyStandings())
        func asked(_ zone: String, _ now: Duration) throws -> Int {
            let resolver = try ZoneResolver(zone: zone)
            standings.look(
                at: sample.keys, isRequired: true, dns: { resolver }, now: MonotonicTime(nanoseconds: 0) + now,
                log: RecordingLog())
            return resolver.asked.count
        }
        #expect(try asked(sample.records[0], .zero) == 2)
        #expect(try asked(sample.records.joined(), KeyStandings.intervalWhileMissing) == 1)
        #expect(try asked(sample.records.joined(), KeyStandings.intervalWhileMissing * 2) == 0)
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
