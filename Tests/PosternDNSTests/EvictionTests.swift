import PosternMail
import TestSupport
import Testing

@testable import PosternDNS

/// The questions of a mail host: a few names again and again, most names once.
private struct Trace: Sequence, IteratorProtocol {
    /// A hot name's number by Zipf's law, or a new number.
    enum Name {
        case hot(Int)
        case once(Int)
    }
    private var random: SeededRandom
    private var sums: [Double] = []
    private var left: Int
    private let onceShare: Double

    /// - Parameter onceShare: the share of questions whose name is asked once.
    init(hotNames: Int, onceShare: Double, count: Int, seed: UInt64) {
        random = SeededRandom(seed: seed)
        left = count
        self.onceShare = onceShare
        var sum = 0.0
        for rank in 1...hotNames {
            sum += 1 / Double(rank)
            sums.append(sum)
        }
    }

    mutating func next() -> Name? {
        guard left > 0 else { return nil }
        left -= 1
        if Double.random(in: 0..<1, using: &random) < onceShare { return .once(left) }
        let point = Double.random(in: 0..<(sums.last ?? 1), using: &random)
        var (low, high) = (0, sums.count - 1)
        while low < high {
            let middle = (low + high) / 2
            if sums[middle] > point { high = middle } else { low = middle + 1 }
        }
        return .hot(low)
    }
}

/// What the cache is measured against: least recently used goes first.
private struct LRU {
    private var list = PlaceList()
    private var places: [Int: Int] = [:]
    private var names: [Int] = []
    private let capacity: Int
    init(capacity: Int) { self.capacity = capacity }

    mutating func ask(_ name: Int) -> Bool {
        if let place = places[name] {
            list.remove(place)
            list.insert(place)
            return true
        }
        let place: Int
        if names.count < capacity {
            place = names.count
            names.append(name)
        } else {
            guard let oldest = list.oldest else { return false }
            place = oldest
            list.remove(place)
            places[names[place]] = nil
            names[place] = name
        }
        places[name] = place
        list.insert(place)
        return false
    }
}

@Suite("eviction")
struct EvictionTests {
    /// Hit rates of hot names for LRU and for the queues, over the second half of a trace.
    private func hitRates(entries: Int, onceShare: Double, hotNames: Int) -> (lru: Double, queues: Double) {
        let count = 120_000
        let now = UnixTime(seconds: 1_000_000)
        let name = try? DomainName("x")  // it is one
        var lru = LRU(capacity: entries)
        var cache = Cache(Cache.Settings(octets: 1 << 30, entries: entries))
        var (asked, lruHits, queueHits) = (0.0, 0.0, 0.0)
        for (step, asking) in Trace(hotNames: hotNames, onceShare: onceShare, count: count, seed: 4).enumerated() {
            let number =
                switch asking {
                case .hot(let rank): rank
                case .once(let serial): hotNames + serial
                }
            guard let owner = try? name?.prefixed("n\(number)") else { continue }
            let question = Question(owner, .a)
            let lruHit = lru.ask(number)
            let queueHit = cache.find(question, now: now) != nil
            if !queueHit { cache.store(Self.body(question), for: question, ttl: 86_400, now: now) }
            guard case .hot = asking, step > count / 2 else { continue }
            asked += 1
            if lruHit { lruHits += 1 }
            if queueHit { queueHits += 1 }
        }
        return (lruHits / asked, queueHits / asked)
    }

    private static func body(_ question: Question) -> ResponseBody {
        ResponseBody(
            question: question, rcode: .noError,
            answers: [ResourceRecord(owner: question.name, type: .a, ttl: 86_400, octets: [127, 0, 0, 2])])
    }

    @Test("nine names in ten asked once: the hot ones stay, where LRU loses them")
    func oneTimeNames() {
        // 2000 hot names by Zipf's law; room for 400.
        let small = hitRates(entries: 400, onceShare: 0.9, hotNames: 2000)
        #expect(small.queues > small.lru + 0.2, "\(small)")
        #expect(small.queues > 0.70, "\(small)")
        // Room for all hot names, and no more.
        let large = hitRates(entries: 2000, onceShare: 0.9, hotNames: 2000)
        #expect(large.queues > large.lru + 0.15, "\(large)")
        #expect(large.queues > 0.85, "\(large)")
    }

    @Test("without one-time names it is no worse than LRU")
    func noOneTimeNames() {
        let rates = hitRates(entries: 400, onceShare: 0, hotNames: 2000)
        #expect(rates.queues > rates.lru, "\(rates)")
    }

    @Test("a name that comes back soon after it left is asked again: it goes to the main queue")
    func comesBack() {
        var queues = EvictionQueues(octets: 1 << 20)
        queues.insert(0, octets: 10, hash: 77)
        #expect(queues.evict() == 0)
        queues.insert(0, octets: 10, hash: 77)
        for place in 1...9 { queues.insert(place, octets: 10, hash: place << 20) }
        for place in 1...8 { #expect(queues.evict() == place) }  // the newcomers go, though they came later
        #expect(queues.evict() == 9)
        #expect(queues.evict() == 0)
        #expect(queues.evict() == nil)
    }

    @Test("uses buy rounds in the main queue, three at most")
    func rounds() {
        var queues = EvictionQueues(octets: 1 << 20)
        for place in 0..<3 { queues.insert(place, octets: 10, hash: place << 20) }
        for _ in 0..<2 { queues.use(0) }
        #expect(queues.evict() == 1)  // 0 went to the main queue
        for _ in 0..<100 { queues.use(0) }
        queues.resize(2, octets: 1)  // the small queue has less than its share now
        #expect(queues.evict() == 0)  // after its three rounds alone
        #expect(queues.evict() == 2)
    }
}
