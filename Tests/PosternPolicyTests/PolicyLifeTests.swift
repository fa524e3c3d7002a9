// The door under strain: slow clients, too many of them, too many requests; and its end.

import Foundation
import Glibc
import PosternMail
import PosternSocket
import Synchronization
import TestSupport
import Testing

@testable import PosternPolicy

@Suite("the policy door's life")
struct PolicyLifeTests {
    private let query = PolicyQuery()

    // MARK: Slow clients

    @Test("a request that is begun must come to its end; an idle connection need not ask")
    func slowRequest() throws {
        let door = try TestDoor { $0.requestTime = .milliseconds(30) }
        let (idle, slow, healthy) = (try door.client(), try door.client(), try door.client())
        #expect(try idle.ask(query) == "DUNNO")
        try slow.send(query.octets + query.octets.prefix(100))
        #expect(try slow.answer() == "DUNNO")
        #expect(try healthy.ask(query) == "DUNNO")
        #expect(try slow.untilHangUp().isEmpty)  // idle was idle for longer
        #expect(try idle.ask(query) == "DUNNO")
        #expect(try healthy.ask(query) == "DUNNO")
        #expect(door.counted("faulty_requests", "slow") == 1)
        #expect(
            door.log.warnings == [
                "policy: expected a whole request within 0.03 seconds, found a part; hanging up"
            ])
    }

    @Test("an octet now and then is no way to keep a request open")
    func trickle() throws {
        let door = try TestDoor { $0.requestTime = .milliseconds(30) }
        let slow = try door.client()
        // Ends when the door hangs up: a value that goes on and on, far from the longest line.
        #expect(throws: PolicyClientError.self) {
            try slow.send("helo_name=".utf8)
            while true {
                try slow.send("x".utf8)
                usleep(5000)
            }
        }
        #expect(door.counted("faulty_requests", "slow") == 1)
    }

    @Test("a client that never reads is hung up on, and nobody waits for it")
    func neverReads() throws {
        let door = try TestDoor { $0.answerTime = .milliseconds(30) }
        let (deaf, healthy) = (try door.client(), try door.client())
        let requests = Array(repeating: query.octets, count: 64).flatMap { $0 }
        #expect(throws: PolicyClientError.self) {
            while true { try deaf.send(requests) }
        }
        #expect(try healthy.ask(query) == "DUNNO")
        #expect(door.counted("faulty_requests", "slow") == 1)
        #expect(door.log.warnings == ["policy: an answer was not read within 0.03 seconds; hanging up"])
    }

    @Test("who hangs up in the middle of a request is counted, and no more")
    func hangUp() throws {
        let door = try TestDoor()
        for count in [1, 100, query.octets.count - 1] { try door.client().send(query.octets.prefix(count)) }
        _ = try door.client()  // without a word
        #expect(try door.client().ask(query) == "DUNNO")
        door.stop()
        #expect(door.counted("faulty_requests", "broken") == 3 && door.log.events.isEmpty)
        #expect(door.script.count("RCPT") == 1)
    }

    // MARK: Many clients

    @Test("300 connections ask by turns, and all are answered")
    func manyConnections() throws {
        let door = try TestDoor()
        let clients = try (0..<300).map { _ in try door.client() }
        for turn in 0..<3 {
            for (number, client) in clients.enumerated() {
                try client.send(PolicyQuery(recipient: "\(number)", instance: "\(number).\(turn)").octets)
            }
            for client in clients { #expect(try client.answer() == "DUNNO") }
        }
        #expect(door.counted("answers", "dunno") == 900 && door.counted("connections") == 300)
        #expect(door.counted("refused_connections") == 0 && door.counted("overloaded") == 0)
    }

    @Test("one connection more than there may be is closed at once; when one ends there is room")
    func tooManyConnections() throws {
        let door = try TestDoor { $0.maxConnections = 3 }
        var clients = try (0..<3).map { _ in try door.client() }
        for client in clients { #expect(try client.ask(query) == "DUNNO") }
        #expect(try door.client().untilHangUp().isEmpty)
        #expect(door.counted("refused_connections") == 1)
        #expect(door.log.warnings == ["policy: 3 connections are open; more are closed at once"])
        for client in clients { #expect(try client.ask(query) == "DUNNO") }
        clients.removeFirst()
        // The door learns of it in its own time.
        var answer: String?
        while answer == nil { answer = try? door.client().ask(query) }  // hung up on until then
        #expect(answer == "DUNNO")
    }

    @Test("more requests than may be judged at once are answered DUNNO, and judged when they come again")
    func tooManyRequests() throws {
        let gate = Gate()
        let script = Script { _ in
            gate.pass()
            return .silent(.reject(Reply(code: 550, enhanced: "5.7.1", text: "no")))
        }
        let door = try TestDoor(script) { $0.maxInFlight = 2 }
        let held = try (0..<2).map { _ in try door.client() }
        for client in held { try client.send(query.octets) }
        gate.await(2)
        #expect(door.server.openTransactions == 2)
        let late = PolicyQuery(instance: "1.1")
        #expect(try door.client().ask(late) == "DUNNO")
        #expect(door.counted("overloaded") == 1)
        #expect(door.log.warnings == ["policy: 2 requests are being judged; more are answered DUNNO"])
        gate.open()
        for client in held { #expect(try client.answer() == "550 5.7.1 no") }
        #expect(try door.client().ask(late) == "550 5.7.1 no")
        door.stop()
        #expect(door.server.openTransactions == 0)
    }

    // MARK: Stopping

    @Test("a stop answers what has arrived and ends connections that wait for nothing")
    func stop() throws {
        let gate = Gate()
        let door = try TestDoor(
            Script { _ in
                gate.pass()
                return .silent(.dunno)
            })
        let (idle, half, busy) = (try door.client(), try door.client(), try door.client())
        try half.send(query.octets.prefix(50))
        try busy.send(query.octets + query.octets + query.octets.prefix(50))
        gate.await()
        let stopped = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            door.stop()
            stopped.signal()
        }
        // Both end although a judge is busy.
        #expect(try idle.untilHangUp().isEmpty && half.untilHangUp().isEmpty)
        gate.open()
        #expect(try busy.untilHangUp() == PolicyAnswer.dunnoWire + PolicyAnswer.dunnoWire)
        stopped.wait()
        #expect(door.server.openTransactions == 0)
    }

    @Test("a stop does not wait for ever for a judge")
    func stopWithStuckJudge() throws {
        let gate = Gate()
        let script = Script { _ in
            gate.pass()
            return .silent(.dunno)
        }
        let door = try TestDoor(script) { $0.stopTime = .milliseconds(20) }
        let client = try door.client()
        try client.send(query.octets)
        gate.await()
        door.stop()
        #expect(door.server.openTransactions == 1)
        #expect(try client.untilHangUp().isEmpty)
        gate.open()
    }

    @Test("a stop without a single connection, twice, and before anybody serves")
    func stopAtOnce() throws {
        let door = try TestDoor()
        door.stop()
        door.server.stop()
        let listener = try Socket.listen(.tcp(host: "127.0.0.1", port: 0))
        let server = try PolicyServer(listener: listener, log: RecordingLog()) { ScriptedTransaction($0, Script()) }
        server.stop()
        server.run()
    }

    @Test("another door takes the place of one that has stopped")
    func restart() throws {
        let first = try TestDoor()
        let client = try first.client()
        #expect(try client.ask(query) == "DUNNO")
        first.stop()
        #expect(try client.untilHangUp().isEmpty)
        // Its listener is closed with it; until then its path is not ours to take.
        let (folder, path) = (String(first.path.dropLast("/policy.sock".count)), first.path)
        unlink(path)
        let second = try TestDoor(folder: folder)
        #expect(try second.client().ask(query) == "DUNNO")
        withExtendedLifetime(first) {}  // its end removes the socket's file, which is the second one's by now
    }

    @Test("it answers a watchdog, also when it is full; a door at which nobody accepts does not")
    func watchdog() throws {
        let door = try TestDoor { $0.maxConnections = 1 }
        for _ in 0..<10 { #expect(door.server.trouble() == nil) }
        var client: PolicyClient?
        while client == nil {
            let next = try door.client()
            if let answer = try? next.ask(query) {  // hung up on: the last probe holds the one place a moment longer
                #expect(answer == "DUNNO")
                client = next
            }
        }
        #expect(door.server.trouble() == nil)
        door.stop()
        withExtendedLifetime(client) {}
        #expect(door.script.count("begin") == 1)
        #expect(door.server.trouble(within: .milliseconds(20)) != nil)
        #expect(PolicyProbe.trouble(-1, within: .milliseconds(20)) == "its own socket is gone")
    }
}
