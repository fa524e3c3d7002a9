// `[store]` as values: where several MX hosts keep greylist and limits together. Reading it is the configuration's,
// speaking to it PosternStore's; nil for a URL means that each daemon keeps its own files and needs nothing else.

/// Where a shared store is reached.
public struct StoreURL: Hashable, Sendable {
    public enum Scheme: String, Hashable, Sendable, CaseIterable {
        case redis
        /// Over TLS.
        case rediss
        /// Asked of Sentinels which server is the master.
        case sentinel = "redis+sentinel"
        /// The same; Sentinels and master speak TLS.
        case secureSentinel = "rediss+sentinel"

        public var asksSentinels: Bool { self == .sentinel || self == .secureSentinel }
        public var usesTLS: Bool { self == .rediss || self == .secureSentinel }
    }
    public struct Server: Hashable, Sendable {
        /// An address, or a name that is looked up.
        public let host: String
        public let port: UInt16

        public init(host: String, port: UInt16) {
            self.host = host
            self.port = port
        }
    }

    public let scheme: Scheme
    /// One; several for Sentinels.
    public let servers: [Server]
    /// For Sentinels.
    public let master: String?
    public let database: Int

    public init(scheme: Scheme, servers: [Server], master: String?, database: Int) {
        self.scheme = scheme
        self.servers = servers
        self.master = master
        self.database = database
    }
}

extension StoreURL.Server: CustomStringConvertible {
    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

extension StoreURL: CustomStringConvertible {
    /// As the configuration has it; there is no password in it.
    public var description: String {
        "\(scheme.rawValue)://\(servers.map(\.description).joined(separator: ","))/\(master ?? "\(database)")"
    }
}

public struct StoreSettings: Hashable, Sendable {
    /// Nil for the daemons' own files.
    public let url: StoreURL?
    /// How long one decision waits for it.
    public let timeout: Duration
    /// Whom it knows us as; nil for its default user.
    public let user: String?
    /// The file that holds its password, absolute.
    public let passwordPath: String?
    /// The certificates that may vouch for it, absolute; nil for the system's.
    public let authoritiesPath: String?

    public init(
        url: StoreURL?, timeout: Duration, user: String? = nil, passwordPath: String? = nil,
        authoritiesPath: String? = nil
    ) {
        self.url = url
        self.timeout = timeout
        self.user = user
        self.passwordPath = passwordPath
        self.authoritiesPath = authoritiesPath
    }
}
