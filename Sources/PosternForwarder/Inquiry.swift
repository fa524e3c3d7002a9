// One question's way through the upstreams (RFC 1035 §7.1, RFC 5452): each try on its own socket with a random id and
// port; a reply counts only if it comes from the asked address, with the id, to the question (§9.1). What is not the
// reply is counted and ignored, so that a forger cannot end a try. The sockets of tries that were late stay open until
// the end: a slow reply is better than none.

import NIOCore
import PosternDNS
import PosternMail

final class Inquiry: Applicant, TryOwner {
    let question: Question
    let rules: Rules
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

    /// Labels of what is taken for a zone where none is configured.
    static let zoneLabels = 2
    /// How long clients wait when a stale answer is there. Source: RFC 8767 §5 recommends 1.8 seconds.
    static let clientPatience = TimeAmount.milliseconds(1800)

    /// - Parameter client: who asked first; `nil`: it is a prefetch.
    init(_ question: Question, forwarder: Forwarder, client: Account?) {
        let rules = forwarder.settings.rules(for: question)
        let zone = rules.zone?.name ?? rules.list ?? question.name.suffix(labels: Self.zoneLabels)
        var accounts = [Account.zone(zone)]
        if let client { accounts.append(client) }
        self.question = question
        self.rules = rules
        self.forwarder = forwarder
        isPrefetch = client == nil
        super.init(accounts: accounts, isForAuthentication: rules.isForAuthentication)
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
        let upstreams = forwarder.upstreams(for: rules)
        plan = UpstreamState.plan(upstreams, serial: forwarder.nextSerial())
        if let due = upstreams.first(where: { $0.isDue(now: forwarder.now()) }), plan.first !== due {
            forwarder.probe(due, with: question, timeout: timeout)
        }
        askNext(after: "no upstream is configured")
    }

    func abandon() { finish(Resolution(failure: "postern-dns stops")) }

    private var timeout: Duration { rules.zone?.tryTimeout ?? forwarder.settings.tryTimeout }

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
        let attempt = UpstreamTry(
            question, upstream, transport, mixesCase: forwarder.settings.mixesCase, owner: self)
        tries.append(attempt)
        current = attempt
        timer?.cancel()
        let timeout = timeout
        timer = forwarder.loop.assumeIsolated().scheduleTask(in: .nanoseconds(timeout.nanoseconds)) { [weak self] in
            guard let self, self.current === attempt else { return }
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
        if !attempt.hasReplied { attempt.upstream.wasSilent(now: forwarder.now()) }
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
        guard let reply = attempt.reply(octets) else {
            forwarder.counters.ignoredReplies += 1
            // On a stream nothing but the reply can come: what follows is no better.
            if attempt.transport == .stream { failed(attempt, "a reply over TCP that is not ours", isWorthALine: true) }
            return
        }
        attempt.hasReplied = true
        attempt.upstream.isSilentNoMore()
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
            // RFC 1035 §4.1.1: SERVFAIL speaks of the name; REFUSED and the like of the upstream and us.
            if reply.rcode != .serverFailure { attempt.upstream.refused(timeout: timeout) }
            failed(attempt, "answered \(reason)", isWorthALine: reply.rcode != .serverFailure)
            return
        }
        if attempt.transport != .stream, let began = attempt.began {
            attempt.upstream.replied(in: forwarder.now() - began)
        }
        // Between us and any other host an attacker may set the bit. Source: RFC 4035 §4.9.3.
        if !attempt.upstream.upstream.address.isLoopback { resolution.isAuthenticated = false }
        finish(resolution)
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
