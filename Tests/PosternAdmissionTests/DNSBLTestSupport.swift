// Lists and a resolver for tests of the judge of DNS lists and of their health.

import PosternDNS
import PosternMail
import Synchronization
import TestSupport

@testable import PosternAdmission

/// A list as a test writes it: `"zen.example", .client, [127, 0, 0, 2...11], 4`.
func list(
    _ zone: String, by: DNSBLSubject = .client, _ scores: [(ClosedRange<UInt8>, Int)] = [(2...11, 4)]
) throws -> DNSBLListSettings {
    DNSBLListSettings(
        zone: try DomainName(zone), by: by,
        scores: scores.map { last, score in
            DNSBLScore(answers: AnswerPattern(octets: [[127...127], [0...0], [0...1], [last]]), score: score)
        })
}

func dnsblSettings(
    _ lists: [DNSBLListSettings], reject: Int? = 4, `defer`: Int? = nil, tellsReason: Bool = false, shadow: Bool = false
) -> DNSBLSettings {
    DNSBLSettings(
        rejectScore: reject, deferScore: `defer`, budget: .seconds(3), tellsReason: tellsReason, shadow: shadow,
        lists: lists)
}

/// A well whose answers come one after the other, in an order of the test's, and whose zone can change.
final class ChangingWell: DNSAnswering, Sendable {
    private struct State {
        var zone: ZoneResolver
        /// Names in the order in which their answers come; others come first.
        var slow: [DomainName] = []
        var waitedFor: [[Question]] = []
        var asked: [Question] = []
    }
    private let state: Mutex<State>

    init(_ zone: String = "", failing: [String] = []) throws {
        state = Mutex(State(zone: try Self.resolver(zone, failing)))
    }

    private static func resolver(_ zone: String, _ failing: [String]) throws -> ZoneResolver {
        try ZoneResolver(zone: zone, failing: Set(try failing.map { try DomainName($0) }))
    }

    func change(_ zone: String, failing: [String] = []) throws {
        let next = try Self.resolver(zone, failing)
        state.withLock { $0.zone = next }
    }

    func slowDown(_ names: [String]) throws {
        let slow = try names.map { try DomainName($0) }
        state.withLock { $0.slow = slow }
    }

    var asked: [Question] { state.withLock { $0.asked } }
    var askedNames: [String] { asked.map { "\($0.name)" } }
    /// Batches that were asked.
    var batches: Int { state.withLock { $0.waitedFor.count } }
    func forget() { state.withLock { ($0.asked, $0.waitedFor) = ([], []) } }

    func answers(to questions: [Question]) -> [Answer] {
        state.withLock { state in
            state.asked += questions
            state.waitedFor.append(questions)
            return state.zone.answers(to: questions)
        }
    }

    func answers(to questions: [Question], within limit: Duration, until isEnough: ([Answer?]) -> Bool) -> [Answer?] {
        let all = answers(to: questions)
        let slow = state.withLock { $0.slow }
        func rank(_ index: Int) -> Int { slow.firstIndex(of: questions[index].name).map { $0 + 1 } ?? 0 }
        var known = [Answer?](repeating: nil, count: questions.count)
        for round in 0...slow.count {
            for index in questions.indices where rank(index) == round { known[index] = all[index] }
            if known.contains(nil), isEnough(known) { break }
        }
        return known
    }

    func prefetch(_ questions: [Question]) {}
}

/// Test entries of lists that work. Source: RFC 5782 §5.
func testEntries(_ zones: String...) -> String {
    zones.map { "2.0.0.127.\($0). A 127.0.0.2\n" }.joined()
}

let noon = UnixTime(seconds: 1_790_000_000)
