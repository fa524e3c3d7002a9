// The way of a question through postern-dns: static zone, cache, the questions in flight, the line for it, upstream. One
// value of state on one event loop: no locks, no async. The handlers of streams and datagrams ask here; `Inquiry` asks
// upstreams, `Admission` says when.

import NIOCore
import PosternDNS
import PosternMail

final class Forwarder {
    let loop: any EventLoop
    let log: any LogSink
    let now: @Sendable () -> UnixTime
    private(set) var settings: ForwarderSettings
    var cache: Cache
    /// All upstreams, those of zones too.
    private var upstreams: [Upstream: UpstreamState]
    private var rates: [DomainName: QuestionRate] = [:]
    private var serial = 0
    private var tries = 0
    /// Under way; at most one for each upstream.
    private var probes: [ObjectIdentifier: UpstreamProbe] = [:]
    var counters = ForwarderCounters()
    private(set) var bookkeeping = Bookkeeping()
    /// Where the answer that is just being given came from.
    private(set) var lastSource = AnswerSource.cached
    /// Notes the way of the question that is just being asked.
    var tracing: TraceRecorder?

    /// Questions being asked upstream or in line for it, each once.
    private var inquiries: [Question: Inquiry] = [:]
    private var admission: Admission<Inquiry>
    private var waiters = 0
    private var prefetching = 0
    private var nextWarning: UnixTime?

    /// Questions asked upstream at once that nobody waits for: one in so many.
    static let prefetchShare = 8
    /// Most clients' questions that wait for an answer, equal ones counted each.
    static let maxWaiters = 32_768

    /// How queries leave; tests have a network of their own.
    let network: UpstreamNetwork

    init(
        _ settings: ForwarderSettings, loop: any EventLoop, log: any LogSink, now: @escaping @Sendable () -> UnixTime,
        limits: Limits = Limits(), network: UpstreamNetwork = .kernel
    ) {
        self.network = network
        admission = Admission(limits)
        self.settings = settings
        self.loop = loop
        self.log = log
        self.now = now
        cache = Cache(settings.cache)
        upstreams = Self.states(settings, known: [:])
        bookkeeping.adopt(settings)
    }

    /// Takes new upstreams, bounds and static data; questions in flight end with what they began with.
    func adopt(_ settings: ForwarderSettings) {
        upstreams = Self.states(settings, known: upstreams)
        rates = rates.filter { settings.zonesByName[$0.key]?.questionsPerSecond != nil }
        cache.adopt(settings.cache)
        bookkeeping.adopt(settings)
        self.settings = settings
    }

    private static func states(
        _ settings: ForwarderSettings, known: [Upstream: UpstreamState]
    ) -> [Upstream: UpstreamState] {
        let all = settings.upstreams + settings.zones.flatMap(\.upstreams)
        return Dictionary(all.map { ($0, known[$0] ?? UpstreamState($0)) }, uniquingKeysWith: { first, _ in first })
    }

    var allUpstreams: [UpstreamState] { Array(upstreams.values) }

    /// Whom to ask, in the order of the settings.
    func upstreams(for rules: Rules) -> [UpstreamState] {
        let own = rules.zone?.upstreams ?? []
        return (own.isEmpty ? settings.upstreams : own).compactMap { upstreams[$0] }
    }

    /// The connection to an upstream that questions share, opened where there is none. Source: RFC 7766 §6.2.2: one.
    func stream(to upstream: UpstreamState, timeout: Duration) -> UpstreamStream {
        if let stream = upstream.stream, stream.isUsable { return stream }
        counters.upstreamConnections += 1
        let stream = UpstreamStream(
            to: upstream.upstream, timeout: timeout, loop: loop, now: now, dial: network.dial,
            countStray: { [weak self] in self?.counters.ignoredReplies += 1 })
        upstream.stream = stream
        return stream
    }

