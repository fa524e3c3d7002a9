// What has been found out of one message's client and sender. It holds for all recipients of that message, so each is
// asked for once: Postfix gives requests of one message one `instance` (SMTPD_POLICY_README). Nothing that depends on a
// recipient is here.

public import PosternMail

/// Facts of one `instance`. The daemon keeps them with its connection, begins anew with each new instance, and uses
/// fresh ones for every request without an instance.
public struct InstanceFacts: Sendable {
    /// SPF's finding; nil until something asked for it.
    public internal(set) var senderPolicy: SPFFinding?
    /// What the DNS lists say; nil until they were asked.
    public internal(set) var lists: DNSBLFinding?
    /// What Postfix was told of this message and keeps: header fields and copies. Told for each recipient, a field would
    /// stand in the message as often.
    var told: Set<PolicyAnswer> = []

    public init() {}
}
