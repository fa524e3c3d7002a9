// An upstream for the forwarder's tests, on a loopback port: blocking sockets and two threads, and a script that says
// for each query what is sent back. It remembers every query.

import Glibc
import PosternDNS
import PosternForwarder
import PosternMail
import Synchronization

/// What the upstream does with one query.
enum Reaction {
    /// Sends these messages, in their order.
    case send([[UInt8]])
    /// Sends them from another port than the one that was asked.
    case sendFromElsewhere([UInt8])
    /// Never answers.
    case nothing
    /// Keeps the query; `FakeUpstream.release` answers it.
    case hold
}

/// One query as it came.
struct ReceivedQuery: Sendable {
    var message: QueryMessage
    var isStream: Bool
    var sourcePort: UInt16

    var question: Question { message.question }

    /// A reply to it in the name of a zone.
    func reply(
        _ rcode: ResponseCode = .noError, _ answers: [ResourceRecord] = [], authority: [ResourceRecord] = [],
        maxOctets: Int = 65_535
    ) -> [UInt8] {
        ResponseBody(question: question, rcode: rcode, answers: answers, authority: authority, isAuthenticated: true)
            .message(for: message, elapsed: 0, maxOctets: maxOctets)
    }

    /// The zone's reply; REFUSED for what the zone has not.
    func reply(from zone: StaticZone, maxOctets: Int = 65_535) -> [UInt8] {
        guard case .complete(let resolution)? = zone.lookup(question) else { return reply(.refused) }
        return reply(
            resolution.rcode, resolution.records, authority: resolution.authority, maxOctets: maxOctets)
    }
}

final class FakeUpstream: Sendable {
    let port: UInt16
    var upstream: Upstream { Upstream(.v4(0x7F00_0001), port: port) }

    private let datagrams: CInt
    private let listener: CInt
    private let script: @Sendable (ReceivedQuery) -> Reaction
    private struct Kept {
        var queries: [ReceivedQuery] = []
        var held: [(ReceivedQuery, sockaddr_in)] = []
        var connections = 0
    }
    private let kept = Mutex(Kept())

    var queries: [ReceivedQuery] { kept.withLock { $0.queries } }
    /// TCP connections that came.
    var connections: Int { kept.withLock { $0.connections } }

    init(_ script: @escaping @Sendable (ReceivedQuery) -> Reaction) throws {
        self.script = script
        (datagrams, listener, port) = try Self.pair()
        Self.spawn { self.serveDatagrams() }
        Self.spawn { self.serveStreams() }
    }

    /// Answers from a zone, always.
    convenience init(zone: String) throws {
        let zone = try StaticZone(text: zone)
        try self.init { .send([$0.reply(from: zone)]) }
    }

    func stop() {
        shutdown(datagrams, CInt(SHUT_RDWR))
        shutdown(listener, CInt(SHUT_RDWR))
    }

    /// Answers what `.hold` kept, newest first.
    func release(_ reply: (ReceivedQuery) -> [UInt8]) {
        let held = kept.withLock { kept in
            defer { kept.held = [] }
            return kept.held
        }
        for (query, address) in held.reversed() { send(reply(query), to: address, from: datagrams) }
    }
    var heldCount: Int { kept.withLock { $0.held.count } }

    struct SetupError: Error {
        var code: CInt
        init(_ code: CInt) { self.code = code }
    }

