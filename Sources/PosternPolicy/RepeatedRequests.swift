// Answers that were given, so that a repeat of a request is answered alike and charged once. Postfix repeats a request
// when several restriction lists name the service, when a client names a recipient twice, and on a new connection when
// the old one broke or was too slow: so all connections share this memory. It is bounded, and holds no stranger's text
// but in answers. Only in memory: after a restart a repeat is judged again.

import Dispatch
import PosternMail
import PosternSocket
import Synchronization

/// What makes two requests the same: instance, policy_context, stage and recipient. Client and sender are the same in
/// all requests of an instance; they are looked at as well, so that a test client which always says the same instance
/// is not told what another one was.
struct RequestIdentity: Hashable, Sendable {
    // 128 bits of SipHash with this process's random key, since the texts may be long: nobody can aim at another's.
    let first: Int
    private let second: Int

    /// - Returns: nil for a request without instance, which is never a repeat.
    init?(_ request: PolicyRequest) {
        guard !request[.instance].isEmpty else { return nil }
        func digest(_ salt: Int) -> Int {
            var hasher = Hasher()
            hasher.combine(salt)
            hasher.combine(request.stage)
            for attribute in [PolicyAttribute.instance, .policyContext, .recipient, .clientAddress, .sender] {
                hasher.combine(request[attribute])
            }
            return hasher.finalize()
        }
        first = digest(1)
        second = digest(2)
    }
}

final class RepeatedRequests<Answer: Sendable>: Sendable {
    /// How the answer to a request was found.
    enum Told {
        /// By judging it, now.
        case judged(Answer)
        /// It is what was answered before.
        case repeated(Answer)
        /// There was no room to judge it, neither now nor when it first came.
        case unjudged
        /// Somebody judges it still, and the wait is over.
        case stillJudged
    }

    private struct State {
        /// Requests that somebody judges now; as many as there are threads for it at most.
        /// Most are nobody's to wait for, and then there is nothing to wait at.
        var pending: [RequestIdentity: Pending?] = [:]
        /// Two generations of answers: the older one is forgotten as a whole.
        var young: [RequestIdentity: Answer] = [:]
        var old: [RequestIdentity: Answer] = [:]
        var youngBegan: MonotonicTime?

        /// - Returns: what is forgotten; to be let go of without the lock, since it may be thousands of texts.
        mutating func turn(_ now: MonotonicTime) -> [RequestIdentity: Answer] {
            defer {
                old = young
                young = [:]
                youngBegan = now
            }
            return old
        }

        /// - Returns: likewise.
        mutating func grow(older age: Duration, _ now: MonotonicTime) -> [[RequestIdentity: Answer]] {
            guard let began = youngBegan else {
                youngBegan = now
                return []
            }
            let passed = now - began
            var forgotten = passed >= age ? [turn(now)] : []
            if passed >= age * 2 {
                forgotten.append(old)
                old = [:]
            }
            return forgotten
        }
    }

    /// A part of the memory with a lock of its own: threads that waited for one another at a single one were measured
    /// to take ten times the processor's time of the work itself.
    private final class Part: Sendable {
        let state = ShortLock(State())
    }

    /// A request that somebody judges.
    private final class Pending: Sendable {
        let answer = Mutex<Answer?>(nil)
        let isOver = DispatchSemaphore(value: 0)
    }

    private enum Found {
        case answer(Answer)
        /// Somebody judges it.
        case pending(Pending)
        /// It is ours to judge.
        case nothing
    }

    private let parts: [Part]
    /// Of one part.
    private let capacity: Int
    private let age: Duration

    /// - Parameter capacity: most answers that are remembered; about half as many are at least.
    /// - Parameter age: how long they are remembered at least, while there is room; at most twice as long.
    /// - Parameter parts: into how many it is divided, so that threads seldom meet.
    init(capacity: Int, age: Duration, parts: Int) {
        precondition(parts >= 1 && capacity >= 2 * parts)
        self.parts = (0..<parts).map { _ in Part() }
        self.capacity = capacity / parts
        self.age = age
    }

    /// Answers a request.
    ///
    /// The same request may come twice at once, as when Postfix has lost patience with the first: the second waits for
    /// the first one's answer and is not judged, so that nothing is charged twice.
    /// - Parameter limit: how long to wait for another's answer.
    /// - Parameter judge: nil when it cannot be judged now; then nothing is remembered.
    func answer(
        to identity: RequestIdentity, now: MonotonicTime, waitingAtMost limit: Duration, judge: () -> Answer?
    ) -> Told {
        let part = parts[Int(identity.first.magnitude % UInt(parts.count))]
        let (found, _) = part.state.withLock { state -> (Found, [[RequestIdentity: Answer]]) in
            let forgotten = state.grow(older: age, now)
            if let answer = state.young[identity] ?? state.old[identity] { return (.answer(answer), forgotten) }
            guard let pending = state.pending[identity] else {
                state.pending[identity] = .some(nil)
                return (.nothing, forgotten)
            }
            let awaited = pending ?? Pending()
            state.pending[identity] = awaited
            return (.pending(awaited), forgotten)
        }
        switch found {
        case .answer(let answer): return .repeated(answer)
        case .pending(let pending):
            let nanoseconds = Int(clamping: limit.nanoseconds)
            guard pending.isOver.wait(timeout: .now() + .nanoseconds(nanoseconds)) == .success else {
                return .stillJudged
            }
            pending.isOver.signal()  // for whoever else waits
            return pending.answer.withLock { $0 }.map(Told.repeated) ?? .unjudged
        case .nothing:
            let answer = judge()
            let (awaited, _) = part.state.withLock { state -> (Pending?, [RequestIdentity: Answer]) in
                let awaited = state.pending.removeValue(forKey: identity) ?? nil
                guard let answer else { return (awaited, [:]) }
                let forgotten = state.young.count >= capacity / 2 ? state.turn(now) : [:]
                state.young[identity] = answer
                return (awaited, forgotten)
            }
            awaited?.answer.withLock { $0 = answer }
            awaited?.isOver.signal()
            return answer.map(Told.judged) ?? .unjudged
        }
    }

    /// Answers that are remembered.
    var count: Int { parts.reduce(0) { $0 + $1.state.withLock { $0.young.count + $0.old.count } } }
}
