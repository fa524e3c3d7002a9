// What greylisting remembers, as whoever keeps it is asked: one decision a request, so that a store which several hosts
// share can answer in one round trip, and what the admin asks. What is decided is GreylistDecision's, here is only the
// asking; postern-policy keeps it in SQLite (PosternStore), tests in memory (RFC 6647 §2.4, §2.5).

public import PosternMail

/// The settings that a decision depends on.
public struct GreylistTimes: Hashable, Sendable {
    /// How long a triplet waits.
    public let delay: Duration
    /// How long after the first try the second must come.
    public let retryWithin: Duration
    /// How long what has passed is known since its last mail.
    public let remember: Duration

    public init(delay: Duration, retryWithin: Duration, remember: Duration) {
        self.delay = delay
        self.retryWithin = retryWithin
        self.remember = remember
    }
}

extension GreylistSettings {
    public var times: GreylistTimes { GreylistTimes(delay: delay, retryWithin: retryWithin, remember: remember) }
}

/// One try to deliver to one recipient.
public struct GreylistRequest: Hashable, Sendable {
    /// The domain that SPF passed for by a mechanism which names few addresses.
    public enum Identity: Hashable, Sendable {
        /// SPF was not evaluated, but can be: the ledger says so where it matters (`GreylistAnswer.needsIdentity`).
        case notAsked
        case none
        case domain(DomainName)
    }

    /// The network that counts as one client.
    public let client: Network
    public let sender: [UInt8]
    public let recipient: [UInt8]
    public var identity: Identity

    /// - Parameter sender: empty for the null reverse-path. Addresses count without regard to ASCII case, and by their
    ///   first `GreylistKey.maxAddressOctets` octets.
    /// - Parameter identity: a domain that is no hostname counts as none.
    public init(
        client: Network, sender: some Collection<UInt8>, recipient: some Collection<UInt8>,
        identity: Identity = .notAsked
    ) {
        self.client = client
        self.sender = GreylistKey.normal(sender)
        self.recipient = GreylistKey.normal(recipient)
        if case .domain(let name) = identity, !name.isHostname() {
            self.identity = .none
        } else {
            self.identity = identity
        }
    }
}

public enum GreylistAnswer: Hashable, Sendable {
    public enum Reason: Hashable, Sendable, CaseIterable {
        /// Its network has shown itself.
        case knownClient
        /// So has the domain that SPF passes for.
        case knownDomain
        /// This client has come back with the same sender and recipient.
        case triplet
        /// Another host of the same domain, SPF says, has been here with them.
        case domainTriplet
    }

    /// - Parameter waited: since the first try; nil where nobody had to wait.
    case pass(Reason, waited: Duration?)
    /// - Parameter remaining: more than zero, at most the delay.
    case wait(remaining: Duration, firstSeen: UnixTime)
    /// Nothing was written: ask again with the identity. Only for requests with `.notAsked`.
    case needsIdentity
    /// The ledger cannot tell and has said why in the log: mail passes.
    case unavailable
}

/// What greylisting remembers, and for whom. All calls may come from any thread and block for as long as a disk does.
public protocol GreylistLedger: Sendable {
    /// Decides and remembers. Never throws: what is broken answers `.unavailable`.
    ///
    /// - Parameter now: may be earlier than in calls before, when the clock was set back; nobody waits longer than the
    ///   delay for that.
    func decide(_ request: GreylistRequest, times: GreylistTimes, now: UnixTime) -> GreylistAnswer

    /// What `decide` would answer; nothing is written.
    func foresee(_ request: GreylistRequest, times: GreylistTimes, now: UnixTime) -> GreylistAnswer

    /// A page of what is remembered, in the ledger's own order; expired entries that were not removed yet among them.
    ///
    /// - Parameter prefix: what the text of an entry's origin begins with: `192.0.2.`, `example.`; empty for all.
    /// - Parameter after: the `next` of the page before.
    /// - Parameter limit: most entries of the page. It may have fewer, even none, and still a `next`.
    func entries(
        withPrefix prefix: String, after: GreylistCursor?, limit: Int
    ) throws(GreylistUnavailable) -> GreylistPage

    /// What is remembered under one key, expired or not.
    func entry(for key: GreylistKey) throws(GreylistUnavailable) -> GreylistEntry?

    /// Makes a client, domain or triplet known until it is forgotten.
    ///
    /// A client's network is found only with the prefix length of the settings.
    func allow(_ key: GreylistKey, now: UnixTime) throws(GreylistUnavailable)

    /// Forgets one triplet, or a client or domain with all its triplets.
    /// - Returns: how many entries are gone.
    func forget(_ key: GreylistKey) throws(GreylistUnavailable) -> Int

    func counts() throws(GreylistUnavailable) -> GreylistCounts

    /// Takes in what another ledger remembers, as `GreylistEntry.merged` has it: for moving from one ledger to another,
    /// and to bring together what two have learnt apart. The same rows again change nothing, so that a copy which was
    /// interrupted can go on with any page, or begin anew.
    ///
    /// - Returns: how many of the rows have added something.
    func adopt(
        _ rows: [GreylistPage.Row], times: GreylistTimes, now: UnixTime
    ) throws(GreylistUnavailable) -> Int
}

extension GreylistLedger {
    /// For ledgers that only ask: nothing is taken in.
    public func adopt(
        _ rows: [GreylistPage.Row], times: GreylistTimes, now: UnixTime
    ) throws(GreylistUnavailable) -> Int {
        throw GreylistUnavailable("this greylist takes in nothing from others")
    }
}

/// Why an admin's question has no answer.
public struct GreylistUnavailable: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// Where the next page begins; for the ledger that gave it. `text` is for the control socket.
public struct GreylistCursor: Hashable, Sendable {
    public let text: String
    public init(text: String) { self.text = text }
}

public struct GreylistPage: Hashable, Sendable {
    public struct Row: Hashable, Sendable {
        public let key: GreylistKey
        public let entry: GreylistEntry

        public init(_ key: GreylistKey, _ entry: GreylistEntry) {
            self.key = key
            self.entry = entry
        }
    }

    public let rows: [Row]
    /// Nil at the end.
    public let next: GreylistCursor?

    public init(rows: [Row], next: GreylistCursor?) {
        self.rows = rows
        self.next = next
    }
}

/// How much is remembered, expired entries that were not removed yet among it.
public struct GreylistCounts: Hashable, Sendable {
    /// Triplets that have not come back yet.
    public var waiting: Int
    /// Triplets that have.
    public var passed: Int
    /// Networks that are known.
    public var clients: Int
    /// Domains that are known, or on the way to it.
    public var domains: Int

    public init(waiting: Int = 0, passed: Int = 0, clients: Int = 0, domains: Int = 0) {
        self.waiting = waiting
        self.passed = passed
        self.clients = clients
        self.domains = domains
    }

    /// Counts one entry in, or out again.
    public mutating func add(_ count: Int, _ key: GreylistKey, _ entry: GreylistEntry) {
        switch key {
        case .normalTriplet: if entry.isKnown { passed += count } else { waiting += count }
        case .origin(.client): clients += count
        case .origin(.domain): domains += count
        }
    }
}
