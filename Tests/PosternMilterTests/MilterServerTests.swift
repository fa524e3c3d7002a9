import Foundation
import Glibc
import PosternMail
import Synchronization
import TestSupport
import Testing

@testable import PosternMilter

/// What a recording filter saw, and what it shall answer.
final class Script: Sendable {
    struct State: Sendable {
        var events: [String] = []
        var fields: [HeaderField] = []
        var envelope: Envelope?
        var bodyOctets = 0
        var verdict = Verdict()
        var interest = BodyInterest.wanted
        /// Called in judgeEnvelope.
        var whenEnvelopeIsJudged: @Sendable () -> Void = {}
        /// Called in endOfMessage.
        var whenJudged: @Sendable () -> Void = {}
    }
    let state = Mutex(State())
}

/// Writes down what the door hands over.
final class RecordingFilter: Filter {
    let script: Script
    init(_ session: SMTPSession, _ script: Script) {
        self.script = script
        script.state.withLock {
            $0.events.append(
                "connect \(LogText.client(session.client)) port \(session.client.port) \(session.daemonName ?? "-")")
        }
    }
    private func note(_ text: String) { script.state.withLock { $0.events.append(text) } }
    func helo(_ name: [UInt8]) { note("helo \(String(decoding: name, as: UTF8.self))") }
    func mail(_ envelope: Envelope) {
        script.state.withLock { $0.envelope = envelope }
        note("mail \(LogText.escaped(envelope.mailFrom)) login \(envelope.login.map { LogText.escaped($0) } ?? "-")")
    }
    func recipient(_ address: [UInt8]) { note("recipient \(LogText.escaped(address))") }
    func judgeEnvelope() {
        note("judge envelope")
        script.state.withLock { $0.whenEnvelopeIsJudged }()
    }
    func header(_ field: HeaderField) { script.state.withLock { $0.fields.append(field) } }
    func endOfHeader(queueID: String?) -> BodyInterest {
        note("eoh \(queueID ?? "-")")
        return script.state.withLock { $0.interest }
    }
    func body(_ chunk: Span<UInt8>) -> BodyInterest {
        let count = chunk.count
        return script.state.withLock { state in
            state.bodyOctets += count
            return state.interest
        }
    }
    func endOfMessage() -> Verdict {
        note("eom")
        script.state.withLock { $0.whenJudged }()
        return script.state.withLock { $0.verdict }
    }
    func whenOverloaded() -> Verdict {
        note("overloaded")
        return Verdict(.refuse(Reply(code: 451, enhanced: "4.3.2", text: "later")))
    }
    func abort() { note("abort") }
}

/// A client that another thread uses while its owner waits.
struct Borrowed: @unchecked Sendable {  // one thread at a time
    let client: MilterClient
    init(_ client: MilterClient) { self.client = client }
}

/// Holds all who pass until it is opened, and knows how many were held at once.
final class Gate: Sendable {
    private let state = Mutex((held: 0, most: 0, isOpen: false))
    private let semaphore = DispatchSemaphore(value: 0)

    func pass() {
        let waits = state.withLock { state in
            guard !state.isOpen else { return false }
            state.held += 1
            state.most = max(state.most, state.held)
            return true
        }
        if waits { semaphore.wait() }
    }
    func open() {
        let held = state.withLock { state in
            state.isOpen = true
            return state.held
        }
        for _ in 0..<held { semaphore.signal() }
    }
    var most: Int { state.withLock { $0.most } }
}

/// A thread that opens listening sockets all the time, as other parts of a process may.
final class Strangers: Sendable {
    private let goesOn = Atomic<Bool>(true)
    private let ended = DispatchSemaphore(value: 0)

