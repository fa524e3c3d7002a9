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
        #expect(cache.count == 0 && cache.octetsInUse == 0)
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

    @Test("the least recently used goes first")
    func leastRecentlyUsed() throws {
        let questions = try (0..<4).map(question)
        let one = Cache.entryOverhead + questions[0].name.wire.count + body(questions[0], ttl: 9).octets.count + 2
        var cache = Cache(Cache.Settings(octets: 3 * one))
        for asked in questions.prefix(3) { cache.store(body(asked, ttl: 9), for: asked, ttl: 9, now: start) }
        #expect(cache.octetsInUse == 3 * one)
        _ = cache.find(questions[0], now: start)
        cache.store(body(questions[3], ttl: 9), for: questions[3], ttl: 9, now: start)
        var left = questions.map { age(&cache, $0, start) != nil }
        #expect(left == [true, false, true, true])
        #expect(cache.evictions == 1)
        cache.adopt(Cache.Settings(octets: one))
        left = questions.map { age(&cache, $0, start) != nil }
        #expect(left == [false, false, false, true])
        cache.store(body(questions[0], ttl: 9, octets: 4000), for: questions[0], ttl: 9, now: start)  // larger than all
        #expect(cache.count == 1)
        cache.removeAll()
        #expect(cache.count == 0 && cache.octetsInUse == 0 && cache.evictions == 3)
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

    @Test("recency against a list")
    func recency() {
        var random = SeededRandom(seed: 2)
        var recency = Recency()
        var model: [Int] = []  // oldest first
        for _ in 0..<20_000 {
            let place = Int.random(in: 0..<50, using: &random)
            if let index = model.firstIndex(of: place) {
                model.remove(at: index)
                if Bool.random(using: &random) {
                    recency.touch(place)
                    model.append(place)
                } else {
                    recency.remove(place)
                }
            } else {
                recency.insert(place)
                model.append(place)
            }
            if recency.oldest != model.first { Issue.record("\(String(describing: recency.oldest)), not \(model)") }
        }
    }
}
