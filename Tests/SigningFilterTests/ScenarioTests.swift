import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail
import PosternMilter
import TestSupport
import Testing

@testable import postern_dkim

@Suite("scenarios of postern-dkim")
struct ScenarioTests {
    @Test("scenario", arguments: try Scenario.all(in: "dkim"))
    func scenario(_ scenario: Scenario) throws {
        var run = ScenarioRun()
        for step in scenario.steps { try run.take(step) }
        #expect(run.expectations > 0, "a scenario expects something")
        #expect(run.log.warnings.isEmpty)
    }
}

/// A scenario on its way. Words are those of Tests/Scenarios/README.md.
struct ScenarioRun {
    let log = RecordingLog()
    var expectations = 0
    private var message = ScenarioMessage()
    private var keys: [String: DKIMSigningKey] = [:]
    private var ours: [DKIMSigningKey] = []
    private var verdict: Verdict?

    private static let rsa = Result { try PrivateKey.generate(.rsa(bits: 1024)) }
    private static let ed25519 = Result { try PrivateKey.generate(.ed25519) }

    mutating func take(_ step: Scenario.Step) throws {
        if try message.take(step) { return }
        let words = step.argument.split(separator: " ").map(String.init)
        switch step.word {
        case "key":
            let key = DKIMSigningKey(
                domain: try DomainName(words[0]), selector: try DomainName(words[1]),
                privateKey: try (words.last == "ed25519" ? Self.ed25519 : Self.rsa).get())
            keys["\(words[0]) \(words[1])"] = key
            let record = ZoneResolver.strings(try key.privateKey.publicKeyRecord)
            message.zone += "\(words[1])._domainkey.\(words[0]). 60 IN TXT \(record)\n"
        case "ours": ours.append(try key(words, step))
        case "sign":
            let key = try key(words, step)
            let signing = DKIMSigning(header: message.header, keys: [key], settings: .init(), now: message.now)
            signing.update(message.body.span)
            message.header = try signing.finish() + message.header
        case "end": try end()
        default: try expect(step)
        }
    }

    private func key(_ words: [String], _ step: Scenario.Step) throws -> DKIMSigningKey {
        try #require(keys[words.prefix(2).joined(separator: " ")], "line \(step.line): no such key")
    }

    private mutating func end() throws {
        let loaded = Configuration.read(Array(message.configuration.utf8), file: "scenario", folder: "/", for: .check)
        let settings = try #require(loaded.flawless, "\(loaded.problems)")
        let resolver = try ZoneResolver(zone: message.zone, failing: message.failing)
        let now = message.now
        var service = SigningService(settings, log: log, now: { now }, dns: { resolver })
        service.keys = ours
        let filter = SigningFilter(session: message.session, service: service)
        filter.mail(message.envelope)
        for field in message.header { filter.header(field) }
        if filter.endOfHeader(queueID: "4scen") == .wanted { _ = filter.body(message.body.span) }
        verdict = filter.endOfMessage()
    }

    private mutating func expect(_ step: Scenario.Step) throws {
        expectations += 1
        let verdict = try #require(verdict, "line \(step.line): the message has not ended")
        switch step.word {
        case "expect":
            let text = if case .refuse(let reply) = verdict.disposition { "\(reply)" } else { "accept" }
            #expect(text.hasPrefix(step.argument), "line \(step.line)")
        case "added":
            let fields = verdict.inserted.map(\.unfolded)
            #expect(fields.contains { $0.hasPrefix(step.argument) }, "line \(step.line): \(fields)")
        case "removed":
            #expect(
                verdict.removed().map(String.init).joined(separator: " ")
                    == (step.argument == "none" ? "" : step.argument), "line \(step.line)")
        case "log": #expect(log.lines.last?.contains(step.argument) == true, "line \(step.line): \(log.lines)")
        default: Issue.record("line \(step.line): unknown word \(step.word)")
        }
    }
}
