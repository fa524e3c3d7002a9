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
        let transport = UpstreamTry.Transport(
            isStream: false, withEDNS: upstream.takesEDNS(now: forwarder.now()))
        let attempt = UpstreamTry(question, upstream, transport, timeout: timeout, forwarder, owner: self)
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
        guard let reply = attempt.reply(octets),
            // One that misses its cookie shows at least that somebody is there; questions will find out more.
            upstream.judgeCookie(reply, to: attempt.cookie, isStream: false, now: forwarder.now()) != .wrong
        else {
            forwarder.counters.ignoredReplies += 1
            return
        }
        if reply.hasEDNS { upstream.showsEDNS() }
        end(hasReplied: true)
    }

    func disconnected(_ attempt: UpstreamTry, _ reason: String) { end(hasReplied: false) }

    func failed(_ attempt: UpstreamTry, _ reason: String, isWorthALine: Bool) { end(hasReplied: false) }

    private func end(hasReplied: Bool) {
        guard attempt != nil else { return }
        if hasReplied {
            upstream.replied(in: forwarder.now() - began)
            forwarder.log.info("upstream \(upstream.upstream) replies again")
        } else {
            upstream.failures += 1
            upstream.wasSilent(now: forwarder.now())
        }
        abandon()
    }
}
