// What greylisting remembers and decides (RFC 6647 §2.4, §2.5), each row on every ledger: the one in memory, the one in a
// file, and the one in a store that hosts share.

import AdmissionSupport
import PosternAdmission
import PosternMail
import PostfixHarness
import TestSupport
import Testing

@testable import PosternStore

enum LedgerKind: CaseIterable {
    case memory, file, shared

    static var allCases: [LedgerKind] { RedisInstance.isAvailable ? [.memory, .file, .shared] : [.memory, .file] }
}

/// One ledger, and a clock.
final class GreylistBench {
    let ledger: any GreylistLedger
    let log = RecordingLog()
    let clock = ScriptedClock(Sample.start)
    let folder: TemporaryFolder
    /// Of a shared ledger.
    let instance: RedisInstance?
    var times = GreylistTimes(delay: .seconds(300), retryWithin: .seconds(2 * 86_400), remember: .seconds(35 * 86_400))

    init(_ kind: LedgerKind, limits: GreylistStore.Limits = .init()) throws {
        folder = try TemporaryFolder()
        let file = GreylistStore(
            path: folder.path("greylist.sqlite"), limits: limits, log: log, now: { [clock] in clock.now() })
        instance = if case .shared = kind { try RedisInstance() } else { nil }
        switch (kind, instance) {
        case (.shared, let instance?):
            ledger = SharedGreylist(SharedStoreTests.store(instance), local: file, log: log, clock: .given)
        case (.memory, _): ledger = InMemoryGreylist()
        default: ledger = file
        }
    }

    static func request(
        _ client: String, _ sender: String = "ann@example.net", _ recipient: String = "bo@example.org",
        _ identity: GreylistRequest.Identity = .none
    ) throws -> GreylistRequest {
        let address = try #require(IPAddress(client))
        let prefixLength = if case .v4 = address { 24 } else { 64 }
        return GreylistRequest(
            client: Network(containing: address, prefixLength: prefixLength), sender: Array(sender.utf8),
            recipient: Array(recipient.utf8), identity: identity)
    }

    /// The answer in words: `wait 300`, `pass triplet 301`, `pass knownClient`.
    func ask(
        _ client: String, _ sender: String = "ann@example.net", _ recipient: String = "bo@example.org",
        spf: String? = nil
    ) throws -> String {
        let identity: GreylistRequest.Identity =
            switch spf {
            case nil: .none
            case "?"?: .notAsked
            case let name?: .domain(try DomainName(name))
            }
        let request = try Self.request(client, sender, recipient, identity)
        let foreseen = ledger.foresee(request, times: times, now: clock.now())
        let answer = ledger.decide(request, times: times, now: clock.now())
        #expect(foreseen == answer)
        return Self.words(answer)
    }

    static func words(_ answer: GreylistAnswer) -> String {
        switch answer {
        case .pass(let reason, nil): "pass \(reason)"
        case .pass(let reason, let waited?): "pass \(reason) \(waited.components.seconds)"
        case .wait(let remaining, _): "wait \(remaining.components.seconds)"
        case .needsIdentity: "needs identity"
        case .unavailable: "unavailable"
        }
    }

    func after(_ seconds: Int) { clock.advance(by: .seconds(seconds)) }
}

@Suite(.serialized) struct GreylistSemanticsTests {
    @Test("delay, retry window, memory", arguments: LedgerKind.allCases) func triplet(kind: LedgerKind) throws {
        let bench = try GreylistBench(kind)
        #expect(try bench.ask("192.0.2.7") == "wait 300")
        bench.after(100)
        #expect(try bench.ask("192.0.2.7") == "wait 200")  // too early: the wait is not restarted
        #expect(try bench.ask("192.0.2.99") == "wait 200")  // the same network
        #expect(try bench.ask("198.51.100.7") == "wait 300")  // another
        #expect(try bench.ask("192.0.2.7", "eve@example.net") == "wait 300")
        #expect(try bench.ask("192.0.2.7", "ann@example.net", "cy@example.org") == "wait 300")
        bench.after(199)
        #expect(try bench.ask("192.0.2.7") == "wait 1")
        bench.after(1)
        #expect(try bench.ask("192.0.2.7") == "pass triplet 300")
        #expect(try bench.ask("192.0.2.7") == "pass knownClient")
        #expect(try bench.ask("192.0.2.8", "else@example.com") == "pass knownClient")
        #expect(try bench.ask("198.51.100.7") == "wait 100")  // another has not shown itself
    }

