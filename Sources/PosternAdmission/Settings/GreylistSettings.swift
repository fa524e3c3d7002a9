// Whom postern-policy asks to come back later (RFC 6647).

public import PosternMail

/// Whose mail is greylisted.
public enum GreylistClients: String, Hashable, Sendable, CaseIterable {
    case none
    /// Those whose score is `suspicious_score` or more.
    case suspicious
    case all
}

public struct GreylistSettings: Sendable {
    public let clients: GreylistClients
    public let suspiciousScore: Int
    /// How long a triplet waits.
    public let delay: Duration
    /// How long after the first try the second must come.
    public let retryWithin: Duration
    /// How long a triplet that has passed is known.
    public let remember: Duration
    /// Length of the networks that count as one client.
    public let ipv4Prefix: Int
    public let ipv6Prefix: Int
    /// Clients, senders and recipients that never wait.
    public let skipClients: [MatchPattern]
    public let skipSenders: [MatchPattern]
    public let skipRecipients: [MatchPattern]
    /// Only observe.
    public let shadow: Bool

    public init(
        clients: GreylistClients, suspiciousScore: Int, delay: Duration, retryWithin: Duration, remember: Duration,
        ipv4Prefix: Int, ipv6Prefix: Int, skipClients: [MatchPattern], skipSenders: [MatchPattern],
        skipRecipients: [MatchPattern], shadow: Bool
    ) {
        self.clients = clients
        self.suspiciousScore = suspiciousScore
        self.delay = delay
        self.retryWithin = retryWithin
        self.remember = remember
        self.ipv4Prefix = ipv4Prefix
        self.ipv6Prefix = ipv6Prefix
        self.skipClients = skipClients
        self.skipSenders = skipSenders
        self.skipRecipients = skipRecipients
        self.shadow = shadow
    }
}
