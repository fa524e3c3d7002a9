// `[state]`: where the daemons keep what must survive a restart. Each has its own files there and opens no other's.

public struct StateSettings: Hashable, Sendable {
    /// Absolute.
    public let directory: String
}

enum StateTable {
    static let directory = Key(
        "directory", .absolutePath, default: "/var/lib/postern",
        "The folder of what the daemons remember: greylist.sqlite, facts.sqlite, limits.journal, dns.snapshot, dkim-keys, recorded requests."
    )

    static let declaration = TableDeclaration(
        "state", "What the daemons remember over a restart.", keys: [directory])
}

extension StateSettings {
    init(_ values: TableValues) { directory = values[StateTable.directory] }
}
