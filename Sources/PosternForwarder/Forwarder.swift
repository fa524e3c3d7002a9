// The way of a question through postern-dns: static zone, cache, the questions in flight, upstream. One value of state
// on one event loop: no locks, no async. The handlers of streams and datagrams ask here; `Inquiry` asks upstreams.

import NIOCore
import PosternDNS
import PosternMail

final class Forwarder {
    let loop: any EventLoop
    let log: any LogSink
    let now: @Sendable () -> UnixTime
    private(set) var settings: ForwarderSettings
    private var cache: Cache
    private(set) var upstreams: [UpstreamState]
    var counters = ForwarderCounters()

    /// Questions being asked upstream or in line for it, each once.
    private var inquiries: [Question: Inquiry] = [:]
    private var line: CircularBuffer<Inquiry> = []
    private var active = 0
    private var waiters = 0
    private var prefetching = 0
    private var nextWarning: UnixTime?

    /// Most questions asked upstream at once, each on a socket of its own; the others stand in line.
    static let maxActiveInquiries = 512
    /// Most different questions in flight or in line; more are answered SERVFAIL at once.
    static let maxInquiries = 8192
    /// Most questions asked upstream at once that nobody waits for.
    static let maxPrefetches = maxActiveInquiries / 8
    /// Most clients' questions that wait for an answer, equal ones counted each.
    static let maxWaiters = 32_768

    /// How queries leave; tests have a network of their own.
    let network: UpstreamTry.Network

    init(
        _ settings: ForwarderSettings, loop: any EventLoop, log: any LogSink, now: @escaping @Sendable () -> UnixTime,
        network: @escaping UpstreamTry.Network = { NetworkSocket($0, sourcePorts: $1, on: $2) }
    ) {
        self.network = network
        self.settings = settings
        self.loop = loop
        self.log = log
        self.now = now
        cache = Cache(settings.cache)
        upstreams = settings.upstreams.map(UpstreamState.init)
    }

    /// Takes new upstreams, bounds and static data; questions in flight end with what they began with.
    func adopt(_ settings: ForwarderSettings) {
        let known = Dictionary(upstreams.map { ($0.upstream, $0) }, uniquingKeysWith: { first, _ in first })
        upstreams = settings.upstreams.map { known[$0] ?? UpstreamState($0) }
        cache.adopt(settings.cache)
        self.settings = settings
    }

    var snapshot: ForwarderCounters {
        var snapshot = counters
        snapshot.cachedAnswers = cache.count
        snapshot.cachedOctets = cache.octetsInUse
        snapshot.evictions = cache.evictions
        return snapshot
    }

    func flush() { cache.removeAll() }

    // MARK: Asking

    /// The answer that is here already: from the static zone or the cache.
    func find(_ question: Question) -> (body: ResponseBody, elapsed: UInt32)? {
        counters.queries += 1
        if let body = staticBody(for: question) {
            counters.staticAnswers += 1
            return (body, 0)
        }
        return findInCache(question)
    }

    private func findInCache(_ question: Question) -> (body: ResponseBody, elapsed: UInt32)? {
        guard let found = cache.find(question, now: now()) else { return nil }
        counters.hits += 1
        switch found.source {
        case .fresh: break
        case .cut: counters.cutAnswers += 1
        case .failure: counters.failureAnswers += 1
        case .stale: counters.staleAnswers += 1
        }
        if found.isDue { prefetch(question) }
        return (found.body, found.elapsed)
    }

    private func staticBody(for question: Question) -> ResponseBody? {
        guard settings.staticZone.recordCount > 0,
            case .complete(let resolution)? = settings.staticZone.lookup(question)
        else { return nil }
        return ResponseBody(question: question, resolution)
    }

    /// Asks upstream for what `find` did not have; `done` is called once, perhaps before this returns.
    func wait(for question: Question, _ done: @escaping (ResponseBody) -> Void) {
        if case .continues(let links, let next)? = settings.staticZone.lookup(question) {
            waitForTarget(next, of: question, behind: links, done)
        } else {
            join(question, done)
        }
    }

    /// A CNAME of the static zone leads out of it: the target's answer is put behind it.
    private func waitForTarget(
        _ next: Question, of question: Question, behind links: [ResourceRecord],
        _ done: @escaping (ResponseBody) -> Void
    ) {
        func answer(_ body: ResponseBody, _ elapsed: UInt32) {
            done(ResponseBody(question: question, body.resolution(of: next, elapsed: elapsed).following(links)))
        }
        if let found = findInCache(next) {
            answer(found.body, found.elapsed)
        } else {
            join(next) { answer($0, 0) }
        }
    }

