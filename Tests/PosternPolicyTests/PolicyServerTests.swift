// The door over its socket: what clients of all manners are answered, and that none of them disturbs another.

import Foundation
import PosternMail
import PosternSocket
import Synchronization
import TestSupport
import Testing

@testable import PosternPolicy

private let refused = PolicyAnswer.reject(Reply(code: 550, enhanced: "5.7.1", text: "Go away"))
/// `bad@...` is refused, others are not.
private func judgeByName(_ request: PolicyRequest) -> PolicyOutcome {
    request[.recipient].starts(with: "bad@".utf8) ? .logged(refused) : .silent(.dunno)
}

@Suite("the policy door")
struct PolicyServerTests {
    private let good = PolicyQuery(recipient: "good@example.org")
    private let bad = PolicyQuery(recipient: "bad@example.org")

    // MARK: Requests

    @Test("many requests on one connection are answered in their order")
    func answers() throws {
        let door = try TestDoor(Script(judgeByName))
        let client = try door.client()
        for _ in 0..<100 {
            #expect(try client.ask(good) == "DUNNO")
            #expect(try client.ask(bad) == "550 5.7.1 Go away")
        }
        door.stop()
        #expect(door.counted("answers", "dunno") == 100 && door.counted("answers", "reject") == 100)
        #expect(door.counted("connections") == 1 && door.log.warnings.isEmpty)
    }

    @Test("octet by octet, and many at once")
    func pieces() throws {
        let door = try TestDoor(Script(judgeByName))
        let client = try door.client()
        for octet in bad.octets { try client.send([octet]) }
        #expect(try client.answer() == "550 5.7.1 Go away")
        try client.send((0..<50).flatMap { $0 % 7 == 0 ? bad.octets : good.octets })
        for number in 0..<50 { #expect(try client.answer() == (number % 7 == 0 ? "550 5.7.1 Go away" : "DUNNO")) }
    }

    @Test("a TCP socket serves as well")
    func tcp() throws {
        let listener = try Socket.listen(.tcp(host: "127.0.0.1", port: 0))
        let bound = listener.boundPort
        let port = try #require(bound)
        let server = try PolicyServer(listener: listener, log: RecordingLog()) { ScriptedTransaction($0, Script()) }
        Thread.detachNewThread { server.run() }
        let client = try Socket.dial(.tcp(host: "127.0.0.1", port: port), until: .never)
        try client.write(good.octets, until: .never)
        var answer: [UInt8] = []
        while answer.count < PolicyAnswer.dunnoWire.count { _ = try client.read(into: &answer, until: .never) }
        #expect(answer == PolicyAnswer.dunnoWire && server.trouble() == nil)
        server.stop()
    }

    @Test("an answer that Postfix has no words for is DUNNO and a warning")
    func unspeakable() throws {
        let door = try TestDoor(Script { _ in .silent(.redirect("nobody")) })
        #expect(try door.client().ask(good) == "DUNNO")
        #expect(door.counted("unspeakable_answers") == 1)
        #expect(
            door.log.warnings == [
                "policy: expected an answer in Postfix's words, found an address that is not user@domain on one line; "
                    + "answering DUNNO"
            ])
    }

