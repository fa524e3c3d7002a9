// What is counted for limits, as whoever keeps it is asked: one decision a request, with all of the request's limits, so
// that a store which several hosts share can answer in one round trip. All limits are checked before any is charged, and a
// refused request is charged to none. LimitMemory keeps it in memory, PosternStore's LimitStore a journal of that.

public import PosternMail

/// What one request costs of one limit.
public struct LimitCharge: Sendable {
    public let terms: LimitTerms
    public let key: LimitKey
    public let amount: Int
    /// It is what the whole message comes to: what the message has already is part of it.
    public let isTotal: Bool

    public init(_ terms: LimitTerms, _ key: LimitKey, amount: Int, isTotal: Bool) {
        self.terms = terms
        self.key = key
        self.amount = amount
        self.isTotal = isTotal
    }
}

/// One request of Postfix's, as far as limits go.
public struct LimitRequest: Sendable {
    /// What a message has come to at END-OF-MESSAGE.
    public struct Totals: Hashable, Sendable {
        /// Nil where Postfix does not say.
        public let recipients: Int?
        public let octets: Int?

        public init(recipients: Int?, octets: Int?) {
            self.recipients = recipients
            self.octets = octets
        }
    }

    /// In the order of the settings, at most one of a limit.
    public let charges: [LimitCharge]
    /// What charges are reserved under; empty for a request without, which is charged at once.
    public let instance: [UInt8]
    /// The client's address and port; empty where not known.
    public let connection: [UInt8]
    /// Postfix's service, as far as it can be told (its port): each may or may not have an end-of-data hook.
    public let service: [UInt8]
    public let client: IPAddress?
    /// The login; for events.
    public let account: [UInt8]
    /// At END-OF-MESSAGE: the reservations become charges.
    public let totals: Totals?

    public init(
        charges: [LimitCharge], instance: [UInt8], connection: [UInt8], service: [UInt8], client: IPAddress?,
        account: [UInt8], totals: Totals?
    ) {
        self.charges = charges
        self.instance = instance
        self.connection = connection
        self.service = service
        self.client = client
        self.account = account
        self.totals = totals
    }
}

/// How much of one limit's key is used, in one of its spans.
public struct LimitUse: Hashable, Sendable {
    /// In what counts as the last span of time; reservations not included.
    public let used: Int
    public let allowed: Int
    public let span: Duration

    public init(used: Int, allowed: Int, span: Duration) {
        self.used = used
        self.allowed = allowed
        self.span = span
    }
}

/// One limit that a request goes over.
public struct LimitRefusal: Sendable {
    public let terms: LimitTerms
    public let key: LimitKey
    /// Of the span that is over, and is so for longest; of the longest span where it is only blocked.
    public let use: LimitUse
    public let reserved: Int
    /// What the request would have added.
    public let asked: Int
    /// It is blocked, whatever is used.
    public let isBlocked: Bool
    /// When what was asked fits and no block is left, if nothing else is counted until then. That is exact, and so may be
    /// a twelfth of the span more than the span (a second more, for a fixed window): a cell goes as a whole. Only where
    /// messages on their way hold what is missing it is as long as it can take. Nil: never, it is more than is allowed.
    public let freeIn: Duration?
}

/// Something that an admin wants to hear of. Told once in a span of time for a key.
public struct LimitEvent: Hashable, Sendable {
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        /// `warn_at` is reached.
        case nearing
        /// A request went over the limit.
        case over
    }

    public let kind: Kind
    public let limit: String
    public let count: LimitCount
    public let key: LimitKey
    public let use: LimitUse
    public let reserved: Int
    /// How long it is blocked from now; zero where it is not.
    public let blockedFor: Duration
    /// The login of the request; empty for none. A stranger's text.
    public let account: [UInt8]
    /// Addresses that have used the key since half of its limit, the last ones; at most `maxClients`.
    public let clients: [IPAddress]
    /// What goes over is refused; else (shadow, hold) it goes on.
    public let isBinding: Bool

    public static let maxClients = 16
}

public struct LimitDecision: Sendable {
    /// Limits that the request goes over, in the order of the charges; shadows too.
    public let refusals: [LimitRefusal]
    public let events: [LimitEvent]
    /// How the keys of all charges stand; of `foresee` only.
    public let standings: [LimitEntry]
    /// Limits whose key found no room: nothing was counted for them.
    public let untracked: Int
    /// The ledger cannot tell, and has said why in the log.
    public let isUnavailable: Bool