    /// Whether a query that came to one of our doors is one that we sent: an upstream is we ourselves, by an address
    /// that nobody recognized. It is not asked again. Nobody else has the cookie: RFC 7873 §4.1.
    func isOurOwn(_ query: QueryMessage) -> Bool {
        guard let cookie = query.clientCookie, let own = upstreams.values.first(where: { $0.isAsked(with: cookie) })
        else { return false }
        if !own.isSelf {
            own.isOurselves()
            log.warning(
                "upstream \(own.upstream) is this postern-dns itself; it is not asked any more: "
                    + "name your resolver in dns.upstream")
        }
        return true
    }

    /// Sees whether an upstream is there again, by a question that others are asked meanwhile.
    func probe(_ upstream: UpstreamState, with question: Question, timeout: Duration) {
        let probe = UpstreamProbe(question, upstream, self)
        probes[ObjectIdentifier(probe)] = probe
        probe.start(timeout: timeout)
    }
    func forget(_ probe: UpstreamProbe) { probes[ObjectIdentifier(probe)] = nil }

    /// The number of a query to an upstream.
    func nextTry() -> Int {
        tries &+= 1
        return tries
    }

    /// The number of a question that is asked upstream.
    func nextSerial() -> Int {
        serial &+= 1
        return serial & Int.max
    }

    var snapshot: ForwarderCounters {
        var snapshot = counters
        snapshot.cachedAnswers = cache.count
        snapshot.cachedOctets = cache.octetsInUse
        snapshot.evictions = cache.evictions
        return snapshot
    }

    // MARK: Asking

    /// The answer that is here already: from the static zone or the cache.
    /// - Parameter origin: whom the question is told of in statistics.
    func find(
        _ question: Question, from origin: ForwarderStatistics.Client = .others
    ) -> (body: ResponseBody, elapsed: UInt32)? {
        counters.queries += 1
        bookkeeping.begin(question.type == .txt, question.name, origin)
        var found: (body: ResponseBody, elapsed: UInt32)?
        if let body = staticBody(for: question) {
            counters.staticAnswers += 1
            lastSource = .local
            found = (body, 0)
        } else {
            found = findInCache(question)
        }
        if let found {
            bookkeeping.end(
                question.type == .txt, question.name, origin, lastSource, failed: found.body.rcode == .serverFailure)
        }
        return found
    }

