import Foundation
import PosternMail
import PosternSocket
import Synchronization
import TestSupport
import Testing

@testable import PosternDaemon

@Suite("control socket")
struct LifeControlTests {
    /// A server on a socket of its own, stopped with its owner.
    final class Place: Sendable {
        let endpoint: Endpoint
        let server: ControlServer
        private let ended = DispatchSemaphore(value: 0)

        init(
            allowing users: Set<uid_t> = [geteuid()], within limit: Duration = .seconds(60),
            answer: @escaping @Sendable (String) -> ControlServer.Reply = {
                .whole(Array("{\"asked\":\(JSONLine.quoted($0))}\n".utf8))
            }
        ) throws {
            endpoint = .unix(path: LifeLogTests.path())
            let heard = requestsBox
            server = try ControlServer(
                listener: try Socket.listen(endpoint, mode: ControlSocket.mode, backlog: ControlSocket.backlog),
                allowedUsers: users, maxTime: limit,
                answer: { request in
                    heard.withLock { $0.append(request) }
                    return answer(request)
                },
                refuse: { ControlDesk.refusal($0, program: "postern-x") })
            let (server, ended) = (server, ended)
            Foundation.Thread.detachNewThread {
                server.run()
                ended.signal()
            }
        }
        private let requestsBox = Box<[String]>([])
        var heard: [String] { requestsBox.withLock { $0 } }

        deinit {
            server.stop()
            ended.wait()
            Socket.removeFile(of: endpoint)
        }

        func ask(_ request: String) throws -> String {
            String(decoding: try ControlClient.ask(endpoint, request, until: LifeControlTests.deadline), as: UTF8.self)
        }
        func dial() throws -> Socket { try Socket.dial(endpoint, until: LifeControlTests.deadline) }
    }

    /// A Mutex to share.
    final class Box<Value: Sendable>: Sendable {
        private let value: Mutex<Value>
        init(_ value: Value) { self.value = Mutex(value) }
        func withLock<Result: Sendable>(_ body: (inout Value) -> Result) -> Result { value.withLock { body(&$0) } }
    }

    /// Of one step, against hangs only.
    static var deadline: MonotonicTime { .after(.seconds(600)) }

    static func readAll(_ socket: borrowing Socket) throws -> String {
        var octets: [UInt8] = []
        do throws(SocketError) {
            while try socket.read(into: &octets, until: deadline) > 0 {}
        } catch .closed {
            // A peer that hangs up with unread octets resets.
        }
        return String(decoding: octets, as: UTF8.self)
    }

    @Test("a line in, a document out, end of stream")
    func one() throws {
        let place = try Place()
        #expect(try place.ask("status") == "{\"asked\":\"status\"}\n")
        #expect(try place.ask("") == "{\"asked\":\"\"}\n")
        let socket = try place.dial()
        for octet in Array("re\u{0}load\n".utf8) { try socket.write([octet], until: Self.deadline) }
        #expect(try Self.readAll(socket) == "{\"asked\":\"re\\u0000load\"}\n")
        #expect(place.heard == ["status", "", "re\u{0}load"])
    }

    @Test("other users are told so and hung up on, before they say anything")
    func strangers() throws {
        let place = try Place(allowing: [geteuid() + 1])
        let told = "{\"error\":\"postern-x answers root and its own user, not user \(geteuid())\"}\n"
        #expect(try Self.readAll(try place.dial()) == told)
        #expect(try place.ask("reload") == told)
        #expect(place.heard == [])
    }

    @Test("the peer's user is the kernel's word")  // unix(7), SO_PEERCRED
    func credentials() throws {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let one = Socket(owning: ends[0])
        let other = Socket(owning: ends[1])
        #expect(try one.peerUser() == geteuid())
        #expect(try other.peerUser() == geteuid())
    }

    @Test("a request without an end is refused at its cap")
    func oversize() throws {
        let place = try Place()
        let socket = try place.dial()
        try socket.write([UInt8](repeating: 0x78, count: ControlServer.maxRequestOctets), until: Self.deadline)
        let cap = ControlServer.maxRequestOctets
        let told = "{\"error\":\"expected a request of at most \(cap) octets, found more\"}\n"
        #expect(try Self.readAll(socket) == told)
        #expect(place.heard == [])
        #expect(try place.ask("status") == "{\"asked\":\"status\"}\n")
    }

