// What the forwarder remembers of one upstream: whether it lately replied, and when it was last warned about.

import PosternDNS
import PosternMail

/// An upstream and its health. Used on the event loop alone.
final class UpstreamState {
    let upstream: Upstream
    /// Timeouts since the last reply.
    private var timeouts = 0
    private var demotedUntil: UnixTime?
    private var nextWarning: UnixTime?

    /// So many timeouts in a row, and an upstream is asked after all others for a while.
    static let timeoutsBeforeDemotion = 2
    static let demotion = Duration.seconds(10)
    /// Shortest time between two warnings about one upstream.
    static let warningInterval = Duration.seconds(60)

    init(_ upstream: Upstream) { self.upstream = upstream }

    func replied() {
        timeouts = 0
        demotedUntil = nil
    }

    func timedOut(now: UnixTime) {
        timeouts += 1
        if timeouts >= Self.timeoutsBeforeDemotion { demotedUntil = now + Self.demotion }
    }

    func isDemoted(now: UnixTime) -> Bool { demotedUntil.map { now < $0 } ?? false }

    /// Whether a warning may be written now; true at most once in the interval.
    func mayWarn(now: UnixTime) -> Bool {
        if let nextWarning, now < nextWarning { return false }
        nextWarning = now + Self.warningInterval
        return true
    }

    /// In which order upstreams are asked for one question: those that reply before those that lately did not, all of
    /// them `passes` times, since a datagram may simply have been lost.
    static func plan(_ all: [UpstreamState], now: UnixTime) -> ArraySlice<UpstreamState> {
        let order = all.filter { !$0.isDemoted(now: now) } + all.filter { $0.isDemoted(now: now) }
        return Array(repeating: order, count: passes).flatMap { $0 }.prefix(maxTries)
    }
    static let passes = 2
    /// Most tries for one question: after nine seconds no client of ours is still waiting (DESIGN §2: budgets).
    static let maxTries = 6
}

extension Duration {
    /// `1.5s`, `2s`, `50ms`.
    var shortText: String {
        let milliseconds = nanoseconds / 1_000_000
        if milliseconds < 1000 { return "\(milliseconds)ms" }
        let (whole, tenths) = (milliseconds / 1000, milliseconds % 1000 / 100)
        return tenths == 0 ? "\(whole)s" : "\(whole).\(tenths)s"
    }
}
