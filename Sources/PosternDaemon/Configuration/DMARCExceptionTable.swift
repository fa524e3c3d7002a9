// `[[dmarc.exception]]`: forwarders that are trusted, told in reports as an override (RFC 9990). What is trusted must
// be something that a stranger cannot write: an address, or a domain whose signature passes.

public import PosternMail

/// All conditions that are given must hold.
public struct DMARCExceptionSettings: Sendable {
    /// Clients that it holds for; none for any.
    public let client: [Network]
    /// Domains (d=) of which one must have signed, and pass; none for any.
    public let dkimDomain: [MatchPattern]
    /// Author domains that it holds for; none for any.
    public let author: [MatchPattern]
    public let reason: DMARCOverride
}

enum DMARCExceptionTable {
    static let client = Key<[Network]?>(
        "client", .list(of: .network, atLeast: 1), example: [Example.network], "Clients that are trusted.")
    static let dkimDomain = Key<[MatchPattern]?>(
        "dkim_domain", .list(of: .domainPattern, atLeast: 1), example: [.domain(Example.name("example", "net"))],
        "Signing domains (d=) of which one must pass: \"example.net\", \"*.example.net\".")
    static let author = Key<[MatchPattern]?>(
        "author", .list(of: .domainPattern, atLeast: 1), example: [.domain(Example.domain)],
        "Author domains that it is kept to. Anyone can write a From: client or dkim_domain must be given as well.")
    static let reason = Key(
        "reason", .oneOf(reasons.map { ($0.rawValue, $0) }, name: \.rawValue), default: .trustedForwarder,
        "What reports say: \"local_policy\", \"mailing_list\", \"trusted_forwarder\" or \"other\".")

    /// All but the one that the published record itself gives.
    private static let reasons: [DMARCOverride] = [.localPolicy, .mailingList, .trustedForwarder, .other]

    static let declaration = TableDeclaration(
        "dmarc.exception", isArray: true,
        "A trusted forwarder: neither the author's policy nor [spf] is applied to its mail. All keys that are given must "
            + "match.",
        keys: [client, dkimDomain, author, reason])
}

extension DMARCExceptionSettings {
    /// - Returns: nil for one that would trust everybody, which is a problem, and for one that was not read whole.
    init?(_ values: TableValues, _ reader: inout ValueReader) {
        guard values.gives(DMARCExceptionTable.client) || values.gives(DMARCExceptionTable.dkimDomain) else {
            let found = values.gives(DMARCExceptionTable.author) ? "author alone, which anyone can write" : "neither"
            reader.report(
                "expected client or dkim_domain in [[dmarc.exception]], found \(found)", at: values.position,
                keyPath: values.path)
            return nil
        }
        client = values[DMARCExceptionTable.client] ?? []
        dkimDomain = values[DMARCExceptionTable.dkimDomain] ?? []
        author = values[DMARCExceptionTable.author] ?? []
        // Values that are wrong or in a file that is not opened must not read as "any".
        guard values.gives(DMARCExceptionTable.client) != client.isEmpty,
            values.gives(DMARCExceptionTable.dkimDomain) != dkimDomain.isEmpty,
            values.gives(DMARCExceptionTable.author) != author.isEmpty
        else { return nil }
        reason = values[DMARCExceptionTable.reason]
    }
}
