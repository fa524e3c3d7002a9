// The scripts of the shared greylist against the functions that they are to equal: GreylistDecision and
// GreylistEntry.merged over a dictionary, with random sequences. Also what the server's own clock and expiry do.

import PosternAdmission
import PosternMail
import PostfixHarness
import TestSupport
import Testing

@testable import PosternStore

/// A shared ledger on a server of its own, with a host's own ledger in a folder.
struct SharedBench {
    let instance: RedisInstance
    let folder: TemporaryFolder
    let log: RecordingLog
    let clock: ScriptedClock
    let store: SharedStore
    let local: GreylistStore
    let ledger: SharedGreylist
    var times = GreylistTimes(delay: .seconds(300), retryWithin: .seconds(2 * 86_400), remember: .seconds(35 * 86_400))

    init(
        _ instance: RedisInstance? = nil, at start: UnixTime = Sample.start, clock kind: SharedGreylist.Clock = .given,
        timeout: Duration = .seconds(10), limits: SharedGreylistCourier.Limits = .init(),
        pauses: ClosedRange<Duration> = .milliseconds(20) ... .milliseconds(200)
    ) throws {
        self.instance = try instance ?? RedisInstance()
        folder = try TemporaryFolder()
        let (log, clock) = (RecordingLog(), ScriptedClock(start))
        (self.log, self.clock) = (log, clock)
        store = SharedStoreTests.store(self.instance, timeout: timeout, log: log, pauses: pauses)
        local = GreylistStore(path: folder.path("greylist.sqlite"), log: log, now: { clock.now() })
        ledger = SharedGreylist(store, local: local, log: log, clock: kind, limits: limits)
    }

    func ask(
        _ client: String, _ sender: String = "ann@example.net", _ recipient: String = "bo@example.org",
        _ identity: GreylistRequest.Identity = .none
    ) throws -> String {
        let request = try GreylistBench.request(client, sender, recipient, identity)
        return GreylistBench.words(ledger.decide(request, times: times, now: clock.now()))
    }

    /// Decisions that the host had to make by itself.
    var localDecisions: UInt64 {
        store.readings.first { $0.name.metric == "postern_shared_store_local_decisions_total" }?.value ?? 0
    }

    /// All that the server has.
    func rows() throws -> [GreylistKey: GreylistEntry] { try Self.rows(of: ledger) }

    static func rows(of ledger: any GreylistLedger, limit: Int = 500) throws -> [GreylistKey: GreylistEntry] {
        var rows: [GreylistKey: GreylistEntry] = [:]
        var cursor: GreylistCursor?
        repeat {
            let page = try ledger.entries(withPrefix: "", after: cursor, limit: limit)
            for row in page.rows { rows[row.key] = row.entry }
            cursor = page.next
        } while cursor != nil
        return rows
    }

    func raw(_ words: [UInt8]...) throws -> StoreReply { try store.command(words) }
}

@Suite("The shared greylist's scripts", .enabled(if: RedisInstance.isAvailable))
struct SharedGreylistDecisionTests {
    private static let pauses: [Duration] = [
        .zero, .milliseconds(1), .seconds(50), .milliseconds(299_999), .seconds(300), .milliseconds(300_001),
        .seconds(61), .seconds(7200), .seconds(86_400), .seconds(86_400 * 2), .seconds(86_400 * 20),
        .seconds(86_400 * 36), .seconds(86_400 * 35), .seconds(60), .seconds(86_400 * 35 / 2),
        .milliseconds(86_400_000 * 35 / 2 + 1), .milliseconds(4_500_500), .milliseconds(4_500_501), .seconds(-1),
        .seconds(-40), .seconds(-86_400), .seconds(-86_400 * 3),
    ]
    private static let memories: [GreylistTimes] = [
        GreylistTimes(delay: .seconds(300), retryWithin: .seconds(2 * 86_400), remember: .seconds(35 * 86_400)),
        // Times that are no whole milliseconds.
        GreylistTimes(
            delay: .nanoseconds(300_000_000_001), retryWithin: .nanoseconds(172_800_999_999_999),
            remember: .nanoseconds(1_728_000_000_500_001)),
        GreylistTimes(delay: .seconds(60), retryWithin: .seconds(86_400), remember: .seconds(9_001)),
    ]

