// What counts as a repeat, how long it does, and that nothing is judged twice.

import Dispatch
import Foundation
import PosternMail
import PosternSocket
import Synchronization
import TestSupport
import Testing

@testable import PosternPolicy

private func request(_ query: PolicyQuery) throws -> PolicyRequest {
    var parser = PolicyRequestParser()
    parser.append(query.octets)
    return try #require(try parser.next())
}
private func identity(_ query: PolicyQuery) throws -> RequestIdentity {
    try #require(RequestIdentity(try request(query)))
}

private func at(_ seconds: Int64) -> MonotonicTime { MonotonicTime(nanoseconds: 1_000_000_000 * (1_000_000 + seconds)) }

@Suite("repeated requests")
struct RepeatedRequestsTests {
    private static let base = PolicyQuery(instance: "1a2b.5f.3c.0")

    struct Row: Sendable, CustomTestStringConvertible {
        let rule: String
        let other: PolicyQuery
        let isRepeat: Bool
        var testDescription: String { rule }
    }
    static let rows = [
        Row(rule: "the same again", other: base, isRepeat: true),
        Row(rule: "another instance", other: base.with("instance", "1a2b.5f.3c.1"), isRepeat: false),
        Row(rule: "another policy_context", other: base.with("policy_context", "submission"), isRepeat: false),
        Row(rule: "another stage", other: base.with("protocol_state", "DATA"), isRepeat: false),
        Row(rule: "another recipient", other: base.with("recipient", "cy@example.org"), isRepeat: false),
        Row(rule: "a recipient of another case", other: base.with("recipient", "Bo@example.org"), isRepeat: false),
        Row(rule: "another client", other: base.with("client_address", "192.0.2.8"), isRepeat: false),
        Row(rule: "another sender", other: base.with("sender", ""), isRepeat: false),
        // The first recipient brings the queue id; the size is what MAIL said.
        Row(rule: "with a queue id now", other: base.with("queue_id", "4cXk2J1hz"), isRepeat: true),
        Row(rule: "with another size", other: base.with("size", "1"), isRepeat: true),
    ]

    @Test("what makes two requests the same", arguments: rows)
    func identities(row: Row) throws {
        #expect((try identity(Self.base) == identity(row.other)) == row.isRepeat)
    }

    @Test("texts do not run into each other")
    func boundaries() throws {
        let one = try identity(Self.base.with("instance", "ab").with("policy_context", "c"))
        #expect(try one != identity(Self.base.with("instance", "a").with("policy_context", "bc")))
    }

