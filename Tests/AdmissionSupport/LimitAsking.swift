// Asking a judge and a ledger as Postfix does, for the tests of limits.

public import PosternAdmission
public import PosternMail

/// Has a judge, a ledger and a clock.
public protocol LimitAsking {
    func verdict(_ request: PolicyRequest) -> LimitVerdict
}

extension LimitAsking {
    public func recipient(_ message: LimitMessage, _ address: String = "bo@example.net") -> LimitVerdict {
        verdict(message.request(.rcpt, recipient: address))
    }

    /// - Returns: how many of so many recipients were let in.
    public func recipients(_ message: LimitMessage, _ count: Int) -> Int {
        (0..<count).count { recipient(message, "r\($0)@example.net").answer == .dunno }
    }

    public func end(_ message: LimitMessage, _ recipients: Int, size: Int = 1000) -> LimitVerdict {
        verdict(message.request(.endOfMessage, recipients: recipients, size: size))
    }
}
