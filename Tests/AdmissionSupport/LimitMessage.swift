// Requests as Postfix sends them and limits as the configuration reads them, for the tests of limits.

public import PosternAdmission
public import PosternMail

/// One message of a session.
public struct LimitMessage: Sendable {
    public var client = "192.0.2.7"
    public var port = "40001"
    public var account = "ann"
    public var sender = "ann@example.org"
    public var instance: String
    public var service = "587"
    public var context = ""
    public var size = 0

    public init(_ instance: String) { self.instance = instance }

    public func request(
        _ stage: PolicyStage, recipient: String = "", recipients: Int = 0, size: Int? = nil
    ) -> PolicyRequest {
        PolicyRequest(
            stage: stage,
            [
                .clientAddress: Array(client.utf8), .clientPort: Array(port.utf8), .clientName: Array("unknown".utf8),
                .saslUsername: Array(account.utf8), .sender: Array(sender.utf8), .instance: Array(instance.utf8),
                .serverPort: Array(service.utf8), .recipient: Array(recipient.utf8),
                .recipientCount: Array("\(recipients)".utf8), .size: Array("\(size ?? self.size)".utf8),
                .policyContext: Array(context.utf8), .heloName: Array("client.example".utf8),
            ])
    }
}

extension LimitSettings {
    public static func of(
        _ name: String = "test", per: [LimitAttribute] = [.saslUsername], count: LimitCount = .recipients,
        allow: [(Int, Duration)], action: RuleAction? = nil, prefixes: (Int, Int) = (32, 64),
        clients: [Network]? = nil, users: [MatchPattern]? = nil, except: [MatchPattern] = [], warnAt: Int? = nil,
        block: Duration = .zero, window: LimitWindow = .sliding, shadow: Bool = false
    ) -> LimitSettings {
        LimitSettings(
            name: name, per: per, count: count, allow: allow.map { AllowedRate(amount: $0.0, span: $0.1) },
            action: action ?? .defer(Reply(code: 450, enhanced: "4.7.1", text: "slower")), ipv4Prefix: prefixes.0,
            ipv6Prefix: prefixes.1, clients: clients,
            users: users, except: except, warnAt: warnAt, block: block, window: window, shadow: shadow)
    }
}
