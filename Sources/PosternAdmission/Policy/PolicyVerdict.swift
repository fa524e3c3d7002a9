// What postern-policy tells Postfix about one request, and the findings that led to it. The daemon makes the answer,
// one log line and the counts of it; `postern explain` shows all of it.

public import PosternMail

/// How much is told.
public enum PolicyTelling: Hashable, Sendable {
    /// What the answer and its log line need: only checks that matched, refused or would have.
    case outcome
    /// Every rule and check in order, for explain, with questions and answers. Nothing is written then: no triplet is
    /// begun or confirmed.
    case everything
}

/// The last word on a request.
public struct PolicyVerdict: Hashable, Sendable {
    public let answer: PolicyAnswer
    /// In the order in which the checks were made.
    public let findings: [PolicyFinding]
    /// The finding whose answer this is; nil where none had one.
    public let decision: PolicyFinding?
    /// The rules' scores and, where they were asked, the lists'.
    public let score: Int
    /// What would have been answered if not the whole suite only observed (`host.shadow`); nil where it acts.
    public let withheld: PolicyAnswer?

    public init(
        answer: PolicyAnswer, findings: [PolicyFinding], decision: PolicyFinding? = nil, score: Int = 0,
        withheld: PolicyAnswer? = nil
    ) {
        self.answer = answer
        self.findings = findings
        self.decision = decision
        self.score = score
        self.withheld = withheld
    }

    /// The word for the log line: what Postfix is told, or `shadow` where that is withheld.
    public var word: String { withheld == nil ? answer.word : "shadow" }

    /// The log line's text: what Postfix is told and by which check, or would be; then what each shadow wants.
    public var text: String {
        let wishes = findings.filter { $0.isShadow && $0.isWish }.map { ($0.answer?.wish ?? $0.reason, $0.source) }
        return answer.text(withheld: withheld, by: decision?.source, shadows: wishes)
    }
}

extension PolicyFinding {
    /// The check, and why it concluded so; a rule's name says enough.
    fileprivate var source: String {
        if case .rule = check { return "\(check)" }
        return reason.isEmpty ? "\(check)" : "\(check): \(reason)"
    }

    /// It wants something: an answer, or what a rule does that has none.
    fileprivate var isWish: Bool { answer != nil || outcome == .matched }
}
