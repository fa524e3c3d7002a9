// postern-rate without its sockets: requests go to a transaction as the door would hand them over; the clock is ours.
// What a limit promises is tested beside LimitJudge; here: what the daemon makes of it.

import PosternAdmission
import PosternDaemon
import PosternMail
import PosternPolicy
import TestSupport
import Testing

@testable import postern_rate

/// A postern-rate whose configuration a test may change.
final class RateRig {
    let ledger = LimitMemory()
    let log = RecordingLog()
    let clock = ScriptedClock()
    private(set) var service: RateService

    init(_ configuration: String) throws {
        service = try RateService(
            try Self.read(configuration), after: nil, ledger: ledger, log: log, now: { [clock] in clock.now() })
        ledger.prepare(service.judge.terms)
    }

    private static func read(_ text: String) throws -> Configuration {
        let text = "[host]\nname = \"mx1.example.org\"\n\(text)"
        let result = Configuration.read(Array(text.utf8), file: "test", folder: "/", for: .rate)
        return try #require(result.configuration, "\(result.problems)")
    }

    func reload(_ configuration: String) throws {
        service = try RateService(
            try Self.read(configuration), after: service, ledger: ledger, log: log, now: service.now)
        ledger.prepare(service.judge.terms)
    }

    func message() -> LimitedMessage { LimitedMessage(service: service) }

    /// One recipient of a message of its own.
    func rcpt(_ number: Int, login: String = "ann") -> PolicyOutcome {
        message().answer(Self.request(instance: "\(number)", login: login))
    }

    static func request(
        stage: PolicyStage = .rcpt, instance: String, recipient: String = "bo@example.org", login: String = "ann",
        recipients: Int = 0, port: Int = 4711
    ) -> PolicyRequest {
        let values: [PolicyAttribute: String] = [
            .clientAddress: "192.0.2.7", .clientName: "mx.example.net", .clientPort: "\(port)", .serverPort: "587",
            .sender: "ann@example.org", .recipient: recipient, .saslUsername: login, .instance: instance,
            .recipientCount: "\(recipients)", .size: "1000", .protocolName: "ESMTP",
        ]
        return PolicyRequest(stage: stage, values.mapValues { Array($0.utf8) })
    }

    func counted(_ counter: LimitCounter) -> UInt64? {
        service.counters.readings.first { $0.name == counter.name }?.value
    }

    func ask(_ name: String, _ arguments: ControlDocument) throws -> ControlDocument? {
        guard
            case .document(let document)? = try RateCommands(service: service).answer(ControlCommand(name, arguments))
        else { return nil }
        return document
    }

    func feed(_ name: String, _ arguments: ControlDocument) throws -> ControlFeed {
        let answer = try RateCommands(service: service).answer(ControlCommand(name, arguments))
        guard case .documents(let feed)? = answer else { throw ControlRefusal("expected many documents") }
        return feed
    }

    func listed(over: Bool) throws -> [ControlDocument] {
        let feed = try feed("limit list", ["over": .boolean(over)])
        var all: [ControlDocument] = []
        while case .documents(let documents) = feed.nextPart() { all += documents }
        return all
    }
}

func limit(_ allow: String, _ more: String = "") -> String {
    """
    [[limit]]
    name = "per account"
    per = ["sasl_username"]
    count = "recipients"
    allow = ["\(allow)"]
    action = "defer 4.7.1 Slow down"
    \(more)

    """
}

