// Tests/Scenarios/policy: SMTP sessions as postern-policy sees them.

import PosternDNS
import PosternMail
import PosternPolicy
import TestSupport
import Testing

@testable import postern_policy

@Suite("scenarios of postern-policy")
struct ScenarioTests {
    @Test("scenario", arguments: try Scenario.all(in: "policy"))
    func scenario(_ scenario: Scenario) throws {
        var run = ScenarioRun()
        for step in scenario.steps { try run.take(step) }
        #expect(run.expectations > 0, "a scenario expects something")
        #expect(run.warnings.isEmpty)
    }
}

/// A scenario on its way. Words are those of Tests/Scenarios/README.md.
struct ScenarioRun {
    var expectations = 0
    private var words = ScenarioMessage()
    private var rig: PolicyRig?
    private var message: JudgedMessage?
    private var instance = 0
    private var outcome: PolicyOutcome?

    private var toldWarnings = 0

    /// Beyond those that the scenario told.
    var warnings: [String] { Array((rig?.log.warnings ?? []).dropFirst(toldWarnings)) }

    mutating func take(_ step: Scenario.Step) throws {
        switch step.word {
        case "zone" where step.argument == "none":
            words.zone = ""
            return
        case "failing" where step.argument == "none":
            words.failing = []
            try rig?.well.change(to: ZoneResolver(zone: words.zone))
            return
        case "config" where rig != nil: throw ScenarioError(step, "the configuration stands before the first rcpt")
        default: break
        }
        if try words.take(step) {
            switch step.word {
            case "mail": message = nil
            case "zone", "failing": try rig?.well.change(to: ZoneResolver(zone: words.zone, failing: words.failing))
            default: break
            }
            return
        }
        switch step.word {
        case "wait":
            guard let seconds = Int(step.argument.dropLast()), step.argument.last == "s" else {
                throw ScenarioError(step, "expected seconds, such as 300s")
            }
            try running().clock.advance(by: .seconds(seconds))
        case "rcpt": try judge(String(step.argument.dropFirst().dropLast()))
        case "expect", "log": try expect(step)
        case "warning":
            let next = warnings.first ?? "none"
            #expect(next.hasPrefix(step.argument), "line \(step.line)")
            toldWarnings += 1
        default: throw ScenarioError(step, "unknown word \(step.word)")
        }
    }

    private mutating func running() throws -> PolicyRig {
        if let rig { return rig }
        let made = try PolicyRig(
            configuration: words.configuration, zone: words.zone, failing: words.failing, now: words.now)
        rig = made
        return made
    }

    private mutating func judge(_ recipient: String) throws {
        let rig = try running()
        if message == nil { instance += 1 }
        let message = message ?? rig.message()
        self.message = message
        let request = Recipient(
            client: words.client.address.map { "\($0)" } ?? "",
            clientName: String(decoding: words.client.name, as: UTF8.self),
            helo: String(decoding: words.helo ?? [], as: UTF8.self),
            sender: String(decoding: words.envelope.mailFrom, as: UTF8.self), recipient: recipient,
            login: String(decoding: words.envelope.login ?? [], as: UTF8.self), instance: "\(instance)"
        ).request
        rig.proveLists()
        outcome = message.answer(request)
    }

    private mutating func expect(_ step: Scenario.Step) throws {
        expectations += 1
        guard let outcome else { throw ScenarioError(step, "nobody was asked") }
        if step.word == "expect" {
            #expect(outcome.text.hasPrefix(step.argument), "line \(step.line)")
        } else {
            #expect((outcome.line ?? "none") == step.argument, "line \(step.line)")
        }
    }
}
