// The cache over a restart: what is written is read with less time left; what is damaged is refused as a whole; nothing
// that a file says traps, or makes an answer live longer than its bounds.

import PosternMail
import TestSupport
import Testing

@testable import PosternDNS

@Suite("cache snapshot")
struct CacheSnapshotTests {
    /// The cache's clock and the wall clock run apart.
    let start = UnixTime(seconds: 5000)
    let saved = UnixTime(seconds: 1_795_000_000)

    // Of an inout argument #expect makes no copy.
    func find(_ cache: inout Cache, _ question: Question, _ now: UnixTime) -> Cache.Found? {
        cache.find(question, now: now)
    }
    func forget(_ cache: inout Cache, _ name: DomainName) -> Int { cache.remove(name) }
    func forget(_ cache: inout Cache, below zone: DomainName) -> Int { cache.remove(below: zone) }

    static func name(_ text: String) throws -> DomainName { try DomainName(text) }

    static func text(_ name: String, ttl: UInt32 = 300, _ text: String = "v=spf1 -all") throws -> (
        Question, ResponseBody
    ) {
        let question = Question(try DomainName(name), .txt)
        let record = ResourceRecord(
            owner: question.name, type: .txt, ttl: ttl, octets: [UInt8(text.utf8.count)] + Array(text.utf8))
        return (question, ResponseBody(question: question, rcode: .noError, answers: [record]))
    }

    static func negative(_ name: String, ttl: UInt32 = 300, isAuthenticated: Bool = false) throws -> (
        Question, ResponseBody
    ) {
        let question = Question(try DomainName(name), .a)
        let zone = question.name.parent ?? .root
        let soa = ResourceRecord(
            owner: zone, type: .soa, ttl: ttl,
            octets: zone.wire + [0] + zone.wire + [0] + [UInt8](repeating: 0, count: 16) + [0, 0, 1, 44])
        return (
            question,
            ResponseBody(question: question, rcode: .nameError, authority: [soa], isAuthenticated: isAuthenticated)
        )
    }

    /// A cache with a bit of everything.
    func cache(stale: Duration = .seconds(3600)) throws -> Cache {
        var cache = Cache()
        let bounds = Cache.Bounds(negativeTTLMax: .seconds(300), stale: stale)
        for (question, body) in [
            try Self.text("spf.example"), try Self.negative("gone.example", isAuthenticated: true),
            try Self.text("short.example", ttl: 30),
        ] {
            let ttl = body.resolution(of: question, elapsed: 0).ttl
            cache.store(body, for: question, ttl: ttl, now: start, bounds: bounds)
        }
        let chain = Question(try Self.name("www.example"), .a)
        let link = ResourceRecord(
            owner: chain.name, type: .cname, ttl: 200, octets: try Self.name("host.example").wire + [0])
        let address = ResourceRecord(
            owner: try Self.name("host.example"), type: .a, ttl: 100, octets: [192, 0, 2, 1])
        let body = ResponseBody(question: chain, rcode: .noError, answers: [link, address])
        cache.store(body, for: chain, ttl: 100, now: start, bounds: bounds)
        cache.fail(Question(try Self.name("broken.example"), .a), now: start)
        return cache
    }

    func octets(_ cache: Cache, now: UnixTime) -> [UInt8] {
        var writer = CacheSnapshot.Writer(saved: saved)
        var octets: [UInt8] = []
        for round in Cache.Round.allCases {
            var place: Int? = 0
            while let from = place {
                let part = cache.part(round, from: from, atMost: 2, now: now)
                for entry in part.entries {
                    let isTaken = writer.append(entry)
                    #expect(isTaken)
                }
                octets += writer.take()
                place = part.next
            }
        }
        return octets + writer.finish()
    }

