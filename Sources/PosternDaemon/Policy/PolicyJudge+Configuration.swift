// A configuration's share of postern-policy's pipeline, for the daemon and for `postern explain`.

public import PosternAdmission
internal import PosternMail

extension PolicyJudge {
    /// How long one request's questions may take altogether: less than Postfix waits (timeout=12s, DESIGN §2).
    public static let requestBudget = Duration.seconds(8)

    /// - Parameter ledger: greylisting's memory.
    /// - Parameter health: of the configuration's lists: who is not proved is not asked.
    /// - Throws: a wrong expression of a rule or a skip list, which `check` has told before.
    public init(
        _ configuration: Configuration, ledger: any GreylistLedger, health: DNSBLHealth
    ) throws(ExpressionError) {
        try self.init(
            rules: configuration.rules, lists: DNSBLJudge(configuration.dnsbl, health: health),
            greylist: configuration.mayGreylist ? GreylistJudge(configuration.greylist, ledger: ledger) : nil,
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
