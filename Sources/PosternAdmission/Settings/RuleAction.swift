// What a rule or a limit does. Postern never answers OK or PERMIT, which would end Postfix's own checks: `accept` means
// that we check no more. Source of what Postfix can be told: access(5), SMTPD_POLICY_README.

public import PosternMail

/// What postern-policy checks besides rules, and a rule can leave out.
public enum PolicyCheck: String, Hashable, Sendable, CaseIterable {
    case dnsbl
    case greylist
}

/// What happens where a rule matches.
public enum RuleAction: Hashable, Sendable {
    /// No more checks of ours.
    case accept
    case reject(Reply)
    case `defer`(Reply)
    /// Into Postfix's hold queue, with a text for its log.
    case hold(String)
    /// A header field for the message.
    case prepend(name: String, value: String)
    /// `transport:destination`; the destination may be empty.
    case filter(transport: String, destination: String)
    case redirect(String)
    case bcc(String)
    /// Adds to the score of the lists.
    case score(Int)
    /// Greylisted whatever `greylist.clients` says.
    case greylist

    /// Whether no later rule is looked at.
    public var endsList: Bool {
        switch self {
        case .accept, .reject, .defer, .hold, .redirect, .filter, .greylist: true
        case .prepend, .bcc, .score: false
        }
    }
}
