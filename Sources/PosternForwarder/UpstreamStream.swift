// One TCP connection to one upstream, for as many questions as come (RFC 7766 §6.2.1): they are sent without waiting for
// replies, and replies are taken in any order (§7). It closes when nobody uses it (§6.2.3). What the wire is, and when
// it is there, is `StreamWire`'s business; whether a question is asked again is its inquiry's.

import NIOCore
import PosternDNS
import PosternMail

/// Carries the octets of one connection, which tells its stream what becomes of it.
protocol StreamWire: AnyObject {
    func write(_ octets: [UInt8])
    func close()
}

/// Used on the event loop alone.
final class UpstreamStream {
    /// Opens a connection; the stream hears of it by `opened`, `received` and `ended`, never before this returns.
    typealias Dial = (Upstream, UpstreamStream, Duration, any EventLoop) -> any StreamWire

    private let loop: any EventLoop
    private var wire: (any StreamWire)?
    private var state = State.connecting
    /// Framed queries that wait for the connection.
    private var unsent: [UInt8] = []
    private var received = ByteBuffer()
    /// The questions in flight by their ids, which differ. Source: RFC 7766 §6.2.1.
    private var inFlight: [UInt16: UpstreamTry] = [:]
    /// Ids of questions that nobody waits for any more; their replies may still come.
    private var left: Set<UInt16> = []
    /// Messages that were the reply to nothing.
    private var strays = 0
    private var hasReplied = false
    private var lastReply: UnixTime?
    private var idleTimer: Scheduled<Void>?
    private let now: @Sendable () -> UnixTime
    private let countStray: () -> Void

    private enum State { case connecting, open, ended }

    /// How long it stays open without a question: less than upstreams grant, so that we close first. Source: RFC 7766
    /// §6.2.3, §6.2.4.
    static let maxIdle = TimeAmount.seconds(10)
    /// Most questions on one connection, those that were left included; more get another one.
    static let maxQuestions = 1024
    /// So many messages that nobody asked for, and the connection is not trusted any more.
    static let maxStrays = 16

    /// - Parameter countStray: called for each message that is the reply to nothing.
    init(
        to upstream: Upstream, timeout: Duration, loop: any EventLoop, now: @escaping @Sendable () -> UnixTime,
        dial: Dial, countStray: @escaping () -> Void
    ) {
        self.loop = loop
        self.now = now
        self.countStray = countStray
        wire = dial(upstream, self, timeout, loop)
    }

    /// Takes more questions. Not once one was left without any reply since it was asked: it may be dead.
    private(set) var isUsable = true

    /// An id that no question on this connection has.
    func freshID() -> UInt16 {
        while true {  // ends: at most `maxQuestions` of 65,536 are taken
            let id = UInt16.random(in: .min ... .max)
            if inFlight[id] == nil, !left.contains(id) { return id }
        }
    }

    // MARK: Questions

    func send(_ attempt: UpstreamTry) {
        guard state != .ended else {
            loop.assumeIsolated().execute { attempt.failed("the TCP connection has ended") }
            return
        }
        idleTimer?.cancel()
        idleTimer = nil
        inFlight[attempt.id] = attempt
        if inFlight.count + left.count >= Self.maxQuestions { isUsable = false }
        // RFC 7766 §8: length and message in one write.
        let framed = MessageFraming.framed(attempt.query)
        if state == .open { wire?.write(framed) } else { unsent += framed }
    }

    /// Nobody waits for the reply any more; it may have come.
    func leave(_ attempt: UpstreamTry) {
        guard inFlight[attempt.id] === attempt else { return }
        inFlight[attempt.id] = nil
        left.insert(attempt.id)
        rest()
    }

    /// The reply is late: if none at all has come since the question was sent, others get another connection.
    func isLate(_ attempt: UpstreamTry) {
        guard inFlight[attempt.id] === attempt, let began = attempt.began else { return }
        if lastReply.map({ $0 <= began }) ?? true { isUsable = false }
    }

    /// The upstream's words cannot be trusted: all questions are for another connection.
    func distrust(_ reason: String) { end(reason) }

    private func rest() {
        guard inFlight.isEmpty, state != .ended else { return }
        guard isUsable else {
            end("it is not used any more")
            return
        }
        idleTimer?.cancel()
        idleTimer = loop.assumeIsolated().scheduleTask(in: Self.maxIdle) { [weak self] in self?.end("idle") }
    }

    // MARK: From the wire

    func opened() {
        guard state == .connecting else { return }
        state = .open
        let framed = unsent
        unsent = []
        if !framed.isEmpty { wire?.write(framed) }
    }

    func received(_ part: ByteBuffer) {
        guard state == .open else { return }
        var part = part
        received.writeBuffer(&part)
        // Less than one message, at most 65,537 octets, is kept after this.
        while state == .open, let octets = MessageFraming.next(in: &received) { take(octets) }
        received.discardReadBytes()
    }

    private func take(_ octets: [UInt8]) {
        lastReply = now()
        guard let id = DNSCodec.messageID(of: octets) else {
            end("no DNS message over TCP")
            return
        }
        if let attempt = inFlight.removeValue(forKey: id) {
            hasReplied = true
            attempt.received(octets)
            rest()
        } else if left.remove(id) == nil {
            countStray()
            strays += 1
            if strays >= Self.maxStrays { end("replies over TCP that nobody asked for") }
        }
    }

    func ended(_ reason: String) { end(reason) }

    /// Source: RFC 7766 §6.2.4: it may end at any time, and what was asked is asked again elsewhere.
    private func end(_ reason: String) {
        guard state != .ended else { return }
        // What once replied was merely closed meanwhile, most likely; of a new connection nothing better is known.
        let isWorthAnother = hasReplied
        state = .ended
        isUsable = false
        idleTimer?.cancel()
        wire?.close()
        wire = nil
        unsent = []
        received.clear()
        // In the order in which they were asked.
        let orphans = inFlight.values.sorted { $0.serial < $1.serial }
        inFlight = [:]
        left = []
        for attempt in orphans {
            if isWorthAnother { attempt.disconnected(reason) } else { attempt.failed(reason) }
        }
    }

    func close() { end("closed") }
}

/// One question's place on a stream that it shares with others.
final class StreamPlace: UpstreamSocket {
    private weak var attempt: UpstreamTry?
    private let stream: UpstreamStream

    init(_ attempt: UpstreamTry, on stream: UpstreamStream) {
        self.attempt = attempt
        self.stream = stream
    }

    func start(timeout: Duration) { if let attempt { stream.send(attempt) } }
    func close() { if let attempt { stream.leave(attempt) } }
    func isLate() { if let attempt { stream.isLate(attempt) } }
    func distrust() { stream.distrust("a reply over TCP that is not ours") }
}