    @Test("clients that neither send nor read hold nobody up, and are let go")
    func slow() throws {
        let large = [UInt8](repeating: 0x20, count: 4 << 20)
        let place = try Place(within: .seconds(3)) { .whole($0 == "large" ? large : Array("{}\n".utf8)) }
        let silent = try place.dial()
        let deaf = try place.dial()
        try deaf.write(Array("large\n".utf8), until: Self.deadline)
        #expect(try place.ask("status") == "{}\n")
        // The server ends both: the silent one sees the end, the deaf one less than was meant for it.
        #expect(try Self.readAll(silent) == "")
        var octets: [UInt8] = []
        while try deaf.wait(for: POLLHUP, until: Self.deadline) & POLLHUP == 0 {}
        while case .octets? = try? deaf.receive(into: &octets, atMost: 1 << 20) {}  // the end is what is asked for
        #expect(octets.count < large.count)
    }

    @Test("more connections than the cap wait for their turn; all are answered")
    func many() throws {
        let place = try Place(within: .seconds(3))
        var idle: [Int32] = []
        defer { for descriptor in idle { close(descriptor) } }
        for _ in 0..<ControlServer.maxConnections { idle.append(try place.dial().release()) }
        let answers = Box<[String]>([])
        let all = DispatchGroup()
        for index in 0..<40 {
            all.enter()
            Foundation.Thread.detachNewThread {
                let answer = (try? place.ask("\(index)")) ?? "none"  // counted below
                answers.withLock { $0.append(answer) }
                all.leave()
            }
        }
        all.wait()
        #expect(answers.withLock { Set($0) } == Set((0..<40).map { "{\"asked\":\"\($0)\"}\n" }))
    }

    @Test("whatever is sent, the next client is served")
    func damaged() throws {
        let place = try Place()
        try Mutations.of(
            [Array("status\n".utf8), Array("reload\n".utf8)], tokens: [[0], [0x0A], [0xFF]], count: 200, seed: 5
        ) {
            let socket = try place.dial()
            try? socket.write($0, until: Self.deadline)  // may be hung up on
        }
        #expect(try place.ask("status") == "{\"asked\":\"status\"}\n")
    }