    @Test("a malformed request is logged and hung up on without an answer; others go on")
    func malformed() throws {
        let door = try TestDoor(Script(judgeByName))
        let healthy = try door.client()
        #expect(try healthy.ask(good) == "DUNNO")
        let client = try door.client()
        try client.send(bad.octets + Array("request=junk\n\n".utf8) + good.octets)
        #expect(try client.untilHangUp() == Array("action=550 5.7.1 Go away\n\n".utf8))
        #expect(try healthy.ask(bad) == "550 5.7.1 Go away")
        #expect(door.counted("faulty_requests", "malformed") == 1)
        #expect(
            door.log.warnings == [
                "policy: malformed request: expected request=smtpd_access_policy, found none; hanging up"
            ])
    }

    @Test("damaged requests end their connection and no other")
    func mutations() throws {
        let door = try TestDoor(Script(judgeByName))
        let healthy = try door.client()
        let samples = [good.octets, bad.octets + good.octets, PolicyQuery(instance: "1.2").octets]
        try Mutations.of(samples, tokens: ["\n", "\n\n", "=", "\u{0}"].map { Array($0.utf8) }, count: 500, seed: 66) {
            octets in
            let client = try door.client()
            try? client.send(octets)  // may be hung up on meanwhile
            client.finishWriting()
            let said = try client.untilHangUp()
            #expect(said.isEmpty || said.starts(with: "action=".utf8) && said.suffix(2).elementsEqual([10, 10]))
        }
        #expect(try healthy.ask(bad) == "550 5.7.1 Go away")
        door.stop()
        #expect((door.counted("faulty_requests", "malformed") ?? 0) > 50)
    }

    // MARK: Messages

    @Test("a message has one transaction, whose end is told when Postfix asks about another")
    func transactions() throws {
        let door = try TestDoor()
        let client = try door.client()
        func ask(_ instance: String, _ recipient: String, state: String = "RCPT") throws {
            let query = PolicyQuery(state: state, recipient: recipient, instance: instance)
            #expect(try client.ask(query) == "DUNNO")
        }
        try ask("", "", state: "HELO")
        try ask("", "", state: "MAIL")
        try ask("1.1", "a")
        try ask("1.1", "b")
        try ask("1.1", "", state: "END-OF-MESSAGE")
        try ask("1.2", "a")
        try ask("", "", state: "HELO")
        try ask("1.3", "a")
        door.stop()
        #expect(
            door.script.events == [
                "begin ", "HELO  ", "begin ", "MAIL  ", "begin 1.1", "RCPT 1.1 a", "RCPT 1.1 b", "END-OF-MESSAGE 1.1 ",
                "end 1.1", "begin 1.2", "RCPT 1.2 a", "end 1.2", "begin ", "HELO  ", "begin 1.3", "RCPT 1.3 a",
            ])
    }

    @Test(
        "what is known of a client or sender is not used for another, though the instance is the same",
        arguments: [("client_address", "192.0.2.8"), ("sender", ""), ("helo_name", "x"), ("sasl_username", "ann")])
    func sameInstance(attribute: String, value: String) throws {
        let door = try TestDoor()
        let client = try door.client()
        let query = PolicyQuery(instance: "123.456.7")
        #expect(try client.ask(query) == "DUNNO")
        #expect(try client.ask(query.with(attribute, value).with("recipient", "other")) == "DUNNO")
        #expect(door.script.count("begin") == 2 && door.script.count("end") == 1)
    }

    @Test("a repeat is answered alike, on any connection, and judged and logged once")
    func repeats() throws {
        let number = Atomic<Int>(0)
        let door = try TestDoor(
            Script { _ in .logged(.hold("number \(number.add(1, ordering: .relaxed).newValue)")) })
        let query = PolicyQuery(instance: "1.1")
        let first = try door.client()
        #expect(try first.ask(query) == "HOLD number 1")
        #expect(try first.ask(query.with("queue_id", "4cXk2J1hz")) == "HOLD number 1")
        #expect(try first.ask(query.with("recipient", "b")) == "HOLD number 2")
        #expect(try first.ask(query) == "HOLD number 1")
        #expect(try door.client().ask(query) == "HOLD number 1")
        #expect(try door.client().ask(query.with("policy_context", "x")) == "HOLD number 3")
        // Without instance nothing is a repeat.
        #expect(try first.ask(query.with("instance", "")) == "HOLD number 4")
        #expect(try first.ask(query.with("instance", "")) == "HOLD number 5")
        door.stop()
        #expect(door.counted("repeats") == 3 && door.counted("answers", "hold") == 5 && door.log.events.count == 5)
    }

    @Test("a message that goes on on another connection has a transaction there")
    func reconnect() throws {
        let door = try TestDoor()
        _ = try door.client().ask(PolicyQuery(recipient: "a", instance: "1.1"))
        _ = try door.client().ask(PolicyQuery(recipient: "b", instance: "1.1"))
        door.stop()
        #expect(door.script.events == ["begin 1.1", "RCPT 1.1 a", "begin 1.1", "RCPT 1.1 b"])
    }

    @Test("a retry that comes while the first is judged gets the first one's answer")
    func retry() throws {
        let gate = Gate()
        let door = try TestDoor(
            Script { _ in
                gate.pass()
                return .silent(refused)
            })
        let query = PolicyQuery(instance: "1.1")
        var first: PolicyClient? = try door.client()
        try first?.send(query.octets)
        gate.await()
        first = nil  // Postfix has lost patience
        let second = try door.client()
        try second.send(query.octets)
        gate.open()
        #expect(try second.answer() == "550 5.7.1 Go away")
        #expect(door.script.count("RCPT") == 1)
    }

    @Test("a retry that waits too long is answered DUNNO and not judged")
    func retryTooLong() throws {
        let gate = Gate()
        let script = Script { _ in
            gate.pass()
            return .silent(refused)
        }
        let door = try TestDoor(script) { $0.repeatTime = .milliseconds(20) }
        let query = PolicyQuery(instance: "1.1")
        let first = try door.client()
        try first.send(query.octets)
        gate.await()
        #expect(try door.client().ask(query) == "DUNNO")
        #expect(door.counted("unanswered") == 1 && door.log.warnings.count == 1)
        gate.open()
        #expect(try first.answer() == "550 5.7.1 Go away")
        #expect(door.script.count("RCPT") == 1)
    }
}