    /// Saved at `savedAt` seconds after the start, read `later` seconds after that into an empty cache.
    func restored(
        savedAt: Int64, later: Int64, settings: Cache.Settings = Cache.Settings(), stale: Duration = .seconds(3600)
    ) throws -> Cache {
        let octets = octets(try cache(), now: start + .seconds(savedAt))
        var cache = Cache(settings)
        for entry in try CacheSnapshot.entries(in: octets, now: saved + .seconds(later)) {
            _ = cache.restore(
                entry, now: UnixTime(seconds: 10),
                bounds: Cache.Bounds(negativeTTLMax: .seconds(300), stale: stale))
        }
        return cache
    }

    @Test("answers come back with the time that has passed taken off")
    func roundTrip() throws {
        var cache = try restored(savedAt: 20, later: 25)
        let now = UnixTime(seconds: 10)
        let (spf, _) = try Self.text("spf.example")
        let found = try #require(find(&cache, spf, now))
        #expect(found.source == .fresh)
        let said = found.body.resolution(of: spf, elapsed: found.elapsed)
        #expect(said.answer == .records([.txt(Array("v=spf1 -all".utf8))], ttl: 255))
        #expect(find(&cache, spf, now + .seconds(254)) != nil)
        #expect(find(&cache, spf, now + .seconds(255)) == nil)
        let www = Question(try Self.name("www.example"), .a)
        let chain = try #require(find(&cache, www, now)).body.resolution(of: www, elapsed: 0)
        #expect(chain.records.map(\.ttl) == [155, 55])
        // Its time was over at 30: stale by now, and may be used for the rest of the hour.
        let (short, _) = try Self.text("short.example")
        #expect(find(&cache, short, now) == nil)
        #expect(cache.standing(of: short, now: now) == .stale(age: .zero, left: .seconds(3585)))
        // A validated NXDOMAIN answers for what is below it.
        let below = Question(try Self.name("x.gone.example"), .txt)
        #expect(find(&cache, below, now)?.source == .cut)
        // What failed may work now.
        #expect(cache.standing(of: Question(try Self.name("broken.example"), .a), now: now) == .absent)
    }

    @Test("after a long time nothing is left; stale answers end with their time")
    func old() throws {
        #expect(try restored(savedAt: 0, later: 3000).count == 3)
        #expect(try restored(savedAt: 0, later: 4000).count == 0)
        #expect(try restored(savedAt: 0, later: 400_000_000_000).count == 0)
        #expect(try restored(savedAt: 0, later: 3000, stale: .zero).count == 0)
    }

    @Test("a clock that was set back: a correction is none, more ends the snapshot")
    func setBack() throws {
        var cache = try restored(savedAt: 0, later: -10)
        let (spf, _) = try Self.text("spf.example")
        #expect(find(&cache, spf, UnixTime(seconds: 10))?.body.resolution(of: spf, elapsed: 0).ttl == 300)
        #expect(throws: CacheSnapshotError.fromTheFuture) { try restored(savedAt: 0, later: -11) }
        #expect(throws: CacheSnapshotError.fromTheFuture) { try restored(savedAt: 0, later: -1_795_000_000) }
    }

    @Test("the cache's bounds hold: its size, and how long its zones keep answers")
    func bounds() throws {
        #expect(try restored(savedAt: 0, later: 0, settings: Cache.Settings(entries: 2)).count == 2)
        let small = try restored(savedAt: 0, later: 0, settings: Cache.Settings(octets: 1100))
        #expect(small.count == 2 && small.octetsInUse <= 1100 && small.evictions == 0)
        let octets = octets(try cache(), now: start)
        var cache = Cache()
        let strict = Cache.Bounds(ttlMax: .seconds(50), negativeTTLMax: .seconds(7), stale: .zero)
        let now = UnixTime(seconds: 10)
        for entry in try CacheSnapshot.entries(in: octets, now: saved) {
            let isTaken = cache.restore(entry, now: now, bounds: strict)
            #expect(isTaken)
        }
        let (spf, _) = try Self.text("spf.example")
        #expect(find(&cache, spf, now)?.body.resolution(of: spf, elapsed: 0).ttl == 50)
        #expect(find(&cache, spf, now + .seconds(50)) == nil)
        let (gone, _) = try Self.negative("gone.example")
        #expect(find(&cache, gone, now + .seconds(6)) != nil)
        #expect(find(&cache, gone, now + .seconds(7)) == nil)
    }

