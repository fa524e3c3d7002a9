// `[host]`: who we are and whose mail is ours. Shared by all daemons.

public import PosternMail

/// Who we are.
public struct HostSettings: Sendable {
    /// This machine's name.
    public let name: DomainName
    /// What our results are signed with. Source: RFC 8601 §2.5.
    public let authservID: String
    /// authserv-ids whose results are removed from mail, as `AuthservIDs` reads them.
    public let stripAuthservIDs: [String]
    public let networks: [Network]
    public let relays: [Network]
    public let passthrough: [String]
    /// The whole suite only observes.
    public let shadow: Bool

    /// What tells our mail from strangers'.
    public var origin: OriginSettings {
        OriginSettings(networks: networks, relays: relays, passthrough: passthrough)
    }
}

enum HostTable {
    static let name = Key(
        "name", .text(.domainName(minLabels: 1, as: "a host name such as \"mx1.example.com\"")), example: Example.host,
        "This machine's name in mail. Default: the machine's own fully qualified name.")
    static let authservID = Key(
        "authserv_id", .text(.domainName(minLabels: 1, as: "an authserv-id such as \"example.com\"")),
        example: Example.domain,
        "The authserv-id that our Authentication-Results begin with (RFC 8601). Default: name.")
    static let stripAuthservIDs = Key<[String]?>(
        "strip_authserv_ids", .list(of: .authservIDPattern), example: ["*.example.com"],
        "Authentication-Results that claim one of these are removed from all mail; \"*.example.com\" is every name "
            + "below example.com. Default: authserv_id and name.")
    static let networks = Key(
        "networks", .list(of: .network),
        default: [
            Network(containing: .v4(0x7F00_0000), prefixLength: 8), Network(containing: .v6(0, 1), prefixLength: 128),
        ],
        "Networks that may originate mail: it is signed and not judged; limits do apply.")
    static let relays = Key(
        "relays", .list(of: .network), default: [],
        "Backup MX hosts and filters of ours: their mail is neither signed nor judged, nor are they looked up in lists."
    )
    static let passthrough = Key(
        "passthrough", .list(of: .word("the {daemon_name} of a Postfix service")), default: ["REINJECT"],
        "Names of Postfix services ({daemon_name}) whose mail passes untouched, such as a content filter's way back.")
    static let shadow = Key(
        "shadow", .boolean, default: false, "Only observe: log and count what would be done, and do nothing.")

    static let declaration = TableDeclaration(
        "host", "Who we are, and whose mail is ours.",
        keys: [name, authservID, stripAuthservIDs, networks, relays, passthrough, shadow])
}

/// Names and addresses for the sample file. Source: RFC 2606 §3.
enum Example {
    static let domain = name("example", "com")
    static let host = name("mx1", "example", "com")
    /// Source: RFC 5737.
    static let network = Network(containing: .v4(0xCB00_7100), prefixLength: 24)

    static func name(_ labels: String...) -> DomainName {
        // These few labels always make a name.
        (try? DomainName(labels: labels.map { Array($0.utf8) })) ?? .root
    }
}

extension HostSettings {
    /// - Parameter machineName: asked only if the table gives no name.
    init(_ values: TableValues, machineName: () -> DomainName) {
        name = values[HostTable.name] ?? machineName()
        authservID = (values[HostTable.authservID] ?? name).description
        stripAuthservIDs = values[HostTable.stripAuthservIDs] ?? Self.own(authservID, name.description)
        networks = values[HostTable.networks]
        relays = values[HostTable.relays]
        passthrough = values[HostTable.passthrough]
        shadow = values[HostTable.shadow]
    }

    private static func own(_ authservID: String, _ name: String) -> [String] {
        authservID == name ? [name] : [authservID, name]
    }
}
