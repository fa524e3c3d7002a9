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
    private let first: Int
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
        var pending: [RequestIdentity: Pending] = [:]
        /// Two generations of answers: the older one is forgotten as a whole.
        var young: [RequestIdentity: Answer] = [:]
        var old: [RequestIdentity: Answer] = [:]
        var youngBegan: MonotonicTime?
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
        case nothing(Pending)
    }

    private let capacity: Int
    private let age: Duration
    private let state = Mutex(State())

    /// - Parameter capacity: most answers that are remembered; at least half as many are.
    /// - Parameter age: how long they are remembered at least, while there is room; at most twice as long.
    init(capacity: Int, age: Duration) {
        precondition(capacity >= 2)
        self.capacity = capacity
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
        let found: Found = state.withLock { state in
            age(&state, now)
            if let answer = state.young[identity] ?? state.old[identity] { return .answer(answer) }
            if let pending = state.pending[identity] { return .pending(pending) }
            let pending = Pending()
            state.pending[identity] = pending
            return .nothing(pending)
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
        case .nothing(let pending):
            let answer = judge()
            pending.answer.withLock { $0 = answer }
            state.withLock { state in
                state.pending[identity] = nil
                guard let answer else { return }
                if state.young.count >= capacity / 2 { turn(&state, now) }
                state.young[identity] = answer
            }
            pending.isOver.signal()
            return answer.map(Told.judged) ?? .unjudged
        }
    }

    /// Answers that are remembered.
    var count: Int { state.withLock { $0.young.count + $0.old.count } }

    private func age(_ state: inout State, _ now: MonotonicTime) {
        guard let began = state.youngBegan else {
            state.youngBegan = now
            return
        }
        let passed = now - began
        if passed >= age { turn(&state, now) }
        if passed >= age * 2 { state.old = [:] }
    }

    private func turn(_ state: inout State, _ now: MonotonicTime) {
        state.old = state.young
        state.young = [:]
        state.youngBegan = now
    }
}