    @Test("they decide, allow, forget and merge as the functions do")
    func differential() throws {
        let bench = try SharedBench()
        var random = SeededRandom(seed: 20_261_121)
        var steps = 0
        for round in 0..<60 {
            _ = try bench.raw(Array("FLUSHDB".utf8))
            var entries: [GreylistKey: GreylistEntry] = [:]
            let times = Self.memories[round % Self.memories.count]
            for step in 0..<120 {
                steps += 1
                let now = bench.clock.now()
                let request = try Self.request(&random)
                let place = "round \(round), step \(step)"
                switch Int.random(in: 0..<30, using: &random) {
                case 0:
                    let key = try Self.key(request, &random)
                    try bench.ledger.allow(key, now: now)
                    entries[key] = GreylistEntry.allowed(entries[key], now: now)
                case 1:
                    let key = try Self.key(request, &random)
                    _ = try bench.ledger.forget(key)  // counts what is damaged too
                    if case .origin(let origin) = key {
                        entries = entries.filter { $0.key.origin != origin }
                    } else {
                        entries[key] = nil
                    }
                    _ = try bench.raw(Array("DEL".utf8), SharedGreylistEntry.forgottenKey)
                case 2, 3:
                    let rows = try (0..<3).map { _ in
                        GreylistPage.Row(try Self.key(request, &random), Self.entry(now, &random))
                    }
                    _ = try bench.ledger.adopt(rows, times: times, now: now)
                    for row in rows {
                        entries[row.key] = GreylistEntry.merged(
                            entries[row.key], row.entry, under: row.key, times: times, now: now)
                    }
                case 4: try Self.damage(bench, &entries, try Self.key(request, &random), &random)
                default:
                    let foreseen = bench.ledger.foresee(request, times: times, now: now)
                    let answer = bench.ledger.decide(request, times: times, now: now)
                    let decision = GreylistDecision.make(for: request, times: times, now: now) { entries[$0] }
                    for row in decision.changes { entries[row.key] = row.entry }
                    #expect(answer == decision.answer, "\(place)")
                    #expect(foreseen == answer, "\(place)")
                }
                bench.clock.advance(by: Self.pauses.randomElement(using: &random) ?? .zero)
                guard step % 10 == 9 else { continue }
                let time = bench.clock.now()
                func living(_ rows: [GreylistKey: GreylistEntry]) -> [GreylistKey: GreylistEntry] {
                    rows.filter { row in row.value.expires(under: row.key, times).map { $0 >= time } ?? true }
                }
                #expect(living(try bench.rows()) == living(entries), "\(place)")
            }
        }
        #expect(steps == 7200)
        #expect(bench.localDecisions == 0)
        #expect(bench.log.warnings.isEmpty)
    }

    private static func request(_ random: inout SeededRandom) throws -> GreylistRequest {
        let domains = ["d0.example", "d1.example"]
        let identity: GreylistRequest.Identity =
            switch Int.random(in: 0..<4, using: &random) {
            case 0: .notAsked
            case 1: .none
            default: .domain(try DomainName(domains.randomElement(using: &random) ?? ""))
            }
        let sender =
            Int.random(in: 0...9, using: &random) == 0 ? "" : "s\(Int.random(in: 0...5, using: &random))@d0.example"
        return try GreylistBench.request(
            "192.0.\(Int.random(in: 0...4, using: &random)).1", sender, "bo@example.org", identity)
    }

    private static func key(_ request: GreylistRequest, _ random: inout SeededRandom) throws -> GreylistKey {
        let origin: GreylistOrigin =
            if let domain = request.candidate, Bool.random(using: &random) { .domain(domain) } else {
                .client(request.client)
            }
        return Bool.random(using: &random)
            ? .origin(origin) : .triplet(origin, request.sender, request.recipient)
    }

