import PosternMail
import TestSupport
import Testing

@testable import PosternDNS

@Suite("cache")
struct CacheTests {
    let start = UnixTime(seconds: 1_000_000)

    func body(_ question: Question, ttl: UInt32, octets: Int = 10) -> ResponseBody {
        let record = ResourceRecord(
            owner: question.name, type: question.type, ttl: ttl, octets: [UInt8](repeating: 1, count: octets))
        return ResponseBody(question: question, rcode: .noError, answers: [record])
    }
    func question(_ number: Int) throws -> Question {
        Question(try DomainName("n\(number).test"), RecordType(rawValue: 65_280))
    }
    /// How old the answer is that the cache has; nil when it has none.
    func age(_ cache: inout Cache, _ asked: Question, _ now: UnixTime) -> UInt32? {
        cache.find(asked, now: now)?.elapsed
    }
    func after(_ seconds: Int64) -> UnixTime { start + .seconds(seconds) }

    @Test("an answer is kept for its TTL, to the second")
    func expiry() throws {
        var cache = Cache()
        let asked = try question(1)
        cache.store(body(asked, ttl: 100), for: asked, ttl: 100, now: start)
        #expect(age(&cache, asked, start) == 0)
        #expect(age(&cache, asked, start + .milliseconds(99_999)) == 99)
        #expect(age(&cache, Question(asked.name, .a), start) == nil)
        #expect(age(&cache, asked, after(100)) == nil)
        cache.store(body(asked, ttl: 7), for: asked, ttl: 7, now: after(100))  // in its old place
        #expect(age(&cache, asked, after(106)) == 6)
        #expect(cache.count == 1)
    }

    @Test("an answer in its last moment keeps the stale one, and ends the time of failure")  // RFC 9520 §3.2
    func lastMoment() throws {
        let asked = try question(1)
        for (stale, wait) in [(Duration.seconds(1000), Int64(100)), (.zero, 5000)] {
            var cache = Cache(Cache.Settings(bounds: Cache.Bounds(stale: stale)))
            cache.store(body(asked, ttl: 100), for: asked, ttl: 100, now: start)
            cache.fail(asked, now: after(wait))
            #expect(cache.find(asked, now: after(wait))?.source == (stale == .zero ? .failure : .stale))
            cache.store(body(asked, ttl: 0), for: asked, ttl: 0, now: after(wait + 1))
            #expect(cache.find(asked, now: after(wait + 1)) == nil, "the upstream is asked again")
            #expect(cache.hasStale(asked, now: after(wait + 1)) == (stale != .zero))
        }
    }

    @Test("TTLs in the answer count down")
    func countdown() throws {
        var cache = Cache()
        let asked = try question(1)
        cache.store(body(asked, ttl: 100), for: asked, ttl: 100, now: start)
        guard let found = cache.find(asked, now: after(42)) else {
            Issue.record("not found")
            return
        }
        #expect(found.body.resolution(of: asked, elapsed: found.elapsed).ttl == 58)
        // RFC 1035 §3.2.1: a TTL is a time, never below 0.
        #expect(found.body.resolution(of: asked, elapsed: 200).ttl == 0)
    }

    @Test("negatives are kept no longer than negativeTTLMax")  // RFC 2308 §5
    func negatives() throws {
        let asked = try question(1)
        for negative in [
            ResponseBody(question: asked, rcode: .nameError), ResponseBody(question: asked, rcode: .noError),
        ] {
            var cache = Cache(Cache.Settings(negativeTTLMax: .seconds(60)))
            cache.store(negative, for: asked, ttl: 3600, now: start)
            #expect(age(&cache, asked, after(59)) != nil)
            #expect(age(&cache, asked, after(60)) == nil)
            cache.store(negative, for: asked, ttl: 10, now: start)
            #expect(age(&cache, asked, after(10)) == nil)
            cache.adopt(Cache.Settings(negativeTTLMax: .zero))
            cache.store(negative, for: asked, ttl: 10, now: start)
            #expect(age(&cache, asked, start) == nil)
        }
        // A CNAME alone is a negative answer too: the name at its end has nothing.
        var target: [UInt8] = []
        target.append(name: .root)
        let link = ResourceRecord(owner: asked.name, type: .cname, ttl: 3600, octets: target)
        var cache = Cache()
        cache.store(
            ResponseBody(question: asked, rcode: .noError, answers: [link]), for: asked, ttl: 3600, now: start)
        #expect(age(&cache, asked, after(60)) == nil)
    }

