// What a forwarder is told, and what it counts: plain values, so that the daemon can decode the one and show the other.

public import PosternDNS
public import PosternMail

/// A recursive resolver that questions are forwarded to.
public struct Upstream: Hashable, Sendable, CustomStringConvertible {
    public var address: IPAddress
    public var port: UInt16

    public init(_ address: IPAddress, port: UInt16 = 53) {
        self.address = address
        self.port = port
    }

    /// `192.0.2.53`, `2001:db8::53`, `192.0.2.53:5353` or `[2001:db8::53]:5353`.
    public init?(_ text: String) {
        if let address = IPAddress(text) {
            self.init(address)
        } else if let (host, port) = Endpoint.hostAndPort(text), port > 0, let address = IPAddress(host) {
            self.init(address, port: port)
        } else {
            return nil
        }
    }

    public var description: String {
        if port == 53 { return "\(address)" }
        return if case .v6 = address { "[\(address)]:\(port)" } else { "\(address):\(port)" }
    }
}

/// All that a forwarder is told.
public struct ForwarderSettings: Sendable {
    /// The fastest is asked first; in this order until that is known. Without any, only the static zone is answered.
    public var upstreams: [Upstream]
    public var cache: Cache.Settings
    /// Zones that are DNS lists (RFC 5782): what they say of one name says nothing of another.
    public var lists: Set<DomainName> = []
    /// What is different below some zones; the longest that fits a name holds.
    public var zones: [ForwarderZone] {
        get { orderedZones }
        // No observer of a stored property: an initializer in an extension, as the daemon has one, would not call it.
        set {
            orderedZones = newValue
            zonesByName = Dictionary(newValue.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        }
    }
    private var orderedZones: [ForwarderZone] = []
    private(set) var zonesByName: [DomainName: ForwarderZone] = [:]
    /// How long SPF and DMARC records may be used after their time, while no upstream has an answer. Source: RFC 8767.
    public var stale: Duration = .seconds(86_400)
    /// The same for DKIM keys: a key that was revoked must not live long.
    public var staleKeys: Duration = .seconds(6 * 3600)
    /// How long one upstream is waited for before the next is asked as well; replies that come later count until four
    /// such times are over.
    public var tryTimeout: Duration
    /// Answers that are given before anybody is asked.
    public var staticZone: StaticZone
    /// Where to listen; `.tcp` and `.udp` on loopback addresses only (or `localhost`), since it serves whoever asks.
    public var listen: [Endpoint]
    /// Permissions of a UNIX socket's file.
    public var socketMode: UInt32
    /// Stream sockets that were bound already (socket activation); the server takes them over and closes them.
    public var activatedSockets: [CInt]
    /// Ask in mixed case, which a forger must guess too; a reply in another spelling is ignored. Source:
    /// draft-vixie-dnsext-dns0x20-00 §4.
    public var mixesCase = false
    /// Ports that questions to upstreams leave from, at random: the more the better. Source: RFC 5452 §9.2.
    public var sourcePorts: ClosedRange<UInt16> = 1024...65_535

    public init(
        upstreams: [Upstream], cache: Cache.Settings = Cache.Settings(), tryTimeout: Duration = .milliseconds(1500),
        staticZone: StaticZone = StaticZone(), listen: [Endpoint], socketMode: UInt32 = 0o660,
        activatedSockets: [CInt] = []
    ) {
        self.upstreams = upstreams
        self.cache = cache
        self.tryTimeout = tryTimeout
        self.staticZone = staticZone
        self.listen = listen
        self.socketMode = socketMode
        self.activatedSockets = activatedSockets
    }
}

/// What a forwarder has counted since its start.
public struct ForwarderCounters: Hashable, Sendable {
    /// Well-formed questions from clients: each is one of `staticAnswers`, `hits`, `misses`, `joined` or `turnedAway`.
    public var queries: UInt64 = 0
    public var staticAnswers: UInt64 = 0
    /// Questions answered by the cache, in one way or another.
    public var hits: UInt64 = 0
    /// Those among them answered NXDOMAIN since a name above does not exist. Source: RFC 8020.
    public var cutAnswers: UInt64 = 0
    /// Those among them answered SERVFAIL since upstreams failed a moment ago. Source: RFC 9520.
    public var failureAnswers: UInt64 = 0
    /// Questions answered with what was no longer fresh, since upstreams had no answer. Source: RFC 8767.
    public var staleAnswers: UInt64 = 0
    /// Questions asked upstream before their answers' time was over, since they are asked for often.
    public var prefetches: UInt64 = 0
    /// Questions that upstreams were asked for.
    public var misses: UInt64 = 0
    /// Questions that were already being asked upstream.
    public var joined: UInt64 = 0
    /// Questions answered SERVFAIL since too many were in flight, of all or of one client or zone.
    public var turnedAway: UInt64 = 0
    /// Those among them whose zone has used up its questions a second.
    public var overRate: UInt64 = 0
    /// Queries to upstreams that were silent, to see whether they are there again.
    public var probes: UInt64 = 0
    /// Messages that were no usable query.
    public var refusedMessages: UInt64 = 0
    /// Queries sent to upstreams, over UDP and TCP.
    public var upstreamQueries: UInt64 = 0
    /// Those among them that went over TCP since the UDP reply was truncated, or lacked its cookie.
    public var upstreamStreamQueries: UInt64 = 0
    /// TCP connections opened to upstreams.
    public var upstreamConnections: UInt64 = 0
    /// Tries that ended without an answer: no reply, SERVFAIL, REFUSED, an unusable reply, no connection.
    public var upstreamFailures: UInt64 = 0
    /// Datagrams and messages from an upstream's address that were not the reply to our question: forged, late or
    /// broken.
    public var ignoredReplies: UInt64 = 0
    /// Those among them whose cookie was not ours, or missing. Source: RFC 7873 §5.3.
    public var cookieMismatches: UInt64 = 0
    /// Questions answered SERVFAIL since an upstream found their answers bogus. Source: RFC 8914 §4.7.
    public var bogusAnswers: UInt64 = 0
    /// Questions answered SERVFAIL since no upstream had an answer.
    public var givenUp: UInt64 = 0
    /// Connections closed since the client did not read its answers.
    public var stalledConnections: UInt64 = 0
    /// The cache's size now, and what it had to drop.
    public var cachedAnswers: Int = 0
    public var cachedOctets: Int = 0
    public var evictions: UInt64 = 0
    /// From a question's beginning to its end, of those that upstreams were asked for; prefetches not included.
    public var lookups = HistogramCounts()

    public init() {}
}