    /// One that another ledger may have; not about to expire, since the server's own clock goes on.
    private static func entry(_ now: UnixTime, _ random: inout SeededRandom) -> GreylistEntry {
        func before(_ time: UnixTime) -> UnixTime {
            time + (.zero - .milliseconds([0, 1, 70_000, 400_000, 7_200_000].randomElement(using: &random) ?? 0))
        }
        let last = before(now + .seconds([0, 0, 0, 3600].randomElement(using: &random) ?? 0))
        let first = before(last)
        let networks = ["192.0.1.0/24", "192.0.2.0/24", "2001:db8::/64"].compactMap { try? Network($0) }
        switch Int.random(in: 0..<4, using: &random) {
        case 0: return GreylistEntry(firstSeen: last)
        case 1: return GreylistEntry(firstSeen: first, lastSeen: last, passedSince: last)
        case 2:
            return GreylistEntry(
                firstSeen: first, lastSeen: last, passedTriplets: Int.random(in: 0...5, using: &random),
                networks: Array(networks.shuffled(using: &random).prefix(Int.random(in: 0...2, using: &random))))
        default:
            return GreylistEntry(
                firstSeen: first, lastSeen: last, passedSince: first, isAllowed: Bool.random(using: &random),
                passedTriplets: 5, networks: Array(networks.prefix(2)))
        }
    }

    /// Puts damaged octets, another version or another type under a key: what still reads as an entry is one.
    private static func damage(
        _ bench: SharedBench, _ entries: inout [GreylistKey: GreylistEntry], _ key: GreylistKey,
        _ random: inout SeededRandom
    ) throws {
        let stored = SharedGreylistEntry.key(key)
        let old = entries[key].map { SharedGreylistEntry.encode($0) } ?? Array("11790000000000,5,5".utf8)
        var new = old
        switch Int.random(in: 0..<6, using: &random) {
        case 0: new[0] = UInt8(ascii: "2")
        case 1: new = []
        case 2:
            _ = try bench.raw(Array("DEL".utf8), stored)
            _ = try bench.raw(Array("LPUSH".utf8), stored, [0x31])
            entries[key] = nil
            return
        default:
            let tokens = [",", "-", "+", "1", "99999", ",,", "\0", "e", "."].map { Array($0.utf8) }
            Mutations.of([old], tokens: tokens, count: 1, seed: random.next()) { new = $0 }
        }
        let read = SharedGreylistEntry.decode(new)
        // The script takes a network's text as it is.
        let names =
            String(decoding: new, as: UTF8.self).split(separator: ",", omittingEmptySubsequences: false)
            .dropFirst(4).first?.split(separator: " ").prefix(2) ?? []
        if let read, read.networks.map(\.description) != names.map(String.init) { return }
        _ = try bench.raw(Array("SET".utf8), stored, new)
        entries[key] = read
    }

    @Test("to the millisecond: what random sequences rarely meet")
    func boundaries() throws {
        let bench = try SharedBench()
        let (times, now) = (bench.times, bench.clock.now())
        let request = try GreylistBench.request("192.0.2.7", "a@example.net", "b@example.org", .notAsked)
        let client = GreylistKey.origin(.client(request.client))
        let domain = GreylistKey.origin(.domain(try DomainName("example.net")))
        let networks = [request.client, try Network("198.51.100.0/24")]
        for (ago, answer) in [
            (times.remember / 2, GreylistAnswer.pass(.knownClient, waited: nil)),
            (times.remember / 2 + .milliseconds(1), .needsIdentity), (times.remember, .needsIdentity),
            (times.remember + .milliseconds(1), .pass(.knownClient, waited: nil)),
        ] {
            let past = now + (.zero - ago)
            let rows = [
                GreylistPage.Row(client, GreylistEntry(firstSeen: now, passedSince: now)),
                GreylistPage.Row(
                    domain,
                    GreylistEntry(firstSeen: past, passedSince: past, passedTriplets: 5, networks: networks)),
            ]
            for row in rows {
                _ = try bench.raw(
                    Array("SET".utf8), SharedGreylistEntry.key(row.key), SharedGreylistEntry.encode(row.entry))
            }
            #expect(bench.ledger.foresee(request, times: times, now: now) == answer)
            let decision = GreylistDecision.make(for: request, times: times, now: now) { key in
                rows.first { $0.key == key }?.entry
            }
            #expect(decision.answer == answer)
        }
    }

