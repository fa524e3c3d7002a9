// Rows from the ledger in a file to the shared one and back, interrupted and gone on with: the same at the end. Also what
// merging means, on every ledger alike.

import AdmissionSupport
import PosternAdmission
import PosternMail
import PostfixHarness
import TestSupport
import Testing

@testable import PosternStore

@Suite("Copies of greylists")
struct SharedGreylistCopyTests {
    private static let rows = 100_000
    private static let times = GreylistTimes(
        delay: .seconds(300), retryWithin: .seconds(2 * 86_400), remember: .seconds(35 * 86_400))

    /// Entries of every kind, none about to expire.
    private static func row(_ number: Int) throws -> GreylistPage.Row {
        var random = SeededRandom(seed: UInt64(number))
        func ago(_ days: Int) -> UnixTime {
            Sample.start + .milliseconds(-Int.random(in: 0..<days * 86_400_000, using: &random))
        }
        let network = Network(containing: .v4(UInt32(number) << 8), prefixLength: 24)
        let sender = Array("s\(number)@host.example".utf8)
        let recipient = Array("user\(number % 100)@example.org".utf8)
        switch number % 10 {
        case 0:
            return GreylistPage.Row(
                .origin(.client(network)), GreylistEntry(firstSeen: ago(30), lastSeen: ago(1), passedSince: ago(30)))
        case 1:
            return GreylistPage.Row(
                .origin(.domain(try DomainName("d\(number).example"))),
                GreylistEntry(
                    firstSeen: ago(30), passedTriplets: number / 10 % 6,
                    networks: number % 20 == 1 ? [network] : [network, try Network("2001:db8::/64")]))
        case 2:
            return GreylistPage.Row(
                .triplet(.domain(try DomainName("d\(number).example")), sender, recipient),
                GreylistEntry(firstSeen: ago(30), lastSeen: ago(20), passedSince: ago(25), isAllowed: number % 100 == 2)
            )
        default:
            return GreylistPage.Row(.triplet(.client(network), sender, recipient), GreylistEntry(firstSeen: ago(1)))
        }
    }

    struct Interrupted: Error {}

    /// As `postern store copy` does.
    /// - Parameter end: pages after which it is interrupted.
    private static func copy(
        _ source: any GreylistLedger, to target: any GreylistLedger, from place: inout GreylistCursor?, pages end: Int
    ) throws {
        for _ in 0..<end {
            let page = try source.entries(withPrefix: "", after: place, limit: 1000)
            _ = try target.adopt(page.rows, times: times, now: Sample.start)
            guard let next = page.next else {
                place = nil
                return
            }
            place = next
        }
        throw Interrupted()
    }

    @Test("100,000 rows to the store and back, interrupted and gone on with", .enabled(if: RedisInstance.isAvailable))
    func hundredThousand() throws {
        let bench = try SharedBench(timeout: .seconds(30))
        let rows = try (0..<Self.rows).map { try Self.row($0) }
        let source = bench.local
        #expect(try source.adopt(rows, times: Self.times, now: Sample.start) == Self.rows)
        #expect(try source.adopt(Array(rows.prefix(5000)), times: Self.times, now: Sample.start) == 0)  // the same again

        var place: GreylistCursor?
        #expect(throws: Interrupted.self) { try Self.copy(source, to: bench.ledger, from: &place, pages: 30) }
        #expect((30_000...30_001).contains(try bench.raw(Array("DBSIZE".utf8)).integer ?? 0))  // and the client's probe
        try Self.copy(source, to: bench.ledger, from: &place, pages: .max)
        let there = try SharedBench.rows(of: bench.ledger, limit: 1000)
        #expect(there.count == Self.rows)
        #expect(try SharedBench.rows(of: source, limit: 1000) == there)

        // An estimate here, from 4,096 keys.
        let counts = try bench.ledger.counts()
        #expect((60_000...80_000).contains(counts.waiting), "\(counts)")
        #expect((5_000...15_000).contains(counts.passed) && (5_000...15_000).contains(counts.clients), "\(counts)")

        let folder = try TemporaryFolder()
        let back = GreylistStore(path: folder.path("back.sqlite"), log: bench.log, now: { Sample.start })
        #expect(throws: Interrupted.self) { try Self.copy(bench.ledger, to: back, from: &place, pages: 30) }
        place = nil  // and from the beginning
        try Self.copy(bench.ledger, to: back, from: &place, pages: .max)
        #expect(try SharedBench.rows(of: back, limit: 1000) == there)
        #expect(try back.counts().clients == Self.rows / 10)
        back.close()
        #expect(bench.log.warnings.isEmpty)
    }

