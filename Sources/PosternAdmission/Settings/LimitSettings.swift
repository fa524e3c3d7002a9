// A limit: how much a client, an account or a domain may do in a time.

public import PosternMail

/// What amounts are kept for. The raw value is Postfix's attribute, but for `client`.
public enum LimitAttribute: String, Hashable, Sendable, CaseIterable {
    case client
    case clientName = "client_name"
    case saslUsername = "sasl_username"
    case sender
    case senderDomain = "sender_domain"
    case recipient
    case recipientDomain = "recipient_domain"
    case helo
    case policyContext = "policy_context"
}

/// What is counted.
public enum LimitCount: String, Hashable, Sendable, CaseIterable {
    case connections, messages, recipients, octets
}

public enum LimitWindow: String, Hashable, Sendable, CaseIterable {
    /// No interval holds more than is allowed.
    case sliding
    /// As anvil counts: every window begins with its first event.
    case fixed
}

public struct LimitSettings: Sendable {
    public let name: String
    /// Together they are the key that amounts are kept for; none twice.
    public let per: [LimitAttribute]
    public let count: LimitCount
    /// All hold; each span once.
    public let allow: [AllowedRate]
    /// `.defer`, `.reject` or `.hold`.
    public let action: RuleAction
    /// Length of the networks that count as one client.
    public let ipv4Prefix: Int
    public let ipv6Prefix: Int
    /// Clients and logins that it holds for; nil for all.
    public let clients: [Network]?
    public let users: [MatchPattern]?
    /// Values of `per` that it does not hold for.
    public let except: [MatchPattern]
    /// The share of what is allowed from which a warning is written, in percent.
    public let warnAt: Int?
    /// How long one that went over is refused; zero for no longer than the limit itself.
    public let block: Duration
    public let window: LimitWindow
    /// Only observe.
    public let shadow: Bool

    public init(
        name: String, per: [LimitAttribute], count: LimitCount, allow: [AllowedRate], action: RuleAction,
        ipv4Prefix: Int, ipv6Prefix: Int, clients: [Network]? = nil, users: [MatchPattern]? = nil,
        except: [MatchPattern], warnAt: Int? = nil, block: Duration, window: LimitWindow, shadow: Bool
    ) {
        self.name = name
        self.per = per
        self.count = count
        self.allow = allow
        self.action = action
        self.ipv4Prefix = ipv4Prefix
        self.ipv6Prefix = ipv6Prefix
        self.clients = clients
        self.users = users
        self.except = except
        self.warnAt = warnAt
        self.block = block
        self.window = window
        self.shadow = shadow
    }

    /// A recipient or its domain is in the key: one message has several keys.
    public var isPerRecipient: Bool { per.contains(.recipient) || per.contains(.recipientDomain) }
}

/// What is allowed. No interval of that length holds more than the amount.
public struct AllowedRate: Hashable, Sendable {
    public let amount: Int
    public let span: Duration

    public init(amount: Int, span: Duration) {
        self.amount = amount
        self.span = span
    }
}
