// The cache of the well (RFC 1034 §5.3.1; negatives by RFC 2308 §5): answers by their question, for as long as their
// TTLs allow, within a bound on octets that is counted honestly. A value without clock or lock: the one event loop of
// postern-dns owns it. What goes first when it is full is another type's business (`EvictionQueues`). An entry whose
// time is over keeps its place until it is replaced or must go: names that are asked again come back to where they were.

public import PosternMail

public struct Cache: Sendable {
    public private(set) var settings: Settings
    /// Octets in use, by the same count as `settings.octets`. Never more than that.
    public private(set) var octetsInUse = 0
    /// Entries that were dropped because the cache was full.
    public private(set) var evictions: UInt64 = 0
    /// Entries, those included whose time is over and whose place nobody needed yet.
    public var count: Int { places.count }

    /// How long a failure is remembered. Source: RFC 9520 §3.2: at least 1 second, at most 5 minutes.
    public static let failureTTL = Duration.seconds(5)
    /// The same where a stale answer is there meanwhile. Source: RFC 8767 §5: 30 seconds between refreshes.
    public static let failureTTLWhenStale = Duration.seconds(30)
    /// TTL of stale answers, in seconds. Source: RFC 8767 §4.
    public static let staleTTL: UInt32 = 30
    /// So many questions within an answer's time, and it is asked for again before the time is over.
    static let usesForRefresh: UInt8 = 3
    /// Shorter times are not worth it.
    static let shortestRefreshed = Duration.seconds(10)
    /// What an entry costs beside its own octets: its share of the dictionary and the tables, kept at most 3/8
    /// empty while they grow, its fingerprint, and three array headers with malloc's rounding.
    static let entryOverhead = 416

    struct Entry {
        let question: Question
        let body: ResponseBody
        let stored: UnixTime
        let expires: UnixTime
        /// No stale answer from then on.
        let ends: UnixTime
        /// Questions that it was the answer to, up to `usesForRefresh`.
        var uses: UInt8 = 0
        /// Upstreams had no answer; they are not asked again before. Source: RFC 9520 §3.2.
        var failedUntil: UnixTime?
        var octets: Int {
            Cache.entryOverhead + question.name.wire.count + body.octets.count + 2 * body.ttlOffsets.count
        }
        func isFresh(_ now: UnixTime) -> Bool { now < expires }
        /// The last tenth of its time has begun, and it is asked for often.
        func isDue(_ now: UnixTime) -> Bool {
            guard uses >= Cache.usesForRefresh, expires - stored >= Cache.shortestRefreshed else { return false }
            return expires - now <= (expires - stored) / 10 && !isFailing(now)
        }
        func isFailing(_ now: UnixTime) -> Bool { failedUntil.map { now < $0 } ?? false }
    }
    private(set) var entries: [Entry?] = []
    private var free: [Int] = []
    private(set) var places: [Question: Int] = [:]
    /// Names of which validation said that nothing is below them: the entries that say it. Source: RFC 8020 §2.
    private(set) var cuts: [DomainName: Int] = [:]
    private(set) var queues: EvictionQueues

    public init(_ settings: Settings = Settings()) {
        self.settings = settings
        queues = EvictionQueues(octets: settings.octets)
    }

    /// Takes new bounds, dropping what no longer fits. Times already given to entries stay.
    public mutating func adopt(_ settings: Settings) {
        self.settings = settings
        shrink(octets: settings.octets, entries: settings.entries)
    }

    // MARK: Finding

    /// An answer that need not be asked for.
    public struct Found: Hashable, Sendable {
        public let body: ResponseBody
        /// How many whole seconds old the body is.
        public let elapsed: UInt32
        public let source: Source
        /// It should be asked for again: it is asked for often, and its time is over soon.
        public var isDue = false
    }

