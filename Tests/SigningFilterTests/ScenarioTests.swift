import Foundation
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
    private var configuration = ""
    private var zone = ""
    private var failing: Set<DomainName> = []
    private var keys: [String: DKIMSigningKey] = [:]
    private var ours: [DKIMSigningKey] = []
    private var now = UnixTime(seconds: 1_790_000_000)
    private var daemonName: String?
    private var filter: SigningFilter?
    private var envelope = Envelope(mailFrom: [])
    private var header: [HeaderField] = []
    private var body: [UInt8] = []
    private var verdict: Verdict?

    private static let rsa = Result { try PrivateKey.generate(.rsa(bits: 1024)) }
    private static let ed25519 = Result { try PrivateKey.generate(.ed25519) }

    mutating func take(_ step: Scenario.Step) throws {
        let words = step.argument.split(separator: " ").map(String.init)
        switch step.word {
        case "config": configuration += step.argument + "\n"
        case "zone": zone += step.argument + "\n"
        case "failing": failing.insert(try DomainName(step.argument))
        case "clock": now = UnixTime(seconds: Int64(try Date(step.argument, strategy: .iso8601).timeIntervalSince1970))
        case "key":
            let key = DKIMSigningKey(
                domain: try DomainName(words[0]), selector: try DomainName(words[1]),
                privateKey: try (words.last == "ed25519" ? Self.ed25519 : Self.rsa).get())
            keys["\(words[0]) \(words[1])"] = key
            zone +=
                "\(words[1])._domainkey.\(words[0]). 60 IN TXT \(FilterBench.strings(try key.privateKey.publicKeyRecord))\n"
        case "ours": ours.append(try key(words, step))
        case "daemon": daemonName = step.argument
        case "connect": try connect(step)
        case "mail":
            let address = step.argument.dropFirst().prefix { $0 != ">" }
            let login = words.dropFirst().first { $0.hasPrefix("login=") }?.dropFirst(6)
            envelope = Envelope(mailFrom: Array(address.utf8), login: login.map { Array($0.utf8) })
            header = []
            body = []
        case "header":
            if step.argument.hasPrefix("+") {
                header[header.count - 1].value += Array("\r\n\(step.argument.dropFirst())".utf8)
            } else {
                header.append(try field(step.argument, step))
            }
        case "body": body += Array("\(step.argument)\r\n".utf8)
        case "sign":
            let signing = DKIMSigning(header: header, keys: [try key(words, step)], settings: .init(), now: now)
            signing.update(body.span)
            header = try signing.finish() + header
        case "tamper":
            if words.first == "body" {
                body = Array("\(step.argument.dropFirst(5))\r\n".utf8)
            } else {
                header.insert(try field(String(step.argument.dropFirst(7)), step), at: 0)
            }
        case "end": try end(step)
        default: try expect(step)
        }
    }

    private func key(_ words: [String], _ step: Scenario.Step) throws -> DKIMSigningKey {
        try #require(keys[words.prefix(2).joined(separator: " ")], "line \(step.line): no such key")
    }

    private func field(_ text: String, _ step: Scenario.Step) throws -> HeaderField {
        let colon = try #require(text.firstIndex(of: ":"), "line \(step.line): a field has a colon")
        return HeaderField(name: Array(text[..<colon].utf8), value: Array(text[text.index(after: colon)...].utf8))
    }

    private mutating func connect(_ step: Scenario.Step) throws {
        let loaded = Configuration.read(Array(configuration.utf8), file: "scenario", folder: "/", for: .check)
        let settings = try #require(loaded.flawless, "\(loaded.problems)")
        let resolver = try ZoneResolver(zone: zone, failing: failing)
        var service = SigningService(settings, log: log, now: { [now] in now }, dns: { resolver })
        service.keys = ours
        let parts = step.argument.split(whereSeparator: { " []".contains($0) }).map(String.init)
        let client = SMTPClient(
            name: Array(parts[0].utf8), address: IPAddress(parts[1]),
            port: parts.count > 2 ? UInt16(parts[2]) ?? 0 : 4711)
        filter = SigningFilter(session: SMTPSession(client: client, daemonName: daemonName), service: service)
    }

    private mutating func end(_ step: Scenario.Step) throws {
        let filter = try #require(filter, "line \(step.line): connect comes first")
        filter.mail(envelope)
        for field in header { filter.header(field) }
        if filter.endOfHeader(queueID: "4scen") == .wanted { _ = filter.body(body.span) }
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
            let fields = verdict.inserted.map {
                "\(String(decoding: $0.name, as: UTF8.self)): \(Self.unfolded($0.value))"
            }
            #expect(fields.contains { $0.hasPrefix(step.argument) }, "line \(step.line): \(fields)")
        case "removed":
            #expect(
                verdict.removed.map(String.init).joined(separator: " ")
                    == (step.argument == "none" ? "" : step.argument), "line \(step.line)")
        case "log": #expect(log.lines.last?.contains(step.argument) == true, "line \(step.line): \(log.lines)")
        default: Issue.record("line \(step.line): unknown word \(step.word)")
        }
    }

    private static func unfolded(_ value: [UInt8]) -> String {
        String(decoding: value, as: UTF8.self).split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }
}
