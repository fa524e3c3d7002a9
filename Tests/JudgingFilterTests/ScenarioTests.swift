import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail
import PosternMilter
import TestSupport
import Testing

@testable import postern_dmarc

@Suite("scenarios of postern-dmarc")
struct ScenarioTests {
    @Test("scenario", arguments: try Scenario.all(in: "dmarc"))
    func scenario(_ scenario: Scenario) throws {
        var run = ScenarioRun()
        for step in scenario.steps { try run.take(step) }
        #expect(run.expectations > 0, "a scenario expects something")
        #expect(run.log.warnings.isEmpty)
        #expect(run.untoldFacts.isEmpty, "a scenario tells every fact that is kept, or none")
    }
}

/// A scenario on its way. Words are those of Tests/Scenarios/README.md.
struct ScenarioRun {
    let log = RecordingLog()
    let ledger = RecordingLedger()
    var expectations = 0
    private var message = ScenarioMessage()
    private var keys: [String: DKIMSigningKey] = [:]
    private var tarpits: [DomainName] = []
    private var verdict: Verdict?
    private var toldFacts = 0

    private static let rsa = Result { try PrivateKey.generate(.rsa(bits: 1024)) }
    private static let ed25519 = Result { try PrivateKey.generate(.ed25519) }

    /// Facts beyond those that the scenario told, if it told any.
    var untoldFacts: [MessageFacts] { toldFacts == 0 ? [] : Array(ledger.facts.dropFirst(toldFacts)) }

    mutating func take(_ step: Scenario.Step) throws {
        if try message.take(step) { return }
        let words = step.argument.split(separator: " ").map(String.init)
        switch step.word {
        case "tarpit": tarpits.append(step.argument == "." ? .root : try DomainName(step.argument))
        case "key":
            let key = DKIMSigningKey(
                domain: try DomainName(words[0]), selector: try DomainName(words[1]),
                privateKey: try (words.last == "ed25519" ? Self.ed25519 : Self.rsa).get())
            keys["\(words[0]) \(words[1])"] = key
            let record = ZoneResolver.strings(try key.privateKey.publicKeyRecord)
            message.zone += "\(words[1])._domainkey.\(words[0]). 60 IN TXT \(record)\n"
        case "sign":
            let key = try #require(keys[words.prefix(2).joined(separator: " ")], "line \(step.line): no such key")
            let signing = DKIMSigning(header: message.header, keys: [key], settings: .init(), now: message.now)
            signing.update(message.body.span)
            message.header = try signing.finish() + message.header
        case "end": try end(isOverloaded: words.first == "overloaded")
        default: try expect(step)
        }
    }

    private mutating func end(isOverloaded: Bool) throws {
        let well = TarpitWell(
            zone: try ZoneResolver(zone: message.zone, failing: message.failing), tarpits: tarpits)
        let bench = try JudgingBench(
            configuration: message.configuration, well: well, log: log, ledger: ledger, now: message.now)
        let filter = JudgingFilter(session: message.session, service: bench.service)
        filter.mail(message.envelope)
        if !isOverloaded { filter.judgeEnvelope() }
        for field in message.header { filter.header(field) }
        if filter.endOfHeader(queueID: "4scen") == .wanted { _ = filter.body(message.body.span) }
        verdict = isOverloaded ? filter.whenOverloaded() : filter.endOfMessage()
    }

    private mutating func expect(_ step: Scenario.Step) throws {
        expectations += 1
        let verdict = try #require(verdict, "line \(step.line): the message has not ended")
        switch step.word {
        case "expect":
            let text =
                switch verdict.disposition {
                case .refuse(let reply): "\(reply)"
                case .hold(let reason): "hold \(reason)"
                case .accept: "accept"
                }
            #expect(text.hasPrefix(step.argument), "line \(step.line)")
        case "added":
            // Keys are made anew for each run, so that no signature is told by its octets.
            let fields = verdict.inserted.map {
                $0.unfolded.replacing(/header\.b=("[^"]*"|[^;\s]+)/, with: "header.b=*")
            }
            #expect(fields.contains(step.argument), "line \(step.line): \(fields)")
        case "removed":
            let removed = verdict.removed().map(String.init).joined(separator: " ")
            #expect(removed == (step.argument == "none" ? "" : step.argument), "line \(step.line)")
        case "log": #expect(log.lines.last == "4scen: \(step.argument)", "line \(step.line)")
        case "fact":
            let fact = ledger.facts.dropFirst(toldFacts).first.map { fact in
                [
                    fact.dmarc.authorDomain.map { "\($0)" } ?? "-", fact.dmarc.result.rawValue,
                    fact.disposition.rawValue, fact.override?.rawValue ?? "-",
                ].joined(separator: " ")
            }
            toldFacts += 1
            #expect(fact == step.argument, "line \(step.line)")
        case "facts": #expect(String(ledger.facts.count) == step.argument, "line \(step.line)")
        default: Issue.record("line \(step.line): unknown word \(step.word)")
        }
    }
}
