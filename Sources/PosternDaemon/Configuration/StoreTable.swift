// `[store]`: where several MX hosts keep greylist and limits together. Without it each daemon keeps its own, and
// nothing else is needed.

internal import PosternMail

/// Where a shared store is reached.
public struct StoreURL: Hashable, Sendable {
    public enum Scheme: String, Hashable, Sendable, CaseIterable {
        case redis
        /// Over TLS.
        case rediss
        /// Asked of Sentinels which server is the master.
        case sentinel = "redis+sentinel"
    }
    public struct Server: Hashable, Sendable {
        public let host: String
        public let port: UInt16
    }

    public let scheme: Scheme
    /// One; several for Sentinels.
    public let servers: [Server]
    /// For Sentinels.
    public let master: String?
    public let database: Int
}

public struct StoreSettings: Sendable {
    /// Nil for the daemons' own files.
    public let url: StoreURL?
    /// How long one decision waits for it.
    public let timeout: Duration
    /// The file that holds its password, absolute.
    public let passwordPath: String?
}

enum StoreTable {
    static let url = Key<StoreURL?>(
        "url", .text(.storeURL),
        example: StoreURL(
            scheme: .redis, servers: [StoreURL.Server(host: "192.0.2.10", port: 6379)], master: nil, database: 0),
        "A Redis or Valkey server: \"redis://HOST:PORT/DATABASE\", \"rediss://…\" over TLS, or "
            + "\"redis+sentinel://HOST,HOST,HOST/MASTER\". Default: none.")
    static let timeout = Key(
        "timeout", .duration(in: .milliseconds(5) ... .seconds(3)), default: .milliseconds(100),
        "How long a decision waits for it; then the daemon goes on with what it knows itself.")
    static let passwordFile = Key(
        "password_file", .path, example: "store.password", "A file with its password. Default: none.")

    static let declaration = TableDeclaration(
        "store", "A store that several MX hosts share. Without one each host remembers for itself.",
        keys: [url, timeout, passwordFile])
}

extension StoreSettings {
    init(_ values: TableValues) {
        url = values[StoreTable.url]
        timeout = values[StoreTable.timeout]
        passwordPath = values[StoreTable.passwordFile]
    }
}

extension TextType<StoreURL> {
    private static let expectation = "a URL such as \"redis://192.0.2.10:6379/0\""
    private static let redisPort: UInt16 = 6379
    private static let sentinelPort: UInt16 = 26_379
    private static let maxServers = 16
    private static let maxDatabase = 65_535

    static let storeURL = TextType(expectation) { text throws(Unfit) in
        guard let mark = text.firstRange(of: "://"),
            let scheme = StoreURL.Scheme(rawValue: String(text[..<mark.lowerBound]))
        else {
            throw Unfit("expected redis://, rediss:// or redis+sentinel://, found \(quoted(withoutPassword(text)))")
        }
        let rest = text[mark.upperBound...]
        guard !rest.contains("@") else {
            throw Unfit("expected the password in password_file, found a URL with one")
        }
        let parts = rest.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let isSentinel = scheme == .sentinel
        let names = parts.first?.split(separator: ",", omittingEmptySubsequences: false) ?? []
        let servers = names.prefix(maxServers + 1).compactMap {
            server(String($0), port: isSentinel ? sentinelPort : redisPort)
        }
        let path = parts.dropFirst().first ?? ""
        guard servers.count == names.count, (1...(isSentinel ? maxServers : 1)).contains(servers.count) else {
            throw Unfit(expected: expectation, found: text)
        }
        if isSentinel {
            let isName = !path.isEmpty && path.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x2F }
            guard isName else { throw Unfit(expected: "the master's name behind the Sentinels", found: text) }
            return StoreURL(scheme: scheme, servers: servers, master: String(path), database: 0)
        }
        guard let database = path.isEmpty ? 0 : Int(path), (0...maxDatabase).contains(database) else {
            throw Unfit(expected: "a database's number behind the server", found: text)
        }
        return StoreURL(scheme: scheme, servers: servers, master: nil, database: database)
    } write: { url in
        let servers = url.servers.map { server in
            server.host.contains(":") ? "[\(server.host)]:\(server.port)" : "\(server.host):\(server.port)"
        }
        return "\(url.scheme.rawValue)://\(servers.joined(separator: ","))/\(url.master ?? "\(url.database)")"
    }

    private static func server(_ text: String, port: UInt16) -> StoreURL.Server? {
        let (host, port) = Endpoint.hostAndPort(text) ?? (text, port)
        let name = try? DomainName(host)  // an address, or nothing that we know
        guard port > 0, IPAddress(host) != nil || name?.isHostname() == true else { return nil }
        return StoreURL.Server(host: host, port: port)
    }

    private static func withoutPassword(_ text: String) -> Substring {
        text.lastIndex(of: "@").map { text[text.index(after: $0)...] } ?? Substring(text)
    }
}
