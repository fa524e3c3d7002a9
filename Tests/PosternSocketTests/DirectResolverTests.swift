import Foundation
import PosternDNS
import PosternMail
import Synchronization
import Testing

@testable import PosternSocket

/// A datagram socket and a listener at one port: one that is free for UDP may be another's for TCP.
private struct Place: ~Copyable {
    let port: UInt16
    let datagrams: Socket
    let streams: Socket

    init(tries: Int = 50) throws {
        let datagrams = try Socket.listen(.udp(host: "127.0.0.1", port: 0))
        let port = datagrams.boundPort ?? 0
        do {
            streams = try .listen(.tcp(host: "127.0.0.1", port: port))
        } catch {
            guard tries > 1 else { throw error }
            self = try Place(tries: tries - 1)
            return
        }
        self.port = port
        self.datagrams = datagrams
    }
}

/// A DNS server on loopback UDP and TCP that does what a test tells it.
final class FakeUpstream: Sendable {
    let port: UInt16
    private let datagrams: Socket
    private let streams: Socket
    private let threads = DispatchGroup()
    private let isStopping = Atomic<Bool>(false)

    /// - Parameter udp: the datagrams that answer this one, the `Int`th from 0.
    /// - Parameter tcp: the reply over TCP.
    init(
        udp: @escaping @Sendable (FakeQuery, Int) -> [[UInt8]],
        tcp: @escaping @Sendable (FakeQuery) -> [UInt8] = { $0.reply() }
    ) throws {
        let place = try Place()
        port = place.port
        datagrams = place.datagrams
        streams = place.streams
        threads.enter()
        Foundation.Thread.detachNewThread { [self] in
            defer { threads.leave() }
            var count = 0
            while !isStopping.load(ordering: .acquiring) {
                guard let events = try? datagrams.wait(for: POLLIN, until: .never), events & POLLIN != 0 else {
                    continue
                }
                var buffer = [UInt8](repeating: 0, count: 4096)
                var peer = sockaddr_in()
                var length = socklen_t(MemoryLayout<sockaddr_in>.size)
                let size = withUnsafeMutableBytes(of: &peer) {
                    recvfrom(
                        datagrams.descriptor, &buffer, buffer.count, 0,
                        $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), &length)
                }
                guard size > 12 else { continue }
                for reply in udp(FakeQuery(octets: Array(buffer.prefix(size))), count) {
                    _ = withUnsafeBytes(of: peer) {
                        sendto(
                            datagrams.descriptor, reply, reply.count, 0,
                            $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), length)
                    }
                }
                count += 1
            }
        }
        threads.enter()
        Foundation.Thread.detachNewThread { [self] in
            defer { threads.leave() }
            while let socket = try? streams.accept(until: .never) {
                let peer = Peer(socket)
                if let query = peer.next() { peer.send(tcp(query)) }
            }
        }
    }

    func stop() {
        isStopping.store(true, ordering: .releasing)
        if let poke = try? Socket.dial(.udp(host: "127.0.0.1", port: port), until: .after(ample)) {
            _ = try? poke.send([0])  // wakes the thread
        }
        streams.interrupt()
        threads.wait()
    }
}

@Suite("direct resolver")
struct DirectResolverTests {
    func ask(
        _ range: Range<Int>, timeout: Duration = ample, udp: @escaping @Sendable (FakeQuery, Int) -> [[UInt8]],
        tcp: @escaping @Sendable (FakeQuery) -> [UInt8] = { $0.reply() }
    ) throws -> [Answer] {
        let upstream = try FakeUpstream(udp: udp, tcp: tcp)
        defer { upstream.stop() }
        return DirectResolver(.v4(0x7F00_0001), port: upstream.port, timeout: timeout).answers(to: try questions(range))
    }

    @Test("many questions at once, answered in their order")
    func many() throws {
        #expect(try ask(0..<100, udp: { query, _ in [query.reply()] }) == expected(0..<100))
    }

