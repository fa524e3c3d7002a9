// Where a daemon listens or dials, as the configuration spells it. A value only; PosternSocket and the doors open it.

public enum Endpoint: Hashable, Sendable {
    /// `unix:PATH`; the path is absolute, or relative to the process's folder.
    case unix(path: String)
    /// `inet:PORT@HOST` (libmilter's spelling) or `inet:HOST:PORT` (Postfix's): a TCP stream.
    case tcp(host: String, port: UInt16)
    /// `udp:ADDRESS:PORT`: datagrams, for DNS only.
    case udp(host: String, port: UInt16)

    /// Longest path that a UNIX socket's address can hold, in octets, the NUL not counted. Source: unix(7).
    public static let maxPathOctets = 107

    /// - Parameter text: `unix:PATH`, `local:PATH`, `inet:PORT@HOST`, `inet:HOST:PORT`, `tcp:HOST:PORT` or
    ///   `udp:HOST:PORT`; an IPv6 host stands in brackets before a port.
    /// - Throws: what was expected and what was found.
    public init(_ text: String) throws(EndpointError) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard let scheme = parts.first, let rest = parts.dropFirst().first.map(String.init) else {
            throw .unknownForm(text)
        }
        switch scheme {
        case "unix", "local":
            guard !rest.isEmpty, !rest.utf8.contains(0) else { throw .unknownForm(text) }
            guard rest.utf8.count <= Self.maxPathOctets else { throw .pathTooLong(rest) }
            self = .unix(path: rest)
        case "inet", "inet6", "tcp", "udp":
            guard let (host, port) = Self.hostAndPort(rest) else { throw .unknownForm(text) }
            self = scheme == "udp" ? .udp(host: host, port: port) : .tcp(host: host, port: port)
        default: throw .unknownForm(text)
        }
    }

    /// `HOST:PORT`, `[V6]:PORT` or `PORT@HOST`; the host without brackets.
    public static func hostAndPort(_ text: String) -> (host: String, port: UInt16)? {
        let host: Substring
        let port: Substring
        if let at = text.firstIndex(of: "@") {
            (port, host) = (text[..<at], text[text.index(after: at)...])
        } else if let colon = text.lastIndex(of: ":") {
            (host, port) = (text[..<colon], text[text.index(after: colon)...])
        } else {
            return nil
        }
        let bare = host.hasPrefix("[") && host.hasSuffix("]") ? host.dropFirst().dropLast() : host
        guard !bare.isEmpty, port.utf8.allSatisfy(\.isASCIIDigit), let number = UInt16(port) else { return nil }
        guard bare.count < host.count || !bare.contains(":") || text.contains("@") else { return nil }
        // No name and no address holds these; with them, what is printed would be read differently.
        guard bare.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F && $0 != 0x40 && $0 != 0x5B && $0 != 0x5D }) else {
            return nil
        }
        return (String(bare), number)
    }
}

extension Endpoint: CustomStringConvertible {
    public var description: String {
        func joined(_ host: String, _ port: UInt16) -> String {
            host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        }
        return switch self {
        case .unix(let path): "unix:\(path)"
        case .tcp(let host, let port): "tcp:\(joined(host, port))"
        case .udp(let host, let port): "udp:\(joined(host, port))"
        }
    }
}

/// Why a text names no endpoint.
public enum EndpointError: Error, Hashable, Sendable, CustomStringConvertible {
    case unknownForm(String)
    case pathTooLong(String)

    public var description: String {
        switch self {
        case .unknownForm(let text):
            "expected unix:PATH, inet:PORT@HOST, tcp:HOST:PORT or udp:HOST:PORT, found \"\(text)\""
        case .pathTooLong(let path):
            "expected a socket path of at most \(Endpoint.maxPathOctets) octets, found \(path.utf8.count): \(path)"
        }
    }
}
