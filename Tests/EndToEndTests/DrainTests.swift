// A stop of a milter whose socket systemd keeps: sessions that are open get their verdicts, and who comes meanwhile is
// served by the next process. Nothing is left to Postfix's default action.

import Foundation
import Glibc
import PostfixHarness
import TestSupport
import Testing

@Suite("stop of a milter", .onOwnThreads) struct DrainTests {
    static func holder(_ program: String) throws -> ActivationTests.Holder {
        let holder = try ActivationTests.Holder(
            program, name: "milter", key: String(program.dropFirst("postern-".count)))
        try holder.start()
        try Await.until("\(program) is ready", context: { holder.log }) { holder.log.contains(" is ready\n") }
        return holder
    }

    /// A session of a client in host.networks, which waits for nobody's DNS.
    static func session(_ holder: ActivationTests.Holder) throws -> MilterClient {
        let client = try MilterClient(path: holder.path)
        try client.negotiate()
        try client.connect(name: "localhost", address: "127.0.0.1")
        return client
    }

    static let header = [(Array("From".utf8), Array(" ann@example.org".utf8))]

    @Test(
        "an open message gets its verdict, and who comes meanwhile the next process",
        arguments: ["postern-dkim", "postern-dmarc"])
    func handedOn(_ program: String) throws {
        let holder = try Self.holder(program)
        let open = try Self.session(holder)
        try open.mail("ann@example.org")
        try open.recipient("bo@example.net")
        try holder.tell(SIGTERM)
        try Await.until("the door is left", context: { holder.log }) { try !holder.isServed() }
        let late = try holder.send(ActivationTests.milter)
        try open.header(Self.header[0].0, Self.header[0].1)
        try open.endOfHeader(queueID: "4OLD")
        #expect(try open.endOfMessage(queueID: "4OLD").answer == .continue)
        #expect(holder.log.contains("4OLD: pass: "), "\(holder.log)")
        try open.send("Q", [])
        #expect(try holder.ended() == 0, "\(holder.log)")
        try holder.start()
        #expect(holder.answer(on: late).dropFirst(4).first == 0x4F, "\(holder.log)")
        #expect(try holder.end(SIGTERM) == 0)
        #expect(!holder.log.contains("stopping with"), "\(holder.log)")
    }

    @Test("a session at rest may still send its message", arguments: ["postern-dkim", "postern-dmarc"])
    func atRest(_ program: String) throws {
        let holder = try Self.holder(program)
        let session = try Self.session(holder)
        try holder.tell(SIGTERM)
        let (_, answer) = try session.message(
            from: "ann@example.org", header: Self.header, body: Array("x\r\n".utf8), queueID: "4REST")
        #expect(answer == .continue)
        #expect(holder.log.contains("4REST: pass: "), "\(holder.log)")
        try session.send("Q", [])
        #expect(try holder.ended() == 0)
    }
}