    @Test("an answer that is here already is newer")
    func newer() throws {
        let octets = octets(try cache(), now: start)
        var cache = Cache()
        let (question, body) = try Self.text("spf.example", "v=spf1 +all")
        cache.store(body, for: question, ttl: 9, now: start)
        for entry in try CacheSnapshot.entries(in: octets, now: saved) {
            _ = cache.restore(entry, now: start, bounds: Cache.Bounds())
        }
        let found = try #require(find(&cache, question, start))
        #expect(found.body == body)
    }

    @Test("what was asked for again is written first")
    func order() throws {
        var cache = Cache()
        for number in 0..<10 {
            let (question, body) = try Self.text("n\(number).example")
            cache.store(body, for: question, ttl: 300, now: start)
            if number == 7 { _ = find(&cache, question, start) }
        }
        let entries = try CacheSnapshot.entries(in: octets(cache, now: start), now: saved)
        #expect(entries.count == 10)
        #expect(entries.first?.question.name == (try Self.name("n7.example")))
    }

    @Test("an empty cache is a snapshot too")
    func empty() throws {
        #expect(try CacheSnapshot.entries(in: octets(Cache(), now: start), now: saved) == [])
    }

    @Test("a writer that is full says so")
    func full() throws {
        var writer = CacheSnapshot.Writer(saved: saved)
        let (question, body) = try Self.text("n.example")
        let entry = CacheSnapshot.Entry(
            question: question, body: body, elapsed: 0, left: .seconds(1), staleLeft: .zero)
        for _ in 0..<CacheSnapshot.maxEntries { _ = writer.append(entry) }
        let isTaken = writer.append(entry)
        #expect(!isTaken)
        #expect(writer.count == CacheSnapshot.maxEntries)
        let octets = writer.finish()
        #expect(octets.count <= CacheSnapshot.maxOctets)
        #expect(try CacheSnapshot.entries(in: octets, now: saved).count == CacheSnapshot.maxEntries)
    }

    // MARK: Damage