    @Test("what is never kept: failures, TTL 0")
    func neverKept() throws {
        var cache = Cache()
        let asked = try question(1)
        cache.store(ResponseBody(question: asked, rcode: .serverFailure), for: asked, ttl: 100, now: start)
        cache.store(body(asked, ttl: 0), for: asked, ttl: 0, now: start)
        #expect(cache.count == 0)
        // A new answer that may not be kept takes the old one away.
        cache.store(body(asked, ttl: 9), for: asked, ttl: 9, now: start)
        cache.store(body(asked, ttl: 0), for: asked, ttl: 0, now: start)
        #expect(cache.count == 0 && cache.octetsInUse == 0)
    }

    @Test("no answer is kept longer than a week")  // RFC 8767 §4
    func week() throws {
        var cache = Cache()
        let asked = try question(1)
        cache.store(body(asked, ttl: 2_000_000), for: asked, ttl: 2_000_000, now: start)
        #expect(age(&cache, asked, after(7 * 86_400 - 1)) != nil)
        #expect(age(&cache, asked, after(7 * 86_400)) == nil)
    }

    @Test("what was not asked again goes first, and both bounds hold")
    func evictions() throws {
        let questions = try (0..<4).map(question)
        let one = Cache.entryOverhead + questions[0].name.wire.count + body(questions[0], ttl: 9).octets.count + 2
        var cache = Cache(Cache.Settings(octets: 3 * one))
        for asked in questions.prefix(3) { cache.store(body(asked, ttl: 9), for: asked, ttl: 9, now: start) }
        #expect(cache.octetsInUse == 3 * one)
        for _ in 0..<2 { _ = cache.find(questions[0], now: start) }
        cache.store(body(questions[3], ttl: 9), for: questions[3], ttl: 9, now: start)
        #expect(questions.map { age(&cache, $0, start) != nil } == [true, false, true, true])
        #expect(cache.evictions == 1)
        cache.adopt(Cache.Settings(octets: one))
        #expect(cache.count == 1 && cache.octetsInUse == one)
        var kept: Question?
        for asked in questions where age(&cache, asked, start) != nil { kept = asked }
        let left = try #require(kept)
        cache.store(body(questions[1], ttl: 9, octets: 4000), for: questions[1], ttl: 9, now: start)  // larger than all
        #expect(age(&cache, left, start) != nil)
        cache.store(body(left, ttl: 9, octets: 4000), for: left, ttl: 9, now: start)  // the old answer goes in any case
        #expect(cache.count == 0 && cache.octetsInUse == 0)
        cache = Cache(Cache.Settings(entries: 2))
        for asked in questions { cache.store(body(asked, ttl: 9), for: asked, ttl: 9, now: start) }
        #expect(cache.count == 2 && cache.evictions == 2)
        cache.removeAll()
        #expect(cache.count == 0 && cache.octetsInUse == 0 && cache.evictions == 2)
    }

    @Test("the bound holds under 100,000 insertions")
    func bound() throws {
        var random = SeededRandom(seed: 1)
        let limit = 1 << 20
        var cache = Cache(Cache.Settings(octets: limit))
        for number in 0..<100_000 {
            let asked = try question(Int.random(in: 0..<20_000, using: &random))
            let now = after(Int64(number / 100))
            if Bool.random(using: &random) {
                let size = Int.random(in: 1...400, using: &random)
                let ttl = UInt32.random(in: 0...600, using: &random)
                cache.store(body(asked, ttl: ttl, octets: size), for: asked, ttl: ttl, now: now)
            } else if let found = cache.find(asked, now: now) {
                #expect(found.body.resolution(of: asked, elapsed: 0).records.first?.owner == asked.name)
            }
            if cache.octetsInUse > limit { Issue.record("\(cache.octetsInUse) octets after \(number)") }
        }
        #expect(cache.octetsInUse > limit * 9 / 10)
        #expect(cache.octetsInUse >= cache.count * Cache.entryOverhead)
        cache.adopt(Cache.Settings(octets: 0))
        #expect(cache.count == 0 && cache.octetsInUse == 0)
    }

    @Test("a queue of places against an array")
    func placeList() {
        var random = SeededRandom(seed: 2)
        var list = PlaceList()
        var model: [Int] = []  // oldest first
        for _ in 0..<20_000 {
            let place = Int.random(in: 0..<50, using: &random)
            if let index = model.firstIndex(of: place) {
                model.remove(at: index)
                list.remove(place)
            } else {
                list.insert(place)
                model.append(place)
            }
            if list.oldest != model.first { Issue.record("\(String(describing: list.oldest)), not \(model)") }
        }
    }

