// How many messages are between MAIL and their verdict: what a daemon waits for before it stops.

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
