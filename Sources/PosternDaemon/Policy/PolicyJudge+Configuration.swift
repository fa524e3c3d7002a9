// A configuration's share of postern-policy's pipeline, for the daemon and for `postern explain`.

public import PosternAdmission
internal import PosternMail

extension PolicyJudge {
    /// How long one request's questions may take altogether: less than Postfix waits (timeout=12s, DESIGN §2).
    public static let requestBudget = Duration.seconds(8)

    /// - Parameter ledger: greylisting's memory.
    /// - Throws: a wrong expression of a rule, which `check` has told before.
    public init(_ configuration: Configuration, ledger: any GreylistLedger) throws(ExpressionError) {
        try self.init(
            rules: configuration.rules, lists: RuleScores(configuration.dnsbl), greylist: nil,
            senderPolicy: EnvelopeSPF(receiver: configuration.host.name), origin: configuration.host.origin,
            isShadow: configuration.host.shadow)
    }
}

extension Configuration {
    /// Whether anybody can be greylisted: by `greylist.clients`, or by a rule.
    public var mayGreylist: Bool {
        greylist.clients != .none
            || rules.contains { rule in
                if case .greylist = rule.action { true } else { false }
            }
    }
}
