// `[spf]`: what postern-dmarc does about a sender's SPF result alone, before DMARC has its say (RFC 7208 §8).

public import PosternMail

/// Which identity SPF is checked for. Source: RFC 7208 §2.3, §2.4.
public enum SPFIdentity: String, Hashable, Sendable, CaseIterable {
    case helo
    case mailFrom = "mailfrom"
}

public struct SPFSettings: Hashable, Sendable {
    public let onFail: MailAction
    public let onSoftfail: MailAction
    public let onPermerror: MailAction
    /// Never `.reject`. Source: RFC 7208 §8.6.
    public let onTemperror: MailAction
    /// Those whose results are written; none twice.
    public let identities: [SPFIdentity]
    /// Only observe.
    public let shadow: Bool
}

enum SPFTable {
    static let onFail = Key(
        "on_fail", .action(.accept, .quarantine, .defer, .reject), default: .accept,
        "What is done if the sender's domain says that this client is none of its own: \"accept\", \"quarantine\" (a "
            + "field Postern-Disposition), \"defer\" or \"reject\". Forwarders make good mail fail.")
    static let onSoftfail = Key(
        "on_softfail", .action(.accept, .quarantine, .defer, .reject), default: .accept,
        "The same if the domain says that it probably is none (RFC 7208 §8.5: no reason to reject).")
    static let onPermerror = Key(
        "on_permerror", .action(.accept, .quarantine, .defer, .reject), default: .accept,
        "The same if the domain's record is broken.")
    static let onTemperror = Key(
        "on_temperror", .action(.accept, .quarantine, .defer), default: .accept,
        "The same if DNS does not answer; nothing is rejected for good because of that (RFC 7208 §8.6).")
    static let identities = Key(
        "identities", .set(of: .oneOf(SPFIdentity.self), atLeast: 1), default: [.mailFrom, .helo],
        "Whose results Authentication-Results tell: \"mailfrom\", \"helo\" or both.")
    static let shadow = Key("shadow", .boolean, default: false, "Only log and count what would be done.")

    static let declaration = TableDeclaration(
        "spf", "What postern-dmarc does about a result of SPF alone. DMARC is judged all the same.",
        keys: [onFail, onSoftfail, onPermerror, onTemperror, identities, shadow])
}

extension SPFSettings {
    init(_ values: TableValues) {
        onFail = values[SPFTable.onFail]
        onSoftfail = values[SPFTable.onSoftfail]
        onPermerror = values[SPFTable.onPermerror]
        onTemperror = values[SPFTable.onTemperror]
        identities = values[SPFTable.identities]
        shadow = values[SPFTable.shadow]
    }
}