    public init(
        refusals: [LimitRefusal], events: [LimitEvent] = [], standings: [LimitEntry] = [], untracked: Int = 0,
        isUnavailable: Bool = false
    ) {
        self.refusals = refusals
        self.events = events
        self.standings = standings
        self.untracked = untracked
        self.isUnavailable = isUnavailable
    }
}

/// How one key stands.
public struct LimitEntry: Hashable, Sendable {
    public let limit: String
    public let count: LimitCount
    public let key: LimitKey
    /// One for each span; `allowed` is 0 where the limit is in no configuration since the start.
    public let uses: [LimitUse]
    /// Held for messages that are on their way.
    public let reserved: Int
    /// Zero where it is not blocked.
    public let blockedFor: Duration
    public let isBlockedByAdmin: Bool
    /// As in `LimitEvent`.
    public let clients: [IPAddress]

    /// Nothing more goes: used up in one of its spans, or blocked.
    public var isOver: Bool {
        blockedFor > .zero || uses.contains { $0.allowed > 0 && $0.used + reserved >= $0.allowed }
    }
}

/// A part of what is counted.
public struct LimitPage: Sendable {
    public let entries: [LimitEntry]
    /// Where the next page begins; nil at the end. May be there although this page is empty.
    public let next: String?

    public init(entries: [LimitEntry], next: String?) {
        self.entries = entries
        self.next = next
    }
}

public struct LimitCounts: Hashable, Sendable {
    public let keys: Int
    /// Messages whose end was not seen yet, or not long ago.
    public let instances: Int
    /// Keys that were forgotten for want of room, since the start.
    public let evicted: Int
    /// Services, by port, where Postfix asks at END-OF-MESSAGE: where it reserves. Elsewhere RCPT charges at once.
    public let reserving: [String]

    public init(keys: Int, instances: Int, evicted: Int, reserving: [String]) {
        self.keys = keys
        self.instances = instances
        self.evicted = evicted
        self.reserving = reserving
    }
}

/// Why an admin's question has no answer.
public struct LimitUnavailable: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// Keeps what is counted. All calls may come from any thread.
public protocol LimitLedger: Sendable {
    /// Tells which limits there are now, so that they can be listed and blocked before their first request.
    func prepare(_ terms: [LimitTerms])

    /// Decides and counts. Never throws.
    ///
    /// - Parameter now: may be earlier than in calls before, when the clock was set back: time then stands still here for
    ///   a moment and goes on from there. A step forwards is taken for time that has passed.
    func decide(_ request: LimitRequest, now: UnixTime) -> LimitDecision

    /// A message is over, and whoever asks has seen it: without its END-OF-MESSAGE, what it had reserved goes back.
    /// - Parameter instance: as in its requests; likewise the client.
    func end(instance: [UInt8], client: IPAddress?, now: UnixTime)

    /// What `decide` would answer, and how the keys stand; nothing is counted.
    func foresee(_ request: LimitRequest, now: UnixTime) -> LimitDecision

    /// A page of the keys, in the ledger's own order.
    ///
    /// - Parameter after: the `next` of the page before.
    /// - Parameter limit: most entries of the page.
    func entries(
        onlyOver: Bool, after: String?, limit: Int, now: UnixTime
    ) throws(LimitUnavailable) -> LimitPage

    /// How a key stands, in each limit that has it.
    func entries(for key: LimitKey, now: UnixTime) throws(LimitUnavailable) -> [LimitEntry]

    /// Forgets what was counted for a key, and unblocks it; what is reserved stays reserved.
    /// - Parameter limit: its name; nil for all.
    /// - Returns: in how many limits it was found.
    func clear(_ key: LimitKey, limit: String?, now: UnixTime) throws(LimitUnavailable) -> Int

    /// Refuses whatever would be charged to the key for a time, messages that are on their way too.
    /// - Returns: in how many limits; a limit that is named needs not have the key yet.
    func block(_ key: LimitKey, limit: String?, for time: Duration, now: UnixTime) throws(LimitUnavailable) -> Int

    /// Ends a block, whoever began it; what was counted stays.
    func unblock(_ key: LimitKey, limit: String?, now: UnixTime) throws(LimitUnavailable) -> Int

    func counts() throws(LimitUnavailable) -> LimitCounts
}

extension LimitLedger {
    /// For a ledger that is not told of ends: there reservations lapse.
    public func end(instance: [UInt8], client: IPAddress?, now: UnixTime) {}
}
