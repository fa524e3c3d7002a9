// One question's way through the upstreams (RFC 1035 §7.1, RFC 5452): each try on its own socket with a random id and
// port; a reply counts only if it comes from the asked address, with the id, to the question (§9.1). What is not the
// reply is counted and ignored, so that a forger cannot end a try. The sockets of tries that were late stay open, and
// after the last try they are waited for: a name that is cold at the upstream may take seconds, and a slow reply is
// better than none.

import NIOCore
import PosternDNS
import PosternMail

final class Inquiry: Applicant, TryOwner {
    let question: Question
    let rules: Rules
    var waiters: [(ResponseBody) -> Void] = []
    /// Told of every step.
    var traces: [TraceRecorder] = []

    private unowned let forwarder: Forwarder
    private var plan: ArraySlice<UpstreamState> = []
    private var tries: [UpstreamTry] = []
    /// The newest try: the one whose failure moves on to the next upstream.
    private var current: UpstreamTry?
    private var timer: Scheduled<Void>?
    private var isFinished = false
    private var queries = 0
    /// When late replies are no longer waited for.
    private var patienceEnd: UnixTime?
    /// What the newest failure was.
    private var failure = ""
    /// A connection ended under it once.
    private var wasDisconnected = false
    /// Nobody asked yet: an answer is made new before its time is over.
    let isPrefetch: Bool
    let began: UnixTime
    /// Clients are no longer made to wait for it: a stale answer is there.
    private(set) var isLate = false
    private var patience: Scheduled<Void>?

    /// Labels of what is taken for a zone where none is configured.
    static let zoneLabels = 2
    /// How long clients wait when a stale answer is there. Source: RFC 8767 §5 recommends 1.8 seconds.
    static let clientPatience = TimeAmount.milliseconds(1800)