@Suite("postern-rate's service") struct RateServiceTests {
    @Test("so many are allowed, the next is deferred; others are not")
    func allowed() throws {
        let rig = try RateRig(limit("3/1h"))
        for number in 1...3 { #expect(rig.rcpt(number) == .silent(.dunno)) }
        let refused = rig.rcpt(4)
        #expect(refused.answer.word == "defer" && refused.answer.summary == "450 4.7.1 Slow down")
        #expect(refused.remark?.text.contains("(limit per account: ann: 3 of 3 recipients in 3600s") == true)
        #expect(rig.rcpt(5, login: "bo") == .silent(.dunno))
        #expect(rig.counted(.over) == 1 && rig.counted(.eventOver) == 1)
    }

    @Test("going over is one warning with account and clients, however often it is tried")
    func warning() throws {
        let rig = try RateRig(limit("2/1h", "warn_at = \"100%\""))
        for number in 1...6 { _ = rig.rcpt(number) }
        let over = rig.log.lines.filter { $0.contains("limit per account over") }
        #expect(over.count == 1 && over.first?.contains("account=<ann> clients=192.0.2.7") == true, "\(rig.log.lines)")
        #expect(rig.log.lines.count { $0.contains("nearly used up") } == 1)
        #expect(rig.counted(.over) == 4 && rig.counted(.eventOver) == 1 && rig.counted(.eventNearing) == 1)
    }

    @Test("a reload keeps what was counted, and its amounts hold at once; a message under way keeps its own")
    func reload() throws {
        let rig = try RateRig(limit("2/1h"))
        let underWay = rig.message()
        for number in 1...2 { #expect(rig.rcpt(number).answer == .dunno) }
        try rig.reload(limit("3/1h"))
        #expect(rig.rcpt(3).answer == .dunno)
        #expect(rig.rcpt(4).answer.word == "defer")
        #expect(underWay.answer(RateRig.request(instance: "5")).answer.word == "defer")
        #expect(rig.counted(.over) == 2)
        try rig.reload("")
        #expect(rig.rcpt(6).answer == .dunno)
    }

    @Test("a limit does not apply to mail without its attribute, which is counted")
    func missing() throws {
        let rig = try RateRig(limit("1/1h"))
        for number in 1...5 { #expect(rig.rcpt(number, login: "") == .silent(.dunno)) }
        #expect(rig.counted(.missing) == 5 && rig.counted(.over) == 0)
    }

    @Test("a message that is given up gives its reservations back, one that ends is charged")
    func reservations() throws {
        let rig = try RateRig(limit("3/1h"))
        // From its first END-OF-MESSAGE on, the service is known to have such a hook.
        let first = rig.message()
        #expect(first.answer(RateRig.request(instance: "1")).answer == .dunno)
        #expect(first.answer(RateRig.request(stage: .endOfMessage, instance: "1", recipients: 1)).answer == .dunno)
        first.end()
        let givenUp = rig.message()
        for recipient in ["bo@example.org", "cy@example.org"] {
            #expect(givenUp.answer(RateRig.request(instance: "2", recipient: recipient)).answer == .dunno)
        }
        // Another client's: its own message is no end of that one.
        let other = rig.message()
        #expect(other.answer(RateRig.request(instance: "3", port: 4712)).answer.word == "defer")
        givenUp.end()
        for recipient in ["bo@example.org", "cy@example.org"] {
            #expect(
                rig.message().answer(RateRig.request(instance: "4", recipient: recipient, port: 4712)).answer == .dunno)
        }
        #expect(rig.message().answer(RateRig.request(instance: "5", port: 4713)).answer.word == "defer")
    }

    @Test("a shadow refuses nobody, and is logged and counted")
    func shadow() throws {
        let rig = try RateRig(limit("1/1h", "shadow = true"))
        #expect(rig.rcpt(1) == .silent(.dunno))
        let outcome = rig.rcpt(2)
        #expect(outcome.answer == .dunno && outcome.remark?.text.contains("shadow: would defer") == true)
        #expect(rig.counted(.overInShadow) == 1 && rig.counted(.over) == 0)
    }

    @Test("limit list, show, clear, block and unblock")
    func commands() throws {
        let rig = try RateRig(limit("1/1h"))
        _ = rig.rcpt(1)
        _ = rig.rcpt(2, login: "bo,cy")
        #expect(try Set(rig.listed(over: true).compactMap { $0["key"]?.text }) == ["ann", "bo%2ccy"])
        let shown = try rig.ask("limit show", ["key": .text("ann")])?["entries"]?.elements.first
        #expect(shown?["uses"]?.elements.first?["used"]?.number == 1 && shown?["over"] == .boolean(true))
        #expect(try rig.ask("limit clear", ["key": .text("ann")]) == ["cleared": .number(1)])
        #expect(rig.rcpt(3).answer == .dunno)
        let block: ControlDocument = ["key": .text("new"), "limit": .text("per account"), "seconds": .number(60)]
        #expect(try rig.ask("limit block", block) == ["blocked": .number(1)])
        #expect(rig.rcpt(4, login: "new").answer.word == "defer")
        #expect(try rig.ask("limit unblock", ["key": .text("new")]) == ["unblocked": .number(1)])
        #expect(rig.rcpt(5, login: "new").answer == .dunno)
        #expect(try rig.ask("limit clear", ["key": .text("nobody")]) == ["cleared": .number(0)])
    }

    @Test(
        "what is no command of limits is refused",
        arguments: [
            ("limit show", [:]), ("limit show", ["key": .text("")]),
            ("limit block", ["key": .text("ann"), "seconds": .number(0)]),
            ("limit clear", ["key": .text("ann"), "limit": .text("another")]), ("limit list", ["over": .text("yes")]),
        ] as [(String, ControlDocument)])
    func refused(name: String, arguments: ControlDocument) throws {
        let rig = try RateRig(limit("1/1h"))
        #expect(throws: ControlRefusal.self) {
            _ = try RateCommands(service: rig.service).answer(ControlCommand(name, arguments))
        }
    }
}
