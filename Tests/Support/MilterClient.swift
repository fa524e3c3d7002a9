// Speaks the milter protocol as Postfix's smtpd and cleanup do (POSTFIX.md 3-8), for tests without a Postfix.
// Blocking, one SMTP session each.

import Foundation
import Glibc

/// What broke between the client and the milter.
public enum MilterClientError: Error {
    case system(String, Int32)
    case endOfFile
    case unexpected(UInt8)
}

public final class MilterClient {
    /// What a milter asked for or changed at end of message.
    public enum Change: Equatable, Sendable {
        case insert(index: Int, name: String, value: [UInt8])
        case change(index: Int, name: String, value: [UInt8])
        case quarantine(String)
    }
    /// A milter's answer: its command letter, and the text of a reply code.
    public enum Answer: Equatable, Sendable {
        case `continue`, accept, skip, tempfail, reject
        case reply(String)
    }

    /// What Postfix 3.7 offers. Source: Postfix src/milter/milter8.c, by its constants.
    public static let offeredActions: UInt32 = 0x1FF
    public static let offeredSteps: UInt32 = 0x1F_FFFF

    private let socket: Int32
    private var input: [UInt8] = []
    /// SMFIP_* bits that the milter chose.
    public private(set) var steps: UInt32 = 0
    public private(set) var actions: UInt32 = 0
    /// Macro names that the milter asked for, by stage number.
    public private(set) var macroLists: [UInt32: String] = [:]