    /// How long replies are waited for in all, in timeouts of one try: with the default of 1.5 seconds six seconds, which
    /// is within what a policy request may take (DESIGN §2). More upstreams may take longer to be asked.
    static let patience = 4
    /// Most queries sent for one question, those included that follow from replies: over TCP, without EDNS, with a new
    /// cookie.
    static let maxQueries = 16

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
        began = forwarder.now()
        super.init(accounts: accounts, precedence: rules.precedence)
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
        patienceEnd = forwarder.now() + timeout * Self.patience
        let upstreams = forwarder.upstreams(for: rules).filter { !$0.isSelf }
        plan = UpstreamState.plan(upstreams, serial: forwarder.nextSerial())
        if let due = upstreams.first(where: { $0.isDue(now: forwarder.now()) }), plan.first !== due {
            forwarder.probe(due, with: question, timeout: timeout)
        }
        failure = "no upstream is configured"
        askNext()
    }

    func abandon() { finish(Resolution(failure: "postern-dns stops")) }

    private var timeout: Duration { rules.zone?.tryTimeout ?? forwarder.settings.tryTimeout }

    // MARK: Tries

    private func askNext() {
        plan = plan.drop { $0.isSelf }
        guard let next = plan.popFirst(), queries < Self.maxQueries else {
            waitForLate()
            return
        }
        let wasSilent = tries.contains { $0.isUnansweredEDNS(of: next) }
        let withEDNS = next.takesEDNS(now: forwarder.now(), afterSilence: wasSilent)
        ask(next, UpstreamTry.Transport(isStream: false, withEDNS: withEDNS))
    }

    private func ask(_ upstream: UpstreamState, _ transport: UpstreamTry.Transport) {
        queries += 1
        forwarder.counters.upstreamQueries += 1
        if transport.isStream { forwarder.counters.upstreamStreamQueries += 1 }
        let timeout = timeout
        let attempt = UpstreamTry(question, upstream, transport, timeout: timeout, forwarder, owner: self)
        tries.append(attempt)
        current = attempt
        note(.asked(isStream: transport.isStream, withEDNS: transport.withEDNS), upstream)
        schedule(in: timeout) { [weak self] in self?.timedOut(attempt) }
        attempt.start(forwarder, timeout: timeout)
    }

    /// Asks the same upstream in another way, as its reply demands.
    private func ask(
        _ attempt: UpstreamTry, again reason: String, isStream: Bool? = nil, withEDNS: Bool? = nil
    ) {
        attempt.isOver = true
        guard queries < Self.maxQueries else {
            failed(attempt, reason, isWorthALine: true)
            return
        }
        note(.failed(reason), attempt.upstream)
        ask(
            attempt.upstream,
            UpstreamTry.Transport(
                isStream: isStream ?? attempt.transport.isStream, withEDNS: withEDNS ?? attempt.transport.withEDNS))
    }

    private func schedule(in time: Duration, _ body: @escaping () -> Void) {
        timer?.cancel()
        timer = forwarder.loop.assumeIsolated().scheduleTask(in: .nanoseconds(time.nanoseconds), body)
    }

    /// Everybody was asked: replies to earlier tries may still come.
    private func waitForLate() {
        guard !isFinished else { return }
        current = nil
        let left = patienceEnd.map { $0 - forwarder.now() } ?? .zero
        guard left > .zero, tries.contains(where: { !$0.isOver }) else {
            finish(Resolution(failure: failure))
            return
        }
        schedule(in: left) { [weak self] in
            guard let self, self.current == nil else { return }
            self.finish(Resolution(failure: self.failure))
        }
    }

    private func timedOut(_ attempt: UpstreamTry) {
        guard !isFinished, attempt === current else { return }
        attempt.isLate()
        moveOn(from: attempt, "no reply in \(timeout.shortText)", isWorthALine: true)
    }

    /// A try will have no answer; if it is the newest, the next upstream is asked.
    /// - Parameter isWorthALine: false for what is the domain's fault rather than the upstream's.
    func failed(_ attempt: UpstreamTry, _ reason: String, isWorthALine: Bool) {
        guard !isFinished else { return }
        attempt.isOver = true
        if attempt === current {
            moveOn(from: attempt, reason, isWorthALine: isWorthALine)
        } else if current == nil {
            waitForLate()
        }
    }

    /// Source: RFC 7766 §6.2.4: what was asked on a connection that ended is asked on a new one, once.
    func disconnected(_ attempt: UpstreamTry, _ reason: String) {
        guard !isFinished else { return }
        if wasDisconnected || attempt !== current {
            failed(attempt, reason, isWorthALine: true)
        } else {
            wasDisconnected = true
            ask(attempt, again: reason)
        }
    }

    private func moveOn(from attempt: UpstreamTry, _ reason: String, isWorthALine: Bool) {
        current = nil
        failure = reason
        forwarder.counters.upstreamFailures += 1
        attempt.upstream.failures += 1
        note(.failed(reason), attempt.upstream)
        if !attempt.hasReplied { attempt.upstream.wasSilent(now: forwarder.now()) }
        if isWorthALine, !attempt.upstream.isSelf, attempt.upstream.mayWarn(now: forwarder.now()) {
            let next =
                switch plan.first {
                case nil where tries.contains { !$0.isOver }: "waiting for a late reply"
                case nil: "giving up, the question is answered SERVFAIL"
                case let next? where next === attempt.upstream: "trying again"
                case let next?: "trying \(next.upstream)"
                }
            forwarder.log.warning("upstream \(attempt.upstream.upstream): \(reason); \(next)")
        }
        askNext()
    }

    // MARK: Replies

    /// Octets came on a try's socket, from the upstream's address and port.
    func received(_ octets: [UInt8], on attempt: UpstreamTry) {
        guard !isFinished else { return }
        let isStream = attempt.transport.isStream
        guard let reply = attempt.reply(octets) else {
            ignore(attempt)
            return
        }
        let upstream = attempt.upstream
        switch upstream.judgeCookie(reply, to: attempt.cookie, isStream: isStream, now: forwarder.now()) {
        case .good: break
        case .wrong:
            forwarder.counters.cookieMismatches += 1
            ignore(attempt)
            return
        case .missing:
            forwarder.counters.cookieMismatches += 1
            forwarder.counters.ignoredReplies += 1
            if attempt === current { ask(attempt, again: "a reply without its cookie", isStream: true) }
            return
        }
        attempt.hasReplied = true
        upstream.isSilentNoMore()
        if reply.hasEDNS { upstream.showsEDNS() }
        // While a newer try is under way, only answers count.
        let mayFollow = attempt === current || current == nil
        if reply.header.isTruncated, !isStream {
            if mayFollow { ask(attempt, again: "a truncated reply", isStream: true) }  // RFC 7766 §5
            attempt.isOver = true
            return
        }
        if reply.rcode == .badCookie, !isStream, mayFollow, let sent = attempt.cookie {
            // RFC 7873 §5.3: once more with the cookie that came, then over TCP, where none is needed.
            let isSecond = tries.contains { $0.upstream === upstream && $0.wasBadCookie }
            attempt.wasBadCookie = true
            let isNew = upstream.nextCookie(now: forwarder.now()) != sent
            ask(attempt, again: "answered \(reply.rcode)", isStream: isSecond || !isNew)
            return
        }
        if attempt.transport.withEDNS, [.formatError, .notImplemented, .badVersion].contains(reply.rcode) {
            // RFC 6891 §6.2.2, §7: it may not know EDNS; an OPT record in the reply says that it does.
            if !reply.hasEDNS { upstream.knowsNoEDNS(now: forwarder.now()) }
            if mayFollow { ask(attempt, again: "answered \(reply.rcode)", withEDNS: false) }
            attempt.isOver = true
            return
        }
        conclude(attempt, reply)
    }

    /// What came is not the reply.
    private func ignore(_ attempt: UpstreamTry) {
        forwarder.counters.ignoredReplies += 1
        note(.ignored, attempt.upstream)
        guard attempt.transport.isStream else { return }
        // On a stream nothing but the reply can come: what follows is no better.
        failed(attempt, "a reply over TCP that is not ours", isWorthALine: true)
        attempt.distrust()
    }

    private func conclude(_ attempt: UpstreamTry, _ reply: ReplyMessage) {
        var resolution = Resolution(of: question, in: reply)
        if case .temporaryFailure(let reason) = resolution.answer {
            if reply.isBogus {
                note(.failed("answered \(reason): bogus"), attempt.upstream)
                finish(resolution, isBogus: true)
                return
            }
            // RFC 1035 §4.1.1: SERVFAIL speaks of the name; REFUSED and the like of the upstream and us.
            if reply.rcode != .serverFailure { attempt.upstream.refused(timeout: timeout) }
            failed(attempt, "answered \(reason)", isWorthALine: reply.rcode != .serverFailure)
            return
        }
        if !attempt.transport.withEDNS, !attempt.upstream.hasShownEDNS,
            tries.contains(where: { $0.isUnansweredEDNS(of: attempt.upstream) })
        {
            attempt.upstream.knowsNoEDNS(now: forwarder.now())
        }
        if !attempt.transport.isStream, let began = attempt.began {
            attempt.upstream.replied(in: forwarder.now() - began)
        }
        note(.answered(in: attempt.began.map { forwarder.now() - $0 } ?? .zero), attempt.upstream)
        // Between us and any other host an attacker may set the bit. Source: RFC 4035 §4.9.3.
        if !attempt.upstream.upstream.address.isLoopback { resolution.isAuthenticated = false }
        finish(resolution)
    }

    private func note(_ event: ForwarderTrace.Event, _ upstream: UpstreamState) {
        for trace in traces { trace.note(event, upstream.upstream, now: forwarder.now()) }
    }

    private func finish(_ resolution: Resolution, isBogus: Bool = false) {
        guard !isFinished else { return }
        isFinished = true
        timer?.cancel()
        patience?.cancel()
        current = nil
        for attempt in tries { attempt.close() }
        tries = []
        forwarder.finish(self, resolution, isBogus: isBogus)
        waiters = []
    }
}
