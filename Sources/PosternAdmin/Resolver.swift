// Who is asked for DNS: postern-dns over its socket, or a server that `--resolver` names.

internal import PosternDNS
internal import PosternMail
internal import PosternSocket

enum Resolver: Hashable, Sendable {
    /// A DNS server, by UDP, and by TCP where that is not enough.
    case server(IPAddress, port: UInt16)
    /// A postern-dns, by a stream: `unix:` or `tcp:`.
    case daemon(Endpoint)

    /// Where postern-dns listens when no configuration says otherwise.
    static let defaultPath = "/run/postern/dns.sock"
    static let standardPort: UInt16 = 53

    /// - Parameter text: `ADDRESS`, `ADDRESS:PORT`, `[V6]:PORT`, `localhost:PORT`, `unix:PATH`; `udp:` and `tcp:`
    ///   before an address and port as in `listen.dns`.
    init(_ text: String) throws(ResolverError) {
        if let address = IPAddress(text) {
            self = .server(address, port: Self.standardPort)
            return
        }
        if text == "localhost" {
            self = .server(.v4(0x7F00_0001), port: Self.standardPort)
            return
        }
        let schemes = ["unix:", "local:", "tcp:", "inet:", "udp:"]
        if schemes.contains(where: text.hasPrefix) {
            let endpoint: Endpoint
            do throws(EndpointError) { endpoint = try Endpoint(text) } catch { throw ResolverError(found: text) }
            try self.init(endpoint, named: text)
        } else if let (host, port) = Endpoint.hostAndPort(text) {
            try self.init(.udp(host: host, port: port), named: text)
        } else {
            throw ResolverError(found: text)
        }
    }

    /// The way to what listens at an endpoint.
    /// - Parameter text: how it was spelled, for the error.
    init(_ endpoint: Endpoint, named text: String? = nil) throws(ResolverError) {
        switch endpoint {
        case .unix: self = .daemon(endpoint)
        case .tcp(let host, let port), .udp(let host, let port):
            guard port > 0, let address = host == "localhost" ? .v4(0x7F00_0001) : IPAddress(host) else {
                throw ResolverError(found: text ?? "\(endpoint)")
            }
            if case .tcp = endpoint {
                self = .daemon(.tcp(host: "\(address)", port: port))
            } else {
                self = .server(address, port: port)
            }
        }
    }

    /// A view of it for one transaction, whose time begins now.
    func answering(within budget: Duration, log: any LogSink) -> any DNSAnswering {
        switch self {
        case .server(let address, let port): DirectResolver(address, port: port, timeout: budget)
        case .daemon(let endpoint): DNSClient(endpoint, log: log).within(budget)
        }
    }
}

/// A text that names no DNS server.
struct ResolverError: Error, Hashable, CustomStringConvertible {
    var found: String

    var description: String {
        "expected the address of a DNS server (192.0.2.53, 127.0.0.1:5300, [::1]:53) or unix:PATH, found \"\(found)\""
    }
}