    @Test("a retry too late begins anew", arguments: LedgerKind.allCases) func tooLate(kind: LedgerKind) throws {
        let bench = try GreylistBench(kind)
        #expect(try bench.ask("192.0.2.7") == "wait 300")
        bench.after(2 * 86_400 + 1)
        #expect(try bench.ask("192.0.2.7") == "wait 300")
        bench.after(2 * 86_400)
        #expect(try bench.ask("192.0.2.7") == "pass triplet 172800")  // the last moment
    }

    @Test("memory is renewed on use and ends", arguments: LedgerKind.allCases) func memory(kind: LedgerKind) throws {
        let bench = try GreylistBench(kind)
        _ = try bench.ask("192.0.2.7")
        bench.after(300)
        #expect(try bench.ask("192.0.2.7") == "pass triplet 300")
        for _ in 0..<4 {
            bench.after(35 * 86_400)
            #expect(try bench.ask("192.0.2.7", "other@example.com") == "pass knownClient")
        }
        bench.after(35 * 86_400 + 1)
        #expect(try bench.ask("192.0.2.7") == "wait 300")
    }

    @Test("the null reverse-path, IPv6 and case", arguments: LedgerKind.allCases) func forms(kind: LedgerKind) throws {
        let bench = try GreylistBench(kind)
        #expect(try bench.ask("2001:db8::1", "") == "wait 300")
        bench.after(10)
        #expect(try bench.ask("2001:db8::ffff:1", "", "BO@Example.ORG") == "wait 290")
        #expect(try bench.ask("2001:db8:0:1::1", "") == "wait 300")
        let long = String(repeating: "a", count: 5000) + "@example.net"
        #expect(try bench.ask("192.0.2.1", long, "\u{0} \n<>\\") == "wait 300")
        bench.after(300)
        #expect(try bench.ask("192.0.2.1", long, "\u{0} \n<>\\") == "pass triplet 300")
    }

    @Test("a clock that was set back: nobody waits longer than the delay", arguments: LedgerKind.allCases)
    func clockSetBack(kind: LedgerKind) throws {
        let bench = try GreylistBench(kind)
        _ = try bench.ask("192.0.2.7")
        _ = try bench.ask("198.51.100.7")
        bench.after(300)
        #expect(try bench.ask("192.0.2.7") == "pass triplet 300")
        bench.after(-3600)
        #expect(try bench.ask("192.0.2.7") == "pass knownClient")
        #expect(try bench.ask("198.51.100.7") == "wait 300")
        bench.after(300)
        #expect(try bench.ask("198.51.100.7") == "pass triplet 300")
        bench.after(35 * 86_400 + 3600)
        #expect(try bench.ask("192.0.2.7") == "wait 300")
    }

    @Test("a pool of 30 addresses waits as one", arguments: LedgerKind.allCases) func pool(kind: LedgerKind) throws {
        let bench = try GreylistBench(kind)
        for host in 0..<30 {
            #expect(try bench.ask("198.51.\(host).7", spf: "example.net") == "wait \(300 - host * 10)")
            bench.after(10)
        }
        #expect(try bench.ask("203.0.113.7", spf: "example.net") == "pass domainTriplet 300")
        // Without SPF's word the addresses are strangers, whose own waits have not begun anew.
        #expect(try bench.ask("198.51.0.7") == "pass triplet 300")
        #expect(try bench.ask("198.51.1.7") == "wait 10")
    }