    /// Where an answer was found.
    public enum Source: Hashable, Sendable {
        /// Kept, and its time not over.
        case fresh
        /// A name above does not exist. Source: RFC 8020 §2.
        case cut
        /// The last try failed, a moment ago: SERVFAIL. Source: RFC 9520 §3.1.
        case failure
        /// Its time is over, and the last try to renew it failed. Source: RFC 8767 §4.
        case stale
    }

    /// What can be answered without asking.
    /// - Parameter now: any clock that runs as fast as real time and never steps back, the same in every call.
    public mutating func find(_ question: Question, now: UnixTime) -> Found? {
        let place = places[question]
        if let place, let entry = entries[place] {
            queues.use(place)
            if entry.isFresh(now) {
                if entry.uses < Self.usesForRefresh { entries[place]?.uses += 1 }
                let isDue = entries[place]?.isDue(now) ?? false
                return Found(body: entry.body, elapsed: age(entry, now), source: .fresh, isDue: isDue)
            }
        }
        if let body = bodyByCut(question, now) { return Found(body: body, elapsed: 0, source: .cut) }
        if let place, let entry = entries[place], entry.isFailing(now) {
            if let stale = stale(question, now: now) { return stale }
            return Found(body: ResponseBody(question: question, rcode: .serverFailure), elapsed: 0, source: .failure)
        }
        return nil
    }

    /// The answer whose time is over, if it may be used when nobody has a newer one. Source: RFC 8767 §4.
    public func stale(_ question: Question, now: UnixTime) -> Found? {
        guard hasStale(question, now: now), let place = places[question], let entry = entries[place] else { return nil }
        return Found(body: entry.body.settingTTLs(to: Self.staleTTL), elapsed: 0, source: .stale)
    }

    public func hasStale(_ question: Question, now: UnixTime) -> Bool {
        guard let place = places[question], let entry = entries[place] else { return false }
        return !entry.isFresh(now) && now < entry.ends
    }

    func age(_ entry: Entry, _ now: UnixTime) -> UInt32 {
        UInt32(clamping: (now - entry.stored).components.seconds)
    }

    /// NXDOMAIN made of that of a name above, or of the name itself when another type was asked.
    private func bodyByCut(_ question: Question, _ now: UnixTime) -> ResponseBody? {
        guard !cuts.isEmpty else { return nil }
        var name: DomainName? = question.name
        while let above = name {  // a name has at most 127 labels
            if let place = cuts[above], let entry = entries[place], entry.isFresh(now) {
                let said = entry.body.resolution(of: entry.question, elapsed: age(entry, now))
                return ResponseBody(
                    question: question, rcode: .nameError, authority: said.authority, isAuthenticated: true)
            }
            name = above.parent
        }
        return nil
    }

    // MARK: Keeping

    /// Keeps the answer to `question`, unless it may not be kept or would not fit into the whole cache; the one kept
    /// before goes in any case.
    ///
    /// - Parameter ttl: seconds that it holds; 0 is not kept (RFC 1035 §3.2.1), and failures are not: see `fail`.
    /// - Parameter bounds: those of the name's zone; `nil`: those of the settings.
    public mutating func store(
        _ body: ResponseBody, for question: Question, ttl: UInt32, now: UnixTime, bounds: Bounds? = nil
    ) {
        let bounds = bounds ?? settings.bounds
        let lifetime = min(max(.seconds(ttl), bounds.ttlMin), bounds.most(body))
        guard body.rcode == .noError || body.rcode == .nameError, ttl > 0, lifetime > .zero else {
            guard let place = places[question] else { return }
            if isLastMoment(of: place, body, now) {
                entries[place]?.failedUntil = nil  // the upstream has an answer again: RFC 9520 §3.2 is about failures
            } else {
                remove(at: place)
            }
            return
        }
        let expires = now + lifetime
        let entry = Entry(
            question: question, body: bounds.limited(body), stored: now, expires: expires,
            ends: expires + (body.answersNothing ? .zero : bounds.stale))
        keep(entry)
        noteCut(question, body, bounds)
    }

