// How many messages are between MAIL and their verdict: what a daemon waits for before it stops. And how many are being
// judged right now: what must not grow without end, since each of them holds a thread.

import Synchronization

/// A counter that all sessions share.
public final class OpenTransactions: Sendable {
    private let count = Atomic<Int>(0)

    public init() {}

    func begin() { count.add(1, ordering: .relaxed) }
    func end() { count.subtract(1, ordering: .relaxed) }

    /// Messages open right now.
    public var current: Int { count.load(ordering: .relaxed) }
}

/// A bound on what is done at once. Nobody waits: who finds no room is told so.
final class InFlight: Sendable {
    private let count = Atomic<Int>(0)
    private let ended = Atomic<Int>(0)
    let limit: Int

    init(limit: Int) { self.limit = limit }

    /// - Returns: false when there is no room; otherwise `leave` is owed.
    func enter() -> Bool {
        let (_, new) = count.add(1, ordering: .relaxed)
        if new <= limit { return true }
        count.subtract(1, ordering: .relaxed)
        return false
    }
    func leave() {
        count.subtract(1, ordering: .relaxed)
        ended.add(1, ordering: .relaxed)
    }

    /// How many began so far, and how many of them have ended.
    var totals: (begun: Int, ended: Int) {
        let ended = ended.load(ordering: .relaxed)
        return (ended + count.load(ordering: .relaxed), ended)
    }
}
