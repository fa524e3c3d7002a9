// A DNS server on a UNIX socket that does exactly what a test tells it, on a thread for each connection.

import Foundation
import PosternDNS
import PosternMail
import Synchronization

@testable import PosternSocket

/// Long enough that no test ever waits for it.
let ample = Duration.seconds(600)

/// A folder for sockets that goes with its owner.
final class TemporaryFolder: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/postern-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { preconditionFailure("mkdtemp: \(errno)") }
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
    deinit { try? FileManager.default.removeItem(atPath: path) }  // what stays behind is in /tmp
}

/// One question as it came.
struct FakeQuery {
    let octets: [UInt8]

    var id: UInt16 { UInt16(octets[0]) << 8 | UInt16(octets[1]) }
    /// The octets of the question section.
    var question: ArraySlice<UInt8> {
        var end = 12
        while octets[end] != 0 { end += 1 + Int(octets[end]) }
        return octets[12..<(end + 5)]
    }
    /// The first label, which the answers repeat as a TXT record.
    var label: [UInt8] { Array(octets[13..<(13 + Int(octets[12]))]) }

    /// A reply with one TXT record.
    func reply(
        id: UInt16? = nil, flags: [UInt8] = [0x81, 0x80], question: ArraySlice<UInt8>? = nil, text: [UInt8]? = nil
    ) -> [UInt8] {
        let id = id ?? self.id
        var strings: [UInt8] = []
        var rest = (text ?? label)[...]
        while !rest.isEmpty {
            strings += [UInt8(rest.prefix(255).count)] + rest.prefix(255)
            rest = rest.dropFirst(255)
        }
        return [UInt8(id >> 8), UInt8(id & 255)] + flags + [0, 1, 0, 1, 0, 0, 0, 0] + (question ?? self.question)
            + [0xC0, 12, 0, 16, 0, 1, 0, 0, 0, 60, UInt8(strings.count >> 8), UInt8(strings.count & 255)] + strings
    }
}

/// The server's end of one connection.
final class Peer: Sendable {
    let socket: Socket
    private let frames = Mutex(DNSFrames())

    init(_ socket: consuming Socket) { self.socket = socket }

    /// The next question; `nil` at the end of the stream.
    func next() -> FakeQuery? {
        frames.withLock { frames in
            while true {
                if let frame = frames.next() { return FakeQuery(octets: Array(frame)) }
                guard let count = try? socket.read(into: &frames.input, until: .never), count > 0 else { return nil }
            }
        }
    }

    func next(_ count: Int) -> [FakeQuery] { (0..<count).compactMap { _ in next() } }

    func send(_ message: [UInt8]) {
        var framed: [UInt8] = []
        DNSFrames.append(message, to: &framed)
        sendRaw(framed)
    }

    func sendRaw(_ octets: [UInt8]) { try? socket.write(octets, until: .never) }  // the client may be gone

    /// Answers everything until the client goes.
    func answerAll() { while let query = next() { send(query.reply()) } }
}

final class FakeServer: Sendable {
    let endpoint: Endpoint
    private let listener: Listener
    private let threads = DispatchGroup()
    private let peers = Mutex<[Peer]>([])
    private let count = Atomic<Int>(0)

    private final class Listener: Sendable {
        let socket: Socket
        init(_ socket: consuming Socket) { self.socket = socket }
    }

    /// - Parameter serve: called on a thread of its own for each connection, with the connection's number from 0; the
    ///   connection is closed when it returns.
    init(_ path: String, serve: @escaping @Sendable (Peer, Int) -> Void) throws {
        endpoint = .unix(path: path)
        listener = Listener(try .listen(endpoint))
        Foundation.Thread.detachNewThread { [threads, self] in
            threads.enter()
            defer { threads.leave() }
            while let socket = try? listener.socket.accept(until: .never) {
                let peer = Peer(socket)
                let number = count.add(1, ordering: .relaxed).oldValue
                peers.withLock { $0.append(peer) }
                threads.enter()
                Foundation.Thread.detachNewThread {
                    serve(peer, number)
                    peer.socket.interrupt()
                    threads.leave()
                }
            }
        }
    }

    /// Connections so far.
    var accepted: Int { count.load(ordering: .relaxed) }

    /// Ends like a killed process: the socket's file stays behind.
    func stop() {
        listener.socket.interrupt()
        for peer in peers.withLock({ $0 }) { peer.socket.interrupt() }
        threads.wait()
        for peer in peers.withLock({ $0 }) { peer.socket.interrupt() }
        peers.withLock { $0 = [] }
    }
}

/// Runs `body` on `count` threads and waits for all.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let group = DispatchGroup()
    for index in 0..<count {
        group.enter()
        Foundation.Thread.detachNewThread {
            body(index)
            group.leave()
        }
    }
    group.wait()
}

func questions(_ range: Range<Int>) throws -> [Question] {
    try range.map { Question(try DomainName("q\($0).example"), .txt) }
}

func expected(_ range: Range<Int>) -> [Answer] { range.map { .records([.txt(Array("q\($0)".utf8))], ttl: 60) } }