    /// If the answer just kept says so, nothing is below its name. Source: RFC 8020 §2.
    mutating func noteCut(_ question: Question, _ body: ResponseBody, _ bounds: Bounds) {
        // A CNAME before the NXDOMAIN: it is another name that does not exist.
        guard bounds.hasNXDOMAINCut, body.rcode == .nameError, body.isAuthenticated, body.answerCount == 0,
            let place = places[question]
        else { return }
        cuts[question.name] = place
    }

    /// Whether an answer with TTL 0 says what the stale one at `place` says: an upstream's cache, whose clock is not ours to the
    /// second, hands it out in its last moment. That is no newer answer, and takes no older one away.
    private func isLastMoment(of place: Int, _ body: ResponseBody, _ now: UnixTime) -> Bool {
        guard body.rcode == .noError, let entry = entries[place], entry.body.rcode == .noError, !entry.isFresh(now)
        else { return false }
        func said(_ body: ResponseBody) -> Set<ResourceRecord> {
            Set(
                body.resolution(of: entry.question, elapsed: 0).records.map { record in
                    var record = record
                    record.ttl = 0
                    return record
                })
        }
        return said(body) == said(entry.body)
    }

    /// Remembers for a moment that upstreams had no answer. Source: RFC 9520 §3.1.
    public mutating func fail(_ question: Question, now: UnixTime) {
        if let place = places[question] {
            let mayBeStale = entries[place].map { $0.expires < $0.ends && now < $0.ends } ?? false
            entries[place]?.failedUntil = now + (mayBeStale ? Self.failureTTLWhenStale : Self.failureTTL)
        } else {
            keep(
                Entry(
                    question: question, body: ResponseBody(question: question, rcode: .serverFailure), stored: now,
                    expires: now, ends: now, failedUntil: now + Self.failureTTL))
        }
    }

    mutating func keep(_ entry: Entry) {
        guard entry.octets <= settings.octets, settings.entries > 0 else {
            if let place = places[entry.question] { remove(at: place) }
            return
        }
        if let place = places[entry.question], let before = entries[place] {
            forgetCut(of: before, at: place)
            octetsInUse += entry.octets - before.octets
            entries[place] = entry
            queues.resize(place, octets: entry.octets)
            shrink(octets: settings.octets, entries: settings.entries)
            return
        }
        shrink(octets: settings.octets - entry.octets, entries: settings.entries - 1)
        let place: Int
        if let reused = free.popLast() {
            place = reused
            entries[place] = entry
        } else {
            place = entries.count
            entries.append(entry)
        }
        places[entry.question] = place
        queues.insert(place, octets: entry.octets, hash: entry.question.hashValue)
        octetsInUse += entry.octets
    }

    /// Forgets everything.
    public mutating func removeAll() {
        let kept = (settings, evictions)
        self = Cache(kept.0)
        evictions = kept.1
    }

    private mutating func shrink(octets: Int, entries most: Int) {
        while octetsInUse > octets || places.count > most, let place = queues.evict() {
            vacate(place)
            evictions += 1
        }
    }

    mutating func remove(at place: Int) {
        queues.remove(place)
        vacate(place)
    }

    private mutating func vacate(_ place: Int) {
        guard let entry = entries[place] else { return }
        forgetCut(of: entry, at: place)
        entries[place] = nil
        places[entry.question] = nil
        free.append(place)
        octetsInUse -= entry.octets
    }

    private mutating func forgetCut(of entry: Entry, at place: Int) {
        if entry.body.rcode == .nameError, cuts[entry.question.name] == place { cuts[entry.question.name] = nil }
    }
}

extension ResponseBody {
    /// NXDOMAIN or NODATA: the records, if any, are only the CNAMEs before it. Source: RFC 2308 §2.
    public var answersNothing: Bool { rcode == .nameError || isNoData }
}