    /// Connects to the milter's UNIX socket.
    public init(path: String) throws {
        // Not for the programs that other tests start meanwhile: this end would stay open with them.
        socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { throw MilterClientError.system("socket", errno) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(107)) }
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else { throw MilterClientError.system("connect", errno) }
        var limit = timeval(tv_sec: 600, tv_usec: 0)  // a milter that never answers is a failure, not a hang
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }
    deinit { close(socket) }

    // MARK: Session

    /// Option negotiation.
    public func negotiate(actions: UInt32 = offeredActions, steps: UInt32 = offeredSteps) throws {
        try send("O", number(6) + number(actions) + number(steps))
        let (letter, data) = try receive()
        guard letter == UInt8(ascii: "O"), data.count >= 12 else { throw MilterClientError.unexpected(letter) }
        self.actions = bigEndian(data[4..<8])
        self.steps = bigEndian(data[8..<12])
        var rest = data[12...]
        while rest.count > 4 {
            let stage = bigEndian(rest.prefix(4))
            let text = rest.dropFirst(4).prefix { $0 != 0 }
            macroLists[stage] = String(decoding: text, as: UTF8.self)
            rest = rest.dropFirst(4 + text.count + 1)
        }
    }

    /// CONNECT with an IPv4 or IPv6 client.
    public func connect(name: String, address: String, port: UInt16 = 40000, macros: [(String, String)] = []) throws {
        try self.macros("C", macros)
        let family: UInt8 = address.contains(":") ? UInt8(ascii: "6") : UInt8(ascii: "4")
        try send("C", z(name) + [family, UInt8(port >> 8), UInt8(port & 0xFF)] + z(address))
        try awaitUnless(0x1000)
    }
    public func helo(_ name: String) throws {
        try send("H", z(name))
        try awaitUnless(0x2000)
    }

    // MARK: Message

    public func mail(_ sender: String, macros: [(String, String)] = []) throws {
        try self.macros("M", macros)
        try send("M", z("<\(sender)>"))
        try awaitUnless(0x4000)
    }
    public func recipient(_ address: String) throws {
        if steps & 0x08 != 0 { return }
        try send("R", z("<\(address)>"))
        try awaitUnless(0x8000)
    }
    /// - Parameter value: as Postfix hands it over: with its leading white space, folds as bare LF.
    public func header(_ name: [UInt8], _ value: [UInt8]) throws {
        try send("L", name + [0] + value + [0])
        try awaitUnless(0x80)
    }
    public func endOfHeader(queueID: String?) throws {
        try macros("N", queueID.map { [("i", $0)] } ?? [])
        try send("N", [])
        try awaitUnless(0x40000)
    }
    /// - Returns: `false` when the milter wants no more of the body.
    @discardableResult public func body(_ chunk: some Collection<UInt8>) throws -> Bool {
        try send("B", Array(chunk))
        if steps & 0x80000 != 0 { return true }
        return try receive().letter != UInt8(ascii: "s")
    }
    /// End of message: the changes in their order, and the answer.
    public func endOfMessage(queueID: String? = nil) throws -> (changes: [Change], answer: Answer) {
        try macros("E", queueID.map { [("i", $0)] } ?? [])
        try send("E", [])
        var changes: [Change] = []
        while true {
            let (letter, data) = try receive()
            func strings(after: Int) -> [[UInt8]] {
                data.dropFirst(after).split(separator: 0, omittingEmptySubsequences: false).map(Array.init)
            }
            switch letter {
            case UInt8(ascii: "i"), UInt8(ascii: "m"):
                let parts = strings(after: 4)
                let index = Int(bigEndian(data.prefix(4)))
                let name = String(decoding: parts.first ?? [], as: UTF8.self)
                let value = parts.dropFirst().first ?? []
                changes.append(
                    letter == UInt8(ascii: "i")
                        ? .insert(index: index, name: name, value: value)
                        : .change(index: index, name: name, value: value))
            case UInt8(ascii: "h"):  // below all others
                let parts = strings(after: 0)
                let name = String(decoding: parts.first ?? [], as: UTF8.self)
                changes.append(.insert(index: .max, name: name, value: parts.dropFirst().first ?? []))
            case UInt8(ascii: "q"):
                changes.append(.quarantine(String(decoding: strings(after: 0).first ?? [], as: UTF8.self)))
            case UInt8(ascii: "p"): continue
            case UInt8(ascii: "c"): return (changes, .continue)
            case UInt8(ascii: "a"): return (changes, .accept)
            case UInt8(ascii: "t"): return (changes, .tempfail)
            case UInt8(ascii: "r"): return (changes, .reject)
            case UInt8(ascii: "y"):
                return (changes, .reply(String(decoding: strings(after: 0).first ?? [], as: UTF8.self)))
            default: throw MilterClientError.unexpected(letter)
            }
        }
    }
    public func abort() throws { try send("A", []) }
    public func quit() throws { try send("Q", []) }

    /// A whole message: header fields and body as on the wire (CRLF), sent as Postfix sends them.
    public func message(
        from sender: String, header: [([UInt8], [UInt8])], body: [UInt8], queueID: String,
        macros: [(String, String)] = []
    ) throws -> (changes: [Change], answer: Answer) {
        try mail(sender, macros: macros)
        try recipient("bo@example.net")
        for (name, value) in header { try self.header(name, value.filter { $0 != 0x0D }) }
        try endOfHeader(queueID: queueID)
        var rest = body[...]
        while !rest.isEmpty {
            let wanted = try self.body(rest.prefix(65535))
            rest = rest.dropFirst(65535)
            if !wanted { break }
        }
        return try endOfMessage(queueID: queueID)
    }

    // MARK: Frames

    /// One raw frame: for hostile tests.
    public func send(_ letter: Character, _ data: [UInt8]) throws {
        let frame = number(UInt32(data.count + 1)) + [letter.asciiValue ?? 0] + data
        var sent = 0
        while sent < frame.count {
            let count = frame[sent...].withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw MilterClientError.system("send", errno) }
            sent += count
        }
    }
    public func receive() throws -> (letter: UInt8, data: [UInt8]) {
        let length = Int(bigEndian(try read(4)))
        let frame = try read(length)
        return (frame.first ?? 0, Array(frame.dropFirst()))
    }
    private func macros(_ stage: Character, _ values: [(String, String)]) throws {
        try send("D", [stage.asciiValue ?? 0] + values.flatMap { z($0.0) + z($0.1) })
    }
    private func awaitUnless(_ bit: UInt32) throws {
        if steps & bit == 0 { _ = try receive() }
    }
    private func read(_ count: Int) throws -> [UInt8] {
        while input.count < count {
            var buffer = [UInt8](repeating: 0, count: 65536)
            let got = Glibc.recv(socket, &buffer, buffer.count, 0)
            guard got > 0 else { throw MilterClientError.endOfFile }
            input += buffer.prefix(got)
        }
        defer { input.removeFirst(count) }
        return Array(input.prefix(count))
    }
    private func z(_ text: String) -> [UInt8] { Array(text.utf8) + [0] }
    private func number(_ value: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * UInt32($0))) }
    }
    private func bigEndian(_ octets: some Sequence<UInt8>) -> UInt32 { octets.reduce(0) { $0 << 8 | UInt32($1) } }
}
