// What goes wrong with sockets: the call, the place and the system's own words for it.

import Glibc
public import PosternMail

public enum SocketError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A system call failed; `operation` names the call and the place.
    case system(operation: String, errno: Int32)
    /// The deadline came first.
    case timedOut(String)
    /// The peer is gone: end of stream, EPIPE or ECONNRESET.
    case closed
    /// A living process holds the socket that we wanted to listen on.
    case inUse(path: String)
    /// Something that is no socket lies where we wanted to listen.
    case notASocket(path: String)
    /// Only IP addresses and `localhost` are dialled: a resolver must not need a resolver.
    case badHost(String)
    case pathTooLong(String)
    /// This operation does not know such an endpoint.
    case wrongKind(Endpoint)

    public var description: String {
        switch self {
        case .system(let operation, let code): "\(operation): \(Self.text(of: code))"
        case .timedOut(let operation): "\(operation): timed out"
        case .closed: "the peer closed the connection"
        case .inUse(let path): "\(path): another process listens there"
        case .notASocket(let path): "\(path): expected a socket or nothing, found another kind of file"
        case .badHost(let host): "expected an IP address or localhost, found \"\(host)\""
        case .pathTooLong(let path):
            "expected a socket path of at most \(Endpoint.maxPathOctets) octets, found \(path.utf8.count): \(path)"
        case .wrongKind(let endpoint): "\(endpoint): another kind of endpoint was expected"
        }
    }

    /// The system's sentence for an error number. Source: strerror_r(3).
    public static func text(of code: Int32) -> String {
        var text = [CChar](repeating: 0, count: 128)
        guard strerror_r(code, &text, text.count) == 0 else { return "error \(code)" }
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// The error of the call that has just failed.
    static func last(_ operation: @autoclosure () -> String) -> SocketError {
        let code = errno  // before anything else can change it
        return code == EPIPE || code == ECONNRESET ? .closed : .system(operation: operation(), errno: code)
    }
}
