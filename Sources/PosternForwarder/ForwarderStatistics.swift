// What is counted by zone, by client and by upstream, so that an admin sees whose questions the cache answers and where
// time is lost. All sets are closed: zones are those of the configuration, clients are users of this machine, and both
// are capped, so that no stranger's word becomes a counter.

public import PosternMail

/// What was counted since the start.
public struct ForwarderStatistics: Hashable, Sendable {
    /// Questions and how they ended; `cached`, `stale`, `local` and `asked` add up to `questions`, but for those that are
    /// still being asked.
    public struct Tally: Hashable, Sendable {
        public var questions: UInt64 = 0
        /// Answered by the cache with what holds, remembered failures included.
        public var cached: UInt64 = 0
        /// Answered with what was no longer fresh. Source: RFC 8767.
        public var stale: UInt64 = 0
        /// Answered by the static zone.
        public var local: UInt64 = 0
        /// Answered by upstreams; or by nobody in the end, those turned away included.
        public var asked: UInt64 = 0
        /// Answered SERVFAIL, wherever that came from; a part of the others.
        public var failed: UInt64 = 0

        /// The share that nobody was waited for, in thousandths; nil before the first answer.
        public var hitRate: Int? {
            let (hits, all) = (cached + local, cached + local + stale + asked)
            return all == 0 ? nil : Int(clamping: hits * 1000 / all)
        }

        public init() {}
    }

    public enum Zone: Hashable, Sendable {
        /// One of `[[dns.zone]]` or a DNS list's.
        case configured(DomainName)
        /// TXT questions elsewhere: SPF, DKIM, DMARC.
        case authentication
        case other
    }

    public enum Client: Hashable, Sendable {
        /// Of a process behind a UNIX socket. Source: unix(7), SO_PEERCRED.
        case user(UInt32)
        case tcp
        case udp
        /// The admin's, by the control socket.
        case control
        /// More users than are told apart.
        case others
    }

    /// One upstream and what it is like.
    public struct UpstreamReading: Hashable, Sendable {
        public let upstream: Upstream
        /// Queries sent to it, over UDP and TCP, probes included.
        public let queries: UInt64
        /// Those that ended without an answer of use.
        public let failures: UInt64
        /// Smoothed; nil before the first reply.
        public let roundTrip: Duration?
        /// It was silent too often, and is asked again by probes only.
        public let isLeft: Bool
    }

    public internal(set) var zones: [Zone: Tally] = [:]
    public internal(set) var clients: [Client: Tally] = [:]
    /// In the order of their addresses' text.
    public internal(set) var upstreams: [UpstreamReading] = []

    public init() {}
}

/// How one question was answered.
enum AnswerSource: String, Sendable {
    case local, cached, stale, asked

    fileprivate var field: WritableKeyPath<ForwarderStatistics.Tally, UInt64> {
        switch self {
        case .local: \.local
        case .cached: \.cached
        case .stale: \.stale
        case .asked: \.asked
        }
    }
}

/// Counts; used on the event loop alone.
struct Bookkeeping {
    typealias Tally = ForwarderStatistics.Tally
    typealias Client = ForwarderStatistics.Client

    /// Users told apart; this machine's daemons are a handful.
    static let maxClients = 32
    /// Zones told apart; those of a configuration are a few dozen.
    static let maxZones = 256

    /// Longest first, so that the first that fits is the nearest.
    private var zones: [(name: DomainName, tally: Tally)] = []
    private var authentication = Tally()
    private var other = Tally()
    private var clients: [Client: Tally] = [:]

    /// Takes the zones of new settings, with what was counted of those that stay.
    mutating func adopt(_ settings: ForwarderSettings) {
        let known = Dictionary(zones.map { ($0.name, $0.tally) }, uniquingKeysWith: { first, _ in first })
        let names = settings.lists.union(settings.zones.map(\.name))
        zones = names.sorted { ($0.wire.count, $0.description) > ($1.wire.count, $1.description) }
            .prefix(Self.maxZones).map { ($0, known[$0] ?? Tally()) }
    }

    /// A question came in.
    mutating func begin(_ isText: Bool, _ name: DomainName, _ client: Client) {
        count(isText, name, client) { $0.questions += 1 }
    }

    /// And was answered.
    mutating func end(_ isText: Bool, _ name: DomainName, _ client: Client, _ source: AnswerSource, failed: Bool) {
        count(isText, name, client) {
            $0[keyPath: source.field] += 1
            if failed { $0.failed += 1 }
        }
    }

    private mutating func count(
        _ isText: Bool, _ name: DomainName, _ client: Client, _ change: (inout Tally) -> Void
    ) {
        if let place = zones.firstIndex(where: { name.isEqualOrBelow($0.name) }) {
            change(&zones[place].tally)
        } else if isText {
            change(&authentication)
        } else {
            change(&other)
        }
        let known = clients[client] != nil || clients.count < Self.maxClients
        change(&clients[known ? client : .others, default: Tally()])
    }

    var statistics: ForwarderStatistics {
        var all = ForwarderStatistics()
        for zone in zones { all.zones[.configured(zone.name)] = zone.tally }
        all.zones[.authentication] = authentication
        all.zones[.other] = other
        all.clients = clients
        return all
    }
}
