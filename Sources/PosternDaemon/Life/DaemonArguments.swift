// The command line of a daemon: `--config FILE`, `--version`, `--help`, read by hand, since three words need no
// library (swift-argument-parser serves the CLI alone). Nothing here prints or exits; the executable does.

/// What a daemon was asked to do.
public enum DaemonArguments: Hashable, Sendable {
    case run(configuration: String)
    case version
    case help

    /// The configuration's path where none is given.
    public static let defaultConfiguration = "/etc/postern/postern.toml"
    /// The suite's release, as `--version` tells it.
    public static let release = "0.1.0"

    /// - Parameter arguments: the words after the program's name.
    public init(_ arguments: some Sequence<String>) throws(UsageError) {
        var configuration: String?
        var words = arguments.makeIterator()
        while let word = words.next() {
            switch word {
            case "--version":
                self = .version
                return
            case "--help", "-h":
                self = .help
                return
            case "--config", "-c":
                guard let path = words.next() else { throw .missingValue(word) }
                try Self.set(&configuration, to: path, by: word)
            case _ where word.hasPrefix("--config="):
                try Self.set(&configuration, to: String(word.dropFirst("--config=".count)), by: "--config")
            default: throw .unexpected(word)
            }
        }
        self = .run(configuration: configuration ?? Self.defaultConfiguration)
    }

    private static func set(_ configuration: inout String?, to path: String, by option: String) throws(UsageError) {
        guard !path.isEmpty else { throw .missingValue(option) }
        guard configuration == nil else { throw .repeated(option) }
        configuration = path
    }

    /// What `--version` prints, with the line end.
    public static func versionText(program: String) -> String { "\(program) \(release)\n" }

    /// What `--help` prints, with the line end.
    /// - Parameter purpose: one line that says what the daemon does.
    public static func helpText(program: String, purpose: String) -> String {
        """
        \(program): \(purpose)

        usage: \(program) [--config FILE]
               \(program) --version | --help

          --config FILE   read FILE instead of \(defaultConfiguration)
          --version       tell the release and exit
          --help          tell this and exit

        It stays in the foreground. SIGTERM stops it once open transactions are done, SIGHUP asks it to reload.
        Exit status: 0 stopped, 64 wrong usage, 69 a socket or file is not available, 78 bad configuration.

        """
    }
}

/// What was wrong with a command line.
public enum UsageError: Error, Hashable, Sendable, CustomStringConvertible {
    case missingValue(String)
    case repeated(String)
    case unexpected(String)

    public var description: String {
        switch self {
        case .missingValue(let option): "\(option): expected the path of a file after it; try --help"
        case .repeated(let option): "\(option): expected once, found again; try --help"
        case .unexpected(let word): "expected --config FILE, --version or --help, found \"\(word)\""
        }
    }
}