    /// A loopback port on which nobody listens. It is held until the process ends, by a socket that takes datagrams of one
    /// other alone: a port that is free may be taken by another test.
    static func deadUpstream() throws -> Upstream {
        let (descriptor, port) = try bound(SOCK_DGRAM, port: 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = UInt16(9).bigEndian
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else { throw SetupError(errno) }
        return Upstream(.v4(0x7F00_0001), port: port)
    }

    // MARK: Sockets

    /// A datagram socket and a listener at one port: one that is free for UDP may be another's for TCP.
    private static func pair() throws -> (datagrams: CInt, listener: CInt, port: UInt16) {
        var tries = 0
        while true {
            let (datagrams, port) = try bound(SOCK_DGRAM, port: 0)
            do {
                let (listener, _) = try bound(SOCK_STREAM, port: port)
                guard listen(listener, 16) == 0 else {
                    close(listener)
                    throw SetupError(errno)
                }
                return (datagrams, listener, port)
            } catch {
                close(datagrams)
                tries += 1
                if tries == 50 { throw error }
            }
        }
    }

    private static func bound(_ type: __socket_type, port: UInt16) throws -> (CInt, UInt16) {
        let descriptor = socket(AF_INET, CInt(type.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = port.bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
            }
        }
        guard status == 0 else {
            defer { close(descriptor) }
            throw SetupError(errno)
        }
        return (descriptor, UInt16(bigEndian: address.sin_port))
    }

    private static func spawn(_ body: @escaping @Sendable () -> Void) {
        final class Box {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        var thread = pthread_t()
        let box = Unmanaged.passRetained(Box(body)).toOpaque()
        pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, box)
        pthread_detach(thread)
    }

    private func serveDatagrams() {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            var address = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let count = withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(datagrams, &buffer, buffer.count, 0, $0, &length)
                }
            }
            guard count > 0, let query = try? QueryMessage(Array(buffer.prefix(count))) else { return }
            let received = ReceivedQuery(
                message: query, isStream: false, sourcePort: UInt16(bigEndian: address.sin_port))
            kept.withLock { $0.queries.append(received) }
            switch script(received) {
            case .send(let messages): for message in messages { send(message, to: address, from: datagrams) }
            case .sendFromElsewhere(let message):
                guard let (other, _) = try? Self.bound(SOCK_DGRAM, port: 0) else { return }
                send(message, to: address, from: other)
                close(other)
            case .nothing: break
            case .hold: kept.withLock { $0.held.append((received, address)) }
            }
        }
    }

    private func send(_ message: [UInt8], to address: sockaddr_in, from descriptor: CInt) {
        var address = address
        _ = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, message, message.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    /// One connection after another, each for as many queries as come; what has no reply ends it.
    private func serveStreams() {
        while true {
            let client = accept(listener, nil, nil)
            guard client >= 0 else { return }
            kept.withLock { $0.connections += 1 }
            let reader = RawClient(owning: client)
            while let octets = reader.receive(), let query = try? QueryMessage(octets) {
                let received = ReceivedQuery(message: query, isStream: true, sourcePort: 0)
                kept.withLock { $0.queries.append(received) }
                guard case .send(let messages) = script(received) else { break }
                for message in messages { reader.sendFramed(message) }
            }
        }
    }
}

/// A blocking client of the forwarder that sees the octets.
final class RawClient: Sendable {
    private let descriptor: CInt
    init(owning descriptor: CInt) { self.descriptor = descriptor }
    deinit { close(descriptor) }

    init(unix path: String) throws {
        descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard status == 0 else { throw FakeUpstream.SetupError(errno) }
    }

    /// A connected UDP or TCP socket.
    init(_ type: __socket_type, port: UInt16) throws {
        descriptor = socket(AF_INET, CInt(type.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = port.bigEndian
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else { throw FakeUpstream.SetupError(errno) }
    }

    /// Sends octets as they are.
    @discardableResult
    func sendRaw(_ octets: [UInt8]) -> Bool {
        var rest = octets[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    func sendFramed(_ message: [UInt8]) { sendRaw([UInt8(message.count >> 8), UInt8(message.count & 0xFF)] + message) }

    /// Lets a write fail that cannot go on for so long.
    func setSendTimeout(milliseconds: Int) {
        var time = timeval(tv_sec: 0, tv_usec: milliseconds * 1000)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    func endWriting() { shutdown(descriptor, CInt(SHUT_WR)) }

    /// One message of a stream; `nil` at its end.
    func receive() -> [UInt8]? {
        guard let head = receive(exactly: 2), let high = head.first, let low = head.last else { return nil }
        return receive(exactly: Int(high) << 8 | Int(low))
    }

    /// One datagram.
    func receiveDatagram() -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 65_535)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        return count > 0 ? Array(buffer.prefix(count)) : nil
    }

    private func receive(exactly count: Int) -> [UInt8]? {
        var octets: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: count)
        while octets.count < count {
            let got = recv(descriptor, &buffer, count - octets.count, 0)
            guard got > 0 else { return nil }
            octets += buffer.prefix(got)
        }
        return octets
    }
}
