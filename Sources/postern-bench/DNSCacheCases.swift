// The DNS cache alone: what a question costs in it, and which share of the hot names it still has while nine questions
// in ten are for names that are asked once (DNS lists), beside a cache where the least recently used goes first.

import Foundation
import Glibc
import PosternDNS
import PosternMail
import TestSupport

/// The questions of a mail host, made before anything is measured.
struct DNSTrace {
    let questions: [Question]
    /// Which of them are for names that are asked again and again.
    let isHot: [Bool]

    static let hotNames = 20_000

    init(count: Int, onceShare: Double, seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var sum = 0.0
        let sums = (1...Self.hotNames).map { rank in
            sum += 1 / Double(rank)  // Zipf's law
            return sum
        }
        var questions: [Question] = []
        var isHot: [Bool] = []
        for serial in 0..<count {
            if Double.random(in: 0..<1, using: &random) < onceShare {
                let text = "\(serial % 256).\(serial / 256 % 256).\(serial / 65_536).192.dnsbl.example"
                questions.append(Question(try DomainName(text), .a))
                isHot.append(false)
            } else {
                let point = Double.random(in: 0..<sum, using: &random)
                var (low, high) = (0, sums.count - 1)
                while low < high {
                    let middle = (low + high) / 2
                    if sums[middle] > point { high = middle } else { low = middle + 1 }
                }
                questions.append(Question(try DomainName("_dmarc.d\(low).example"), .txt))
                isHot.append(true)
            }
        }
        (self.questions, self.isHot) = (questions, isHot)
    }
}

/// Least recently used goes first: what the cache is measured against.
private struct RecentCache {
    private var places: [Question: Int] = [:]
    private var entries: [(question: Question, newer: Int, older: Int)] = []
    private var (first, last) = (-1, -1)
    private let capacity: Int
    init(capacity: Int) { self.capacity = capacity }

    mutating func ask(_ question: Question) -> Bool {
        if let place = places[question] {
            unlink(place)
            link(place)
            return true
        }
        if entries.count < capacity {
            entries.append((question, -1, -1))
            link(entries.count - 1)
            places[question] = entries.count - 1
        } else {
            let place = last
            unlink(place)
            places[entries[place].question] = nil
            entries[place].question = question
            link(place)
            places[question] = place
        }
        return false
    }

    private mutating func link(_ place: Int) {
        (entries[place].newer, entries[place].older) = (-1, first)
        if first >= 0 { entries[first].newer = place } else { last = place }
        first = place
    }
    private mutating func unlink(_ place: Int) {
        let (_, newer, older) = entries[place]
        if newer >= 0 { entries[newer].older = older } else { first = older }
        if older >= 0 { entries[older].newer = newer } else { last = newer }
    }
}

enum DNSCacheCases {
    private static let now = Cases.now

    static func all() throws -> [BenchCase] {
        [
            BenchCase(name: "dns-cache/hit", about: "a question answered from a cache of 20,000 names") {
                let trace = try DNSTrace(count: 20_000, onceShare: 0, seed: 1)
                var cache = Cache(Cache.Settings())
                for question in trace.questions { store(question, in: &cache) }
                return try Measurement.of(operations: trace.questions.count) {
                    for question in trace.questions where cache.find(question, now: now) == nil {
                        throw BenchError.wrongResult("\(question) is not in the cache")
                    }
                }
            },
            BenchCase(name: "dns-cache/full", about: "find and store in a full cache, nine names in ten new") {
                let trace = try DNSTrace(count: 400_000, onceShare: 0.9, seed: 2)
                return Measurement.of(operations: trace.questions.count) {
                    var cache = Cache(Cache.Settings(entries: 20_000))
                    for question in trace.questions where cache.find(question, now: now) == nil {
                        store(question, in: &cache)
                    }
                }
            },
        ]
    }

    private static func store(_ question: Question, in cache: inout Cache) {
        cache.store(answer(to: question), for: question, ttl: 86_400, now: now)
    }
    private static func answer(to question: Question) -> ResponseBody {
        let record = ResourceRecord(owner: question.name, type: question.type, ttl: 86_400, octets: [3, 97, 98, 99])
        return ResponseBody(question: question, rcode: .noError, answers: [record])
    }

    /// Prints what a million names take, by the cache's count and by the kernel's.
    static func printMemory() throws {
        let count = 1_000_000
        let before = ProcessAccount.residentKiB(getpid()) ?? 0
        var cache = Cache(Cache.Settings(octets: 1 << 40, entries: count))
        for number in 0..<count {
            store(Question(try DomainName("_dmarc.d\(number).example"), .txt), in: &cache)
        }
        let resident = (ProcessAccount.residentKiB(getpid()) ?? 0) - before
        print("\(cache.count) names: \(cache.octetsInUse >> 20) MiB counted, \(resident >> 10) MiB resident")
    }

    /// Prints hit rates of the hot names.
    static func printHitRates() throws {
        let trace = try DNSTrace(count: 2_000_000, onceShare: 0.9, seed: 3)
        print("2,000,000 questions, 90 % of them for names asked once; \(DNSTrace.hotNames) hot names by Zipf's law")
        print("entries   hot names found, LRU   postern-dns")
        for entries in [1000, 2000, 5000, 10_000, 20_000, 50_000] {
            var recent = RecentCache(capacity: entries)
            var cache = Cache(Cache.Settings(octets: 1 << 30, entries: entries))
            var (asked, recentHits, hits) = (0.0, 0.0, 0.0)
            for (step, question) in trace.questions.enumerated() {
                let isRecent = recent.ask(question)
                let isKept = cache.find(question, now: now) != nil
                if !isKept { store(question, in: &cache) }
                guard trace.isHot[step], step > trace.questions.count / 2 else { continue }
                asked += 1
                if isRecent { recentHits += 1 }
                if isKept { hits += 1 }
            }
            print(
                String(
                    format: "%-9d %-22.1f %.1f", entries, 100 * recentHits / asked, 100 * hits / asked))
        }
    }
}
