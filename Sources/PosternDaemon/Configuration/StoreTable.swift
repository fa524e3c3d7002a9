// `[store]`: where several MX hosts keep greylist and limits together. Without it each daemon keeps its own, and
// nothing else is needed. The values are PosternAdmission's, since PosternStore takes them.

internal import PosternAdmission
internal import PosternMail

enum StoreTable {
    static let url = Key<StoreURL?>(
        "url", .text(.storeURL),
        example: StoreURL(
            scheme: .redis, servers: [StoreURL.Server(host: "192.0.2.10", port: 6379)], master: nil, database: 0),
        "A Redis or Valkey server: \"redis://HOST:PORT/DATABASE\", or \"redis+sentinel://HOST,HOST,HOST/MASTER\"; "
            + "with rediss instead of redis over TLS. Default: none.")
    static let timeout = Key(
        "timeout", .duration(in: .milliseconds(5) ... .seconds(3)), default: .milliseconds(100),
        "How long a decision waits for it; then the daemon goes on with what it knows itself.")
    static let user = Key<String?>(
        "user", .text(.storeUser), example: "postern",
        "The user of its access list that the password belongs to. Default: its default user.")
    static let passwordFile = Key(
        "password_file", .path, example: "store.password",
        "A file with its password, read again when it is refused. Default: none.")
    static let authoritiesFile = Key(
        "ca_file", .path, example: "/etc/ssl/certs/store-ca.pem",
        "The certificates that may vouch for it over TLS, PEM. Default: the system's.")

    static let declaration = TableDeclaration(
        "store", "A store that several MX hosts share. Without one each host remembers for itself.",
        keys: [url, timeout, user, passwordFile, authoritiesFile])
}

extension StoreSettings {
    init(_ values: TableValues) {
        self.init(
            url: values[StoreTable.url], timeout: values[StoreTable.timeout], user: values[StoreTable.user],
            passwordPath: values[StoreTable.passwordFile], authoritiesPath: values[StoreTable.authoritiesFile])
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
            throw Unfit(
                "expected redis://, rediss://, redis+sentinel:// or rediss+sentinel://, "
                    + "found \(quoted(withoutPassword(text)))")
        }
        let rest = text[mark.upperBound...]
        guard !rest.contains("@") else {
            throw Unfit("expected the password in password_file, found a URL with one")
        }
        let parts = rest.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let isSentinel = scheme.asksSentinels
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
    } write: {
        "\($0)"
    }

    private static func server(_ text: String, port: UInt16) -> StoreURL.Server? {
        let isBare = text.hasPrefix("[") && text.hasSuffix("]")  // an IPv6 address without a port
        let (host, port) = Endpoint.hostAndPort(text) ?? (isBare ? String(text.dropFirst().dropLast()) : text, port)
        guard !isBare || host.contains(":") else { return nil }
        let name = try? DomainName(host)  // an address, or nothing that we know
        guard port > 0, IPAddress(host) != nil || name?.isHostname() == true else { return nil }
        return StoreURL.Server(host: host, port: port)
    }

    private static func withoutPassword(_ text: String) -> Substring {
        text.lastIndex(of: "@").map { text[text.index(after: $0)...] } ?? Substring(text)
    }
}

extension TextType<String> {
    private static let maxStoreUser = 128

    /// Redis takes any; what a space or control is in would be somebody's mistake.
    static let storeUser = TextType("a user's name without spaces") { text throws(Unfit) in
        guard (1...maxStoreUser).contains(text.utf8.count), text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            throw Unfit(expected: "a user's name without spaces", found: text)
        }
        return text
    } write: {
        $0
    }
}