    init() {
        let isBusy = DispatchSemaphore(value: 0)
        Thread.detachNewThread { [self] in
            var opened: [Int32] = []
            while goesOn.load(ordering: .relaxed) {
                let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
                _ = listen(descriptor, 5)
                opened.append(descriptor)
                // Rarely, so that most of them have numbers that were free a moment ago.
                if opened.count == 200 {
                    for descriptor in opened { close(descriptor) }
                    opened = []
                }
                if opened.count == 20 { isBusy.signal() }
            }
            for descriptor in opened { close(descriptor) }
            ended.signal()
        }
        isBusy.wait()
    }

    func stop() {
        goesOn.store(false, ordering: .relaxed)
        ended.wait()
    }
}

/// The process's one milter; each test's session finds its script by the client's name.
enum TestMilter {
    static let scripts = Mutex<[String: Script]>([:])
    static let log = RecordingLog()
    static let maxInFlight = 8
    static let server = Result { try start() }

    static func start() throws -> (server: MilterServer, path: String) {
        var template = Array("/tmp/postern-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw MilterClientError.system("mkdtemp", errno) }
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self) + "/milter.sock"
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0, listen(listener, 100) == 0 else { throw MilterClientError.system("listen", errno) }
        let strangers = Strangers()  // libmilter's own socket is found among theirs
        defer { strangers.stop() }
        let server = try MilterServer(
            listener: listener, needs: MilterNeeds(recipients: true, quarantine: true), log: log,
            maxInFlight: maxInFlight, progressInterval: .milliseconds(20)
        ) { session in
            let name = String(decoding: session.client.name, as: UTF8.self)
            return RecordingFilter(session, scripts.withLock { $0[name] } ?? Script())
        }
        Thread.detachNewThread { _ = server.run() }
        return (server, path)
    }

    /// One more session of that name and script.
    static func session(_ name: String, _ script: Script) throws -> MilterClient {
        scripts.withLock { $0[name] = script }
        let client = try MilterClient(path: server.get().path)
        try client.negotiate()
        try client.connect(name: name, address: "192.0.2.7")
        return client
    }

    /// A session of a client of that name, negotiated and connected, and what its filter will see.
    static func session(_ name: String, address: String = "192.0.2.7", macros: [(String, String)] = []) throws -> (
        MilterClient, Script
    ) {
        let script = Script()
        scripts.withLock { $0[name] = script }
        let client = try MilterClient(path: server.get().path)
        try client.negotiate()
        try client.connect(name: name, address: address, macros: macros)
        return (client, script)
    }
}

@Suite("the milter door", .serialized)
struct MilterServerTests {
    @Test("negotiates the least traffic, and leading space")
    func negotiation() throws {
        let client = try MilterClient(path: TestMilter.server.get().path)
        try client.negotiate()
        #expect(client.steps & 0x100000 != 0, "SMFIP_HDR_LEADSPC")
        #expect(client.steps & 0x400 != 0, "SMFIP_SKIP")
        for bit: UInt32 in [0x1000, 0x2000, 0x4000, 0x8000, 0x80, 0x40000] {
            #expect(client.steps & bit != 0, "no reply \(bit)")
        }
        #expect(client.steps & 0x300 == 0x300, "neither DATA nor unknown commands")
        #expect(client.actions == 0x131, "add, change, quarantine, macro lists")
        #expect(client.macroLists == [0: "{daemon_name}", 2: "{auth_authen}", 5: "i", 6: "i", 1: "", 3: "", 4: ""])
    }

    @Test("refuses a mail server that offers too little")
    func tooLittle() throws {
        let client = try MilterClient(path: TestMilter.server.get().path)
        #expect(throws: (any Error).self) { try client.negotiate(actions: 0x3F, steps: 0x7F) }
        #expect(TestMilter.log.lines.contains { $0.contains("expected Postfix 2.6 or newer") })
    }

