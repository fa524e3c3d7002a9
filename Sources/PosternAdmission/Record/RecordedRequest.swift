// One request that was judged, as it is kept for `postern replay`: what Postfix said, what DNS said, what greylisting
// knew, and what was decided. With it the request can be judged again, by another configuration, without asking anybody.

public import PosternMail

/// What was decided about a request, in words.
public struct RecordedDecision: Hashable, Sendable {
    /// What Postfix was told; where the whole suite only observes, what it would have been told.
    public let word: String
    /// It was not told, but DUNNO.
    public let isWithheld: Bool
    /// Who has decided: `rule no spam`, `dnsbl`, `greylist`, `limit per account`; empty for nobody.
    public let check: String
    /// What Postfix was told beside the word; empty where it goes on.
    public let answer: String
    /// Why, printable ASCII.
    public let reason: String

    /// `PolicyAnswer.word`, each once.
    public static let allWords = ["pass", "reject", "defer", "hold", "prepend", "filter", "redirect", "bcc"]
    /// Octets of a text that are kept.
    static let maxTextOctets = 512

    public init(word: String, isWithheld: Bool = false, check: String = "", answer: String = "", reason: String = "") {
        (self.word, self.isWithheld, self.check, self.answer, self.reason) = (word, isWithheld, check, answer, reason)
    }

    public init(_ verdict: PolicyVerdict) {
        let acted = verdict.withheld ?? verdict.answer
        let greylist = verdict.findings.last { $0.check == .greylist && !$0.isShadow }
        self.init(
            word: acted.word, isWithheld: verdict.withheld != nil,
            check: verdict.decision.map { "\($0.check)" } ?? "", answer: acted == .dunno ? "" : acted.summary,
            reason: verdict.decision?.reason ?? greylist.map { "greylist: \($0.reason)" } ?? "")
    }

    public init(_ verdict: LimitVerdict) {
        let acted = verdict.withheld ?? verdict.answer
        self.init(
            word: acted.word, isWithheld: verdict.withheld != nil,
            check: verdict.decision.map { "limit \($0.limit)" } ?? "", answer: acted == .dunno ? "" : acted.summary,
            reason: verdict.decision?.reason ?? "")
    }

    /// Whether mail fares the same: told the same by the same check. Of lists, greylisting and limits the text is not
    /// compared, since it tells scores, seconds and counts.
    public func isSame(as other: RecordedDecision) -> Bool {
        guard word == other.word, isWithheld == other.isWithheld else { return false }
        guard word != "pass" else { return true }
        guard check == other.check else { return false }
        return check.hasPrefix("rule ") ? answer == other.answer : true
    }
}

public struct RecordedRequest: Hashable, Sendable {
    /// Who was asked, or what came to its end.
    public enum Kind: UInt8, Hashable, Sendable, CaseIterable {
        /// postern-policy.
        case policy = 1
        /// postern-rate.
        case limits = 2
        /// A message is over that postern-rate was asked about, whose END-OF-MESSAGE was not seen.
        case end = 3
    }

    public let kind: Kind
    /// In whole milliseconds.
    public let time: UnixTime
    /// The attributes that judges look at, values cut at `RecordFormat.maxValueOctets`.
    public let request: PolicyRequest
    public let decision: RecordedDecision
    /// What DNS lists said when this request had them asked; nil where it did not.
    public var lists: [DNSBLHeard]?
    /// SPF's finding if this request had it asked: its result, and the way to a pass.
    public var senderPolicy: SPFFinding?
    /// What greylisting's memory answered; nil where it was not asked.
    public var greylist: GreylistAnswer?

    public init(
        _ kind: Kind, at time: UnixTime, _ request: PolicyRequest, _ decision: RecordedDecision,
        lists: [DNSBLHeard]? = nil, senderPolicy: SPFFinding? = nil, greylist: GreylistAnswer? = nil
    ) {
        self.kind = kind
        self.time = time.wholeMilliseconds
        self.request = request
        self.decision = decision
        self.lists = lists
        self.senderPolicy = senderPolicy
        self.greylist = greylist
    }
}
