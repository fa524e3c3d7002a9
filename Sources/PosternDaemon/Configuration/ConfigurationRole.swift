// Who reads the configuration, and what follows from that: which tables must be right, which files are opened, and
// whose rights those files are judged for.

/// Who reads the configuration.
public enum ConfigurationRole: String, Hashable, Sendable, CaseIterable {
    /// postern-dkim.
    case dkim
    /// postern-dmarc.
    case dmarc
    /// postern-policy.
    case policy
    /// postern-rate.
    case rate
    /// postern-dns.
    case dns
    /// The CLI, which looks at everything.
    case check

    /// Names of the tables that are this daemon's own; nil for all. postern-dmarc verifies by `[dkim]` too, and starts
    /// with that table's defaults if something is wrong in it.
    private var ownTables: Set<String>? {
        switch self {
        case .dkim: ["dkim"]
        case .dmarc: ["spf", "dmarc"]
        case .policy: ["dnsbl", "greylist", "rule", "policy", "store"]
        case .rate: ["limit", "policy", "store"]
        case .dns: ["dns"]
        case .check: nil
        }
    }
    private static let sharedTables: Set<String> = ["host", "listen", "state", "log"]
    /// Without it a host remembers for itself, as it does while the store is gone.
    private static let spareTables: Set<String> = ["store"]

    /// The tables that the daemon reads; nil for all.
    var tables: Set<String>? { ownTables?.union(Self.sharedTables).union(["dns"]) }

    /// The tables that must be right for a start; nil for all. One bad table must not stop the mail edge, but without
    /// `[dns]` no daemon can judge.
    var essentialTables: Set<String>? { tables?.subtracting(Self.spareTables) }

    /// Whether files that the table names are opened: no daemon opens another's.
    func opensFiles(of table: String) -> Bool { ownTables?.union(Self.sharedTables).contains(table) ?? true }

    /// The user that a daemon runs as.
    public var userName: String { self == .check ? "root" : "postern-\(rawValue)" }

    private static let daemons = allCases.filter { $0 != .check }

    /// What is done with the files that `table` names.
    /// - Parameter user: whose rights are judged. Default: this process's; for `.check` those of the daemons that read
    ///   the file, as far as this machine has such users.
    func files(of table: String, as user: UserIdentity?) -> FileAccess {
        guard opensFiles(of: table) else { return FileAccess(opens: false, readers: []) }
        if let user { return FileAccess(opens: true, readers: [user]) }
        guard self == .check else { return FileAccess(opens: true, readers: [.current]) }
        let readers = Self.daemons.filter { $0.opensFiles(of: table) }.compactMap { UserIdentity(named: $0.userName) }
        return FileAccess(opens: true, readers: readers.isEmpty ? [.current] : readers)
    }
}

/// What is done with the files that one table names.
struct FileAccess: Sendable {
    let opens: Bool
    /// Who must be able to read them.
    let readers: [UserIdentity]
}
