// A decision in two halves, for a store that several hosts share: what this host knows of the request becomes a plan,
// the store decides on it in one step, and what it says is concluded here. Which messages are on their way, which
// connections were counted and where Postfix asks at END-OF-MESSAGE stays each host's own: they concern no other. A
// key's counts, reservations, blocks and events told are the store's, and mirrored here for when it does not answer.

public import PosternMail

/// What a store is asked about one request.
public struct LimitPlan: Sendable {
    /// One key's share of a decision.
    public struct Step: Sendable {
        public let terms: LimitTerms
        public let key: [UInt8]
        /// What is added, if nothing that binds is over by it.
        public let asked: Int
        /// It is reserved, not counted.
        public let reserves: Bool
        /// At a message's end: what it has reserved there, which goes back whatever is decided, ...
        public let release: Int
        /// ... and what of it is counted if the message is let in.
        public let counts: Int
        let digest: UInt64?
        /// Octets that the client has not announced: see LimitBook.
        let awaitsItsEnd: Bool
        let holdsReservation: Bool
    }

    /// What a message that is over had reserved.
    public struct Release: Sendable {
        public let terms: LimitTerms
        public let key: [UInt8]
        public let slot: Int64
        /// Goes back, ...
        public let amount: Int
        /// ... and so much of it is counted: nobody tells ends there any more.
        public let counts: Int
    }

    public let request: LimitRequest
    /// In the order of LimitBook's: what the message has already first, then the charges.
    public let steps: [Step]
    /// What comes before the decision.
    public let releases: [Release]
    /// What was counted here while the store did not answer, of the same keys: it comes first of all.
    public let debts: [LimitDebt]
    /// What the message's reservations are kept under; 0 for a message that has none yet.
    public let slot: Int64
    /// What this host's ledger is ahead of the store's clock, in milliseconds; 0 where they agree well enough.
    public let difference: Int64
    let instanceKey: UInt64?
    let service: Int
    /// Its recipients' charges are reserved.
    let reserves: Bool

    /// There is nothing to ask.
    public var isEmpty: Bool { steps.isEmpty && releases.isEmpty && debts.isEmpty }
}

/// How long messages that are on their way hold what their recipients need, in milliseconds.
public enum LimitReservations {
    public static let lapse: Int64 = 600_000
    /// A shared store keeps them by the minute in which their messages began: those of a host that has died lapse when
    /// all of its minute has.
    public static let slot: Int64 = 60_000
}

/// One key as a shared store has it. Times are the store's, in milliseconds.
public struct LimitState: Hashable, Sendable {
    public let cells: LimitCells
    /// Since when the store has it without a break.
    public let since: Int64
    public let blockedUntil: Int64
    public let isBlockedByAdmin: Bool
    public let warnedUntil: Int64
    public let toldUntil: Int64
    /// By all hosts' messages.
    public let reserved: Int
    public let clients: [IPAddress]

    public init(
        cells: LimitCells, since: Int64 = 0, blockedUntil: Int64 = 0, isBlockedByAdmin: Bool = false,
        warnedUntil: Int64 = 0,
        toldUntil: Int64 = 0, reserved: Int = 0, clients: [IPAddress] = []
    ) {
        self.cells = cells
        self.since = since
        self.blockedUntil = blockedUntil
        self.isBlockedByAdmin = isBlockedByAdmin
        self.warnedUntil = warnedUntil
        self.toldUntil = toldUntil
        self.reserved = reserved
        self.clients = clients
    }

    /// - Parameter amounts: what its spans allow; fewer where no configuration names the limit.
    public func entry(_ key: LimitKey, amounts: [Int], at time: Int64) -> LimitEntry {
        let shape = cells.shape
        return LimitEntry(
            limit: shape.name, count: shape.count, key: key,
            uses: shape.spans.indices.map { span in
                LimitUse(
                    used: cells.used(span, at: time), allowed: amounts.indices.contains(span) ? amounts[span] : 0,
                    span: .milliseconds(shape.spans[span]))
            },
            reserved: reserved, blockedFor: .milliseconds(max(0, blockedUntil - time)),
            isBlockedByAdmin: isBlockedByAdmin && blockedUntil > time, clients: clients)
    }
}

/// What a store has decided.
public struct LimitOutcome: Sendable {
    /// Of a step that is over.
    public struct Over: Hashable, Sendable {
        public let isBlocked: Bool
        public let span: Int
        public let used: Int
        public let reserved: Int
        /// In milliseconds; nil for never.
        public let freeIn: Int64?
        /// It is told now.
        public let isTold: Bool

        public init(isBlocked: Bool, span: Int, used: Int, reserved: Int, freeIn: Int64?, isTold: Bool) {
            self.isBlocked = isBlocked
            self.span = span
            self.used = used
            self.reserved = reserved
            self.freeIn = freeIn
            self.isTold = isTold
        }
    }

    /// Of a step that is the first to reach `warn_at`.
    public struct Near: Hashable, Sendable {
        public let span: Int
        public let used: Int
        public let reserved: Int

        public init(span: Int, used: Int, reserved: Int) {
            self.span = span
            self.used = used
            self.reserved = reserved
        }
    }

    public struct Step: Hashable, Sendable {
        /// After the decision.
        public let state: LimitState
        public let over: Over?
        public let near: Near?

        public init(state: LimitState, over: Over?, near: Near?) {
            self.state = state
            self.over = over
            self.near = near
        }
    }

    /// The store's clock, in milliseconds.
    public let time: Int64
    /// As many as the plan has.
    public let steps: [Step]

    public init(time: Int64, steps: [Step]) {
        self.time = time
        self.steps = steps
    }
}

/// Whether a store has run what it was asked, when it did not answer.
public enum LimitSilence: Sendable {
    /// It was not asked, or has refused.
    case unasked
    /// It was sent, and nobody knows. Taken for done: what is counted a second time would refuse somebody for the
    /// store's trouble, and most often it was only slow.
    case sent
}

/// What becomes of what a LimitBook counts.
enum LimitRoute {
    /// It is nobody else's.
    case own
    /// A store is told with the decision, and its answer is mirrored.
    case collected
    /// The store does not answer: it is told afterwards.
    case owed
    /// The store does not answer, and has been told.
    case presumed
}