    private func findInCache(_ question: Question) -> (body: ResponseBody, elapsed: UInt32)? {
        guard let found = cache.find(question, now: now()) else { return nil }
        counters.hits += 1
        lastSource = found.source == .stale ? .stale : .cached
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
    /// - Parameter client: whom the question is counted with.
    /// - Parameter origin: as for `find`.
    func wait(
        for question: Question, client: Account, from origin: ForwarderStatistics.Client = .others,
        _ whenDone: @escaping (ResponseBody) -> Void
    ) {
        let done = { [self] (body: ResponseBody) in
            bookkeeping.end(
                question.type == .txt, question.name, origin, lastSource, failed: body.rcode == .serverFailure)
            whenDone(body)
        }
        lastSource = .asked
        if case .continues(let links, let next)? = settings.staticZone.lookup(question) {
            waitForTarget(next, of: question, behind: links, client: client, done)
        } else {
            join(question, client, done)
        }
    }

    /// A CNAME of the static zone leads out of it: the target's answer is put behind it.
    private func waitForTarget(
        _ next: Question, of question: Question, behind links: [ResourceRecord], client: Account,
        _ done: @escaping (ResponseBody) -> Void
    ) {
        func answer(_ body: ResponseBody, _ elapsed: UInt32) {
            done(ResponseBody(question: question, body.resolution(of: next, elapsed: elapsed).following(links)))
        }
        if let found = findInCache(next) {
            answer(found.body, found.elapsed)
        } else {
            join(next, client) { answer($0, 0) }
        }
    }

    private func join(_ question: Question, _ client: Account, _ done: @escaping (ResponseBody) -> Void) {
        if let inquiry = inquiries[question], waiters < Self.maxWaiters {
            counters.joined += 1
            inquiry.traces += [tracing].compactMap(\.self)
            if inquiry.isLate, let stale = staleBody(for: question) {
                lastSource = .stale
                done(stale)
            } else {
                waiters += 1
                inquiry.waiters.append(done)
                inquiry.limitPatience()
            }
            return
        }
        let inquiry = Inquiry(question, forwarder: self, client: client)
        inquiry.traces += [tracing].compactMap(\.self)
        guard isWithinRate(inquiry.rules) else {
            warn("a zone has used up its questions_per_second; more are answered SERVFAIL")
            turnAway(question, done)
            return
        }
        guard waiters < Self.maxWaiters, let mayStart = admission.enter(inquiry) else {
            warn("\(inquiries.count) questions in flight, \(waiters) clients wait; some are answered SERVFAIL")
            turnAway(question, done)
            return
        }
        counters.misses += 1
        waiters += 1
        inquiry.waiters.append(done)
        inquiry.limitPatience()
        inquiries[question] = inquiry
        if mayStart { inquiry.start() }
    }

    private func turnAway(_ question: Question, _ done: (ResponseBody) -> Void) {
        counters.turnedAway += 1
        let stale = staleBody(for: question)
        lastSource = stale == nil ? .asked : .stale
        done(stale ?? ResponseBody(question: question, rcode: .serverFailure))
    }

    /// Whether the zone's questions a second allow one more, which is then counted.
    private func isWithinRate(_ rules: Rules) -> Bool {
        guard let zone = rules.zone, let most = zone.questionsPerSecond else { return true }
        var rate = rates[zone.name] ?? QuestionRate()
        let isWithin = rate.take(of: most, now: now())
        rates[zone.name] = rate
        if !isWithin { counters.overRate += 1 }
        return isWithin
    }

    /// Asks again for what is asked often, before its time is over.
    private func prefetch(_ question: Question) {
        guard inquiries[question] == nil, prefetching < admission.limits.active / Self.prefetchShare else { return }
        let inquiry = Inquiry(question, forwarder: self, client: nil)
        guard admission.hasPlace(inquiry), isWithinRate(inquiry.rules), admission.enter(inquiry) == true else { return }
        counters.prefetches += 1
        prefetching += 1
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
        for done in answered {
            lastSource = .stale
            done(found.body)
        }
    }

    /// An inquiry's end: its waiters are answered and the next in line begins.
    /// - Parameter isBogus: an upstream has validated and refuses the answer; no older one may be used in its place.
    func finish(_ inquiry: Inquiry, _ resolution: Resolution, isBogus: Bool = false) {
        let question = inquiry.question
        guard inquiries.removeValue(forKey: question) != nil else { return }
        if inquiry.isPrefetch { prefetching -= 1 } else { counters.lookups.observe(now() - inquiry.began) }
        let bounds = settings.bounds(settings.rules(for: question), resolution)
        var body = bounds.limited(ResponseBody(question: question, resolution))
        var source = AnswerSource.asked
        if body.rcode == .serverFailure {
            if isBogus {
                counters.bogusAnswers += 1
                cache.store(body, for: question, ttl: 0, now: now())  // takes the older one away
            }
            cache.fail(question, now: now())
            if !inquiry.waiters.isEmpty {
                if let found = cache.stale(question, now: now()) {
                    body = found.body
                    source = .stale
                    counters.staleAnswers += UInt64(inquiry.waiters.count)
                } else {
                    counters.givenUp += 1
                }
            }
        } else {
            cache.store(body, for: question, ttl: resolution.ttl, now: now(), bounds: bounds)
        }
        waiters -= inquiry.waiters.count
        for next in admission.leave(inquiry) {
            loop.assumeIsolated().execute { next.start() }  // later: it might end at once, and so on through the line
        }
        for done in inquiry.waiters {
            lastSource = source  // whoever was answered before may have asked again
            done(body)
        }
    }

    /// Ends everything in flight, with SERVFAIL.
    func abandonAll() {
        for inquiry in Array(inquiries.values) { inquiry.abandon() }
        for probe in Array(probes.values) { probe.abandon() }
        for upstream in upstreams.values { upstream.stream?.close() }
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
    /// REFUSED, whole.
    static func refused(_ query: QueryMessage) -> [UInt8] {
        ResponseBody(question: query.question, rcode: .refused)
            .message(for: query, elapsed: 0, maxOctets: DatagramHandler.plainOctets)
    }

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
