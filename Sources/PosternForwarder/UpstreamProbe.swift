// A question to an upstream that was silent, asked beside the ordinary way of the same question, so that nobody waits
// for it: it only tells whether the upstream is there again.

import NIOCore
import PosternDNS
import PosternMail

final class UpstreamProbe: TryOwner {
    private unowned let forwarder: Forwarder
    private let question: Question
    private let upstream: UpstreamState
    private var attempt: UpstreamTry?
    private var timer: Scheduled<Void>?
    private let began: UnixTime

    init(_ question: Question, _ upstream: UpstreamState, _ forwarder: Forwarder) {
        self.question = question
        self.upstream = upstream
        self.forwarder = forwarder
        began = forwarder.now()
    }

    func start(timeout: Duration) {
        forwarder.counters.upstreamQueries += 1
        forwarder.counters.probes += 1
        upstream.isProbed = true
        let attempt = UpstreamTry(
            question, upstream, .datagram(withEDNS: true), mixesCase: forwarder.settings.mixesCase, owner: self)
        self.attempt = attempt
        timer = forwarder.loop.assumeIsolated().scheduleTask(in: .nanoseconds(timeout.nanoseconds)) { [weak self] in
            self?.end(hasReplied: false)
        }
        attempt.start(forwarder, timeout: timeout)
    }

    /// Ends it without a conclusion.
    func abandon() {
        timer?.cancel()
        attempt?.close()
        attempt = nil
        upstream.isProbed = false
        forwarder.forget(self)
    }

    func received(_ octets: [UInt8], on attempt: UpstreamTry) {
        if attempt.reply(octets) != nil { end(hasReplied: true) } else { forwarder.counters.ignoredReplies += 1 }
    }

    func failed(_ attempt: UpstreamTry, _ reason: String, isWorthALine: Bool) { end(hasReplied: false) }

    private func end(hasReplied: Bool) {
        guard attempt != nil else { return }
        if hasReplied {
            upstream.replied(in: forwarder.now() - began)
            forwarder.log.info("upstream \(upstream.upstream) replies again")
        } else {
            upstream.wasSilent(now: forwarder.now())
        }
        abandon()
    }
}
