// What a message keeps, what is counted, what a reload changes, and the commands of the control socket.

import AdmissionSupport
import PosternAdmission
import PosternDaemon
import PosternMail
import PosternPolicy
import TestSupport
import Testing

@testable import postern_policy

@Suite("postern-policy's service") struct PolicyServiceTests {
    static let rules = """
        [[rule]]
        name = "no spam"
        sender = ["spam@example.net"]
        action = "reject 5.7.1 No spam"
        [[rule]]
        name = "watched"
        shadow = true
        sender = ["watched@example.net"]
        action = "defer 4.7.1 Later"
        [[rule]]
        name = "theirs"
        spf = ["pass"]
        action = "accept"

        """

    @Test("facts hold for a message: SPF is asked once for two recipients, and anew for the next message")
    func facts() throws {
        let rig = try PolicyRig(
            configuration: Self.rules, zone: "example.net. 60 TXT \"v=spf1 ip4:192.0.2.0/24 -all\"\n")
        let message = rig.message()
        for recipient in ["bo@example.org", "cy@example.org"] {
            #expect(message.answer(Recipient(recipient: recipient).request).answer == .dunno)
        }
        let asked = rig.well.asked.count
        #expect(asked > 0 && rig.counted("spf", "pass") == 1)
        _ = rig.message().answer(Recipient(instance: "2").request)
        #expect(rig.well.asked.count == 2 * asked && rig.counted("spf", "pass") == 2)
    }

    @Test("who decides is counted once for a request, shadows beside it")
    func counters() throws {
        let rig = try PolicyRig(configuration: Self.rules)
        for (number, sender) in ["spam@example.net", "watched@example.net", "ann@example.net", ""].enumerated() {
            _ = rig.message().answer(Recipient(sender: sender, instance: "\(number)").request)
        }
        #expect(rig.counted("decisions", "rule") == 1 && rig.counted("decisions", "none") == 3)
        #expect(rig.counted("shadow", "defer") == 1 && rig.counted("shadow", "reject") == 0)
    }

    @Test("a line for each recipient that was looked at; nothing for what nobody looked at")
    func lines() throws {
        let rig = try PolicyRig(configuration: Self.rules)
        func line(_ request: Recipient) -> String? { rig.message().answer(request.request).line }
        #expect(line(Recipient(sender: "spam@example.net")) == "reject: 550 5.7.1 No spam (rule no spam)")
        #expect(
            line(Recipient(sender: "watched@example.net"))
                == "pass: no objection; shadow: would defer: 450 4.7.1 Later (rule watched)")
        #expect(line(Recipient()) == "pass: no objection")
        #expect(line(Recipient(stage: .data, instance: "3")) == nil)
        #expect(line(Recipient(client: "127.0.0.1")) == nil)
        #expect(line(Recipient(stage: .vrfy)) == nil)
    }

    @Test("a message keeps the rules it began with; the next one has the new ones, and counting goes on")
    func reload() throws {
        let rig = try PolicyRig(configuration: Self.rules)
        let old = rig.message()
        _ = old.answer(Recipient(sender: "spam@example.net").request)
        try rig.reload(Self.rules.replacing("No spam", with: "Not here"))
        #expect(old.answer(Recipient(sender: "spam@example.net").request).text == "reject 550 5.7.1 No spam")
        let new = rig.message().answer(Recipient(sender: "spam@example.net").request)
        #expect(new.text == "reject 550 5.7.1 Not here")
        #expect(rig.counted("decisions", "rule") == 3)
    }

    // MARK: Commands

    @Test("explain judges as the daemon does, tells every check, and counts nothing")
    func explain() throws {
        let rig = try PolicyRig(configuration: Self.rules)
        let answer = try rig.ask("explain", ["client_address": "192.0.2.7", "sender": "spam@example.net"])
        let document = try #require(answer?.first)
        #expect(document["action"]?.text == "reject")
        #expect(
            document["checks"]?.elements.map { "\($0["check"]?.text ?? "") \($0["outcome"]?.text ?? "")" } == [
                "rule no spam matched", "rule watched not_reached", "rule theirs not_reached", "dnsbl skipped",
                "greylist skipped",
            ])
        #expect(rig.counted("decisions", "rule") == 0)
    }

    @Test(
        "what is no request is refused",
        arguments: [
            (["protocol_state": "LUNCH"], "expected a stage"), (["sender": "a\nb"], "control characters"),
            (["recipient": .number(3)], "expected a text"),
            (["helo_name": .text(String(repeating: "x", count: 2000))], "1024"),
        ] as [(ControlDocument, String)])
    func refused(_ arguments: ControlDocument, _ text: String) throws {
        let rig = try PolicyRig(configuration: "")
        let refusal = #expect(throws: ControlRefusal.self) { try rig.ask("explain", arguments) }
        #expect(refusal?.description.contains(text) == true)
    }

    @Test("an address stands for its network; a list has pages; what is forgotten is gone")
    func greylist() throws {
        let rig = try PolicyRig(configuration: "")
        for number in 0..<250 {
            _ = try rig.ask("greylist allow", ["origin": .text("10.0.\(number).1")])
        }
        #expect(try rig.ask("greylist list", [:])?.count == 250)
        #expect(try rig.ask("greylist list", ["prefix": "10.0.24"])?.count == 11)
        let shown = try rig.ask("greylist show", ["origin": "10.0.7.200"])?.first?["entry"]
        #expect(shown?["origin"]?.text == "10.0.7.0/24" && shown?["state"]?.text == "allowed")
        #expect(try rig.ask("greylist show", ["origin": "10.1.7.200"])?.first?["entry"] == nil)
        #expect(try rig.ask("greylist forget", ["origin": "10.0.7.9"])?.first?["forgotten"]?.number == 1)
        #expect(try rig.ask("greylist list", [:])?.count == 249)
        _ = try rig.ask("greylist allow", ["origin": "2001:db8::7"])
        #expect(try rig.ask("greylist show", ["origin": "2001:db8::9"])?.first?["entry"] != nil)
    }

    @Test("a broken memory is told, and what is no entry")
    func broken() throws {
        let rig = try PolicyRig(configuration: "")
        rig.ledger.breakDown()
        #expect(try rig.ask("greylist list", [:])?.first?["error"] != nil)
        #expect(throws: ControlRefusal.self) { try rig.ask("greylist show", ["origin": "192.0.2.7"]) }
        #expect(try rig.ask("greylist forget", ["origin": "192.0.2.7"])?.first?["error"] != nil)
        #expect(throws: ControlRefusal.self) { try rig.ask("greylist show", ["origin": "no such origin"]) }
        #expect(throws: ControlRefusal.self) {
            try rig.ask("greylist show", ["origin": "192.0.2.7", "sender": "ann@example.net"])
        }
        #expect(try rig.ask("sing", [:]) == nil)
    }
}