    @Test("the query offers 1232 octets of EDNS")  // RFC 6891 §6.1.2
    func edns() throws {
        let seen = Mutex<[UInt8]>([])
        let answers = try ask(
            0..<1,
            udp: { query, _ in
                seen.withLock { $0 = query.octets }
                return [query.reply()]
            })
        #expect(answers == expected(0..<1))
        #expect(seen.withLock { Array($0.suffix(11)) } == [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0])
    }

    @Test("what is no answer is passed over until the answer comes")  // RFC 5452 §9.1
    func spoofed() throws {
        let answers = try ask(
            0..<3,
            udp: { query, _ in
                [
                    query.reply(id: query.id &+ 1, text: [0x78]),
                    query.reply(question: [1, 0x78, 0, 0, 16, 0, 1], text: [0x78]),
                    query.reply(question: query.question.dropLast(4) + [0, 1, 0, 1], text: [0x78]),
                    query.octets, [], [1], Array(query.reply().prefix(11)),
                    query.reply(),
                ]
            })
        #expect(answers == expected(0..<3))
    }

    @Test("a flood of what is no answer ends")
    func flood() throws {
        let answers = try ask(
            0..<1,
            udp: { query, _ in
                Array(repeating: query.reply(id: query.id &+ 1), count: 100)
            })
        #expect(answers == [.temporaryFailure("more than 64 datagrams that answer nothing")])
    }

    @Test("truncated over UDP, whole over TCP")  // RFC 7766 §5
    func truncated() throws {
        let text = [UInt8](repeating: 0x61, count: 20_000)
        let answers = try ask(
            0..<2, udp: { query, _ in [Array(query.reply(flags: [0x83, 0x80]).prefix(40))] },
            tcp: { $0.reply(text: text) })
        #expect(answers == Array(repeating: .records([.txt(text)], ttl: 60), count: 2))
    }

    @Test("another question answered over TCP")
    func wrongOverTCP() throws {
        let answers = try ask(
            0..<1, udp: { query, _ in [query.reply(flags: [0x83, 0x80])] }, tcp: { $0.reply(id: $0.id &+ 1) })
        #expect(answers == [.temporaryFailure("127.0.0.1 answered another question over TCP")])
    }

    @Test("a lost datagram is asked for again, with another id")
    func lost() throws {
        let ids = Mutex<[UInt16]>([])
        let answers = try ask(
            0..<1, timeout: .seconds(10),
            udp: { query, count in
                ids.withLock { $0.append(query.id) }
                return count == 0 ? [] : [query.reply()]
            })
        #expect(answers == expected(0..<1))
        // Once more for a reply that a busy machine was slow to send.
        #expect(ids.withLock { $0.count } >= 2)
    }

    @Test("never an answer")
    func never() throws {
        let answers = try ask(0..<2, timeout: .milliseconds(50), udp: { _, _ in [] })
        #expect(answers == Array(repeating: .temporaryFailure("127.0.0.1 gave no answer within 50 ms"), count: 2))
    }

    @Test("a refusal that is a header alone", arguments: [(1, "FORMERR"), (5, "REFUSED")] as [(UInt8, String)])
    func refused(_ code: UInt8, _ word: String) throws {
        let answers = try ask(
            0..<1,
            udp: { query, _ in
                [Array(query.octets.prefix(2)) + [0x81, 0x80 | code, 0, 0, 0, 0, 0, 0, 0, 0]]
            })
        #expect(answers == [.temporaryFailure(word)])
    }

    @Test("nobody there")
    func absent() throws {
        // Held by a socket that listens to another one alone: a port that is free may be taken by another test.
        let held = try Socket.dial(.udp(host: "127.0.0.1", port: 9), until: .after(ample))
        let bound = held.boundPort
        let port = try #require(bound)
        let answers = DirectResolver(.v4(0x7F00_0001), port: port, timeout: ample).answers(to: try questions(0..<2))
        _ = held.descriptor
        for answer in answers {
            guard case .temporaryFailure(let text) = answer else {
                Issue.record("\(answer)")
                continue
            }
            #expect(text.hasPrefix("udp:127.0.0.1:") && text.hasSuffix(": Connection refused"))
        }
    }
}
