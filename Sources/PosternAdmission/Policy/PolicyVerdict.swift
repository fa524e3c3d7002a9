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

    /// The log line's text: the reply or what else is done, and which check wants it; then each shadow's wish.
    public var text: String {
        var pieces: [String] = []
        if let decision {
            let wish = "\((withheld ?? answer).text) (\(decision.check))"
            pieces.append(withheld == nil ? wish : "would \((withheld ?? answer).word): \(wish)")
        } else {
            pieces.append("nothing against it")
        }
        for finding in findings where finding.isShadow && finding.answer != nil {
            guard let answer = finding.answer else { continue }
            pieces.append("shadow: would \(answer.word): \(answer.text) (\(finding.check))")
        }
        return pieces.joined(separator: "; ")
    }
}

extension PolicyAnswer {
    /// One word for logs, counters and explain's `action`; `pass` for no opinion.
    public var word: String {
        switch self {
        case .dunno: "pass"
        case .reject: "reject"
        case .defer, .deferIfPermit: "defer"
        case .hold: "hold"
        case .prepend: "prepend"
        case .filter: "filter"
        case .redirect: "redirect"
        case .bcc: "bcc"
        }
    }

    /// What goes with the word: the reply, the field, the address; printable since the configuration's texts are.
    public var text: String {
        switch self {
        case .dunno: "no opinion"
        case .reject(let reply), .defer(let reply), .deferIfPermit(let reply): "\(reply)"
        case .hold(let text): text.isEmpty ? "held" : text
        case .prepend(let name, let value): "\(name): \(value)"
        case .filter(let transport, let destination): "\(transport):\(destination)"
        case .redirect(let address), .bcc(let address): address
        }
    }
}
