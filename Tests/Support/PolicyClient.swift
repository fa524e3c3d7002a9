// Speaks Postfix's policy delegation protocol as smtpd does (POSTFIX.md, SMTPD_POLICY_README): one write a request, the
// attributes in Postfix's order, one answer before the next request. Blocking, one connection each.

import Foundation
import Glibc

/// What broke between the client and the policy service.
public enum PolicyClientError: Error, Equatable {
    case system(String, Int32)
    case endOfFile
    /// An answer that is not one line `action=` and an empty line.
    case malformed(String)
}

/// The attributes of one request, as Postfix 3.7 would send them.
public struct PolicyQuery: Sendable {
    private var attributes: [(name: String, value: String)]

    /// A recipient of a stranger's message, without TLS and without a login.
    public init(
        state: String = "RCPT", client: String = "192.0.2.7", name: String = "mx.example.net",
        sender: String = "ann@example.net", recipient: String = "bo@example.org", instance: String = ""
    ) {
        // In the order of check_policy_service in Postfix 3.7's smtpd_check.c.
        attributes = [
            ("request", "smtpd_access_policy"), ("protocol_state", state), ("protocol_name", "ESMTP"),
            ("client_address", client), ("client_name", name), ("client_port", "40001"),
            ("reverse_client_name", name), ("server_address", "198.51.100.1"), ("server_port", "25"),
            ("helo_name", name), ("sender", sender), ("recipient", recipient), ("recipient_count", "0"),
            ("queue_id", ""), ("instance", instance), ("size", "2048"), ("etrn_domain", ""), ("stress", ""),
            ("sasl_method", ""), ("sasl_username", ""), ("sasl_sender", ""), ("ccert_subject", ""),
            ("ccert_issuer", ""), ("ccert_fingerprint", ""), ("ccert_pubkey_fingerprint", ""),
            ("encryption_protocol", ""), ("encryption_cipher", ""), ("encryption_keysize", "0"),
            ("policy_context", ""),
        ]
    }

    /// The same with an attribute changed, or added at the end.
    public func with(_ name: String, _ value: String) -> PolicyQuery {
        var query = self
        if let index = attributes.firstIndex(where: { $0.name == name }) {
            query.attributes[index].value = value
        } else {
            query.attributes.append((name, value))
        }
        return query
    }

    /// The same without an attribute.
    public func without(_ name: String) -> PolicyQuery {
        var query = self
        query.attributes.removeAll { $0.name == name }
        return query
    }

    /// As it goes over the wire.
    public var octets: [UInt8] {
        Array((attributes.map { "\($0.name)=\($0.value)\n" }.joined() + "\n").utf8)
    }
}

public final class PolicyClient {
    private let socket: Int32
    private var input: [UInt8] = []

    /// Connects to the service's UNIX socket.
    public init(path: String) throws {
        // Not for the programs that other tests start meanwhile: this end would stay open with them.
        socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { throw PolicyClientError.system("socket", errno) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(107)) }
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else {
            let code = errno
            close(socket)
            throw PolicyClientError.system("connect", code)
        }
        var limit = timeval(tv_sec: 600, tv_usec: 0)  // a service that never answers is a failure, not a hang
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }
    deinit { close(socket) }

    /// Asks, and waits for the answer.
    /// - Returns: what stands behind `action=`.
    public func ask(_ query: PolicyQuery) throws -> String {
        try send(query.octets)
        return try answer()
    }

    /// Raw octets: for hostile tests.
    public func send(_ octets: some Sequence<UInt8>) throws {
        let octets = Array(octets)
        var sent = 0
        while sent < octets.count {
            let count = octets[sent...].withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw PolicyClientError.system("send", errno) }
            sent += count
        }
    }

    /// The next answer.
    public func answer() throws -> String {
        while true {
            if let end = input.firstIndex(of: 0x0A) {
                let line = String(decoding: input[..<end], as: UTF8.self)
                if input.count > end + 1 {
                    guard input[end + 1] == 0x0A, line.hasPrefix("action=") else {
                        throw PolicyClientError.malformed(String(decoding: input, as: UTF8.self))
                    }
                    input.removeFirst(end + 2)
                    return String(line.dropFirst("action=".count))
                }
            }
            try read()
        }
    }

    /// Waits until the service hangs up.
    /// - Returns: what it said before; empty when it hung up without a word.
    public func untilHangUp() throws -> [UInt8] {
        do { while true { try read() } } catch PolicyClientError.endOfFile {
            defer { input = [] }
            return input
        }
    }

    /// Says goodbye; answers can still be read.
    public func finishWriting() { shutdown(socket, Int32(SHUT_WR)) }

    private func read() throws {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = recv(socket, &buffer, buffer.count, 0)
        // A service that hangs up with octets of ours unread resets the connection.
        guard count > 0 else {
            throw count == 0 || errno == ECONNRESET
                ? PolicyClientError.endOfFile : PolicyClientError.system("recv", errno)
        }
        input += buffer.prefix(count)
    }
}