    private func join(_ question: Question, _ done: @escaping (ResponseBody) -> Void) {
        guard waiters < Self.maxWaiters, inquiries[question] != nil || inquiries.count < Self.maxInquiries else {
            counters.turnedAway += 1
            warn("\(inquiries.count) questions in flight, \(waiters) clients wait; more are answered SERVFAIL")
            done(ResponseBody(question: question, rcode: .serverFailure))
            return
        }
        if let inquiry = inquiries[question] {
            counters.joined += 1
            if inquiry.isLate, let stale = staleBody(for: question) {
                done(stale)
            } else {
                waiters += 1
                inquiry.waiters.append(done)
                inquiry.limitPatience()
            }
            return
        }
        waiters += 1
        counters.misses += 1
        let inquiry = Inquiry(question, forwarder: self)
        inquiry.waiters.append(done)
        inquiry.limitPatience()
        inquiries[question] = inquiry
        if active < Self.maxActiveInquiries {
            active += 1
            inquiry.start()
        } else {
            line.append(inquiry)
        }
    }

    /// Asks again for what is asked often, before its time is over.
    private func prefetch(_ question: Question) {
        guard inquiries[question] == nil, prefetching < Self.maxPrefetches, active < Self.maxActiveInquiries / 2 else {
            return
        }
        counters.prefetches += 1
        prefetching += 1
        active += 1
        let inquiry = Inquiry(question, forwarder: self, isPrefetch: true)
        inquiries[question] = inquiry
        // Later: who asks is still being answered.
        loop.assumeIsolated().execute { inquiry.start() }
    }

    // MARK: Stale answers

    /// Whether there is an answer for clients that can wait no longer.
    func hasStale(_ question: Question) -> Bool { cache.hasStale(question, now: now()) }

    private func staleBody(for question: Question) -> ResponseBody? {
        guard let found = cache.stale(question, now: now()) else { return nil }
        counters.staleAnswers += 1
        return found.body
    }

    /// The inquiry takes too long: who waits for it is answered, and it goes on. Source: RFC 8767 §5.
    func answerStale(_ inquiry: Inquiry) {
        let answered = inquiry.waiters
        guard let found = cache.stale(inquiry.question, now: now()) else { return }
        inquiry.waiters = []
        waiters -= answered.count
        counters.staleAnswers += UInt64(answered.count)
        for done in answered { done(found.body) }
    }

    /// An inquiry's end: its waiters are answered and the next in line begins.
    func finish(_ inquiry: Inquiry, _ resolution: Resolution) {
        let question = inquiry.question
        guard inquiries.removeValue(forKey: question) != nil else { return }
        active -= 1
        if inquiry.isPrefetch { prefetching -= 1 }
        let bounds = settings.bounds(settings.rules(for: question), resolution)
        var body = bounds.limited(ResponseBody(question: question, resolution))
        if body.rcode == .serverFailure {
            cache.fail(question, now: now())
            if !inquiry.waiters.isEmpty {
                if let found = cache.stale(question, now: now()) {
                    body = found.body
                    counters.staleAnswers += UInt64(inquiry.waiters.count)
                } else {
                    counters.givenUp += 1
                }
            }
        } else {
            cache.store(body, for: question, ttl: resolution.ttl, now: now(), bounds: bounds)
        }
        waiters -= inquiry.waiters.count
        while active < Self.maxActiveInquiries, let next = line.popFirst() {
            active += 1
            loop.assumeIsolated().execute { next.start() }  // later: it might end at once, and so on through the line
        }
        for done in inquiry.waiters { done(body) }
    }

    /// Ends everything in flight, with SERVFAIL.
    func abandonAll() {
        active += line.count  // `finish` counts them off
        line.removeAll()
        for inquiry in Array(inquiries.values) { inquiry.abandon() }
    }

    /// Writes a warning, at most one a minute.
    private func warn(_ text: String) {
        let now = now()
        if let nextWarning, now < nextWarning { return }
        nextWarning = now + UpstreamState.warningInterval
        log.warning(text)
    }
}

extension ResponseBody {
    init(question: Question, _ resolution: Resolution) {
        if case .temporaryFailure = resolution.answer {
            self.init(question: question, rcode: .serverFailure)
        } else {
            self.init(
                question: question, rcode: resolution.rcode, answers: resolution.records,
                authority: resolution.authority, isAuthenticated: resolution.isAuthenticated)
        }
    }
}
