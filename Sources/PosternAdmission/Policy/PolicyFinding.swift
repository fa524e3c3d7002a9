// What one check of postern-policy concludes about one request, with its reason: a row of `postern explain` and a part
// of the log. The rules, the DNS lists and greylisting all speak in it. A finding says what its check would answer;
// which of the findings decides is PolicyJudge's.

public import PosternMail

/// One check of one request.
public struct PolicyFinding: Hashable, Sendable {
    /// Who concludes.
    public enum Check: Hashable, Sendable {
        /// By its name.
        case rule(String)
        case spf
        /// One list, by its zone as it may be shown: the key of a paying user is not in it.
        case list(String)
        /// All lists and the scores of rules together.
        case dnsbl
        case greylist
    }

    /// What became of it. Closed, so that it can be counted.
    public enum Outcome: Hashable, Sendable {
        /// A rule's conditions hold, or one does not, or an earlier rule has ended the list.
        case matched, notMatched, notReached
        /// A DNS list's answer counts, or there is none that does. Source: RFC 5782 §2.1.
        case listed, notListed
        /// A list that gave no answer which could be believed: late, broken, refusing. It lists nobody.
        case unanswered
        /// A list that is not asked since it is sick.
        case suspended
        /// SPF's result.
        case spf(SPFResult)
        /// What a whole check comes to: mail goes on, or is refused for good or for now.
        case pass, reject, `defer`
        /// Not looked at: a rule skips it, the settings leave it out, or an earlier check has decided.
        case skipped
    }

    public let check: Check
    public let outcome: Outcome
    /// Why, in a few words: printable ASCII, whatever strangers sent; no keys of paying users of DNS lists.
    public let reason: String
    /// What it adds to the client's score; for `.dnsbl` the whole score.
    public let score: Int
    /// What this check answers: `.dunno` where it ends all checks in the mail's favour; nil where it does not answer.
    public let answer: PolicyAnswer?
    /// The check only observes: its answer does not count, nor do a rule's score and skips.
    public let isShadow: Bool
    /// DNS questions and their answers, one text each, printable; only where everything is told.
    public let exchanges: [String]
    /// Of greylisting only: what its memory said.
    public let memory: GreylistAnswer?

    public init(
        _ check: Check, _ outcome: Outcome, reason: String, score: Int = 0, answer: PolicyAnswer? = nil,
        isShadow: Bool = false, exchanges: [String] = [], memory: GreylistAnswer? = nil
    ) {
        self.memory = memory
        self.check = check
        self.outcome = outcome
        self.reason = reason
        self.score = score
        self.answer = answer
        self.isShadow = isShadow
        self.exchanges = exchanges
    }
}

extension PolicyFinding.Check: CustomStringConvertible {
    /// As explain and logs have it: `rule partner`, `list zen.spamhaus.org`, `greylist`.
    public var description: String {
        switch self {
        case .rule(let name): "rule \(name)"
        case .spf: "spf"
        case .list(let zone): "list \(zone)"
        case .dnsbl: "dnsbl"
        case .greylist: "greylist"
        }
    }
}

extension PolicyFinding.Outcome: CustomStringConvertible {
    /// One word in lower case.
    public var description: String {
        switch self {
        case .matched: "matched"
        case .notMatched: "not_matched"
        case .notReached: "not_reached"
        case .listed: "listed"
        case .notListed: "not_listed"
        case .unanswered: "unanswered"
        case .suspended: "suspended"
        case .spf(let result): result.rawValue
        case .pass: "pass"
        case .reject: "reject"
        case .defer: "defer"
        case .skipped: "skipped"
        }
    }
}