    @Test("what two ledgers know under one key", arguments: LedgerKind.allCases)
    func merging(kind: LedgerKind) throws {
        let bench = try GreylistBench(kind)
        let now = Sample.start
        func at(_ seconds: Int) -> UnixTime { now + .seconds(seconds) }
        let client = GreylistKey.origin(try #require(GreylistOrigin("192.0.2.0/24")))
        let domain = GreylistKey.origin(try #require(GreylistOrigin("example.net")))
        let triplet = GreylistKey.triplet(client.origin, Array("a@b.example".utf8), Array("c@d.example".utf8))
        let (one, two) = (try Network("192.0.2.0/24"), try Network("198.51.100.0/24"))
        let three = try Network("203.0.113.0/24")
        let day = 86_400
        let table: [(String, GreylistKey, GreylistEntry?, GreylistEntry, GreylistEntry?)] = [
            ("new", triplet, nil, .init(firstSeen: at(-9)), .init(firstSeen: at(-9))),
            (
                "the earlier first try", triplet, .init(firstSeen: at(-9)), .init(firstSeen: at(-50)),
                .init(firstSeen: at(-50))
            ),
            (
                "the earlier is here", triplet, .init(firstSeen: at(-50)), .init(firstSeen: at(-9)),
                .init(firstSeen: at(-50))
            ),
            (
                "known if either is", triplet, .init(firstSeen: at(-50)),
                .init(firstSeen: at(-400), lastSeen: at(-3), passedSince: at(-90)),
                .init(firstSeen: at(-400), lastSeen: at(-3), passedSince: at(-90))
            ),
            (
                "the last mail of both", client, .init(firstSeen: at(-400), lastSeen: at(-2), passedSince: at(-80)),
                .init(firstSeen: at(-300), lastSeen: at(-3), passedSince: at(-90)),
                .init(firstSeen: at(-400), lastSeen: at(-2), passedSince: at(-90))
            ),
            (
                "what has expired adds nothing", triplet, .init(firstSeen: at(-9)), .init(firstSeen: at(-3 * day)),
                .init(firstSeen: at(-9))
            ),
            ("nor is it taken in", triplet, nil, .init(firstSeen: at(-3 * day)), nil),
            (
                "what is allowed", client, .init(firstSeen: at(-9), passedSince: at(-9)),
                .init(firstSeen: at(-99 * day), passedSince: at(-99 * day), isAllowed: true),
                .init(firstSeen: at(-99 * day), lastSeen: at(-9), passedSince: at(-99 * day), isAllowed: true)
            ),
            ("of the future: of now", triplet, nil, .init(firstSeen: at(500)), .init(firstSeen: now)),
            (
                "a domain that becomes known", domain, .init(firstSeen: at(-9), passedTriplets: 5, networks: [one]),
                .init(firstSeen: at(-8), lastSeen: at(-7), passedTriplets: 2, networks: [one, two]),
                .init(
                    firstSeen: at(-9), lastSeen: at(-7), passedSince: at(-7), passedTriplets: 5, networks: [one, two])
            ),
            (
                "a domain: two networks, and triplets are not counted twice", domain,
                .init(firstSeen: at(-9), passedTriplets: 3, networks: [one, two]),
                .init(firstSeen: at(-9), passedTriplets: 3, networks: [three]),
                .init(firstSeen: at(-9), passedTriplets: 3, networks: [one, two])
            ),
        ]
        for (rule, key, here, other, merged) in table {
            _ = try bench.ledger.forget(key)
            if let instance = bench.instance { try instance.command("FLUSHDB") }
            if let here { #expect(try bench.ledger.adopt([.init(key, here)], times: bench.times, now: now) == 1) }
            let adds = try bench.ledger.adopt([.init(key, other)], times: bench.times, now: now)
            #expect(try bench.ledger.entry(for: key) == merged, "\(rule)")
            #expect(adds == (merged == here ? 0 : 1), "\(rule)")
            #expect(try bench.ledger.adopt([.init(key, other)], times: bench.times, now: now) == 0, "\(rule), again")
            #expect(try bench.ledger.entry(for: key) == merged, "\(rule), again")
        }
    }
}
