// What is kept of a judged message for aggregate reports: who sent it, what was found, what was published and what was
// done, without any word of the message itself (RFC 9990). Making reports of it is not done here.

/// How the organizational domain was found. Source: RFC 9990, `DiscoveryType`.
public enum DMARCDiscovery: String, Hashable, Sendable, CaseIterable {
    /// Source: RFC 9989 §4.10.
    case treewalk
    /// By the public suffix list, as RFC 7489 had it; for comparison only.
    case psl
}

/// Why a policy was not applied as published. Source: RFC 9990, `PolicyOverrideType`.
public enum DMARCOverride: String, Hashable, Sendable, CaseIterable {
    case localPolicy = "local_policy"
    case mailingList = "mailing_list"
    case other
    /// The record says `t=y`.
    case policyTestMode = "policy_test_mode"
    case trustedForwarder = "trusted_forwarder"
}

/// What became of a message. Source: RFC 9990, `ActionDispositionType`.
public enum DMARCDisposition: String, Hashable, Sendable, CaseIterable {
    /// DMARC failed, and nothing was done about it.
    case none
    /// DMARC passed.
    case pass
    case quarantine, reject
}

/// One author of one judged message: a row of a report.
public struct MessageFacts: Hashable, Sendable {
    /// When the verdict fell.
    public var time: UnixTime
    public var queueID: String?
    public var client: IPAddress
    public var dmarc: DMARCFinding
    public var discovery: DMARCDiscovery
    /// Every SPF identity that was judged, MAIL FROM first.
    public var spf: [SPFFinding]
    public var dkim: [DKIMFinding]
    public var disposition: DMARCDisposition
    /// Nil where the policy was applied as published.
    public var override: DMARCOverride?

    public init(
        time: UnixTime, queueID: String?, client: IPAddress, dmarc: DMARCFinding,
        discovery: DMARCDiscovery = .treewalk, spf: [SPFFinding], dkim: [DKIMFinding],
        disposition: DMARCDisposition, override: DMARCOverride? = nil
    ) {
        self.time = time
        self.queueID = queueID
        self.client = client
        self.dmarc = dmarc
        self.discovery = discovery
        self.spf = spf
        self.dkim = dkim
        self.disposition = disposition
        self.override = override
    }
}

/// Takes facts from any thread. It never throws and never makes mail wait: what cannot be kept is lost, counted, and
/// told once by whoever owns the ledger.
public protocol FactLedger: Sendable {
    func append(_ facts: MessageFacts)
}