    @Test("TTLs are raised to the floor and lowered to the ceiling, 0 is neither")  // RFC 8767 §4
    func ttlBounds() throws {
        let bounds = Cache.Bounds(ttlMin: .seconds(30), ttlMax: .seconds(600))
        let asked = try question(1)
        for (ttl, kept) in [(1, 30), (30, 30), (31, 31), (600, 600), (86_400, 600)] as [(UInt32, Int64)] {
            var cache = Cache()
            cache.store(body(asked, ttl: ttl), for: asked, ttl: ttl, now: start, bounds: bounds)
            #expect(age(&cache, asked, after(kept - 1)) != nil)
            #expect(age(&cache, asked, after(kept)) == nil)
            // What is told is the zone's TTL, but never more than the ceiling.
            let told = cache.find(asked, now: start)?.body.resolution(of: asked, elapsed: 0).ttl
            #expect(told == min(ttl, 600))
        }
        var cache = Cache()
        cache.store(body(asked, ttl: 0), for: asked, ttl: 0, now: start, bounds: bounds)
        #expect(cache.count == 0)
    }

    @Test("a failure is remembered for five seconds, and ends when an answer comes")  // RFC 9520 §3.2
    func failures() throws {
        var cache = Cache()
        let asked = try question(1)
        cache.fail(asked, now: start)
        let kept = cache.find(asked, now: start + .milliseconds(4999))
        let found = try #require(kept)
        #expect(found.source == .failure && found.body.rcode == .serverFailure)
        #expect(age(&cache, Question(asked.name, .a), start) == nil)  // §3.1: for the type that was asked
        #expect(age(&cache, asked, after(5)) == nil)
        cache.fail(asked, now: after(5))
        cache.store(body(asked, ttl: 9), for: asked, ttl: 9, now: after(6))
        #expect(cache.find(asked, now: after(6))?.source == .fresh)
        cache.fail(asked, now: after(7))  // what is fresh stays so
        #expect(cache.find(asked, now: after(7))?.source == .fresh)
        #expect(cache.find(asked, now: after(15)) == nil)
    }

    @Test("validated NXDOMAIN answers for all below, where the zone is a tree")  // RFC 8020 §2
    func cut() throws {
        let top = Question(try DomainName("example.test"), .txt)
        let below = Question(try DomainName("a.b.example.test"), .a)
        let beside = Question(try DomainName("an-example.test"), .a)
        let root = DomainName.root
        let soa = ResourceRecord(
            owner: root, type: .soa, ttl: 50, octets: [0, 0] + [UInt8](repeating: 0, count: 19) + [50])
        func nameError(_ isAuthenticated: Bool, links: [ResourceRecord] = []) -> ResponseBody {
            ResponseBody(
                question: top, rcode: .nameError, answers: links, authority: [soa], isAuthenticated: isAuthenticated)
        }
        var cache = Cache()
        cache.store(nameError(true), for: top, ttl: 50, now: start)
        let kept = cache.find(below, now: after(20))
        let found = try #require(kept)
        #expect(found.source == .cut && found.body.rcode == .nameError && found.body.isAuthenticated)
        let said = found.body.resolution(of: below, elapsed: found.elapsed)
        #expect(said.answer == .noSuchName && said.ttl == 30)
        #expect(cache.find(Question(top.name, .a), now: start)?.source == .cut)
        #expect(cache.find(beside, now: start) == nil)
        #expect(cache.find(Question(try DomainName("test"), .a), now: start) == nil)
        #expect(cache.find(below, now: after(50)) == nil)
        // An answer seen later ends it.
        cache.store(nameError(true), for: top, ttl: 50, now: start)
        cache.store(body(top, ttl: 9), for: top, ttl: 9, now: start)
        #expect(cache.find(below, now: start) == nil)
        cache.store(nameError(false), for: top, ttl: 50, now: start)  // not validated
        #expect(cache.find(below, now: start) == nil)
        cache.store(nameError(true), for: top, ttl: 50, now: start, bounds: Cache.Bounds(hasNXDOMAINCut: false))
        #expect(cache.find(below, now: start) == nil)
        var target: [UInt8] = []
        target.append(name: root)
        let link = ResourceRecord(owner: top.name, type: .cname, ttl: 50, octets: target)
        cache.store(nameError(true, links: [link]), for: top, ttl: 50, now: start)  // it is the target that is not there
        #expect(cache.find(below, now: start) == nil)
        // It goes with its entry.
        cache.store(nameError(true), for: top, ttl: 50, now: start)
        cache.adopt(Cache.Settings(octets: 0))
        #expect(cache.find(below, now: start) == nil)
    }
}