    @Test("a request before MAIL is never a repeat")
    func noInstance() throws { #expect(RequestIdentity(try request(PolicyQuery(instance: ""))) == nil) }

    /// The answers to a request over time, each by a judge that counts.
    private final class Asked: Sendable {
        let repeats: RepeatedRequests<Int>
        let judged = Atomic<Int>(0)
        init(capacity: Int = 100, age: Duration = .seconds(300), parts: Int = 1) {
            repeats = RepeatedRequests(capacity: capacity, age: age, parts: parts)
        }
        func ask(_ identity: RequestIdentity, at time: MonotonicTime) -> Int? {
            let told = repeats.answer(to: identity, now: time, waitingAtMost: .seconds(60)) {
                judged.add(1, ordering: .relaxed).newValue
            }
            return switch told {
            case .judged(let answer), .repeated(let answer): answer
            case .unjudged, .stillJudged: nil
            }
        }
    }

    @Test("an answer is remembered for its age and forgotten by twice of it")
    func age() throws {
        let (one, two) = (try identity(Self.base), try identity(Self.base.with("instance", "2")))
        let asked = Asked()
        #expect(asked.ask(one, at: at(0)) == 1)
        #expect(asked.ask(one, at: at(299)) == 1)
        #expect(asked.ask(two, at: at(299)) == 2)
        #expect(asked.ask(one, at: at(301)) == 1)
        #expect(asked.ask(two, at: at(598)) == 2)
        #expect(asked.ask(one, at: at(602)) == 3)
        #expect(asked.ask(one, at: at(2000)) == 4)
        #expect(asked.repeats.count == 1)
    }

    @Test("a clock that stands still or is behind forgets nothing")
    func clock() throws {
        let one = try identity(Self.base)
        let asked = Asked()
        #expect(asked.ask(one, at: at(100)) == 1)
        #expect(asked.ask(one, at: at(100)) == 1)
        #expect(asked.ask(one, at: at(0)) == 1)
    }

    @Test("memory is bounded; the newest half is kept")
    func bound() throws {
        let identities = try (0..<1000).map { try identity(Self.base.with("instance", "\($0)")) }
        let asked = Asked(capacity: 100)
        for (number, one) in identities.enumerated() {
            #expect(asked.ask(one, at: at(0)) == number + 1)
            #expect(asked.repeats.count <= 100)
        }
        for (number, one) in identities.enumerated().suffix(50) { #expect(asked.ask(one, at: at(0)) == number + 1) }
        #expect(asked.judged.load(ordering: .relaxed) == 1000)
    }

    @Test("in parts it is as bounded, and remembers as well")
    func parts() throws {
        let identities = try (0..<2000).map { try identity(Self.base.with("instance", "\($0)")) }
        let asked = Asked(capacity: 320, parts: 32)
        for (number, one) in identities.enumerated() {
            #expect(asked.ask(one, at: at(0)) == number + 1)
            #expect(asked.ask(one, at: at(0)) == number + 1)
            #expect(asked.repeats.count <= 320)
        }
        #expect(asked.repeats.count > 100)
    }

    @Test("what could not be judged is judged when it comes again")
    func noRoom() throws {
        let one = try identity(Self.base)
        let repeats = RepeatedRequests<Int>(capacity: 10, age: .seconds(1), parts: 5)
        guard case .unjudged = repeats.answer(to: one, now: at(0), waitingAtMost: .zero, judge: { nil }) else {
            Issue.record("an answer without a judge")
            return
        }
        guard case .judged(7) = repeats.answer(to: one, now: at(0), waitingAtMost: .zero, judge: { 7 }) else {
            Issue.record("not judged")
            return
        }
    }

    @Test("the same request from many threads at once is judged once")
    func atOnce() throws {
        let one = try identity(Self.base)
        let asked = Asked()
        let answers = Mutex<[Int?]>([])
        DispatchQueue.concurrentPerform(iterations: 64) { _ in
            let answer = asked.ask(one, at: at(0))
            answers.withLock { $0.append(answer) }
        }
        #expect(answers.withLock { $0 } == Array(repeating: 1, count: 64))
    }

    @Test("a repeat waits for the answer to the first, and no longer than it may")
    func waits() throws {
        let one = try identity(Self.base)
        let repeats = RepeatedRequests<Int>(capacity: 10, age: .seconds(60), parts: 1)
        let (begun, goOn, ended) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0), DispatchGroup())
        func ask(_ limit: Duration, _ judge: () -> Int?) -> RepeatedRequests<Int>.Told {
            repeats.answer(to: one, now: at(0), waitingAtMost: limit, judge: judge)
        }
        ended.enter()
        Thread.detachNewThread {
            _ = repeats.answer(to: one, now: at(0), waitingAtMost: .zero) {
                begun.signal()
                goOn.wait()
                return 5
            }
            ended.leave()
        }
        begun.wait()
        guard case .stillJudged = ask(.zero, { 6 }) else {
            Issue.record("a second one was judged")
            return
        }
        let waiting = Mutex<[Int]>([])
        for _ in 0..<3 {
            ended.enter()
            Thread.detachNewThread {
                if case .repeated(let answer) = repeats.answer(
                    to: one, now: at(0), waitingAtMost: .seconds(60), judge: { 7 })
                {
                    waiting.withLock { $0.append(answer) }
                }
                ended.leave()
            }
        }
        goOn.signal()
        ended.wait()
        #expect(waiting.withLock { $0 } == [5, 5, 5])
    }
}