    @Test("an entry and its text")
    func text() throws {
        let networks = [try Network("192.0.2.0/24"), try Network("2001:db8::/64")]
        let first = UnixTime(seconds: 1_763_720_000)
        let table: [(GreylistEntry, String)] = [
            (GreylistEntry(firstSeen: first), "11763720000000"),
            (
                GreylistEntry(
                    firstSeen: first, lastSeen: first + .seconds(86_400), passedSince: first + .seconds(300)),
                "11763720000000,86400000,300000"
            ),
            (GreylistEntry(firstSeen: first, passedSince: first, isAllowed: true), "11763720000000,,0,+"),
            (
                GreylistEntry(firstSeen: first, passedTriplets: 3, networks: [networks[0]]),
                "11763720000000,,,3,192.0.2.0/24"
            ),
            (
                GreylistEntry(firstSeen: first, isAllowed: true, passedTriplets: 5, networks: networks),
                "11763720000000,,,+5,192.0.2.0/24 2001:db8::/64"
            ),
            (GreylistEntry(firstSeen: UnixTime(seconds: -1)), "1-1000"),
        ]
        for (entry, text) in table {
            #expect(String(decoding: SharedGreylistEntry.encode(entry), as: UTF8.self) == text)
            #expect(SharedGreylistEntry.decode(Array(text.utf8)) == entry)
        }
        for text in [
            "", "1", "2176372", "1x", "1176372,x", "1176372,-", "1176372,,+", "11,,,1234", "199999999999999", "1-",
        ] {
            #expect(SharedGreylistEntry.decode(Array(text.utf8)) == nil, "\(text)")
        }
    }

    @Test("the clock is the server's, not the host's; entries expire there as they do in the file")
    func clock() throws {
        // This host's clock is a year behind.
        var bench = try SharedBench(clock: .ofTheStore)
        bench.times = GreylistTimes(delay: .milliseconds(50), retryWithin: .seconds(1000), remember: .seconds(5000))
        #expect(try bench.ask("192.0.2.7") == "wait 0")
        func expiry(_ key: String) throws -> Int64 {
            let text = Array("postern:greylist:\(key)".utf8)
            return try bench.raw(Array("PTTL".utf8), text).integer ?? -9
        }
        let triplet = "192.0.2.0/24\0ann@example.net\0bo@example.org"
        #expect((900_000...1_000_000).contains(try expiry(triplet)))
        let waiting = try bench.raw(Array("GET".utf8), Array("postern:greylist:\(triplet)".utf8)).text ?? ""
        let time = try bench.raw(Array("TIME".utf8)).array?.first?.text.flatMap { Int64($0) } ?? 0
        let since = try #require(SharedGreylistEntry.decode(Array(waiting.utf8))).firstSeen
        #expect(abs(since.seconds - time) < 100)
        // A whole number lies within the server's object.
        #expect(
            try bench.raw(Array("OBJECT".utf8), Array("ENCODING".utf8), Array("postern:greylist:\(triplet)".utf8)).text
                == "int")
        try Await.until("the wait to end") { try bench.ask("192.0.2.7").hasPrefix("pass triplet") }
        #expect((4_900_000...5_000_000).contains(try expiry(triplet)))
        #expect((4_900_000...5_000_000).contains(try expiry("192.0.2.0/24")))
        try bench.ledger.allow(.origin(try #require(GreylistOrigin("192.0.2.0/24"))), now: bench.clock.now())
        #expect(try expiry("192.0.2.0/24") == -1)

        bench.times = GreylistTimes(delay: .seconds(50), retryWithin: .milliseconds(60), remember: .seconds(5000))
        #expect(try bench.ask("198.51.100.7") == "wait 50")
        try Await.until("the triplet to be gone") { try bench.ledger.counts().waiting == 0 }
        #expect(bench.localDecisions == 0)
    }

    @Test("others' keys in the database are left alone")
    func others() throws {
        let bench = try SharedBench()
        let names = ["postern:limit:x", "postern:greylist", "mine", "postern:greylist-other:192.0.2.0/24"]
        for name in names { _ = try bench.raw(Array("SET".utf8), Array(name.utf8), [0x31]) }
        _ = try bench.raw(Array("SET".utf8), Array("postern:greylist:no origin".utf8), Array("11790000000000".utf8))
        #expect(try bench.ask("192.0.2.7") == "wait 300")
        #expect(try bench.rows().count == 1)
        #expect(try bench.ledger.counts() == GreylistCounts(waiting: 1))
        #expect(try bench.ledger.forget(.origin(try #require(GreylistOrigin("192.0.2.0/24")))) == 1)
        let left = try bench.raw(Array("KEYS".utf8), Array("*".utf8)).array?.compactMap(\.text) ?? []
        #expect(
            Set(left).subtracting(["postern:probe"])
                == Set(names + ["postern:greylist:!forgotten", "postern:greylist:no origin"]))
    }