    @Test("an SPF temperror does not restart the wait", arguments: LedgerKind.allCases)
    func temperror(kind: LedgerKind) throws {
        let bench = try GreylistBench(kind)
        #expect(try bench.ask("192.0.2.7", spf: "example.net") == "wait 300")
        bench.after(150)
        #expect(try bench.ask("192.0.2.7") == "wait 150")
        bench.after(150)
        #expect(try bench.ask("192.0.2.7") == "pass triplet 300")
        let other = try GreylistBench(kind)  // and the other way round
        #expect(try other.ask("192.0.2.7") == "wait 300")
        other.after(150)
        #expect(try other.ask("192.0.2.7", spf: "example.net") == "wait 150")
    }

    @Test("a domain is known after 5 passed triplets from 2 networks", arguments: LedgerKind.allCases)
    func domain(kind: LedgerKind) throws {
        let bench = try GreylistBench(kind)
        func passes(_ client: String, _ number: Int) throws -> String {
            let first = try bench.ask(client, "s\(number)@example.net", spf: "example.net")
            guard first.hasPrefix("wait") else { return first }
            bench.after(300)
            return try bench.ask(client, "s\(number)@example.net", spf: "example.net")
        }
        func stranger() throws -> String { try bench.ask("203.0.113.1", "new@example.net", spf: "example.net") }

        #expect(try passes("192.0.2.7", 1) == "pass triplet 300")
        for number in 2...6 { #expect(try passes("192.0.2.7", number) == "pass knownClient") }
        #expect(try bench.ask("203.0.113.1", "x1@example.net", spf: "example.net") == "wait 300")  // one network only
        #expect(try passes("198.51.100.7", 7) == "pass triplet 300")
        #expect(try stranger() == "pass knownDomain")
        #expect(try bench.ask("203.0.113.1", "new@example.net") == "wait 300")  // not without SPF
        #expect(try bench.ask("203.0.113.1", "new@example.net", spf: "example.com") == "wait 300")

        let few = try GreylistBench(kind)
        for (number, client) in ["192.0.2.7", "198.51.100.7", "203.0.112.7", "203.0.111.7"].enumerated() {
            _ = try few.ask(client, "s\(number)@example.net", spf: "example.net")
            few.after(300)
            #expect(try few.ask(client, "s\(number)@example.net", spf: "example.net") == "pass triplet 300")
            _ = try few.ask(client, "s\(number)@example.net", spf: "example.net")  // the same triplet counts once
        }
        #expect(try few.ask("203.0.113.1", "new@example.net", spf: "example.net") == "wait 300")  // four
        few.after(300)
        #expect(try few.ask("203.0.113.1", "new@example.net", spf: "example.net") == "pass triplet 300")
        #expect(try few.ask("203.0.110.1", "newer@example.net", spf: "example.net") == "pass knownDomain")
    }

    @Test("SPF is asked for only where it matters", arguments: LedgerKind.allCases) func lazily(kind: LedgerKind) throws
    {
        let bench = try GreylistBench(kind)
        #expect(try bench.ask("192.0.2.7", spf: "?") == "needs identity")
        #expect(try bench.ledger.counts() == GreylistCounts())  // nothing was written
        _ = try bench.ask("192.0.2.7")
        bench.after(300)
        #expect(try bench.ask("192.0.2.7", spf: "?") == "needs identity")
        #expect(try bench.ask("192.0.2.7") == "pass triplet 300")
        #expect(try bench.ask("192.0.2.7", spf: "?") == "pass knownClient")

        // A known client's domain is on the way to being known: until it is, its new triplets count.
        _ = try bench.ask("198.51.100.7", spf: "example.net")
        bench.after(300)
        #expect(try bench.ask("198.51.100.7", spf: "example.net") == "pass triplet 300")
        #expect(try bench.ask("198.51.100.7", spf: "?") == "pass knownClient")  // that one has counted
        for number in 2...5 {
            #expect(try bench.ask("192.0.2.7", "s\(number)@example.net", spf: "?") == "needs identity")
            #expect(try bench.ask("192.0.2.7", "s\(number)@example.net", spf: "example.net") == "pass knownClient")
        }
        #expect(try bench.ask("192.0.2.7", "s6@example.net", spf: "?") == "pass knownClient")
        #expect(try bench.ask("203.0.113.1", spf: "example.net") == "pass knownDomain")
        bench.after(20 * 86_400)  // its memory is looked after before it ends
        #expect(try bench.ask("192.0.2.7", "s6@example.net", spf: "example.net") == "pass knownClient")
        bench.after(20 * 86_400)
        #expect(try bench.ask("203.0.113.1", spf: "example.net") == "pass knownDomain")
    }

    @Test("the admin allows, shows, lists and forgets", arguments: LedgerKind.allCases) func admin(kind: LedgerKind)
        throws
    {
        let bench = try GreylistBench(kind)
        let client = GreylistKey.origin(try #require(GreylistOrigin("192.0.2.0/24")))
        let domain = GreylistKey.origin(try #require(GreylistOrigin("example.net")))
        try bench.ledger.allow(client, now: bench.clock.now())
        try bench.ledger.allow(domain, now: bench.clock.now())
        bench.after(400 * 86_400)
        #expect(try bench.ask("192.0.2.7") == "pass knownClient")
        #expect(try bench.ask("198.51.100.1", spf: "example.net") == "pass knownDomain")
        #expect(try bench.ask("198.51.100.1", "a@b.example") == "wait 300")
        #expect(try bench.ask("198.51.100.1", "c@b.example", spf: "b.example") == "wait 300")
        #expect(try bench.ask("198.51.101.1", "c@b.example") == "wait 300")
        #expect(try bench.ledger.counts() == GreylistCounts(waiting: 4, passed: 0, clients: 1, domains: 1))
        #expect(try bench.ledger.entry(for: client)?.isAllowed == true)

        let stranger = try #require(GreylistOrigin("198.51.100.0/24"))
        let triplet = GreylistKey.triplet(stranger, Array("A@b.example".utf8), Array("bo@example.org".utf8))
        #expect(try bench.ledger.entry(for: triplet)?.firstSeen == bench.clock.now())
        #expect(try bench.ledger.entry(for: triplet)?.isKnown == false)

        func keys(_ prefix: String) throws -> Set<GreylistKey> {
            var found: Set<GreylistKey> = []
            var cursor: GreylistCursor?
            repeat {
                let page = try bench.ledger.entries(withPrefix: prefix, after: cursor, limit: 2)
                #expect(page.rows.count <= 2)
                for row in page.rows { #expect(found.insert(row.key).inserted) }
                cursor = page.next
            } while cursor != nil
            return found
        }
        #expect(try keys("").count == 6)
        #expect(try keys("198.51.100.").count == 2)
        #expect(try keys("198.51.10").count == 3)
        #expect(try keys("b.example").count == 1)
        #expect(try keys("192.0.2.0/24") == [client])
        #expect(try keys("nobody").isEmpty)

        #expect(try bench.ledger.forget(triplet) == 1)
        #expect(try bench.ledger.forget(triplet) == 0)
        #expect(try bench.ledger.forget(.origin(stranger)) == 1)
        #expect(try bench.ledger.forget(client) == 1)
        #expect(try bench.ask("192.0.2.7") == "wait 300")
        #expect(try keys("").count == 4)
        #expect(try bench.ledger.counts() == GreylistCounts(waiting: 3, passed: 0, clients: 0, domains: 1))
    }

    @Test("a forgotten client waits again, with what it has sent before", arguments: LedgerKind.allCases)
    func forget(kind: LedgerKind) throws {
        let bench = try GreylistBench(kind)
        _ = try bench.ask("192.0.2.7")
        bench.after(300)
        _ = try bench.ask("192.0.2.7")
        #expect(try bench.ledger.counts() == GreylistCounts(waiting: 0, passed: 1, clients: 1, domains: 0))
        #expect(try bench.ledger.forget(.origin(try #require(GreylistOrigin("192.0.2.0/24")))) == 2)
        #expect(try bench.ask("192.0.2.7") == "wait 300")
    }

    // With a clock that only goes forwards: what has expired may be gone already when it is set back.
    // With little room in memory most is asked of the filter and the file, and what waits to be written is met in every
    // state: by decisions, by admins, at a restart.
    @Test("both ledgers answer alike, whatever comes", arguments: [16, 16_384]) func differential(remembered: Int) throws
    {
        var limits = GreylistStore.Limits()
        limits.remembered = remembered
        let memory = try GreylistBench(.memory)
        let file = try GreylistBench(.file, limits: limits)
        let store = try #require(file.ledger as? GreylistStore)
        var random = SeededRandom(seed: 11)
        for step in 0..<2000 {
            let client = "192.0.\(Int.random(in: 0...4, using: &random)).1"
            let sender = "s\(Int.random(in: 0...3, using: &random))@d\(Int.random(in: 0...1, using: &random)).example"
            let spf = ["?", nil, "d0.example", "d1.example"].randomElement(using: &random) ?? nil
            #expect(
                try memory.ask(client, sender, spf: spf) == file.ask(client, sender, spf: spf), "step \(step)")
            let pause = [0, 1, 50, 299, 301, 86_400, 86_400 * 20].randomElement(using: &random) ?? 0
            memory.after(pause)
            file.after(pause)
            switch Int.random(in: 0..<40, using: &random) {
            case 0...5: try store.flush()
            case 6: store.close()
            case 7, 8:
                let key = try Self.key(client, sender, &random)
                for bench in [memory, file] { try bench.ledger.allow(key, now: bench.clock.now()) }
            case 9...11:
                let key = try Self.key(client, sender, &random)
                for bench in [memory, file] { _ = try bench.ledger.forget(key) }
            default: break
            }
            guard step % 500 == 0 else { continue }
            try GreylistStoreTests().expectTrueCounts(store)
        }
        #expect(file.log.warnings.isEmpty)
    }

    private static func key(_ client: String, _ sender: String, _ random: inout SeededRandom) throws -> GreylistKey {
        let network = Network(containing: try #require(IPAddress(client)), prefixLength: 24)
        let domain = try DomainName(String(sender.drop { $0 != "@" }.dropFirst()))
        let origin = Bool.random(using: &random) ? GreylistOrigin.client(network) : .domain(domain)
        return Bool.random(using: &random)
            ? .origin(origin) : .triplet(origin, Array(sender.utf8), Array("bo@example.org".utf8))
    }

    @Test("keys come back from their octets, and others are none") func keys() throws {
        let origin = try #require(GreylistOrigin("2001:db8::/64"))
        let keys: [GreylistKey] = [
            .origin(origin), .origin(.domain(try DomainName("example.net"))), .triplet(origin, [], []),
            .triplet(origin, [0xFF, 0x20, 0x0A], Array("b@c".utf8)), .triplet(origin, [0x00], [0x41]),
        ]
        for key in keys { #expect(GreylistKey(octets: key.octets) == key) }
        #expect(Set(keys.map(\.octets)).count == keys.count)
        let bad = ["", "\u{0}", "192.0.2.1/24", "-", "192.0.2.0/24\u{0}a", "192.0.2.0/24\u{0}a\u{0}b\u{0}c", "a\\b"]
        for text in bad { #expect(GreylistKey(octets: Array(text.utf8)) == nil, "\(text)") }
    }
}
