// The configuration of all daemons, read from one TOML file and checked as a whole: a snapshot that never changes. A
// reload makes a new one. What keys there are is declared in the files named after their tables.

public import PosternAdmission
internal import PosternMail

/// A snapshot of the configuration.
public final class Configuration: Sendable {
    public let host: HostSettings
    public let listen: ListenSettings
    public let state: StateSettings
    public let log: LogSettings
    public let dns: DNSSettings
    public let dkim: DKIMSettings
    public let spf: SPFSettings
    public let dmarc: DMARCSettings
    public let dnsbl: DNSBLSettings
    public let greylist: GreylistSettings
    /// In the order in which they are written; none for daemons other than postern-policy.
    public let rules: [RuleSettings]
    /// In the order in which they are written; none for daemons other than postern-rate.
    public let limits: [LimitSettings]
    /// What postern-policy and postern-rate keep for `postern replay`.
    public let record: RecordSettings
    public let store: StoreSettings
    /// The tables as they were read, for `differences`.
    let tables: [String: [TableValues]]

    /// Longest file, in octets; the TOML parser takes no longer one.
    static let maxOctets = 4 << 20

    /// Longest sentence of the parser's that is repeated, in characters.
    private static let maxSyntaxCharacters = 400

    /// All tables, in the order of the sample file. A new table is added here and below.
    static let schema = [
        HostTable.declaration, ListenTable.declaration, StateTable.declaration, LogTable.declaration,
        DNSTable.declaration, DKIMTable.declaration, SPFTable.declaration, DMARCTable.declaration,
        RuleTable.declaration, DNSBLTable.declaration, GreylistTable.declaration, LimitTable.declaration,
        PolicyTable.declaration, StoreTable.declaration,
    ]

    private init(_ reading: inout SchemaDecoder, _ root: TomlTable, user: UserIdentity, machineName: () -> DomainName) {
        let tables = reading.decode(root)
        self.tables = tables
        func values(_ table: TableDeclaration) -> TableValues {
            tables[table.path]?.first ?? TableValues(table, path: table.path)
        }
        host = HostSettings(values(HostTable.declaration), machineName: machineName)
        listen = ListenSettings(values(ListenTable.declaration))
        ListenSettings.check(values(ListenTable.declaration), &reading.reader)
        state = StateSettings(values(StateTable.declaration))
        log = LogSettings(values(LogTable.declaration))
        reading.enter(DNSTable.declaration)
        dns = DNSSettings(values(DNSTable.declaration), &reading.reader)
        dns.checkThatNoUpstream(is: listen.dns, values(DNSTable.declaration), &reading.reader)
        reading.enter(DKIMTable.declaration)
        dkim = DKIMSettings(values(DKIMTable.declaration), user: user, &reading.reader)
        spf = SPFSettings(values(SPFTable.declaration))
        dmarc = DMARCSettings(values(DMARCTable.declaration), &reading.reader)
        dnsbl = DNSBLSettings(values(DNSBLTable.declaration), &reading.reader)
        greylist = GreylistSettings(values(GreylistTable.declaration), &reading.reader)
        reading.enter(RuleTable.declaration)
        rules = RuleSettings.rules(tables[RuleTable.declaration.path] ?? [], &reading.reader)
        reading.enter(LimitTable.declaration)
        limits = LimitSettings.limits(tables[LimitTable.declaration.path] ?? [], &reading.reader)
        record = RecordSettings(values(PolicyTable.declaration))
        reading.enter(StoreTable.declaration)
        store = StoreSettings(values(StoreTable.declaration))
        store.check(values(StoreTable.declaration), &reading.reader)
        ConfigurationAdvice.give(on: self, &reading.reader)
    }

    // MARK: Loading

    /// Reads the file at `path`.
    /// - Parameter role: decides which files are opened and which problems a start survives.
    /// - Parameter user: whose rights the files that it names are judged for. Default: this process's; for `.check`
    ///   those of the daemons that read them, as far as there are such users.
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

    /// Reads a configuration that lies, with all that it names, below a folder that stands for `/`: a copy of a host's.
    /// Only what is below /usr is the system's own.
    /// - Parameter root: absolute, without a slash at its end.
    /// - Parameter path: absolute, as it is on the host; problems tell it so, and tell files that it names with the root.
    public static func load(
        path: String, below root: String, for role: ConfigurationRole, as user: UserIdentity? = nil
    ) -> LoadResult {
        let octets: [UInt8]
        do throws(FileError) {
            octets = try FileReading.octets(root + path, cap: maxOctets)
        } catch {
            return LoadResult(whole: path, "expected a readable file, found \(error.found)")
        }
        guard let folder = FileReading.folder(of: path) else {
            return LoadResult(whole: path, "expected an absolute path, found another")
        }
        return read(
            octets, file: path, folder: folder, root: root, for: role, as: user, machineName: MachineName.current)
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
        _ octets: [UInt8], file: String, folder: String, root base: String = "", for role: ConfigurationRole,
        as user: UserIdentity?, machineName: () -> DomainName
    ) -> LoadResult {
        let root: TomlTable
        do throws(TomlSyntaxError) {
            root = try TomlDocument.parse(octets)
        } catch {
            let problem = ConfigurationProblem(
                file: file, line: error.position.line, column: error.position.column, keyPath: "",
                text: "expected TOML 1.0, found: \(printable(error.text, most: maxSyntaxCharacters))",
                anchor: error.position)
            return LoadResult(problem)
        }
        var decoder = SchemaDecoder(
            schema: schema, reader: ValueReader(file: file, folder: folder, root: base),
            files: { role.files(of: $0, as: user) })
        let configuration = Configuration(
            &decoder, root, user: user ?? judgedUser(for: role), machineName: machineName)
        return LoadResult(configuration, decoder.reader, essential: role.essentialTables)
    }

    private static func judgedUser(for role: ConfigurationRole) -> UserIdentity {
        guard role == .check else { return .current }
        return UserIdentity(named: ConfigurationRole.dkim.userName) ?? .current
    }
}
