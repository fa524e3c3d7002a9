// What the forwarder remembers of one upstream: how long its replies take, whether it is there at all, what it speaks
// (EDNS, cookies), the TCP connection to it, and when it was last warned about.

import PosternDNS
import PosternMail

/// An upstream and its health. Used on the event loop alone.
final class UpstreamState {
    let upstream: Upstream
    /// Smoothed round-trip time; what was not measured yet is taken for slow.
    private(set) var roundTrip = unmeasured
    private var isMeasured = false
    /// Times in a row that it was silent.
    private var silences = 0
    /// It is left, and tried again at this time.
    private var retryAt: UnixTime?
    private var backoff = firstBackoff
    /// A probe is under way.
    var isProbed = false
    private var nextWarning: UnixTime?
    /// Queries sent to it, and those without an answer of use.
    var queries: UInt64 = 0
    var failures: UInt64 = 0
    /// The connection that questions over TCP share.
    var stream: UpstreamStream?
    /// It is this very process: never asked again.
    private(set) var isSelf = false
    private var cookies: UpstreamCookies?
    private(set) var hasShownEDNS = false
    /// It does not take queries with an OPT record, as far as we know; until then.
    private var plainUntil: UnixTime?

    /// How long an upstream is asked without EDNS; then it may have learnt it. Source: RFC 6891 §6.2.2.
    static let plainTime = Duration.seconds(900)
    /// Between near upstreams, which reply in a few milliseconds, and those that are lost.
    static let unmeasured = Duration.milliseconds(400)
    /// Weight of the newest round trip: one in so many. Source: RFC 6298 §2.3.
    static let smoothing = 8
    /// So many silences in a row, and an upstream is left.
    static let silencesBeforeLeaving = 2
    /// How long it is left; twice as long each time that it is still silent.
    static let firstBackoff = Duration.seconds(10)
    static let maxBackoff = Duration.seconds(300)
    /// Shortest time between two warnings about one upstream.
    static let warningInterval = Duration.seconds(60)

    init(_ upstream: Upstream) { self.upstream = upstream }

    var reading: ForwarderStatistics.UpstreamReading {
        ForwarderStatistics.UpstreamReading(
            upstream: upstream, queries: queries, failures: failures, roundTrip: isMeasured ? roundTrip : nil,
            isLeft: isLeft || isSelf)
    }

    func replied(in time: Duration) {
        isSilentNoMore()
        roundTrip = isMeasured ? roundTrip + (time - roundTrip) / Self.smoothing : time  // RFC 6298 §2.2, §2.3
        isMeasured = true
    }

    /// It is there, though what it said tells nothing of its speed.
    func isSilentNoMore() {
        silences = 0
        retryAt = nil
        backoff = Self.firstBackoff
    }

    /// It refused to answer: others are better, unless they are as slow as a timeout.
    func refused(timeout: Duration) {
        roundTrip = roundTrip + (timeout - roundTrip) / Self.smoothing
        isMeasured = true
    }

    func wasSilent(now: UnixTime) {
        silences += 1
        guard silences >= Self.silencesBeforeLeaving else { return }
        hasShownEDNS = false  // who comes back may be another
        if let retryAt, now < retryAt { return }  // of several questions at once: one silence
        retryAt = now + backoff
        backoff = min(backoff * 2, Self.maxBackoff)
    }

    // MARK: What it speaks

    func nextCookie(now: UnixTime) -> DNSCookie? {
        if cookies == nil { cookies = UpstreamCookies(now: now) }
        return cookies?.next(now: now)
    }

    func judgeCookie(
        _ reply: ReplyMessage, to sent: DNSCookie?, isStream: Bool, now: UnixTime
    ) -> UpstreamCookies.Verdict {
        cookies?.judge(reply, to: sent, isStream: isStream, now: now) ?? .good
    }

    /// A query with this cookie came to our own door: is it one that we sent to this upstream?
    func isAsked(with clientCookie: [UInt8]) -> Bool { cookies?.client == clientCookie }
    func isOurselves() { isSelf = true }

    func showsEDNS() {
        hasShownEDNS = true
        plainUntil = nil
    }
    /// It answered an error to a query with an OPT record, or nothing at all, and answered one without.
    func knowsNoEDNS(now: UnixTime) {
        hasShownEDNS = false
        plainUntil = now + Self.plainTime
    }

    /// - Parameter afterSilence: it has just not replied to a query with an OPT record. Source: RFC 6891 §6.2.2, §6.2.6.
    func takesEDNS(now: UnixTime, afterSilence: Bool = false) -> Bool {
        if let plainUntil, now < plainUntil { return false }
        return !afterSilence || hasShownEDNS
    }

    /// It was silent too often; others are asked.
    var isLeft: Bool { retryAt != nil }
    /// Time to see whether it is there again.
    func isDue(now: UnixTime) -> Bool { retryAt.map { now >= $0 && !isProbed } ?? false }

    /// Whether a warning may be written now; true at most once in the interval.
    func mayWarn(now: UnixTime) -> Bool {
        if let nextWarning, now < nextWarning { return false }
        nextWarning = now + Self.warningInterval
        return true
    }

    /// In which order upstreams are asked for one question: the fastest first, those that are left only where no other
    /// is; all of them `passes` times, since a datagram may simply have been lost.
    ///
    /// - Parameter serial: the question's number: each `probeInterval`th begins with another upstream than the fastest,
    /// so that their round trips are known.
    static func plan(_ all: [UpstreamState], serial: Int) -> ArraySlice<UpstreamState> {
        let present = all.filter { !$0.isLeft }
        var order = (present.isEmpty ? all : present).enumerated()
            .sorted { ($0.element.roundTrip, $0.offset) < ($1.element.roundTrip, $1.offset) }.map(\.element)
        if serial % probeInterval == probeInterval - 1, order.count > 1 {
            order.insert(order.remove(at: 1 + serial / probeInterval % (order.count - 1)), at: 0)
        }
        return Array(repeating: order, count: passes).flatMap { $0 }.prefix(maxTries)
    }
    static let passes = 2
    static let probeInterval = 16
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
