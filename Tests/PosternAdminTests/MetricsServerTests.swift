// The server of the metrics page, over real sockets: what it answers, and that nobody can keep others from it.

import Foundation
import Glibc
import PosternDaemon
import PosternMail
import PosternSocket
import Synchronization
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("metrics server") struct MetricsServerTests {
    /// A server on a port of its own, stopped with its owner.
    final class Place: Sendable {
        let server: MetricsServer
        let endpoint: Endpoint
        /// How often a page was made.
        let pages = Atomic<Int>(0)
        /// While it is locked no page is made.
        let gate = NSLock()
        private let ended = DispatchSemaphore(value: 0)

        init(_ limits: MetricsServer.Limits = .init()) throws {
            let (pages, gate) = (Box(), gate)
            server = try MetricsServer(
                listener: try Socket.listen(.tcp(host: "127.0.0.1", port: 0)), limits: limits,
                now: { UnixTime(seconds: 784_111_777) }
            ) {
                gate.withLock {}
                pages.count.add(1, ordering: .relaxed)
                return SampleMetrics.everything
            }
            counted = pages
            endpoint = .tcp(host: "127.0.0.1", port: server.port ?? 0)
            let (server, ended) = (server, ended)
            Foundation.Thread.detachNewThread {
                server.run()
                ended.signal()
            }
        }
        private final class Box: Sendable { let count = Atomic<Int>(0) }
        private let counted: Box
        var pagesMade: Int { counted.count.load(ordering: .relaxed) }

        deinit {
            server.stop()
            ended.wait()
        }

        func dial() throws -> Socket { try Socket.dial(endpoint, until: MetricsServerTests.deadline()) }

        /// What comes for a request up to the end of the stream.
        func ask(_ request: String) throws -> Answer {
            let socket = try dial()
            try socket.write(Array(request.utf8), until: MetricsServerTests.deadline())
            return try Answer(socket)
        }
    }

    struct Answer {
        let status: Int
        let head: [String]
        let body: String

        init(_ socket: borrowing Socket) throws {
            var octets: [UInt8] = []
            while try socket.read(into: &octets, until: MetricsServerTests.deadline()) > 0 {}
            let text = String(decoding: octets, as: UTF8.self)
            let parts = text.split(separator: "\r\n\r\n", maxSplits: 1, omittingEmptySubsequences: false)
            head = (parts.first ?? "").split(separator: "\r\n").map(String.init)
            body = String(parts.dropFirst().first ?? "")
            status = head.first.flatMap { Int($0.split(separator: " ").dropFirst().first ?? "") } ?? 0
        }

        func field(_ name: String) -> String? {
            head.first { $0.hasPrefix("\(name): ") }.map { String($0.dropFirst(name.count + 2)) }
        }
    }

    static func deadline() -> MonotonicTime { .after(.seconds(600)) }
    static let get = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test("the page, in the form that is wanted, with its length and a date")
    func page() throws {
        let place = try Place()
        let text = try place.ask(Self.get)
        #expect(text.status == 200 && text.body == SampleMetrics.everything.text(.text))
        #expect(text.field("Content-Type") == "text/plain; version=0.0.4; charset=utf-8")
        #expect(text.field("Date") == "Sun, 06 Nov 1994 08:49:37 GMT" && text.field("Connection") == "close")
        let open = try place.ask(
            "GET /metrics?x HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n")
        #expect(open.body == SampleMetrics.everything.text(.openMetrics))
        #expect(open.field("Content-Type") == "application/openmetrics-text; version=1.0.0; charset=utf-8")
        #expect(open.field("Content-Length") == "\(open.body.utf8.count)")
        let head = try place.ask("HEAD /metrics HTTP/1.0\r\n\r\n")
        #expect(head.status == 200 && head.body.isEmpty && head.field("Content-Length") == text.field("Content-Length"))
    }

    @Test(
        "other requests",
        arguments: [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200), ("GET /metrics/ HTTP/1.1\r\nHost: a\r\n\r\n", 404),
            ("GET /favicon.ico HTTP/1.1\r\nHost: a\r\n\r\n", 404), ("POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            ("DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n", 405), ("GET /metrics HTTP/1.1\r\n\r\n", 400),
            ("GET /metrics HTTP/2.0\r\nHost: a\r\n\r\n", 505), ("\u{16}\u{3}\u{1}", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "x", count: 9000), 431),
            ("GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: y\r\n", count: 70) + "\r\n", 431),
        ])
    func others(_ request: String, _ status: Int) throws {
        let place = try Place()
        let answer = try place.ask(request)
        #expect(answer.status == status)
        #expect(answer.field("Allow") == (status == 405 ? "GET, HEAD" : nil))
        if status == 200 { #expect(answer.body.contains("href=\"/metrics\"")) }
        #expect(place.pagesMade == 0)
    }

    @Test("a request octet by octet is one request")
    func octets() throws {
        let place = try Place()
        let socket = try place.dial()
        for octet in Self.get.utf8 { try socket.write([octet], until: Self.deadline()) }
        #expect(try Answer(socket).status == 200)
    }

    @Test("who does not end a request is told so; who says nothing is hung up on")
    func slow() throws {
        var limits = MetricsServer.Limits()
        limits.requestTime = .seconds(3)
        let place = try Place(limits)
        let silent = try place.dial()
        let slow = try place.dial()
        try slow.write(Array("GET /metrics HT".utf8), until: Self.deadline())
        #expect(try Answer(slow).status == 408)
        #expect(try Answer(silent).head.isEmpty)
    }

    @Test("clients that dribble, are silent or do not read hold nobody up, however many there are")
    func crowd() throws {
        var limits = MetricsServer.Limits()
        limits.requestTime = .seconds(3600)
        limits.answerTime = .seconds(3600)
        let place = try Place(limits)
        var held: [Int32] = []
        defer { for descriptor in held { close(descriptor) } }
        for round in 0..<4 {
            for index in 0..<limits.connections {
                let socket = try place.dial()
                if index % 3 > 0 {
                    let start = index % 3 == 1 ? "GET /metrics HTTP/1.1\r\nHo" : Self.get
                    try? socket.write(Array(start.utf8), until: Self.deadline())  // it may be hung up on
                }
                held.append(socket.release())
            }
            #expect(try place.ask(Self.get).status == 200, "round \(round)")
        }
    }

    @Test("all who wait for a page get the same one, and daemons are not asked more often than they may")
    func shared() throws {
        var limits = MetricsServer.Limits()
        limits.pageAge = .seconds(3600)
        let place = try Place(limits)
        let bodies = Mutex<[String]>([])
        let all = DispatchGroup()
        place.gate.lock()
        for _ in 0..<16 {
            all.enter()
            Foundation.Thread.detachNewThread {
                let body = (try? place.ask(Self.get).body) ?? "none"  // counted below
                bodies.withLock { $0.append(body) }
                all.leave()
            }
        }
        // While the page is made others are served.
        #expect(try place.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200)
        place.gate.unlock()
        all.wait()
        #expect(Set(bodies.withLock { $0 }) == [SampleMetrics.everything.text(.text)])
        // One for those who came while it was made; all others had that one.
        #expect(place.pagesMade == 1)
    }

    @Test("an older page is made anew")
    func anew() throws {
        var limits = MetricsServer.Limits()
        limits.pageAge = .zero
        let place = try Place(limits)
        for _ in 0..<3 { #expect(try place.ask(Self.get).status == 200) }
        #expect(place.pagesMade == 3)
    }

    @Test("who leaves while the page is made costs nothing")
    func gone() throws {
        let place = try Place()
        place.gate.lock()
        for _ in 0..<100 {
            let socket = try place.dial()
            try socket.write(Array(Self.get.utf8), until: Self.deadline())
        }
        place.gate.unlock()
        #expect(try place.ask(Self.get).status == 200)
    }

    @Test("whatever is sent, an answer or the end comes, and the next client is served")
    func mutations() throws {
        let place = try Place()
        try Mutations.of(
            [Array(Self.get.utf8), Array("HEAD / HTTP/1.0\r\nA: b\r\n\r\n".utf8)],
            tokens: ["\r\n", "\r\n\r\n", "\n", " "].map { Array($0.utf8) }, count: 300, seed: 80
        ) { octets in
            let socket = try place.dial()
            try? socket.write(octets, until: Self.deadline())  // may be hung up on
            socket.finishWriting()
            var answer: [UInt8] = []
            // A reset is an end too.
            while let count = try? socket.read(into: &answer, until: Self.deadline()), count > 0 {}
            #expect(answer.isEmpty || answer.starts(with: Array("HTTP/1.1 ".utf8)))
        }
        #expect(try place.ask(Self.get).status == 200)
    }
}