    @Test("nobody listens")
    func nobody() {
        #expect {
            try ControlClient.ask(.unix(path: "/nowhere/x.control"), "status", until: Self.deadline)
        } throws: {
            if case .system(_, ENOENT)? = $0 as? SocketError { true } else { false }
        }
    }

    // MARK: What a daemon answers

    struct Running: RunningDaemon {
        let adopted: Box<Int> = Box(0)
        var openTransactions: Int { 2 }
        var counters: [CounterReading] {
            [
                CounterReading(CounterName("postern_x_messages_total", "verdict", "passed"), 7),
                CounterReading(CounterName("postern_x_octets"), .max),
            ]
        }
        func adopt(_ configuration: Configuration) { adopted.withLock { $0 += 1 } }
        func trouble() -> String? { nil }
        func stop() {}
    }

    static func desk(_ office: LifeReloadTests.Office) throws -> ControlDesk {
        ControlDesk(
            program: "postern-x", running: Running(), configuration: try office.desk, log: office.log,
            started: MonotonicTime(nanoseconds: 0))
    }

    static func document(_ reply: ControlServer.Reply) throws -> ControlDocument {
        guard case .whole(let octets) = reply else { return .null }
        return try ControlDocument(octets)
    }

    @Test("status")
    func status() throws {
        let office = try LifeReloadTests.Office(LifeReloadTests.text("one.example"))
        let desk = try Self.desk(office)
        var status = try Self.document(desk.answer("status"))
        #expect(status["name"]?.text == "postern-x")
        #expect(status["version"]?.text == DaemonArguments.release)
        #expect(status["pid"]?.number == Int64(getpid()))
        #expect(status["open_transactions"]?.number == 2)
        #expect(status["configuration"]?["generation"]?.number == 1)
        #expect(status["configuration"]?["file"]?.text == office.path)
        #expect(status["configuration"]?["refused"] == nil)
        #expect(status["last_warning"] == nil)
        let counters = status["counters"]?.elements ?? []
        #expect(counters.first?["metric"]?.text == "postern_x_messages_total")
        #expect(counters.first?["label"]?.text == "verdict")
        #expect(counters.first?["label_value"]?.text == "passed")
        #expect(counters.first?["value"]?.number == 7)
        #expect(counters.last?["label"] == nil)
        #expect(counters.last?["value"]?.number == .max)

        office.log.warning("look\nhere")
        office.log.warning("look\nhere")
        try office.write("x = 1")
        let reload = try Self.document(desk.answer("reload"))
        #expect(reload["result"]?.text == "refused")
        #expect(reload["problems"]?.elements.first?["key"]?.text == "x")
        #expect(reload["problems"]?.elements.first?["line"]?.number == 1)
        status = try Self.document(desk.answer("status"))
        #expect(status["configuration"]?["refused"]?["problems"] == reload["problems"])
        #expect(status["last_warning"]?["text"]?.text == "reload refused: 1 problem; going on with generation 1")

        office.log.warning("look\nhere")
        status = try Self.document(desk.answer("status"))
        #expect(status["last_warning"]?["text"]?.text == #"look\x0Ahere"#)
        try office.write(LifeReloadTests.text("two.example"))
        #expect(try Self.document(desk.answer("reload"))["generation"]?.number == 2)
        #expect(office.names == ["two.example"])
    }

    @Test("other words are refused", arguments: ["", "stop", "status ", "STATUS", "reload\r"])
    func words(_ word: String) throws {
        let desk = try Self.desk(try LifeReloadTests.Office(LifeReloadTests.text("one.example")))
        #expect(
            try Self.document(desk.answer(word))["error"]?.text
                == "expected status, metrics, reload or a command of postern-x's own, found another")
    }

    @Test("without its folder a daemon works on, and says so")
    func noFolder() throws {
        let office = try LifeReloadTests.Office(LifeReloadTests.text("one.example"))
        let point = ControlPoint(try Self.desk(office), folder: "/nowhere", sockets: ActivatedSockets())
        #expect(office.recording.warnings.count == 1)
        #expect(
            office.recording.warnings.first?.hasSuffix(
                "; going on without the control socket, which postern status and reload ask") == true)
        point.stop()
    }

    @Test("with its folder it answers, and takes its file away")
    func folder() throws {
        let office = try LifeReloadTests.Office(LifeReloadTests.text("one.example"))
        let point = ControlPoint(try Self.desk(office), folder: office.folder.path, sockets: ActivatedSockets())
        let endpoint = ControlSocket.endpoint(folder: office.folder.path, program: "postern-x")
        let answer = try ControlClient.ask(endpoint, "status", until: Self.deadline)
        #expect(try ControlDocument(answer)["name"]?.text == "postern-x")
        let path = office.folder.appending(path: "postern-x.control").path
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o660)
        point.stop()
        #expect(!FileManager.default.fileExists(atPath: path))
        #expect(office.recording.warnings == [])
    }

    // MARK: Documents

    static let sample: ControlDocument = [
        "a": .list([.number(Int64.min), .number(Int64.max), .boolean(true), .boolean(false), .null]),
        "b\n\"\\": ["text": "\u{1}\u{E9}\u{1F4EE}\u{2028}", "empty": .object([]), "list": .list([])],
    ]

    @Test("what is written is read")  // RFC 8259
    func roundTrip() throws {
        let text = "\(Self.sample)"
        #expect(try ControlDocument(Array(text.utf8)) == Self.sample)
        _ = try JSONSerialization.jsonObject(with: Data(text.utf8))
        #expect(try ControlDocument(Array(" [ 1 , -2 ]\n".utf8)) == .list([.number(1), .number(-2)]))
        #expect(
            try ControlDocument(Array(#""\ud83d\udcee\u00e9\/\b\f\ud83d""#.utf8))
                == "\u{1F4EE}\u{E9}/\u{8}\u{C}\u{FFFD}")
    }

    @Test(
        "what is no document",
        arguments: [
            "", " ", "{", "[1", "[1,]", "{\"a\"}", "{\"a\":}", "{a:1}", "tru", "nul", "1.5", "1e3", "-", "--1", "+1",
            "99999999999999999999", "\"a", "\"\\x\"", "\"\\u12\"", "\"\\u-123\"", "\"a\nb\"", "1 2",
            String(repeating: "[", count: 100_000),
        ])
    func malformed(_ text: String) {
        #expect(throws: ControlDocumentError.self) { try ControlDocument(Array(text.utf8)) }
    }

    @Test("values are counted, lists and objects among them")
    func manyValues() throws {
        for (text, count) in [("1", 1), ("[]", 1), ("[1,2]", 3), (#"{"a":{"b":[null]},"c":""}"#, 5)] {
            _ = try ControlDocument(Array(text.utf8), maxValues: count)
            let failure = #expect(throws: ControlDocumentError.self) {
                try ControlDocument(Array(text.utf8), maxValues: count - 1)
            }
            #expect(failure?.description == "expected a JSON document of at most \(count - 1) values, found more")
        }
    }

    @Test("damaged documents never trap; what is read is written alike")
    func mutated() throws {
        Mutations.of(
            [Array("\(Self.sample)".utf8)], tokens: [Array("\\u".utf8), Array("\"".utf8), [0xFF], Array("[".utf8)],
            count: 2000, seed: 11
        ) { octets in
            guard let document = try? ControlDocument(octets) else { return }  // most are none
            #expect((try? ControlDocument(Array("\(document)".utf8))) == document)
        }
    }
}
