// What postern-rate tells Postfix about one request, and the findings that led to it: the daemon makes the answer, one log
// line and the counts of it, and streams the events; `postern explain` shows the findings.

public import PosternMail

/// What one limit concludes about a request.
public struct LimitFinding: Hashable, Sendable {
    /// Closed, so that it can be counted.
    public enum Outcome: String, Hashable, Sendable, CaseIterable {
        case over, pass
        /// It is about others, or what it needs is not known.
        case skipped
    }

    public let limit: String
    public let outcome: Outcome
    public let key: LimitKey?
    /// Printable ASCII, whatever strangers sent.
    public let reason: String
    /// What it answers; nil where it does not.
    public let answer: PolicyAnswer?
    /// The limit only observes.
    public let isShadow: Bool
    /// How the key stands; of an explanation only.
    public let standing: LimitEntry?
    /// When what was asked is let in: as in `LimitRefusal`; zero where it is let in now. Of an explanation only.
    public let freeIn: Duration?

    public init(
        limit: String, outcome: Outcome, key: LimitKey?, reason: String, answer: PolicyAnswer?, isShadow: Bool,
        standing: LimitEntry? = nil, freeIn: Duration? = nil
    ) {
        self.limit = limit
        self.outcome = outcome
        self.key = key
        self.reason = reason
        self.answer = answer
        self.isShadow = isShadow
        self.standing = standing
        self.freeIn = freeIn
    }

    /// `ann@example.org: 200 of 200 recipients in 3600s, free in 35s`.
    static func text(_ refusal: LimitRefusal) -> String {
        var text = "\(refusal.key): "
        if refusal.isBlocked {
            text += "blocked"
        } else {
            text += use(refusal.use, refusal.reserved, refusal.terms.shape.count)
        }
        return text + wish(refusal)
    }

    /// What was asked, and when it is let in.
    private static func wish(_ refusal: LimitRefusal) -> String {
        let asked = refusal.asked > 1 ? ", asked for \(refusal.asked)" : ""
        return asked + (refusal.freeIn.map { ", free in \(seconds($0))" } ?? ", more than is ever free")
    }

    /// For an explanation: all spans.
    static func text(_ refusal: LimitRefusal, _ entry: LimitEntry) -> String { text(entry) + wish(refusal) }

    static func text(_ entry: LimitEntry) -> String {
        let uses = entry.uses.map { use($0, entry.reserved, entry.count) }.joined(separator: "; ")
        return "\(entry.key): \(uses)" + (entry.blockedFor > .zero ? "; blocked for \(seconds(entry.blockedFor))" : "")
    }

    fileprivate static func use(_ use: LimitUse, _ reserved: Int, _ count: LimitCount) -> String {
        let held = reserved > 0 ? " and \(reserved) reserved" : ""
        return "\(use.used)\(held) of \(use.allowed) \(count.rawValue) in \(seconds(use.span))"
    }

    /// Rounded up.
    fileprivate static func seconds(_ duration: Duration) -> String {
        "\((max(0, duration.nanoseconds) / 1_000_000 + 999) / 1000)s"
    }
}

/// The last word on a request.
public struct LimitVerdict: Sendable {
    public let answer: PolicyAnswer
    /// Of limits that it goes over; for explain of all, in the order of the settings.
    public let findings: [LimitFinding]
    /// The finding whose answer this is; nil where none had one.
    public let decision: LimitFinding?
    /// What would have been answered if not the whole suite only observed; nil where it acts.
    public let withheld: PolicyAnswer?
    public let events: [LimitEvent]
    /// Limits that did not apply for want of an attribute.
    public let missing: Int
    /// Limits that found no room for their key.
    public let untracked: Int
    /// The ledger could not tell: mail passes.
    public let isUnavailable: Bool

    public init(
        answer: PolicyAnswer = .dunno, findings: [LimitFinding] = [], decision: LimitFinding? = nil,
        withheld: PolicyAnswer? = nil, events: [LimitEvent] = [], missing: Int = 0, untracked: Int = 0,
        isUnavailable: Bool = false
    ) {
        self.answer = answer
        self.findings = findings
        self.decision = decision
        self.withheld = withheld
        self.events = events
        self.missing = missing
        self.untracked = untracked
        self.isUnavailable = isUnavailable
    }

    /// The word for the log line: what Postfix is told, or `shadow` where that is withheld.
    public var word: String { withheld == nil ? answer.word : "shadow" }

    /// The log line's text: what Postfix is told and by which limit, or would be; then what each shadow wants.
    public var text: String {
        let wishes = findings.filter(\.isShadow).compactMap { finding in
            finding.answer.map { ($0.wish, finding.source) }
        }
        return answer.text(withheld: withheld, by: decision?.source, shadows: wishes)
    }
}

extension LimitFinding {
    fileprivate var source: String { "limit \(limit): \(reason)" }
}

extension LimitEvent: CustomStringConvertible {
    /// One line for the log: `limit per account over: ann: 200 of 200 recipients in 3600s; account=<ann> clients=192.0.2.7`.
    public var description: String {
        var text = "limit \(limit.printable) \(kind == .over ? "over" : "nearly used up"): \(key): "
        text += LimitFinding.use(use, reserved, count)
        if blockedFor > .zero { text += "; blocked for \(LimitFinding.seconds(blockedFor))" }
        if !isBinding { text += "; only observed or held" }
        text += "; account=<\(LogText.escaped(account[...]))>"
        return text + " clients=\(clients.map { "\($0)" }.joined(separator: ","))"
    }
}
