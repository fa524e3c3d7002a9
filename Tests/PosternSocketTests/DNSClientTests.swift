import Foundation
import PosternDNS
import PosternMail
import Synchronization
import TestSupport
import Testing

@testable import PosternSocket

@Suite("DNS client")
struct DNSClientTests {
    let folder = TemporaryFolder()
    let log = RecordingLog()

    func server(_ serve: @escaping @Sendable (Peer, Int) -> Void) throws -> FakeServer {
        try FakeServer("\(folder.path)/dns.sock", serve: serve)
    }
    func client() -> DNSClient { DNSClient(.unix(path: "\(folder.path)/dns.sock"), log: log) }

    // MARK: Answers

    struct Behaviour: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let serve: @Sendable (Peer, Int) -> Void

        init(_ name: String, _ serve: @escaping @Sendable (Peer, Int) -> Void) {
            testDescription = name
            self.serve = serve
        }
    }

    @Test(
        "however the answers come, each belongs to its question",
        arguments: [
            Behaviour("in order") { peer, _ in peer.answerAll() },
            Behaviour("reversed") { peer, _ in for query in peer.next(20).reversed() { peer.send(query.reply()) } },
            Behaviour("all in one write") { peer, _ in
                var octets: [UInt8] = []
                for query in peer.next(20) { DNSFrames.append(query.reply(), to: &octets) }
                peer.sendRaw(octets)
            },
            Behaviour("octet by octet") { peer, _ in
                for query in peer.next(20) {
                    var octets: [UInt8] = []
                    DNSFrames.append(query.reply(), to: &octets)
                    for octet in octets { peer.sendRaw([octet]) }
                }
            },
            Behaviour("the question in capitals") { peer, _ in  // RFC 4343 §4.1: case may change on the way
                for query in peer.next(20) {
                    peer.send(query.reply(question: ArraySlice(query.question.map { 97...122 ~= $0 ? $0 - 32 : $0 })))
                }
            },
        ])
    func order(_ behaviour: Behaviour) throws {
        let server = try server(behaviour.serve)
        defer { server.stop() }
        #expect(client().within(ample).answers(to: try questions(0..<20)) == expected(0..<20))
        #expect(log.lines == [])
    }

    @Test("all questions are written before the first answer is needed")
    func pipelined() throws {
        let server = try server { peer, _ in for query in peer.next(1000) { peer.send(query.reply()) } }
        defer { server.stop() }
        #expect(client().within(ample).answers(to: try questions(0..<1000)) == expected(0..<1000))
    }

    @Test("two full buffers do not wait for each other")  // the server reads one question, then writes 4 KiB
    func noDeadlock() throws {
        let text = [UInt8](repeating: 0x61, count: 4000)
        let server = try server { peer, _ in while let query = peer.next() { peer.send(query.reply(text: text)) } }
        defer { server.stop() }
        let count = DNSClient.maxQuestionsInFlight + 100  // and two parts
        let answers = client().within(ample).answers(to: try questions(0..<count))
        #expect(answers.count == count)
        #expect(answers.allSatisfy { $0 == .records([.txt(text)], ttl: 60) })
    }

    @Test("nothing asked, nothing dialled")
    func nothing() throws {
        let server = try server { peer, _ in peer.answerAll() }
        defer { server.stop() }
        #expect(client().within(ample).answers(to: []) == [])
        #expect(server.accepted == 0)
    }

    // MARK: Late

    /// Over before an answer comes that never comes, and not before a busy machine has dialled.
    static let short = Duration.milliseconds(1500)

    @Test("a late question is a temporary failure; its connection is not used again")
    func late() throws {
        let server = try server { peer, number in
            guard number == 0 else { return peer.answerAll() }
            while peer.next() != nil {}  // until the client goes
        }
        defer { server.stop() }
        let client = client()
        let answers = client.within(Self.short).answers(to: try questions(0..<1))
        #expect(answers == [.temporaryFailure("no answer within 1500 ms")])
        #expect(client.idleConnections == 0)
        #expect(client.within(ample).answers(to: try questions(3..<4)) == expected(3..<4))
        #expect(server.accepted == 2)
        #expect(log.lines == [])
    }

    @Test("what came in time is kept when the rest is late")
    func partlyLate() throws {
        let asked = try questions(0..<3)
        let (near, far) = try SocketTests.pair()
        let server = Socket(owning: far)
        for id in [2, 0] {
            let query = FakeQuery(octets: DNSCodec.query(id: UInt16(id), question: asked[id], datagramOctets: nil))
            var octets: [UInt8] = []
            DNSFrames.append(query.reply(), to: &octets)
            try server.write(octets, until: .after(ample))
        }
        var batch = DNSBatch(questions: asked)
        let outcome = DNSConnection(Socket(owning: near), firstID: 0).exchange(&batch, until: .now())
        guard case .late = outcome else {
            Issue.record("\(outcome)")
            return
        }
        let known = expected(0..<3)
        #expect(batch.answers == [known[0], nil, known[2]])
    }

    @Test("some answers are enough: the others are nil, not late, and their connection is not used again")
    func enough() throws {
        let server = try server { peer, number in
            guard number == 0 else { return peer.answerAll() }
            if let query = peer.next() { peer.send(query.reply()) }
            while peer.next() != nil {}  // until the client goes
        }
        defer { server.stop() }
        let client = client()
        let answers = client.within(ample).answers(to: try questions(0..<3), within: ample) { $0[0] != nil }
        #expect(answers == [expected(0..<1)[0], nil, nil])
        #expect(client.idleConnections == 0)
        #expect(client.within(ample).answers(to: try questions(3..<4)) == expected(3..<4))
        #expect(log.lines == [])
    }

    @Test("nobody is asked whether all answers are enough, and a connection that has given them is used again")
    func whole() throws {
        let server = try server { peer, _ in peer.answerAll() }
        defer { server.stop() }
        let client = client()
        var shown = 0
        let answers = client.within(ample).answers(to: try questions(0..<3), within: ample) { known in
            shown += 1
            #expect(known.contains(nil))
            return false
        }
        #expect(answers == expected(0..<3).map { Optional($0) } && shown < 3)
        #expect(client.idleConnections == 1)
    }

    @Test("a limit within the budget: what is late then is a temporary failure", arguments: [true, false])
    func limit(_ isLimit: Bool) throws {
        let server = try server { peer, _ in while peer.next() != nil {} }
        defer { server.stop() }
        let (short, long) = (Self.short, ample)
        let answers = client().within(isLimit ? long : short).answers(
            to: try questions(0..<1), within: isLimit ? short : long
        ) { _ in false }
        #expect(answers == [.temporaryFailure("no answer within 1500 ms")])
    }

    @Test("all questions of a transaction share one deadline")
    func deadline() throws {
        let connected = DispatchSemaphore(value: 0)
        let server = try server { peer, _ in
            connected.signal()
            while peer.next() != nil {}
        }
        defer { server.stop() }
        let dns = client().within(Self.short)
        let failure = Answer.temporaryFailure("no answer within 1500 ms")
        #expect(dns.answers(to: try questions(0..<2)) == [failure, failure])
        #expect(dns.answers(to: try questions(0..<1)) == [failure])
        connected.wait()
        #expect(server.accepted == 1, "the second call came after the deadline and asked nobody")
    }

    @Test("a frame that never ends is late")
    func endless() throws {
        let server = try server { peer, _ in
            _ = peer.next()
            peer.sendRaw([0xFF, 0xFF, 0x00])
            _ = peer.next()
        }
        defer { server.stop() }
        let answers = client().within(Self.short).answers(to: try questions(0..<1))
        #expect(answers == [.temporaryFailure("no answer within 1500 ms")])
    }

    // MARK: Connections

    @Test("a connection is used again")
    func reuse() throws {
        let server = try server { peer, _ in peer.answerAll() }
        defer { server.stop() }
        let client = client()
        for round in 0..<100 {
            #expect(client.within(ample).answers(to: try questions(round..<round + 2)) == expected(round..<round + 2))
        }
        #expect(server.accepted == 1)
        #expect(client.idleConnections == 1)
    }

    @Test("32 threads at once")
    func threads() throws {
        let server = try server { peer, _ in peer.answerAll() }
        defer { server.stop() }
        let client = client()
        let wrong = Atomic<Int>(0)
        onThreads(32) { thread in
            for round in 0..<50 {
                let range = (thread * 1000 + round)..<(thread * 1000 + round + 3)
                guard let asked = try? questions(range), client.within(ample).answers(to: asked) == expected(range)
                else {
                    wrong.add(1, ordering: .relaxed)
                    continue
                }
            }
        }
        #expect(wrong.load(ordering: .relaxed) == 0)
        #expect((1...32).contains(server.accepted))
        #expect(client.idleConnections == server.accepted)
        #expect(log.lines == [])
    }

    @Test("a connection that was closed while it was idle is replaced without a word")
    func stale() throws {
        let server = try server { peer, _ in
            if let query = peer.next() { peer.send(query.reply()) }  // one answer a connection
        }
        defer { server.stop() }
        let client = client()
        for index in 0..<5 {
            #expect(client.within(ample).answers(to: try questions(index..<index + 1)) == expected(index..<index + 1))
        }
        #expect(server.accepted == 5)
        #expect(log.lines == [])
    }

    @Test("a restart between the answers: what is open is asked again, once")
    func restartMidway() throws {
        let asked = Mutex<[Int]>([])
        let server = try server { peer, number in
            guard number == 0 else {
                while let query = peer.next() {
                    asked.withLock { $0.append(number) }
                    peer.send(query.reply())
                }
                return
            }
            if let query = peer.next(3).first { peer.send(query.reply()) }
        }
        defer { server.stop() }
        #expect(client().within(ample).answers(to: try questions(0..<3)) == expected(0..<3))
        #expect(asked.withLock { $0 } == [1, 1])
        #expect(log.lines == [])
    }

    @Test("a server that closes again and again")
    func closing() throws {
        let server = try server { peer, _ in _ = peer.next() }
        defer { server.stop() }
        let failure = Answer.temporaryFailure("postern-dns does not answer")
        let client = client()
        #expect(client.within(ample).answers(to: try questions(0..<1)) == [failure])
        #expect(client.within(ample).answers(to: try questions(0..<1)) == [failure])
        #expect(server.accepted == 4)
        #expect(log.warnings.count == 1)
        #expect(log.warnings.first?.contains("the peer closed the connection") == true)
    }

    // MARK: Down

    @Test("postern-dns killed and started again: one warning, one line when it is back")
    func restart() throws {
        let path = "\(folder.path)/dns.sock"
        let first = try server { peer, _ in peer.answerAll() }
        let client = client()
        #expect(client.within(ample).answers(to: try questions(0..<3)) == expected(0..<3))
        first.stop()
        let text = "postern-dns does not answer: connect unix:\(path): Connection refused"
        for _ in 0..<5 {
            let answers = client.within(ample).answers(to: try questions(0..<3))
            #expect(answers == Array(repeating: .temporaryFailure("postern-dns does not answer"), count: 3))
        }
        client.within(ample).prefetch(try questions(0..<3))
        #expect(log.events == [.note(.warning, text + "; every DNS answer is a temporary failure until it does")])
        let second = try server { peer, _ in peer.answerAll() }  // over the socket that the first left behind
        defer { second.stop() }
        #expect(client.within(ample).answers(to: try questions(0..<3)) == expected(0..<3))
        #expect(client.within(ample).answers(to: try questions(0..<3)) == expected(0..<3))
        #expect(log.events.dropFirst() == [.note(.info, "postern-dns at unix:\(path) answers again")])
    }

    @Test("never there: 32 threads, one warning")
    func absent() throws {
        let client = client()
        let failures = Atomic<Int>(0)
        onThreads(32) { _ in
            guard let asked = try? questions(0..<2) else { return }
            for answer in client.within(ample).answers(to: asked) {
                if case .temporaryFailure = answer { failures.add(1, ordering: .relaxed) }
            }
        }
        #expect(failures.load(ordering: .relaxed) == 64)
        #expect(log.warnings.count == 1)
        #expect(log.warnings.first?.contains("No such file or directory") == true)
    }

    // MARK: Violations

    @Test(
        "what no server should send fails the question and closes the connection",
        arguments: [
            (
                "an answer with an unknown id",
                Behaviour("id") { peer, _ in
                    if let query = peer.next() { peer.send(query.reply(id: query.id &+ 1)) }
                    _ = peer.next()
                }
            ),
            (
                "an answer to another question",
                Behaviour("name") { peer, _ in
                    if let query = peer.next() { peer.send(query.reply(question: [1, 0x78, 0, 0, 16, 0, 1])) }
                    _ = peer.next()
                }
            ),
            (
                "an answer to another question",
                Behaviour("type") { peer, _ in
                    if let query = peer.next() {
                        peer.send(query.reply(question: query.question.dropLast(4) + [0, 1, 0, 1]))
                    }
                    _ = peer.next()
                }
            ),
            (
                "a broken answer",
                Behaviour("a question for an answer") { peer, _ in
                    if let query = peer.next() { peer.send(query.octets) }
                    _ = peer.next()
                }
            ),
            (
                "a broken answer",
                Behaviour("cut") { peer, _ in
                    if let query = peer.next() { peer.send(query.reply().dropLast(3)) }
                    _ = peer.next()
                }
            ),
            (
                "a broken answer",
                Behaviour("65,535 octets of nothing") { peer, _ in
                    if let query = peer.next() {
                        let id = [UInt8(query.id >> 8), UInt8(query.id & 255)]
                        peer.send(id + [UInt8](repeating: 0xFF, count: 65_533))
                    }
                    _ = peer.next()
                }
            ),
            (
                "a message of 1 octets",
                Behaviour("short") { peer, _ in
                    _ = peer.next()
                    peer.send([1])
                    _ = peer.next()
                }
            ),
            (
                "a message of 0 octets",
                Behaviour("empty") { peer, _ in
                    _ = peer.next()
                    peer.send([])
                    _ = peer.next()
                }
            ),
        ] as [(String, Behaviour)])
    func violation(_ complaint: String, _ behaviour: Behaviour) throws {
        let sawEnd = Atomic<Int>(0)
        let serve = behaviour.serve
        let server = try server { peer, number in
            guard number == 0 else { return peer.answerAll() }
            serve(peer, number)
            sawEnd.add(1, ordering: .relaxed)
        }
        let client = client()
        let answers = client.within(ample).answers(to: try questions(0..<1))
        guard case .temporaryFailure(let text) = answers.first else {
            Issue.record("\(answers)")
            return
        }
        #expect(text.hasPrefix("postern-dns sent \(complaint)"))
        #expect(client.idleConnections == 0)
        #expect(log.warnings.count == 1)
        #expect(log.warnings.first?.contains(complaint) == true)
        #expect(client.within(ample).answers(to: try questions(1..<2)) == expected(1..<2))
        server.stop()
        #expect(sawEnd.load(ordering: .relaxed) == 1)
    }

    @Test("an answer too many: the answers hold, the connection does not; a minute's violations are one warning")
    func surplus() throws {
        let server = try server { peer, _ in
            while let query = peer.next() {
                var octets: [UInt8] = []
                DNSFrames.append(query.reply(), to: &octets)
                peer.sendRaw(octets + octets)
            }
        }
        defer { server.stop() }
        let client = client()
        for _ in 0..<3 { #expect(client.within(ample).answers(to: try questions(0..<1)) == expected(0..<1)) }
        #expect(log.warnings.count == 1)
        #expect(server.accepted == 3)
    }

    @Test(
        "answers that are no records",
        arguments: [
            ([0x81, 0x83] as [UInt8], Answer.noSuchName), ([0x81, 0x82], .temporaryFailure("SERVFAIL")),
            ([0x81, 0x80], .noData),
        ])
    func negative(_ flags: [UInt8], _ answer: Answer) throws {
        let server = try server { peer, _ in
            while let query = peer.next() {
                peer.send(Array(query.octets.prefix(2)) + flags + [0, 1, 0, 0, 0, 0, 0, 0] + query.question)
            }
        }
        defer { server.stop() }
        let client = client()
        #expect(client.within(ample).answers(to: try questions(0..<2)) == [answer, answer])
        #expect(client.idleConnections == 1)
        #expect(log.lines == [])
    }

    // MARK: Prefetching

    @Test("prefetch reaches the server and waits for nothing")
    func prefetch() throws {
        let seen = DispatchSemaphore(value: 0)
        let server = try server { peer, _ in while peer.next() != nil { seen.signal() } }  // and never answers
        defer { server.stop() }
        client().within(ample).prefetch(try questions(0..<10))
        for _ in 0..<10 { seen.wait() }
        #expect(server.accepted == 1)
    }

    @Test("a server that does not even read holds nobody up")
    func prefetchUnread() throws {
        let done = DispatchSemaphore(value: 0)
        let server = try server { _, _ in done.wait() }
        let client = client()
        for round in 0..<200 { client.within(ample).prefetch(try questions(round * 50..<round * 50 + 50)) }
        #expect(log.lines == [])
        done.signal()
        server.stop()
    }

    @Test("answers to prefetched questions are drained, so that it goes on for ever")
    func prefetchDrains() throws {
        let seen = Atomic<Int>(0)
        let server = try server { peer, _ in
            while let query = peer.next() {
                seen.add(1, ordering: .relaxed)
                peer.send(query.reply())
            }
        }
        defer { server.stop() }
        let client = client()
        while seen.load(ordering: .relaxed) < 4 * Prefetcher.maxUnanswered {
            client.within(ample).prefetch(try questions(0..<50))
            sched_yield()
        }
        #expect(server.accepted == 1)
        #expect(client.within(ample).answers(to: try questions(0..<3)) == expected(0..<3))
        #expect(log.lines == [])
    }

    @Test("a prefetch after a restart dials again")
    func prefetchRestart() throws {
        let seen = DispatchSemaphore(value: 0)
        let first = try server { peer, _ in while peer.next() != nil { seen.signal() } }
        let client = client()
        client.within(ample).prefetch(try questions(0..<1))
        seen.wait()
        first.stop()
        let second = try server { peer, _ in while peer.next() != nil { seen.signal() } }
        defer { second.stop() }
        client.within(ample).prefetch(try questions(0..<1))
        seen.wait()
        #expect(log.lines == [])
    }

    // MARK: Mutations

    @Test("damaged replies neither trap nor hang, and every question is answered")
    func mutations() throws {
        let asked = try questions(0..<2)
        var sample: [UInt8] = []
        for (id, question) in asked.enumerated() {
            let query = FakeQuery(octets: DNSCodec.query(id: UInt16(id), question: question, datagramOctets: nil))
            DNSFrames.append(query.reply(), to: &sample)
        }
        var complete = 0
        try Mutations.of([sample], tokens: [[0xC0, 0x0C], [0, 0], [0xFF, 0xFF]], count: 3000, seed: 2) { octets in
            var ends: [Int32] = [-1, -1]
            try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
            let far = Socket(owning: ends[1])
            try far.write(octets, until: .after(ample))
            far.finishWriting()
            var batch = DNSBatch(questions: asked)
            let outcome = DNSConnection(Socket(owning: ends[0]), firstID: 0).exchange(&batch, until: .after(ample))
            switch outcome {
            case .complete:
                complete += 1
                #expect(batch.openCount == 0)
            case .late, .enough: Issue.record("\(outcome): \(octets)")
            case .broken, .violation: break
            }
        }
        #expect(complete > 0)
    }

    @Test("frames are the same whole, octet by octet and many at once")
    func framing() {
        let messages: [[UInt8]] = [[1, 2, 3], [], [UInt8](repeating: 7, count: 65_535), [9]]
        var stream: [UInt8] = []
        for message in messages { DNSFrames.append(message, to: &stream) }
        for step in [1, 2, 3, 1000, stream.count] {
            var frames = DNSFrames()
            var found: [[UInt8]] = []
            var rest = stream[...]
            while !rest.isEmpty {
                frames.input += rest.prefix(step)
                rest = rest.dropFirst(step)
                while let frame = frames.next() { found.append(Array(frame)) }
            }
            #expect(found == messages)
            #expect(frames.isEmpty)
        }
    }
}
