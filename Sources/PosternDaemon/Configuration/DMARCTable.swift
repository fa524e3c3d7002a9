// `[dmarc]`: what postern-dmarc does about mail that is not what it says it is (RFC 9989 §7.4). `p=reject` alone is no
// reason to reject, so `on_reject` is the admin's word.

public import PosternMail

public struct DMARCSettings: Sendable {
    /// What is done where the author's policy says reject.
    public let onReject: MailAction
    /// What is done where it says quarantine.
    public let onQuarantine: MailAction
    public let onTemperror: MailAction
    public let onInvalidAuthor: MailAction
    /// Instead of `onReject`, for mail with List-Id that passes SPF for itself.
    public let mailingList: MailAction
    /// Author domains that must pass, whatever they publish.
    public let require: [MatchPattern]
    public let discovery: DMARCDiscovery
    /// How long facts for reports are kept; zero for not at all.
    public let facts: Duration
    /// Only observe.
    public let shadow: Bool
    public let exceptions: [DMARCExceptionSettings]
}

enum DMARCTable {
    static let onReject = Key(
        "on_reject", .action(.accept, .quarantine, .hold, .reject), default: .quarantine,
        "What is done where the author's policy says reject: \"accept\", \"quarantine\" (a field "
            + "Postern-Disposition), \"hold\" or \"reject\". Not the policy alone: RFC 9989 §7.4.")
    static let onQuarantine = Key(
        "on_quarantine", .action(.accept, .quarantine, .hold), default: .quarantine,
        "What is done where it says quarantine: \"accept\", \"quarantine\" or \"hold\".")
    static let onTemperror = Key(
        "on_temperror", .action(.accept, .quarantine, .defer), default: .accept,
        "What is done if DNS does not answer: \"accept\", \"quarantine\" or \"defer\".")
    static let onInvalidAuthor = Key(
        "on_invalid_author", .action(.accept, .quarantine, .hold, .reject), default: .reject,
        "What is done with mail that has no From, several From fields, or a From that is no address.")
    static let mailingList = Key(
        "mailing_list", .action(.accept, .quarantine, .hold, .reject), default: .quarantine,
        "Instead of a stricter on_reject, for mail with List-Id that passes SPF for itself: lists break signatures.")
    static let require = Key(
        "require", .list(of: .domainPattern), default: [],
        "Author domains that must pass, whatever they publish: \"example.com\", \"*.example.com\".")
    static let discovery = Key(
        "discovery", .oneOf(DMARCDiscovery.self), default: .treewalk,
        "How the organizational domain is found: \"treewalk\" (RFC 9989) or \"psl\" (RFC 7489, for comparison).")
    static let facts = Key(
        "facts", .duration(in: .zero ... .seconds(3650 * 86_400)), default: .seconds(90 * 86_400),
        "How long facts for reports are kept. \"0s\": none are.")
    static let shadow = Key("shadow", .boolean, default: false, "Only log and count what would be done.")

    static let declaration = TableDeclaration(
        "dmarc", "What postern-dmarc does about mail that is not what it says it is.",
        keys: [
            onReject, onQuarantine, onTemperror, onInvalidAuthor, mailingList, require, discovery, facts, shadow,
        ], tables: [DMARCExceptionTable.declaration])
}

extension DMARCSettings {
    init(_ values: TableValues, _ reader: inout ValueReader) {
        onReject = values[DMARCTable.onReject]
        onQuarantine = values[DMARCTable.onQuarantine]
        onTemperror = values[DMARCTable.onTemperror]
        onInvalidAuthor = values[DMARCTable.onInvalidAuthor]
        mailingList = values[DMARCTable.mailingList]
        require = values[DMARCTable.require]
        discovery = values[DMARCTable.discovery]
        facts = values[DMARCTable.facts]
        shadow = values[DMARCTable.shadow]
        exceptions = values[DMARCExceptionTable.declaration].compactMap { DMARCExceptionSettings($0, &reader) }
    }
}
