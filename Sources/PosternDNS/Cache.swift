// The cache of the well (RFC 1034 §5.3.1; negatives by RFC 2308 §5): answers by their question, for as long as their
// TTLs allow, within a bound on octets that is counted honestly. A value without clock or lock: the one event loop of
// postern-dns owns it. What goes first when it is full is another type's business (`Recency`).

public import PosternMail

public struct Cache: Sendable {
    /// How much may be kept, and how long.
    public struct Settings: Hashable, Sendable {
        /// Bound of everything kept, overhead included.
        public var octets: Int
        /// Longest time that "no such name" and "no such record" are kept, whatever the zone says.
        public var negativeTTLMax: Duration

        public init(octets: Int = 64 << 20, negativeTTLMax: Duration = .seconds(60)) {
            self.octets = max(0, octets)
            self.negativeTTLMax = negativeTTLMax
        }
    }

    public private(set) var settings: Settings
    /// Octets in use, by the same count as `settings.octets`. Never more than that.
    public private(set) var octetsInUse = 0
    /// Entries that were dropped because the cache was full.
    public private(set) var evictions: UInt64 = 0
    public var count: Int { places.count }

    /// Longest time that any answer is kept. Source: RFC 8767 §4 recommends a cap of days to weeks.
    public static let ttlMax: UInt32 = 7 * 86_400
    /// What an entry costs beside its own octets: its share of the dictionary and the two tables, kept at most 3/8
    /// empty while they grow, and three array headers with malloc's rounding.
    static let entryOverhead = 320

    private struct Entry {
        let question: Question
        let body: ResponseBody
        let stored: UnixTime
        let expires: UnixTime
        var octets: Int {
            Cache.entryOverhead + question.name.wire.count + body.octets.count + 2 * body.ttlOffsets.count
        }
    }
    private var entries: [Entry?] = []
    private var free: [Int] = []
    private var places: [Question: Int] = [:]
    private var recency = Recency()

    public init(_ settings: Settings = Settings()) { self.settings = settings }

    /// Takes new bounds, dropping what no longer fits. Times already given to entries stay.
    public mutating func adopt(_ settings: Settings) {
        self.settings = settings
        shrink(to: settings.octets)
    }

    /// The answer kept for `question`, if its time is not over.
    /// - Parameter now: any clock that runs as fast as real time and never steps back, the same in every call.
    /// - Returns: the body and how many whole seconds old it is.
    public mutating func find(_ question: Question, now: UnixTime) -> (body: ResponseBody, elapsed: UInt32)? {
        guard let place = places[question], let entry = entries[place] else { return nil }
        guard now < entry.expires else {
            remove(at: place)
            return nil
        }
        recency.touch(place)
        return (entry.body, UInt32(clamping: (now - entry.stored).components.seconds))
    }

    /// Keeps the answer to `question`, unless it may not be kept or would not fit into the whole cache.
    ///
    /// - Parameter ttl: seconds that it holds; 0 is not kept (RFC 1035 §3.2.1). Failures are never kept, whatever their
    /// `ttl`.
    public mutating func store(_ body: ResponseBody, for question: Question, ttl: UInt32, now: UnixTime) {
        if let place = places[question] { remove(at: place) }
        guard body.rcode == .noError || body.rcode == .nameError else { return }
        var lifetime = Duration.seconds(min(ttl, Self.ttlMax))
        if body.answersNothing { lifetime = min(lifetime, settings.negativeTTLMax) }  // RFC 2308 §5
        guard lifetime > .zero else { return }
        let entry = Entry(question: question, body: body, stored: now, expires: now + lifetime)
        guard entry.octets <= settings.octets else { return }
        shrink(to: settings.octets - entry.octets)
        let place: Int
        if let reused = free.popLast() {
            place = reused
            entries[place] = entry
        } else {
            place = entries.count
            entries.append(entry)
        }
        places[question] = place
        recency.insert(place)
        octetsInUse += entry.octets
    }

    /// Forgets everything.
    public mutating func removeAll() {
        let kept = (settings, evictions)
        self = Cache(kept.0)
        evictions = kept.1
    }

    private mutating func shrink(to limit: Int) {
        while octetsInUse > limit, let place = recency.oldest {
            remove(at: place)
            evictions += 1
        }
    }

    private mutating func remove(at place: Int) {
        guard let entry = entries[place] else { return }
        entries[place] = nil
        places[entry.question] = nil
        recency.remove(place)
        free.append(place)
        octetsInUse -= entry.octets
    }
}

extension ResponseBody {
    /// NXDOMAIN or NODATA: the records, if any, are only the CNAMEs before it. Source: RFC 2308 §2.
    var answersNothing: Bool { rcode == .nameError || isNoData }
}