    @Test("a session with two messages, in order, octet for octet")
    func twoMessages() throws {
        let (client, script) = try TestMilter.session("two.example", macros: [("{daemon_name}", "ORIGINATING")])
        try client.helo("he.lo")
        for queueID in ["4AAA", "4BBB"] {
            try client.mail("ann@example.org", macros: [("{auth_authen}", queueID == "4AAA" ? "ann" : "")])
            try client.recipient("bo@example.net")
            try client.header(Array("Subject".utf8), Array("  two\n\tlines \u{FC}".utf8))
            try client.endOfHeader(queueID: queueID)
            #expect(try client.body(Array("hello\r\n".utf8)))
            let (changes, answer) = try client.endOfMessage(queueID: queueID)
            #expect(changes.isEmpty)
            #expect(answer == .continue)
        }
        let state = script.state.withLock { $0 }
        #expect(
            state.events == [
                "connect two.example[192.0.2.7] port 40000 ORIGINATING", "helo he.lo",
                "mail ann@example.org login ann", "recipient bo@example.net", "judge envelope", "eoh 4AAA", "eom",
                "mail ann@example.org login -", "recipient bo@example.net", "judge envelope", "eoh 4BBB", "eom",
            ])
        #expect(
            state.fields.first == HeaderField(name: Array("Subject".utf8), value: Array("  two\r\n\tlines \u{FC}".utf8))
        )
        #expect(state.bodyOctets == 14)
    }

    @Test("edits go out in their order, folds as LF, without NUL or CR")
    func edits() throws {
        let (client, script) = try TestMilter.session("edits.example", address: "2001:db8::7")
        script.state.withLock {
            $0.verdict = Verdict(
                .accept,
                edits: [
                    .remove(name: Array("Authentication-Results".utf8), occurrence: 3),
                    .remove(name: Array("Authentication-Results".utf8), occurrence: 1),
                    .insertOnTop(HeaderField(name: Array("A".utf8), value: Array(" b;\r\n\tc\u{0}d".utf8))),
                ])
        }
        let (changes, answer) = try client.message(from: "", header: [], body: [], queueID: "4C")
        #expect(
            changes == [
                .change(index: 3, name: "Authentication-Results", value: []),
                .change(index: 1, name: "Authentication-Results", value: []),
                .insert(index: 0, name: "A", value: Array(" b;\n\tcd".utf8)),
            ])
        #expect(answer == .continue)
        #expect(script.state.withLock { $0.events.first } == "connect edits.example[2001:db8::7] port 40000 -")
    }

    @Test(
        "replies",
        arguments: [
            (Reply(code: 550, enhanced: "5.7.1", text: "100% no"), "550 5.7.1 100%% no"),
            (Reply(code: 451, enhanced: "4.3.0", text: "later"), "451 4.3.0 later"),
            (Reply(code: 550, enhanced: "5.7.1", text: "a\r\nRCPT"), "550 5.7.1 a??RCPT"),
        ])
    func replies(_ reply: Reply, _ text: String) throws {
        let (client, script) = try TestMilter.session("reply\(text.hashValue).example")
        script.state.withLock { $0.verdict = Verdict(.refuse(reply), edits: [.insertOnTop(HeaderField("A", "b"))]) }
        let (changes, answer) = try client.message(from: "a@b.example", header: [], body: [], queueID: "4D")
        #expect(changes.isEmpty)
        #expect(answer == .reply(text))
    }

    @Test("a message can be put on hold")
    func hold() throws {
        let (client, script) = try TestMilter.session("hold.example")
        script.state.withLock { $0.verdict = Verdict(.hold("dmarc example.com")) }
        let (changes, answer) = try client.message(from: "a@b.example", header: [], body: [], queueID: "4E")
        #expect(changes == [.quarantine("dmarc example.com")])
        #expect(answer == .continue)
    }

    @Test("a field as long as Postfix lets one be (header_size_limit) is handed over whole")
    func longField() throws {
        let (client, script) = try TestMilter.session("long.example")
        let value = [UInt8](repeating: 0x61, count: 102_400)
        try client.mail("a@b.example")
        try client.recipient("bo@example.net")
        try client.header(Array("X".utf8), value)
        try client.endOfHeader(queueID: "4L")
        #expect(try client.endOfMessage().answer == .continue)
        #expect(script.state.withLock { $0.fields } == [HeaderField(name: Array("X".utf8), value: value)])
    }

    @Test("the body is skipped once nobody wants it")
    func skip() throws {
        let (client, script) = try TestMilter.session("skip.example")
        script.state.withLock { $0.interest = .enough }
        try client.mail("a@b.example")
        try client.recipient("bo@example.net")
        try client.endOfHeader(queueID: "4F")
        #expect(try client.body([1, 2, 3]) == false)
        #expect(try client.endOfMessage().answer == .continue)
        #expect(script.state.withLock { $0.bodyOctets } == 0)
    }

    @Test("an abort ends the message, and the next one begins anew")
    func abort() throws {
        let (client, script) = try TestMilter.session("abort.example")
        try client.mail("a@b.example")
        try client.abort()
        try client.mail("c@d.example")
        try client.recipient("bo@example.net")
        try client.endOfHeader(queueID: "4G")
        #expect(try client.endOfMessage().answer == .continue)
        #expect(
            script.state.withLock { $0.events.dropFirst() } == [
                "mail a@b.example login -", "abort", "mail c@d.example login -", "recipient bo@example.net",
                "judge envelope", "eoh 4G", "eom",
            ])
    }

    @Test("a full door answers at once, by the filter's own word, and takes messages again when there is room")
    func full() throws {
        let (first, script) = try TestMilter.session("blocked.example")
        let gate = Gate()
        script.state.withLock { $0.whenJudged = { gate.pass() } }
        let before = TestMilter.log.warnings.count
        let answers = Mutex<[MilterClient.Answer?]>([])
        let all = DispatchGroup()
        var sessions = 0
        // Each session begins on its own thread: while libmilter leaves it without a worker (see below), only yet
        // another one can wake it.
        func send(_ begin: @escaping @Sendable () throws -> MilterClient) {
            sessions += 1
            all.enter()
            Thread.detachNewThread {
                let answer = try? begin().message(from: "a@b.example", header: [], body: [], queueID: "4I").answer
                answers.withLock { $0.append(answer) }
                all.leave()
            }
        }
        let borrowed = Borrowed(first)
        send { borrowed.client }
        // libmilter may leave a message without a worker until another event comes (its pool counts a worker as idle
        // that no longer is), so that not each of them gets in: more are sent until one is turned away.
        while answers.withLock({ $0.isEmpty }), sessions < 1000 {
            send { try TestMilter.session("blocked.example", script) }
            usleep(10_000)
        }
        gate.open()
        all.wait()
        let told = answers.withLock { $0 }
        #expect(told.first == .reply("451 4.3.2 later"))
        #expect(told.allSatisfy { $0 == .continue || $0 == .reply("451 4.3.2 later") })
        #expect(gate.most == TestMilter.maxInFlight)
        #expect(script.state.withLock { $0.events.contains("overloaded") })
        #expect(
            TestMilter.log.warnings.dropFirst(before).contains {
                $0 == "\(TestMilter.maxInFlight) messages are being judged; more are answered at once"
            })
        let (late, _) = try TestMilter.session("late.example")
        #expect(try late.message(from: "a@b.example", header: [], body: [], queueID: "4K").answer == .continue)
    }

    @Test("signs of life come while a verdict is made, and none after it")
    func progress() throws {
        let (client, script) = try TestMilter.session("slow.example")
        let gate = Gate()
        script.state.withLock {
            $0.whenJudged = { gate.pass() }
            $0.verdict = Verdict(.accept, edits: [.insertOnTop(HeaderField("A", "b"))])
        }
        try client.mail("a@b.example")
        try client.recipient("bo@example.net")
        try client.endOfHeader(queueID: "4P")
        try client.body([1])
        try client.send("E", [])
        for _ in 0..<3 { #expect(try client.receive().letter == UInt8(ascii: "p")) }
        gate.open()
        var letters: [UInt8] = []
        while letters.last != UInt8(ascii: "c") { letters.append(try client.receive().letter) }
        #expect(letters.filter { $0 != UInt8(ascii: "p") } == Array("ic".utf8))
        let insertion = try #require(letters.firstIndex(of: UInt8(ascii: "i")))
        #expect(letters[insertion...] == Array("ic".utf8)[...], "nothing between the edits and the answer")
        // The session goes on, and its next message is answered at once.
        #expect(try client.message(from: "", header: [], body: [], queueID: "4Q").answer == .continue)
    }

    @Test("the envelope is judged once, at the first recipient, while the client goes on")
    func envelope() throws {
        let (client, script) = try TestMilter.session("envelope.example")
        let gate = Gate()
        script.state.withLock { $0.whenEnvelopeIsJudged = { gate.pass() } }
        try client.mail("a@b.example")
        for address in ["bo@example.net", "cy@example.net"] { try client.recipient(address) }
        try client.header(Array("Subject".utf8), Array(" x".utf8))
        try client.endOfHeader(queueID: "4R")  // nobody waits for an answer so far
        gate.open()
        #expect(try client.endOfMessage().answer == .continue)
        let events = script.state.withLock { $0.events.dropFirst(2) }
        #expect(
            events == ["recipient bo@example.net", "judge envelope", "recipient cy@example.net", "eoh 4R", "eom"])
    }

    @Test("a full door judges no envelope, and the message all the same")
    func fullForEnvelopes() throws {
        let gate = Gate()
        let answers = Mutex<[MilterClient.Answer?]>([])
        let all = DispatchGroup()
        let script = Script()
        script.state.withLock { $0.whenEnvelopeIsJudged = { gate.pass() } }
        // As many as there is room for; libmilter may let one wait (see `full`), so that more are begun.
        for number in 0..<40 {
            all.enter()
            // Each session begins on its own thread, as in `full`.
            Thread.detachNewThread {
                let answer = try? TestMilter.session("waiting\(number).example", script).message(
                    from: "a@b.example", header: [], body: [], queueID: "4S"
                ).answer
                answers.withLock { $0.append(answer) }
                all.leave()
            }
        }
        // Those that found no room end while the others wait.
        while answers.withLock({ $0.isEmpty }) { usleep(1000) }
        gate.open()
        all.wait()
        #expect(gate.most <= TestMilter.maxInFlight)
        #expect(answers.withLock { $0.count } == 40)
        let events = script.state.withLock { $0.events }
        #expect(events.count { $0 == "judge envelope" } < 40)
        #expect(events.count { $0 == "eom" || $0 == "overloaded" } == 40)
    }

    @Test("envelopes that wait leave room for messages that end")
    func roomForMessages() throws {
        let gate = Gate()
        let answered = Atomic<Int>(0)
        let all = DispatchGroup()
        let script = Script()
        script.state.withLock { $0.whenEnvelopeIsJudged = { gate.pass() } }
        var sessions = 0
        // Until one finds no room; libmilter may let one wait (see `full`), so that more are begun.
        while answered.load(ordering: .relaxed) == 0, sessions < 1000 {
            let name = "hanging\(sessions).example"
            sessions += 1
            all.enter()
            Thread.detachNewThread {
                _ = try? TestMilter.session(name, script).message(
                    from: "a@b.example", header: [], body: [], queueID: "4T")  // counted all the same
                answered.add(1, ordering: .relaxed)
                all.leave()
            }
            usleep(1000)
        }
        // Those that found no room may still be at their end: one of these gets in between them.
        var answers: [MilterClient.Answer] = []
        while answers.last != .continue, answers.count < 10_000 {
            if !answers.isEmpty { usleep(1000) }
            let (client, _) = try TestMilter.session("ending\(answers.count).example")
            answers.append(try client.message(from: "c@d.example", header: [], body: [], queueID: "4U").answer)
        }
        gate.open()
        all.wait()
        #expect(answers.last == .continue)
        #expect((1...TestMilter.maxInFlight / 2).contains(gate.most))
    }

    @Test("who leaves messages unsent has no more envelopes judged: nobody is held up by what never comes")
    func unsentMessages() throws {
        let (client, script) = try TestMilter.session("unsent.example")
        for _ in 0..<3 {
            try client.mail("a@b.example")
            try client.recipient("bo@example.net")
            try client.abort()
        }
        #expect(try client.message(from: "c@d.example", header: [], body: [], queueID: "4V").answer == .continue)
        let events = script.state.withLock { $0.events }
        #expect(events.count { $0 == "judge envelope" } == 1)
        #expect(events.count { $0 == "abort" } == 3)
        #expect(events.last == "eom")
    }

    @Test("libmilter's socket is known by its address, whoever else listens", arguments: [AF_INET, AF_INET6])
    func knownByAddress(_ family: Int32) throws {
        let (opened, strangers) = ((0..<3).map { _ in socket(family, Int32(SOCK_STREAM.rawValue), 0) }, Strangers())
        defer {
            strangers.stop()
            for descriptor in opened { close(descriptor) }
        }
        for descriptor in opened { try #require(listen(descriptor, 5) == 0) }  // at a place of the kernel's choice
        for descriptor in opened {
            let place = try #require(MilterListener.socketName(descriptor))
            #expect(MilterListener.listening(at: place) == descriptor)
            #expect(place.port != 0)
        }
        #expect(MilterListener.listening(at: SocketName(path: "/nowhere")) == nil)
        #expect(MilterListener.socketName(-1) == nil)
    }

    @Test("it answers a watchdog; a door at which nobody accepts does not")
    func watchdog() throws {
        let server = try TestMilter.server.get().server
        for _ in 0..<10 { #expect(server.trouble() == nil) }
        // Connections are counted to their end, whatever became of them: nothing is left of a watchdog's.
        let deadline = ContinuousClock.now + .seconds(600)
        while server.sessions.current > 0, ContinuousClock.now < deadline { usleep(1000) }
        #expect(server.sessions.current == 0)
        let stuck = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(stuck) }
        try #require(listen(stuck, 5) == 0)
        #expect(MilterProbe.trouble(stuck, milliseconds: 50) == "its own socket did not answer in 50 ms")
        #expect(
            MilterProbe.trouble(-1, milliseconds: 50)
                == "cannot dial its own socket: milter: connect to descriptor -1: Bad file descriptor")
    }

    @Test("damaged frames end their session and no other")
    func damaged() throws {
        let (healthy, _) = try TestMilter.session("healthy.example")
        let frames: [[UInt8]] = [
            Array("C".utf8) + [0], Array("Clocalhost\u{0}4".utf8), Array("Lname".utf8) + [0], Array("M".utf8),
            Array("R<".utf8),
            Array("Dx".utf8), Array("H".utf8), Array("B".utf8), Array("N".utf8), Array("E".utf8),
            Array("La".utf8) + [0] + Array("b".utf8),
        ]
        try Mutations.of(frames, tokens: [[0], [0xFF], Array("<>".utf8)], count: 300, seed: 7) { frame in
            guard let letter = frame.first else { return }
            let client = try MilterClient(path: TestMilter.server.get().path)
            try client.negotiate()
            try? client.send("C", Array("x.example".utf8) + [0, 0x34, 0, 1] + Array("192.0.2.9".utf8) + [0])  // may be hung up on
            try? client.send(Character(Unicode.Scalar(letter)), Array(frame.dropFirst()))  // likewise
            try? client.send("Q", [])  // likewise
        }
        #expect(try healthy.message(from: "a@b.example", header: [], body: [1], queueID: "4H").answer == .continue)
    }
}
