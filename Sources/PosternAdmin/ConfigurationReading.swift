// The configuration as a subcommand needs it: whole and right, or only if there is one. What a daemon would survive
// (a bad table that is not its own) is survived here too, and told.

internal import Glibc
internal import PosternDaemon
internal import PosternMail

/// What `--config` led to.
struct LoadedConfiguration {
    /// `nil` where there is no file and none is needed.
    var configuration: Configuration?
    /// Problems that were survived, for standard error.
    var notes: [String] = []
}

extension NoteCollector {
    /// What was warned about while a resolver was asked, and what may help.
    func notes(on resolver: Resolver) -> [String] {
        guard case .daemon = resolver, !notes.isEmpty else { return notes }
        return notes + ["--resolver ADDRESS asks a DNS server without postern-dns"]
    }
}

extension GlobalOptions {
    /// The file that is read.
    var configPath: String { config ?? DaemonArguments.defaultConfiguration }

    /// The configuration, for a subcommand that makes no sense without it.
    /// - Parameter role: whose files are opened: `.dkim` reads the private keys, `.dns` does not.
    func configurationNeeded(
        for role: ConfigurationRole, in surroundings: Surroundings
    ) throws(CommandFailure) -> (Configuration, notes: [String]) {
        let result = load(for: role, in: surroundings)
        guard let configuration = result.configuration else { throw failure(result) }
        return (configuration, result.problems.map { "warning: \($0); this table's defaults are taken" })
    }

    /// The configuration if there is one. A file that `--config` names must be there.
    func configurationIfAny(
        for role: ConfigurationRole, in surroundings: Surroundings
    ) throws(CommandFailure) -> LoadedConfiguration {
        if config == nil, access(configPath, R_OK) != 0 {
            guard errno != ENOENT, errno != ENOTDIR else { return LoadedConfiguration() }
            return LoadedConfiguration(
                notes: ["warning: cannot read \(configPath): \(SystemText.of(errno)); defaults are taken"])
        }
        let (configuration, notes) = try configurationNeeded(for: role, in: surroundings)
        return LoadedConfiguration(configuration: configuration, notes: notes)
    }

    /// Why what was read is no configuration.
    func failure(_ result: LoadResult) -> CommandFailure {
        let errors = result.problems.filter { $0.severity == .error }
        if let whole = errors.first, whole.line == 0, errors.count == 1 {
            let advice =
                access(configPath, F_OK) == 0
                ? "run this as a user who may read it, such as root" : "name another file by --config"
            return CommandFailure(.badConfiguration, "\(whole); \(advice)")
        }
        var failure = CommandFailure(
            .badConfiguration, "expected a right configuration in \(configPath), found these problems:")
        failure.notes = errors.map { "error: \($0)" }
        return failure
    }

    /// What reading the file gives.
    func load(for role: ConfigurationRole, in surroundings: Surroundings) -> LoadResult {
        let user: UserIdentity? =
            switch role {
            case .check: nil  // each file for the daemons that read it
            case .dkim: surroundings.keyReader()
            default: geteuid() == 0 ? UserIdentity(named: role.userName) : nil
            }
        return Configuration.load(path: configPath, for: role, as: user)
    }

    /// Whom to ask for DNS: `--resolver`, else where postern-dns listens; the daemons ask its first socket too.
    func resolver(_ loaded: LoadedConfiguration) throws(CommandFailure) -> Resolver {
        if let resolver { return resolver }
        guard let endpoint = loaded.configuration?.listen.dns.first else {
            return .daemon(.unix(path: Resolver.defaultPath))
        }
        do throws(ResolverError) { return try Resolver(endpoint) } catch {
            throw CommandFailure(.badConfiguration, "\(configPath): listen.dns: \(error)")
        }
    }

    /// Whom to ask for DNS, and the configuration: whoever names the server needs none, not even a right one.
    func resolving(
        in surroundings: Surroundings
    ) throws(CommandFailure) -> (loaded: LoadedConfiguration, resolver: Resolver) {
        let loaded =
            try resolver == nil ? configurationIfAny(for: .dns, in: surroundings) : LoadedConfiguration()
        return (loaded, try resolver(loaded))
    }
}
