// The DNS lists that are asked, and what is done about the score that they give a client (RFC 5782).

public import PosternMail

public struct DNSBLSettings: Sendable {
    /// The score from which a recipient is refused for good; nil for never.
    public let rejectScore: Int?
    /// The score from which it is refused for now; nil for never.
    public let deferScore: Int?
    /// How long all lists together are waited for; what is late reads as not listed.
    public let budget: Duration
    /// Whether a reply repeats the list's own reason, its TXT record.
    public let tellsReason: Bool
    /// Only observe.
    public let shadow: Bool
    public let lists: [DNSBLListSettings]

    public init(
        rejectScore: Int? = nil, deferScore: Int? = nil, budget: Duration, tellsReason: Bool, shadow: Bool,
        lists: [DNSBLListSettings]
    ) {
        self.rejectScore = rejectScore
        self.deferScore = deferScore
        self.budget = budget
        self.tellsReason = tellsReason
        self.shadow = shadow
        self.lists = lists
    }
}

/// What a list is asked about.
public enum DNSBLSubject: String, Hashable, Sendable, CaseIterable {
    /// The client's address. Source: RFC 5782 §2.1, §2.4.
    case client
    /// The envelope sender's domain. Source: RFC 5782 §3.
    case sender
    case helo
    /// The client's verified name.
    case clientName = "client_name"
}

public struct DNSBLListSettings: Sendable {
    public let zone: DomainName
    public let by: DNSBLSubject
    /// In the order in which they are written; of those that fit the answers the highest counts.
    public let scores: [DNSBLScore]

    public init(zone: DomainName, by: DNSBLSubject, scores: [DNSBLScore]) {
        self.zone = zone
        self.by = by
        self.scores = scores
    }
}

/// What some answers of a list count; below zero for the better.
public struct DNSBLScore: Hashable, Sendable {
    public let answers: AnswerPattern
    public let score: Int

    public init(answers: AnswerPattern, score: Int) {
        self.answers = answers
        self.score = score
    }
}
