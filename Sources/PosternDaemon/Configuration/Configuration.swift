// The configuration of all daemons, read from one TOML file and checked as a whole: a snapshot that never changes. A
// reload makes a new one. What keys there are is declared in the files named after their tables.

internal import PosternMail

/// Who reads the configuration.
public enum ConfigurationRole: String, Hashable, Sendable, CaseIterable {
    /// postern-dkim.
    case dkim
    /// postern-dns.
    case dns
    /// The CLI, which looks at everything.
    case check

    /// Names of the tables that are this daemon's own; nil for all.
    private var ownTables: Set<String>? {
        switch self {
        case .dkim: ["dkim"]
        case .dns: ["dns"]
        case .check: nil
        }
    }
    private static let sharedTables: Set<String> = ["host", "listen", "log", "state"]

    /// The tables that must be right for a start; nil for all. One bad table must not stop the mail edge, but without
    /// `[dns]` no daemon can judge.
    fileprivate var essentialTables: Set<String>? { ownTables?.union(Self.sharedTables).union(["dns"]) }

    /// The tables whose files are opened: no daemon opens another's.
    fileprivate func opensFiles(of table: String) -> Bool {
        ownTables?.union(Self.sharedTables).contains(table) ?? true
    }

    /// The user that a daemon runs as.
    public var userName: String { self == .check ? "root" : "postern-\(rawValue)" }
}

/// A snapshot of the configuration.
public final class Configuration: Sendable {
    public let host: HostSettings
    public let listen: ListenSettings
    public let log: LogSettings
    public let dns: DNSSettings
    public let dkim: DKIMSettings
    /// The tables as they were read, for `differences`.
    let tables: [String: TableValues]

    /// Longest file, in octets; the TOML parser takes no longer one.
    static let maxOctets = 4 << 20

    /// Longest sentence of the parser's that is repeated, in characters.
    private static let maxSyntaxCharacters = 400

    /// All tables, in the order of the sample file. A new table is added here and below.
    static let schema = [
        HostTable.declaration, ListenTable.declaration, LogTable.declaration, DNSTable.declaration,
        DKIMTable.declaration,
    ]

    private init(_ reading: inout SchemaDecoder, _ root: TomlTable, user: UserIdentity, machineName: () -> DomainName) {
        let tables = reading.decode(root)
        func values(_ table: TableDeclaration) -> TableValues {
            tables[table.path] ?? TableValues(table, path: table.path)
        }
        self.tables = tables
        host = HostSettings(values(HostTable.declaration), machineName: machineName)
        listen = ListenSettings(values(ListenTable.declaration))
        log = LogSettings(values(LogTable.declaration))
        ListenSettings.check(values(ListenTable.declaration), &reading.reader)
        reading.reader.opensFiles = reading.opensFiles("dns")
        dns = DNSSettings(values(DNSTable.declaration), &reading.reader)
        reading.reader.opensFiles = reading.opensFiles("dkim")
        dkim = DKIMSettings(values(DKIMTable.declaration), user: user, &reading.reader)
    }

    // MARK: Loading

    /// Reads the file at `path`.
    /// - Parameter role: decides which files are opened and which problems a start survives.
    /// - Parameter user: whose rights the key files are judged for. Default: this process's; for `.check` those of
    ///   postern-dkim, if there is such a user.
    public static func load(path: String, for role: ConfigurationRole, as user: UserIdentity? = nil) -> LoadResult {
        let octets: [UInt8]
        do throws(FileError) {
            octets = try FileReading.octets(path, cap: maxOctets)
        } catch {
            return LoadResult(whole: path, "expected a readable file, found \(error.found)")
        }
        guard let folder = FileReading.folder(of: path) else {
            return LoadResult(whole: path, "expected an absolute path, found one in a folder that is gone")
        }
        return read(octets, file: path, folder: folder, for: role, as: user)
    }

    /// Reads a configuration from memory.
    /// - Parameter file: what it is called in problems.
    /// - Parameter folder: where its relative paths begin, absolute.
    public static func read(
        _ octets: [UInt8], file: String, folder: String, for role: ConfigurationRole, as user: UserIdentity? = nil
    ) -> LoadResult {
        read(octets, file: file, folder: folder, for: role, as: user, machineName: MachineName.current)
    }

    static func read(
        _ octets: [UInt8], file: String, folder: String, for role: ConfigurationRole, as user: UserIdentity?,
        machineName: () -> DomainName
    ) -> LoadResult {
        let root: TomlTable
        do throws(TomlSyntaxError) {
            root = try TomlDocument.parse(octets)
        } catch {
            let problem = ConfigurationProblem(
                file: file, line: error.position.line, column: error.position.column, keyPath: "",
                text: "expected TOML 1.0, found: \(printable(error.text, most: maxSyntaxCharacters))",
                anchor: error.position)
            return LoadResult(configuration: nil, problems: [problem])
        }
        var decoder = SchemaDecoder(
            schema: schema, reader: ValueReader(file: file, folder: folder), opensFiles: role.opensFiles(of:))
        let configuration = Configuration(
            &decoder, root, user: user ?? judgedUser(for: role), machineName: machineName)
        return LoadResult(configuration, problems: decoder.reader.problems, essential: role.essentialTables)
    }

    private static func judgedUser(for role: ConfigurationRole) -> UserIdentity {
        guard role == .check else { return .current }
        return UserIdentity(named: ConfigurationRole.dkim.userName) ?? .current
    }
}

/// What reading a configuration gave.
public struct LoadResult: Sendable {
    /// The snapshot for a start; nil if a problem is an error.
    public let configuration: Configuration?
    /// In the order in which they stand in the file.
    public let problems: [ConfigurationProblem]

    /// The snapshot for a reload, which takes every problem as an error; nil if there is one.
    public var flawless: Configuration? { problems.isEmpty ? configuration : nil }

    fileprivate init(configuration: Configuration?, problems: [ConfigurationProblem]) {
        self.configuration = configuration
        self.problems = problems
    }

    /// The file as a whole is the problem.
    fileprivate init(whole file: String, _ text: String) {
        self.init(
            configuration: nil,
            problems: [
                ConfigurationProblem(file: file, line: 0, column: 0, keyPath: "", text: text, anchor: .start)
            ])
    }

    /// - Parameter essential: names of the tables whose problems are errors; nil for all.
    fileprivate init(_ configuration: Configuration, problems: [ConfigurationProblem], essential: Set<String>?) {
        let judged = problems.map { problem in
            var problem = problem
            let table = problem.keyPath.prefix { $0 != "." && $0 != "[" }
            if let essential, !table.isEmpty, !essential.contains(String(table)) { problem.severity = .warning }
            return problem
        }
        // A stable sort: lines of a list's file keep their order at the place that names it.
        let sorted = judged.enumerated().sorted { ($0.element.anchor, $0.offset) < ($1.element.anchor, $1.offset) }
        self.init(
            configuration: judged.contains { $0.severity == .error } ? nil : configuration,
            problems: sorted.map(\.element))
    }
}