    @Test("what is no snapshot")
    func foreign() throws {
        let whole = octets(try cache(), now: start)
        #expect(throws: CacheSnapshotError.notASnapshot) { try CacheSnapshot.entries(in: [], now: saved) }
        #expect(throws: CacheSnapshotError.notASnapshot) {
            try CacheSnapshot.entries(in: Array("SQLite format 3".utf8), now: saved)
        }
        #expect(throws: CacheSnapshotError.damaged) {
            try CacheSnapshot.entries(in: Array(whole.prefix(25)), now: saved)
        }
        var other = whole
        other[11] = 2
        #expect(throws: CacheSnapshotError.otherVersion(2)) { try CacheSnapshot.entries(in: other, now: saved) }
    }

    @Test("every octet flipped, every end cut off: refused as a whole")
    func damaged() throws {
        let whole = octets(try cache(), now: start)
        for place in whole.indices {
            var damaged = whole
            damaged[place] ^= 0x10
            #expect(throws: CacheSnapshotError.self) { try CacheSnapshot.entries(in: damaged, now: saved) }
            #expect(throws: CacheSnapshotError.self) {
                try CacheSnapshot.entries(in: Array(whole.prefix(place)), now: saved)
            }
        }
    }

    /// The octets with a count and checksum that are right for them, so that what is between is read.
    private func sealed(_ octets: [UInt8]) -> [UInt8] {
        guard octets.count > 8 else { return octets }
        var sum = Checksum()
        sum.add(octets.dropLast(8))
        return octets.dropLast(8) + (0..<8).map { UInt8(truncatingIfNeeded: sum.value >> (56 - 8 * UInt64($0))) }
    }

    @Test("whatever stands between a right beginning and a right end never traps, nor breaks a bound")
    func mutated() throws {
        let whole = octets(try cache(), now: start)
        #expect(sealed(whole) == whole)
        let bounds = Cache.Bounds(ttlMax: .seconds(600), negativeTTLMax: .seconds(60), stale: .seconds(60))
        var taken = 0
        Mutations.of([whole], tokens: [[0xC0, 0x0C], [0xFF, 0xFF], [0, 0, 0, 0]], count: 4000, seed: 44) { octets in
            guard let entries = try? CacheSnapshot.entries(in: sealed(octets), now: saved) else { return }  // most are none
            var cache = Cache(Cache.Settings(octets: 2000))
            for entry in entries where cache.restore(entry, now: start, bounds: bounds) {
                taken += 1
                let found = find(&cache, entry.question, start)
                if let found {
                    #expect(found.body.resolution(of: entry.question, elapsed: found.elapsed).ttl <= 600)
                }
                #expect(find(&cache, entry.question, start + .seconds(600))?.source != .fresh)
                _ = cache.stale(entry.question, now: start + .seconds(30))
            }
            #expect(cache.octetsInUse <= 2000)
        }
        #expect(taken > 100)  // or it tested nothing
    }

    // MARK: Looking and forgetting

    @Test("how an answer stands is told without using it")
    func standing() throws {
        var cache = try cache()
        let (spf, _) = try Self.text("spf.example")
        let (short, _) = try Self.text("short.example")
        let broken = Question(try Self.name("broken.example"), .a)
        #expect(cache.standing(of: spf, now: start + .seconds(1)) == .fresh(left: .seconds(299)))
        #expect(cache.standing(of: Question(spf.name, .a), now: start) == .absent)
        #expect(cache.standing(of: short, now: start + .seconds(40)) == .stale(age: .seconds(10), left: .seconds(3590)))
        #expect(cache.standing(of: short, now: start + .seconds(4000)) == .expired)
        #expect(cache.standing(of: broken, now: start) == .failing(left: Cache.failureTTL, hasStale: false))
        #expect(cache.standing(of: broken, now: start + .seconds(5)) == .expired)
        let below = Question(try Self.name("a.b.gone.example"), .mx)
        #expect(cache.standing(of: below, now: start) == .cut(by: try Self.name("gone.example")))
        cache.fail(short, now: start + .seconds(40))
        #expect(
            cache.standing(of: short, now: start + .seconds(41))
                == .failing(left: .seconds(29), hasStale: true))
        #expect(cache.part(.proven, from: 0, atMost: 100, now: start).entries == [])
    }

    @Test("a name is forgotten, with what above it denies it; or a zone")
    func flush() throws {
        var cache = try cache()
        let (second, body) = try Self.text("a.spf.example")
        cache.store(body, for: second, ttl: 300, now: start)
        let address = Question(second.name.parent ?? .root, .a)
        cache.fail(address, now: start)
        let count = cache.count
        let (spf, _) = try Self.text("spf.example")
        #expect(forget(&cache, spf.name) == 2)  // all types
        #expect(find(&cache, spf, start) == nil && find(&cache, second, start) != nil)
        #expect(forget(&cache, try Self.name("x.gone.example")) == 1)
        #expect(find(&cache, Question(try Self.name("y.gone.example"), .a), start) == nil)
        #expect(forget(&cache, try Self.name("none.example")) == 0)
        #expect(cache.count == count - 3)
        #expect(forget(&cache, below: try Self.name("spf.example")) == 1)
        #expect(forget(&cache, below: try Self.name("example")) == 3)
        #expect(cache.count == 0 && cache.octetsInUse == 0)
        #expect(forget(&cache, below: .root) == 0)
    }
}
