// Requests as Postfix sends them and limits as the configuration reads them, for the tests of limits.

import PosternAdmission
import PosternMail
import TestSupport

/// One message of a session.
struct LimitMessage {
    var client = "192.0.2.7"
    var port = "40001"
    var account = "ann"
    var sender = "ann@example.org"
    var instance: String
    var service = "587"
    var context = ""
    var size = 0

    init(_ instance: String) { self.instance = instance }

    func request(
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

/// A ledger, a judge and a clock.
final class LimitGround {
    var ledger: LimitMemory
    var judge: LimitJudge
    let clock = ScriptedClock()
    private var instances = 0

    init(_ limits: [LimitSettings], isShadow: Bool = false, maxKeys: Int = 10_000) throws {
        ledger = LimitMemory(maxKeys: maxKeys)
        judge = try LimitJudge(limits, isShadow: isShadow)
        ledger.prepare(judge.terms)
    }

    func verdict(_ request: PolicyRequest) -> LimitVerdict {
        judge.verdict(on: request, ledger: ledger, now: clock.now())
    }

    func message() -> LimitMessage {
        instances += 1
        return LimitMessage("i\(instances)")
    }

    func recipient(_ message: LimitMessage, _ address: String = "bo@example.net") -> LimitVerdict {
        verdict(message.request(.rcpt, recipient: address))
    }

    /// - Returns: how many of so many recipients were admitted.
    func recipients(_ message: LimitMessage, _ count: Int) -> Int {
        (0..<count).count { recipient(message, "r\($0)@example.net").answer == .dunno }
    }

    func end(_ message: LimitMessage, _ recipients: Int, size: Int = 1000) -> LimitVerdict {
        verdict(message.request(.endOfMessage, recipients: recipients, size: size))
    }

    /// Shows the ledger that Postfix asks at END-OF-MESSAGE.
    func attachHook() {
        var other = message()
        other.account = "nobody-else"
        other.client = "198.51.100.99"
        _ = end(other, 0, size: 0)
    }

    func used(_ key: String) -> [Int] {
        ledger.entries(for: LimitKey(text: key), now: clock.now()).flatMap { $0.uses.map(\.used) }
    }

    func reserved(_ key: String) -> Int {
        ledger.entries(for: LimitKey(text: key), now: clock.now()).reduce(0) { $0 + $1.reserved }
    }
}

extension LimitSettings {
    static func of(
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
