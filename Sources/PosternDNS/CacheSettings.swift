// How much the cache may keep, and how long: for the whole, and for the names below one zone where it differs.

extension Cache {
    /// How much may be kept, and how long.
    public struct Settings: Hashable, Sendable {
        /// Bound of everything kept, overhead included.
        public var octets: Int
        /// Most answers kept, whatever their size.
        public var entries: Int
        /// How long answers are kept where nothing else is said about their zone.
        public var bounds: Bounds

        public init(octets: Int = 64 << 20, entries: Int = 1 << 20, bounds: Bounds = Bounds()) {
            self.octets = max(0, octets)
            self.entries = max(0, entries)
            self.bounds = bounds
        }
        public init(octets: Int = 64 << 20, negativeTTLMax: Duration) {
            self.init(octets: octets, bounds: Bounds(negativeTTLMax: negativeTTLMax))
        }
    }

    /// For how long an answer is kept.
    public struct Bounds: Hashable, Sendable {
        /// Shortest time; what holds for 0 seconds is never kept, whatever this says.
        public var ttlMin: Duration
        /// Longest time, and the longest TTL that is told. Source: RFC 8767 §4 recommends days to weeks.
        public var ttlMax: Duration
        /// Longest time that "no such name" and "no such record" are kept, whatever the zone says.
        public var negativeTTLMax: Duration
        /// NXDOMAIN of a name, if it was validated, answers for all names below it. Source: RFC 8020 §2.
        ///
        /// False for DNS lists: some list `192.0.2.7` while they deny what stands between.
        public var hasNXDOMAINCut: Bool
        /// How long records may still be used after their time, while upstreams have no answer. Source: RFC 8767 §4.
        ///
        /// Never for "there is none": what is denied may have come since.
        public var stale: Duration

        public init(
            ttlMin: Duration = .zero, ttlMax: Duration = .seconds(7 * 86_400), negativeTTLMax: Duration = .seconds(60),
            hasNXDOMAINCut: Bool = true, stale: Duration = .zero
        ) {
            self.ttlMin = ttlMin
            self.ttlMax = ttlMax
            self.negativeTTLMax = negativeTTLMax
            self.hasNXDOMAINCut = hasNXDOMAINCut
            self.stale = stale
        }

        /// Longest time for an answer.
        func most(_ body: ResponseBody) -> Duration {
            body.answersNothing ? min(ttlMax, negativeTTLMax) : ttlMax  // RFC 2308 §5
        }

        /// The answer as it is told, with no TTL above the longest time.
        public func limited(_ body: ResponseBody) -> ResponseBody {
            body.limitingTTLs(to: UInt32(clamping: most(body).components.seconds))
        }
    }
}
