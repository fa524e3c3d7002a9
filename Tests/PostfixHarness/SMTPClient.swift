// A small blocking SMTP client for tests: octets go out as given, replies come back whole. It waits for each reply,
// unless a test asks for a pipeline. No TLS.

import Foundation
import Glibc

/// An SMTP reply, all its lines.
public struct SMTPReply: Sendable, CustomStringConvertible {
    public let code: Int
    /// Texts without code and separator.
    public let lines: [String]
    public var description: String { "\(code) \(lines.joined(separator: " / "))" }
    public var isPositive: Bool { code >= 200 && code < 400 }

    /// The id in `queued as ID`.
    public var queueID: String? {
        guard let text = lines.last, let range = text.range(of: "queued as ") else { return nil }
        return String(text[range.upperBound...])
    }
}

public final class SMTPClient {
    private let descriptor: Int32
    private var buffer: [UInt8] = []
    /// What the server said last.
    public private(set) var greeting = SMTPReply(code: 0, lines: [])

    /// Connects and reads the greeting.
    /// - Parameter place: an address of 127.0.0.0/8.
    /// - Parameter source: an address of 127.0.0.0/8 to connect from, to be a client of its own; default: 127.0.0.1.
    public init(address place: String = "127.0.0.1", port: UInt16, from source: String? = nil) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw HarnessError.system("socket") }
        var limit = Await.socketCap
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        if let source { try bind(to: source) }
        var address = LoopbackAddress.make(port: port)
        guard inet_pton(AF_INET, place, &address.sin_addr) == 1 else { throw HarnessError("\(place) is no address") }
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else {
            let error = HarnessError.system("connect to \(place):\(port)")
            close(descriptor)
            throw error
        }
        greeting = try reply()
    }

    deinit { close(descriptor) }

    private func bind(to source: String) throws {
        var address = LoopbackAddress.make(port: 0)
        guard inet_pton(AF_INET, source, &address.sin_addr) == 1 else { throw HarnessError("\(source) is no address") }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard bound == 0 else { throw HarnessError.system("bind to \(source)") }
    }

    /// Sends a command and reads its reply.
    @discardableResult
    public func command(_ line: String) throws -> SMTPReply {
        try write(Array("\(line)\r\n".utf8))
        return try reply()
    }

    /// Sends a command that has to succeed.
    @discardableResult
    public func expect(_ line: String) throws -> SMTPReply {
        let reply = try command(line)
        guard reply.isPositive else { throw HarnessError("\(line): \(reply)") }
        return reply
    }

    /// Becomes another client. Source: Postfix XCLIENT_README.
    public func xclient(
        name: String, address: String, port: UInt16 = 34_567, login: String? = nil
    ) throws {
        try expect("EHLO localhost")
        var line = "XCLIENT NAME=\(name) ADDR=\(address) PORT=\(port)"
        if let login { line += " LOGIN=\(login)" }
        try expect(line)
    }

    /// Logs in with AUTH PLAIN; EHLO has been said. Source: RFC 4616 §2.
    public func login(_ user: String, _ password: String) throws {
        try expect("AUTH PLAIN \(Data("\0\(user)\0\(password)".utf8).base64EncodedString())")
    }

    /// Sends commands in one piece, and reads all replies after it. Source: RFC 2920 §3.1.
    public func pipeline(_ commands: [String]) throws -> [SMTPReply] {
        try write(commands.flatMap { Array("\($0)\r\n".utf8) })
        return try commands.map { _ in try reply() }
    }

    /// One transaction to its end.
    /// - Parameter message: octets with CRLF line ends; a last line without one gets it, as SMTP has no other way.
    /// - Returns: the reply to the end of data, or the first refusal.
    public func send(
        from: String, to recipients: [String], _ message: [UInt8], mailParameters: String = ""
    ) throws -> SMTPReply {
        let mail = try command("MAIL FROM:<\(from)>\(mailParameters)")
        guard mail.isPositive else { return mail }
        for recipient in recipients {
            let reply = try command("RCPT TO:<\(recipient)>")
            guard reply.isPositive else { return reply }
        }
        let data = try command("DATA")
        guard data.code == 354 else { return data }
        return try endOfData(message)
    }

    /// The message after a 354: dot-stuffed (RFC 5321 §4.5.2), and the reply to it.
    public func endOfData(_ message: [UInt8]) throws -> SMTPReply {
        var wire: [UInt8] = []
        wire.reserveCapacity(message.count + 16)
        var atLineStart = true
        for octet in message {
            if atLineStart, octet == 0x2E { wire.append(0x2E) }
            wire.append(octet)
            atLineStart = octet == 0x0A
        }
        if !atLineStart { wire += [0x0D, 0x0A] }
        try write(wire + Array(".\r\n".utf8))
        return try reply()
    }

    /// Sends QUIT and reads the answer.
    public func quit() throws { try command("QUIT") }

    /// Octets as they are, for what no well-behaved client says.
    public func write(_ octets: [UInt8]) throws {
        var rest = octets[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw HarnessError.system("send") }
            rest = rest.dropFirst(count)
        }
    }

    /// Reads one reply. Source: RFC 5321 §4.2.1.
    public func reply() throws -> SMTPReply {
        var lines: [String] = []
        while true {
            let line = try readLine()
            guard line.utf8.count >= 3, let code = Int(line.prefix(3)) else {
                throw HarnessError("expected an SMTP reply, found \"\(line)\"")
            }
            lines.append(String(line.dropFirst(4)))
            if line.dropFirst(3).first != "-" { return SMTPReply(code: code, lines: lines) }
        }
    }

    private func readLine() throws -> String {
        while true {
            if let end = buffer.firstIndex(of: 0x0A) {
                let line = buffer[..<end]
                buffer.removeSubrange(...end)
                return String(decoding: line.last == 0x0D ? line.dropLast() : line, as: UTF8.self)
            }
            var chunk = [UInt8](repeating: 0, count: 4096)
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count < 0, errno == EINTR { continue }
            if count == 0 { throw HarnessError("the server hung up") }
            guard count > 0 else { throw HarnessError.system("recv") }
            buffer += chunk.prefix(count)
        }
    }
}