    @Test("what was forgotten is noted anew where somebody else has put another thing")
    func forgottenByOthers() throws {
        let bench = try SharedBench()
        _ = try bench.raw(Array("LPUSH".utf8), SharedGreylistEntry.forgottenKey, [0x31])
        let client = GreylistKey.origin(try #require(GreylistOrigin("192.0.2.0/24")))
        let row = GreylistPage.Row(client, GreylistEntry(firstSeen: Sample.start, passedSince: Sample.start))
        #expect(try bench.ledger.adopt([row], times: bench.times, now: bench.clock.now()) == 1)
        bench.clock.advance(by: .seconds(1))
        #expect(try bench.ask("192.0.2.7") == "pass knownClient")
        #expect(try bench.ledger.forget(client) == 1)
        #expect(try bench.ledger.adopt([row], times: bench.times, now: bench.clock.now()) == 0)
    }

    @Test("pages: every entry once, of any size, with a prefix")
    func pages() throws {
        let bench = try SharedBench()
        var keys: Set<GreylistKey> = []
        for number in 0..<300 {
            let key = GreylistKey.origin(try #require(GreylistOrigin("192.\(number % 3).\(number / 3).0/24")))
            keys.insert(key)
            try bench.ledger.allow(key, now: bench.clock.now())
        }
        func listed(_ prefix: String, _ limit: Int) throws -> [GreylistKey] {
            var found: [GreylistKey] = []
            var cursor: GreylistCursor?
            repeat {
                let page = try bench.ledger.entries(withPrefix: prefix, after: cursor, limit: limit)
                #expect(page.rows.count <= limit)
                found += page.rows.map(\.key)
                cursor = page.next.map { GreylistCursor(text: $0.text) }
            } while cursor != nil
            return found
        }
        // While the server's table grows, keys that move may be told twice; none is left out.
        try Await.until("the keys to have their places") {
            let found = try listed("", 1)
            #expect(Set(found) == keys)
            return found.count == keys.count
        }
        for limit in [1, 7, 100, 1000] {
            for (prefix, count) in [("", 300), ("192.1.", 100), ("192.1.4.", 1), ("192.?", 0), ("[", 0)] {
                let found = try listed(prefix, limit)
                #expect(Set(found).count == count && Set(found).isSubset(of: keys), "\(prefix) \(limit)")
                #expect(found.count == count, "\(prefix) \(limit)")
            }
        }
        // A cursor of another ledger's, or damaged: from the beginning.
        for text in ["x", "", "0.", "0.x.1", "..", "99999999999999999999999"] {
            #expect(
                try bench.ledger.entries(withPrefix: "", after: GreylistCursor(text: text), limit: 5).rows.count > 0)
        }
    }

    @Test("the access list of contrib/doc/fleet.md is enough")
    func accessList() throws {
        let bench = try SharedBench(
            try RedisInstance(options: ["user default on nopass ~postern:* +@all -@dangerous +role"]))
        #expect(try bench.ask("192.0.2.7") == "wait 300")
        let client = GreylistKey.origin(try #require(GreylistOrigin("192.0.2.0/24")))
        try bench.ledger.allow(client, now: bench.clock.now())
        #expect(try bench.ledger.entry(for: client)?.isAllowed == true)
        #expect(try bench.rows().count == 2)
        #expect(try bench.ledger.counts() == GreylistCounts(waiting: 1, clients: 1))
        let entry = GreylistEntry(firstSeen: Sample.start)
        #expect(
            try bench.ledger.adopt([GreylistPage.Row(client, entry)], times: bench.times, now: Sample.start) == 0)
        #expect(try bench.ledger.forget(client) == 2)
        try bench.ledger.flush()
        #expect(bench.localDecisions == 0 && bench.log.warnings.isEmpty)
    }
}
