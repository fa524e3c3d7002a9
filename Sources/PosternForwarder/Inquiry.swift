// One question's way through the upstreams (RFC 1035 §7.1, RFC 5452): each try on its own socket with a random id and
// port; a reply counts only if it comes from the asked address, with the id, to the question (§9.1). What is not the
// reply is counted and ignored, so that a forger cannot end a try. The sockets of tries that were late stay open until
// the end: a slow reply is better than none.

import NIOCore
import PosternDNS
import PosternMail

final class Inquiry: TryOwner {
    let question: Question
    var waiters: [(ResponseBody) -> Void] = []

    private unowned let forwarder: Forwarder
    private var plan: ArraySlice<UpstreamState> = []
    private var tries: [UpstreamTry] = []
    /// The newest try: the one whose failure moves on to the next upstream.
    private var current: UpstreamTry?
    private var timer: Scheduled<Void>?
    private var isFinished = false
    /// Nobody asked yet: an answer is made new before its time is over.
    let isPrefetch: Bool
    /// Clients are no longer made to wait for it: a stale answer is there.
    private(set) var isLate = false
    private var patience: Scheduled<Void>?

    /// How long clients wait when a stale answer is there. Source: RFC 8767 §5 recommends 1.8 seconds.
    static let clientPatience = TimeAmount.milliseconds(1800)

    init(_ question: Question, forwarder: Forwarder, isPrefetch: Bool = false) {
        self.question = question
        self.forwarder = forwarder
        self.isPrefetch = isPrefetch
    }

    /// Lets clients wait no longer than is good while a stale answer is there; called as soon as they wait, in line too.
    func limitPatience() {
        guard patience == nil, forwarder.hasStale(question) else { return }
        patience = forwarder.loop.assumeIsolated().scheduleTask(in: Self.clientPatience) { [weak self] in
            guard let self, !self.isFinished else { return }
            self.isLate = true
            self.forwarder.answerStale(self)
        }
    }

    func start() {
        guard !isFinished else { return }
        plan = UpstreamState.plan(forwarder.upstreams, now: forwarder.now())
        askNext(after: "no upstream is configured")
    }

    func abandon() { finish(Resolution(failure: "postern-dns stops")) }

    // MARK: Tries

    private func askNext(after failure: String) {
        guard let next = plan.popFirst() else {
            finish(Resolution(failure: failure))
            return
        }
        ask(next, over: .datagram(withEDNS: true))
    }

    private func ask(_ upstream: UpstreamState, over transport: UpstreamTry.Transport) {
        forwarder.counters.upstreamQueries += 1
        if transport == .stream { forwarder.counters.upstreamStreamQueries += 1 }
        let attempt = UpstreamTry(question, upstream, transport, owner: self)
        tries.append(attempt)
        current = attempt
        timer?.cancel()
        let timeout = forwarder.settings.tryTimeout
        timer = forwarder.loop.assumeIsolated().scheduleTask(in: .nanoseconds(timeout.nanoseconds)) { [weak self] in
            guard let self, self.current === attempt else { return }
            attempt.upstream.timedOut(now: self.forwarder.now())
            self.failed(attempt, "no reply in \(timeout.shortText)", isWorthALine: true)
        }
        attempt.start(forwarder, timeout: timeout)
    }

    /// A try will have no answer; if it is the newest, the next upstream is asked.
    /// - Parameter isWorthALine: false for what is the domain's fault rather than the upstream's.
    func failed(_ attempt: UpstreamTry, _ reason: String, isWorthALine: Bool) {
        guard !isFinished, attempt === current else { return }
        current = nil
        forwarder.counters.upstreamFailures += 1
        if isWorthALine, attempt.upstream.mayWarn(now: forwarder.now()) {
            let next =
                switch plan.first {
                case nil: "giving up, the question is answered SERVFAIL"
                case let next? where next === attempt.upstream: "trying again"
                case let next?: "trying \(next.upstream)"
                }
            forwarder.log.warning("upstream \(attempt.upstream.upstream): \(reason); \(next)")
        }
        askNext(after: reason)
    }

    /// Octets came on a try's socket, from the upstream's address and port.
    func received(_ octets: [UInt8], on attempt: UpstreamTry) {
        guard !isFinished else { return }
        guard let reply = reply(octets, on: attempt) else {
            forwarder.counters.ignoredReplies += 1
            // On a stream nothing but the reply can come: what follows is no better.
            if attempt.transport == .stream { failed(attempt, "a reply over TCP that is not ours", isWorthALine: true) }
            return
        }
        attempt.upstream.replied()
        if reply.header.isTruncated, attempt.transport != .stream {
            guard attempt === current else { return }
            ask(attempt.upstream, over: .stream)  // RFC 5966 §4: same server, over TCP
            return
        }
        if reply.rcode == .formatError || reply.rcode == .notImplemented, attempt.transport == .datagram(withEDNS: true)
        {
            guard attempt === current else { return }
            ask(attempt.upstream, over: .datagram(withEDNS: false))  // RFC 6891 §6.2.2: it may not know EDNS
            return
        }
        var resolution = Resolution(of: question, in: reply)
        if case .temporaryFailure(let reason) = resolution.answer {
            failed(attempt, "answered \(reason)", isWorthALine: reply.rcode != .serverFailure)
            return
        }
        // Between us and any other host an attacker may set the bit. Source: RFC 4035 §4.9.3.
        if !attempt.upstream.upstream.address.isLoopback { resolution.isAuthenticated = false }
        finish(resolution)
    }

    /// The octets as the reply to our question, if they are: RFC 5452 §9.1.
    private func reply(_ octets: [UInt8], on attempt: UpstreamTry) -> ReplyMessage? {
        guard DNSCodec.messageID(of: octets) == attempt.id else { return nil }
        guard let reply = try? ReplyMessage(octets) else { return nil }  // the caller counts it, whatever it was
        if reply.question == question { return reply }
        // RFC 6891 §7, seen in the wild: an error may come without the question.
        let isError = reply.rcode != .noError && reply.rcode != .nameError
        return reply.question == nil && isError ? reply : nil
    }

    private func finish(_ resolution: Resolution) {
        guard !isFinished else { return }
        isFinished = true
        timer?.cancel()
        patience?.cancel()
        current = nil
        for attempt in tries { attempt.close() }
        tries = []
        forwarder.finish(self, resolution)
        waiters = []
    }
}
