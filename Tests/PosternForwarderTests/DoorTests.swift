// The forwarder's doors: streams, datagrams, the socket's file, and what a client may do to them.

import Foundation
import Glibc
import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternForwarder

@Suite("the forwarder's doors")
struct DoorTests {
    static let zone = """
        a.test. 300 TXT one
        big.test. 300 TXT \(String(repeating: "\"\(String(repeating: "k", count: 250))\" ", count: 8))
        """

    func udpPort(_ rig: Rig) throws -> UInt16 {
        for endpoint in rig.server.endpoints { if case .udp(_, let port) = endpoint { return port } }
        throw ForwarderError("no UDP port")
    }
    func tcpPort(_ rig: Rig) throws -> UInt16 {
        for endpoint in rig.server.endpoints { if case .tcp(_, let port) = endpoint { return port } }
        throw ForwarderError("no TCP port")
    }
    func loopbackRig() throws -> Rig {
        try Rig(
            [], staticZone: Self.zone,
            listen: [.udp(host: "127.0.0.1", port: 0), .tcp(host: "127.0.0.1", port: 0)])
    }

    @Test("a query in single octets, and many queries in one write")  // RFC 1035 §4.2.2
    func splits() throws {
        let rig = try Rig([], staticZone: Self.zone)
        let client = try RawClient(unix: rig.path)
        let asked = try question("a.test TXT")
        let one = MessageFraming.framed(DNSCodec.query(id: 7, question: asked))
        for octet in one { client.sendRaw([octet]) }
        #expect(DNSCodec.messageID(of: try #require(client.receive())) == 7)
        var many: [UInt8] = []
        for id in UInt16(0)..<3000 { many += MessageFraming.framed(DNSCodec.query(id: id, question: asked)) }
        let writer = Thread { [many] in client.sendRaw(many) }  // it may have to wait until we read
        writer.start()
        for id in UInt16(0)..<3000 { #expect(DNSCodec.messageID(of: try #require(client.receive())) == id) }
    }

    @Test("a client that ends its side still gets its answers")  // RFC 7766 §6.2.4
    func halfClose() throws {
        let upstream = try FakeUpstream { _ in .hold }
        let rig = try Rig([upstream])
        let client = try RawClient(unix: rig.path)
        client.sendFramed(DNSCodec.query(id: 9, question: try question("a.test TXT")))
        client.endWriting()
        until { upstream.heldCount == 1 }
        upstream.release { $0.reply(.nameError) }
        #expect(DNSCodec.messageID(of: try #require(client.receive())) == 9)
        #expect(client.receive() == nil)
    }

    @Test("a client that does not read is not read from, and the others are served")
    func slowReader() throws {
        let rig = try Rig([], staticZone: Self.zone)
        let slow = try RawClient(unix: rig.path)
        slow.setSendTimeout(milliseconds: 200)
        let query = MessageFraming.framed(DNSCodec.query(id: 1, question: try question("big.test TXT")))
        let burst = Array(repeating: query, count: 2000).flatMap { $0 }
        var rounds = 0
        while slow.sendRaw(burst), rounds < 1000 { rounds += 1 }
        #expect(rounds < 1000)  // at some time it could write no more
        #expect(try rig.ask("a.test TXT") == .records([.txt(Array("one".utf8))], ttl: 300))
        let answered = rig.server.counters.queries
        #expect(answered < 10_000)  // what fits into the buffers, and no more
    }

    @Test(
        "what is no usable query",
        arguments: [
            ("opcode STATUS", [0, 1, 0x10, 0, 0, 1, 0, 0, 0, 0, 0, 0], 4),
            ("no question", [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1),
            ("two questions", [0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0], 1),
            ("a cut question", [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 0x61], 1),
            ("AXFR", [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 252, 0, 1], 4),
            ("class CH", [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 3], 4),
        ] as [(String, [UInt8], UInt8)])
    func refusals(_ rule: String, _ octets: [UInt8], _ rcode: UInt8) throws {
        let rig = try Rig([], staticZone: Self.zone)
        let client = try RawClient(unix: rig.path)
        client.sendFramed(octets)
        let reply = try #require(client.receive())
        #expect(reply.count == 12 && reply.starts(with: [0, 1]) && reply[3] & 0x0F == rcode)
        #expect(reply[2] & 0x80 != 0)
    }

    @Test(
        "what is no DNS at all ends the stream",
        arguments: [[], [1], [0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0]] as [[UInt8]])
    func noise(_ octets: [UInt8]) throws {
        let rig = try Rig([], staticZone: Self.zone)
        let client = try RawClient(unix: rig.path)
        client.sendFramed(octets)
        #expect(client.receive() == nil)
        #expect(rig.server.counters.refusedMessages == 1)
    }

    @Test("damaged streams never stop the server")
    func mutations() throws {
        let rig = try Rig([], staticZone: Self.zone)
        let samples = try ["a.test TXT", "big.test A"].map {
            MessageFraming.framed(DNSCodec.query(id: 1, question: try question($0)))
        }
        try Mutations.of(samples, count: 500, seed: 5) { octets in
            let client = try RawClient(unix: rig.path)
            client.sendRaw(octets)
            client.endWriting()
            while client.receive() != nil {}
        }
        #expect(try rig.ask("a.test TXT") == .records([.txt(Array("one".utf8))], ttl: 300))
    }

    @Test("UDP: what does not fit is truncated")  // RFC 2181 §9, RFC 6891 §6.2.3
    func datagrams() throws {
        let rig = try loopbackRig()
        let client = try RawClient(SOCK_DGRAM, port: try udpPort(rig))
        func ask(_ text: String, _ size: UInt16?) throws -> ReplyMessage {
            client.sendRaw(DNSCodec.query(id: 3, question: try question(text), datagramOctets: size))
            return try ReplyMessage(try #require(client.receiveDatagram()))
        }
        #expect(try ask("a.test TXT", nil).answers.count == 1)
        for size: UInt16? in [nil, 512, 1232, 4096] {
            let reply = try ask("big.test TXT", size)
            #expect(reply.header.isTruncated && reply.answers.isEmpty)
        }
        let stream = try RawClient(SOCK_STREAM, port: try tcpPort(rig))
        stream.sendFramed(DNSCodec.query(id: 4, question: try question("big.test TXT")))
        #expect(try ReplyMessage(try #require(stream.receive())).answers.count == 1)
    }

    @Test("EDNS of another version is BADVERS")  // RFC 6891 §6.1.3
    func badVersion() throws {
        let rig = try loopbackRig()
        let client = try RawClient(SOCK_DGRAM, port: try udpPort(rig))
        var query = DNSCodec.query(id: 3, question: try question("a.test TXT"))
        query[query.count - 5] = 1
        client.sendRaw(query)
        #expect(try ReplyMessage(try #require(client.receiveDatagram())).rcode == .badVersion)
    }

    @Test("dig over UDP and TCP", .enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/dig")))
    func dig() throws {
        let rig = try loopbackRig()
        func dig(_ arguments: [String]) throws -> String {
            let process = Process()
            process.executableURL = URL(filePath: "/usr/bin/dig")
            process.arguments = ["@127.0.0.1", "+tries=1", "+time=20"] + arguments
            let pipe = Pipe()
            process.standardOutput = pipe
            try process.run()
            let output = pipe.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            return String(decoding: output, as: UTF8.self)
        }
        let (udp, tcp) = (String(try udpPort(rig)), String(try tcpPort(rig)))
        let plain = try dig(["-p", udp, "a.test", "TXT", "+notcp"])
        #expect(plain.contains("status: NOERROR") && plain.contains("\"one\""))
        #expect(plain.contains("EDNS: version: 0") && !plain.contains("WARNING"))
        let stream = try dig(["-p", tcp, "+tcp", "big.test", "TXT"])
        #expect(stream.contains("status: NOERROR") && stream.contains("\"kkkk"))
        #expect(try dig(["-p", udp, "+notcp", "+ignore", "big.test", "TXT"]).contains(" tc "))
        #expect(try dig(["-p", udp, "+notcp", "a.test", "A"]).contains("ANSWER: 0"))
        #expect(try dig(["-p", udp, "+notcp", "a.test", "AAAA", "+noedns"]).contains("status: NOERROR"))
        #expect(try dig(["-p", udp, "+notcp", "x.test", "A"]).contains("status: SERVFAIL"))
    }

    // MARK: The socket's file

    @Test("the file has its mode, and goes with the server")
    func file() throws {
        let rig = try Rig([], staticZone: Self.zone)
        var status = stat()
        #expect(lstat(rig.path, &status) == 0 && status.st_mode & 0o777 == 0o660)
        rig.server.stop()
        #expect(lstat(rig.path, &status) != 0)
    }

    @Test("a served socket and a file that is none stay; a stale socket goes")
    func stale() throws {
        let rig = try Rig([], staticZone: Self.zone)
        func start(_ path: String) throws {
            let server = ForwarderServer(
                ForwarderSettings(upstreams: [], listen: [.unix(path: path)]), log: RecordingLog())
            defer { server.stop() }
            try server.start()
        }
        #expect(throws: ForwarderError("unix:\(rig.path): another process serves it")) { try start(rig.path) }
        #expect(try rig.ask("a.test TXT") == .records([.txt(Array("one".utf8))], ttl: 300))

        let other = rig.path + ".txt"
        try Data("kept".utf8).write(to: URL(filePath: other))
        #expect(throws: ForwarderError.self) { try start(other) }
        #expect(try String(contentsOf: URL(filePath: other), encoding: .utf8) == "kept")

        let stale = rig.path + ".old"
        let (descriptor, _) = try UnixSocketFile.bind(path: stale, mode: 0o600)
        close(descriptor)
        #expect(FileManager.default.fileExists(atPath: stale))
        try start(stale)
        #expect(!FileManager.default.fileExists(atPath: stale))
    }

    @Test("a socket file that another took over is not removed")
    func takenOver() throws {
        let rig = try Rig([], staticZone: Self.zone)
        unlink(rig.path)
        try Data("theirs".utf8).write(to: URL(filePath: rig.path))
        rig.server.stop()
        #expect(FileManager.default.fileExists(atPath: rig.path))
    }

    @Test("a socket that was bound by others is served")
    func activation() throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "pf-\(UUID().uuidString.prefix(8))").path
        let (descriptor, file) = try UnixSocketFile.bind(path: path, mode: 0o600)
        defer { file.remove() }
        #expect(listen(descriptor, 5) == 0)
        let server = ForwarderServer(
            ForwarderSettings(
                upstreams: [], staticZone: try StaticZone(text: Self.zone), listen: [], activatedSockets: [descriptor]),
            log: RecordingLog())
        try server.start()
        let client = try RawClient(unix: path)
        client.sendFramed(DNSCodec.query(id: 2, question: try question("a.test TXT")))
        #expect(client.receive() != nil)
        server.stop()
        #expect(FileManager.default.fileExists(atPath: path))  // its maker removes it
    }

    @Test("only loopback is listened on", arguments: ["0.0.0.0", "192.0.2.1", "::", "example.org"])
    func loopbackOnly(_ host: String) {
        for endpoint in [Endpoint.tcp(host: host, port: 0), .udp(host: host, port: 0)] {
            let server = ForwarderServer(ForwarderSettings(upstreams: [], listen: [endpoint]), log: RecordingLog())
            #expect(throws: ForwarderError.self) { try server.start() }
        }
    }

    // MARK: The end

    @Test("stop answers what was asked, then closes")
    func stop() throws {
        let upstream = try FakeUpstream { _ in .hold }
        let rig = try Rig([upstream])
        let (busy, idle) = (try RawClient(unix: rig.path), try RawClient(unix: rig.path))
        busy.sendFramed(DNSCodec.query(id: 5, question: try question("a.test TXT")))
        until { upstream.heldCount == 1 }
        let stopper = Thread { [server = rig.server] in server.stop() }
        stopper.start()
        #expect(idle.receive() == nil)
        upstream.release { $0.reply(.nameError) }
        #expect(DNSCodec.messageID(of: try #require(busy.receive())) == 5)
        #expect(busy.receive() == nil)
        until { stopper.isFinished }
        #expect(rig.server.counters.misses == 1)
    }

    @Test(
        "upstreams as text",
        arguments: [
            ("192.0.2.53", "192.0.2.53"), ("127.0.0.1:5353", "127.0.0.1:5353"), ("[2001:db8::53]:53", "2001:db8::53"),
            ("2001:db8::53", "2001:db8::53"), ("[::1]:5353", "[::1]:5353"), ("dns.example", nil), ("127.0.0.1:0", nil),
            ("", nil),
        ])
    func upstreams(_ text: String, _ expected: String?) { #expect(Upstream(text)?.description == expected) }

    @Test(
        "resolv.conf",
        arguments: [
            ("nameserver 192.0.2.1\nsearch example.org\nnameserver\t2001:db8::1 # second\n", "192.0.2.1 2001:db8::1"),
            ("# nameserver 192.0.2.1\n;nameserver 192.0.2.2\noptions edns0\n", ""), ("", ""),
            ("nameserver fe80::1%eth0\nnameserver dns.example\n  nameserver 192.0.2.3", "192.0.2.3"),
            ("nameserver 192.0.2.1\r\nnameserver 192.0.2.1\r\n", "192.0.2.1"),
            ((1...9).map { "nameserver 192.0.2.\($0)\n" }.joined(), "192.0.2.1 192.0.2.2 192.0.2.3"),
        ])
    func resolvConf(_ text: String, _ expected: String) {
        #expect(ResolvConf.nameservers(in: text).map(\.description).joined(separator: " ") == expected)
    }
}
