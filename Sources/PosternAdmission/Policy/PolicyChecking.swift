// What the pipeline (PolicyJudge) asks of the DNS lists and of greylisting. Both conclude in `PolicyFinding`s, and each
// has one judge: DNSBLJudge and GreylistJudge.

public import PosternDNS
public import PosternMail

/// What one list said, as it came: a fact for whoever keeps it.
public struct DNSBLHeard: Hashable, Sendable {
    public enum Answer: Hashable, Sendable {
        /// The A records, IPv4; none where it lists nobody. Source: RFC 5782 §2.1.
        case addresses([UInt32])
        /// Late, or broken.
        case silent
        /// It was not asked since it was sick.
        case suspended
    }

    /// As it may be shown: without a key.
    public let zone: String
    public let by: DNSBLSubject
    public let answer: Answer

    public init(zone: String, by: DNSBLSubject, answer: Answer) {
        (self.zone, self.by, self.answer) = (zone, by, answer)
    }
}

/// What the DNS lists say about a client and a sender: a fact that holds for all recipients of a message.
public struct DNSBLFinding: Hashable, Sendable {
    /// One for each list that was to be asked, in the settings' order.
    public let lists: [PolicyFinding]
    /// The sum of their scores; of each list its highest counts once.
    public let score: Int
    /// Every list has answered, was late, or is suspended: nobody was left unasked because the outcome was clear.
    public let isWhole: Bool
    /// The reason that the list which counts most gives (its TXT record), printable ASCII, without keys; nil if not
    /// wanted or none.
    public let told: String?
    /// Those that were asked and waited for, and those that are suspended, in the settings' order.
    public let heard: [DNSBLHeard]

    public init(
        lists: [PolicyFinding], score: Int, isWhole: Bool, told: String? = nil, heard: [DNSBLHeard] = []
    ) {
        self.heard = heard
        self.lists = lists
        self.score = score
        self.isWhole = isWhole
        self.told = told
    }
}

/// The DNS lists by score (RFC 5782). Also there where no list is configured: rules give scores too.
public protocol DNSBLChecking: Sendable {
    /// Asks all lists in parallel, within their budget.
    ///
    /// - Parameter ruleScore: what rules have given already.
    /// - Parameter wantsScore: the score itself is looked at afterwards (a rule's `dnsbl_score`, greylisting, explain),
    ///   so that waiting may end early only where the client is refused whatever is still missing. Else it may also end
    ///   once it cannot be refused any more. With `.everything` it never ends early.
    /// - Parameter dns: answers within the request's time.
    /// - Returns: lists without a subject (null sender, no HELO name, client name unknown) are `.skipped`.
    func finding(
        for request: PolicyRequest, ruleScore: Int, wantsScore: Bool, telling: PolicyTelling, dns: any DNSAnswering,
        now: UnixTime
    ) -> DNSBLFinding

    /// What is done about a score: `.reject`, `.defer` or `.pass` as `check: .dnsbl`, with the whole score, its answer
    /// (a reply that names the client, and the list's reason if wanted) and whether it only observes. Pure.
    func decision(on request: PolicyRequest, ruleScore: Int, lists: DNSBLFinding) -> PolicyFinding
}

/// Greylisting (RFC 6647).
public protocol GreylistChecking: Sendable {
    /// Whether greylisting would look at this request at all: the settings' clients, score and skip lists. Pure, and no
    /// ledger is asked. Where it says no, `finding` is not called.
    ///
    /// - Parameter score: the lists' and rules' together; nil where it is not known yet, which is answered as if it were
    ///   the highest.
    /// - Parameter isForced: a rule's action is `greylist`: settings' clients and score do not matter, skip lists do.
    func concerns(_ request: PolicyRequest, score: Int?, isForced: Bool) -> Bool

    /// Asks the ledger, and writes to it unless everything is told.
    ///
    /// - Parameter senderPolicy: asks SPF, at most once for a message; nil where the client has no address. It is called
    ///   only where the answer can matter: no known client or triplet, and a score of at most 0.
    /// - Returns: `.defer` with `.deferIfPermit(450 4.2.0 …)` and the seconds left, or `.pass`, as `check: .greylist`
    ///   and with its shadow. Trouble with the ledger is `.pass` with the trouble as its reason (fail safe for mail).
    func finding(
        for request: PolicyRequest, score: Int, isForced: Bool, telling: PolicyTelling, now: UnixTime,
        senderPolicy: () -> SPFFinding?
    ) -> PolicyFinding
}
