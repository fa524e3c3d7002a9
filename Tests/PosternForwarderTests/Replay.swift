// Replays a script against a forwarder whose clock and network are both scripted: who asks what, what is sent to which
// upstream, what it replies, how time goes by, and what is answered. Each line is a step:
//
//     ask NAME TYPE [from CLIENT]               a client asks
//     sent UPSTREAM NAME TYPE                   the next query that left
//     reply UPSTREAM NAME TYPE RCODE [ad] ...   what comes back to it; then a TTL, and for NOERROR the record's data
//     answer NAME TYPE RCODE [TTL DATA]         the next answer that a client got
//     wait 1.5s                                 time goes by, and timers with it
//     nothing                                   no query left and no answer was given but those named
//     count NAME NUMBER                         a counter
//     warning TEXT                              the next warning begins with it

import NIOCore
import NIOEmbedded
import PosternDNS
import PosternMail
import Synchronization
import TestSupport
import Testing

@testable import PosternForwarder

/// Queries that left, in their order.
private final class ScriptedNetwork {
    var tries: [UpstreamTry] = []
    var unnamed: [UpstreamTry] = []

    final class Socket: UpstreamSocket {
        private let network: ScriptedNetwork
        private weak var attempt: UpstreamTry?
        init(_ network: ScriptedNetwork, _ attempt: UpstreamTry) {
            self.network = network
            self.attempt = attempt
        }
        func start(timeout: Duration) {
            guard let attempt else { return }
            network.tries.append(attempt)
            network.unnamed.append(attempt)
        }
        func close() {}
    }
}

final class Replay {
    let forwarder: Forwarder
    private let log = RecordingLog()
    private let loop = EmbeddedEventLoop()
    private let network = ScriptedNetwork()
    private var answers: [String] = []
    private var warningsNamed = 0

    struct Mistake: Error, CustomStringConvertible { var description: String }

    init(_ settings: ForwarderSettings, limits: Limits = Limits()) {
        let (loop, network) = (loop, network)
        forwarder = Forwarder(
            settings, loop: loop, log: log,
            now: { UnixTime(seconds: 1_000_000) + .nanoseconds(Int64(loop.now.uptimeNanoseconds)) },
            limits: limits,
            network: { attempt, _, _ in ScriptedNetwork.Socket(network, attempt) })
    }

    /// Runs the script; every difference is an issue that names its line.
    func run(_ script: String, sourceLocation: SourceLocation = #_sourceLocation) {
        for (number, line) in script.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let words = line.prefix { $0 != "#" }.split(separator: " ").map(String.init)
            guard let verb = words.first else { continue }
            do { try step(verb, Array(words.dropFirst())) } catch {
                Issue.record("line \(number + 1), \(line): \(error)", sourceLocation: sourceLocation)
                return
            }
        }
        do { try step("nothing", []) } catch { Issue.record("at the end: \(error)", sourceLocation: sourceLocation) }
        let warnings = log.warnings.dropFirst(warningsNamed)
        if !warnings.isEmpty { Issue.record("warnings: \(warnings)", sourceLocation: sourceLocation) }
        forwarder.abandonAll()
    }

    private func step(_ verb: String, _ words: [String]) throws {
        switch verb {
        case "ask": try ask(words)
        case "sent":
            guard !network.unnamed.isEmpty else { throw Mistake(description: "nothing was sent") }
            let attempt = network.unnamed.removeFirst()
            try expect("\(attempt.upstream.upstream) \(attempt.question)", words.joined(separator: " "))
        case "reply": try reply(words)
        case "answer":
            guard !answers.isEmpty else { throw Mistake(description: "no answer was given") }
            try expect(answers.removeFirst(), words.joined(separator: " "))
        case "wait":
            guard let text = words.first, text.hasSuffix("s"), let seconds = Double(text.dropLast()) else {
                throw Mistake(description: "expected wait SECONDSs")
            }
            loop.advanceTime(by: .nanoseconds(Int64(seconds * 1e9)))
        case "nothing":
            try expect(
                (network.unnamed.map { "sent \($0.upstream.upstream) \($0.question)" } + answers.map { "answer \($0)" })
                    .joined(separator: ", "), "")
        case "count":
            let value = Mirror(reflecting: forwarder.snapshot).children.first { $0.label == words.first }?.value
            try expect(value.map { "\($0)" } ?? "no counter", words.last ?? "")
        case "warning":
            let warning = log.warnings.dropFirst(warningsNamed).first ?? "none"
            warningsNamed += 1
            let wanted = words.joined(separator: " ")
            guard warning.hasPrefix(wanted) else { throw Mistake(description: "the warning is: \(warning)") }
        default: throw Mistake(description: "unknown step")
        }
    }

    private func expect(_ found: String, _ wanted: String) throws {
        guard found == wanted else { throw Mistake(description: "found: \(found)") }
    }

    private func question(_ words: [String]) throws -> Question {
        guard let name = words.first, let type = words.dropFirst().first.flatMap({ RecordType($0) }) else {
            throw Mistake(description: "expected NAME TYPE")
        }
        return Question(try DomainName(name), type)
    }

    private func ask(_ words: [String]) throws {
        let question = try question(words)
        func take(_ body: ResponseBody, _ elapsed: UInt32) {
            let resolution = body.resolution(of: question, elapsed: elapsed)
            let said =
                switch resolution.answer {
                case .records(let records, let ttl): "NOERROR \(ttl) \(records.map(Self.text).joined(separator: " "))"
                case .noData: "NODATA"
                case .noSuchName: "NXDOMAIN"
                case .temporaryFailure: "\(body.rcode)"
                }
            answers.append("\(question) \(said)")
        }
        if let found = forwarder.find(question) {
            take(found.body, found.elapsed)
        } else {
            let client = words.dropFirst(2).first == "from" ? words.dropFirst(3).first.flatMap { Int32($0) } : nil
            forwarder.wait(for: question, client: .process(client ?? 1)) { take($0, 0) }
        }
        loop.run()
    }

    private static func text(_ data: RecordData) -> String {
        switch data {
        case .txt(let octets): String(decoding: octets, as: UTF8.self)
        case .a(let address): "\(address)"
        default: "\(data)"
        }
    }

    private func reply(_ words: [String]) throws {
        let asked = try question(Array(words.dropFirst()))
        var rest = words.dropFirst(3)
        let isOpen = { (attempt: UpstreamTry) in
            "\(attempt.upstream.upstream)" == words.first && attempt.question == asked
        }
        guard let attempt = network.tries.last(where: isOpen), let rcode = rest.popFirst() else {
            throw Mistake(description: "no such query was sent, or no RCODE is given")
        }
        let isAuthenticated = rest.first == "ad"
        if isAuthenticated { rest = rest.dropFirst() }
        let data = rest.joined(separator: " ")
        let body: ResponseBody
        switch rcode {
        case "NOERROR":
            let zone = try StaticZone(
                text: "\(asked.name). \(rest.first ?? "") \(asked.type) \(rest.dropFirst().joined(separator: " "))")
            body = try Self.body(asked, zone, isAuthenticated)
        case "NXDOMAIN":
            let top = asked.name.suffix(labels: 1)
            body = try Self.body(
                asked, try StaticZone(text: "\(top). \(data) SOA ns.\(top). root.\(top). 1 2 3 4 \(data)"),
                isAuthenticated)
        case "SERVFAIL": body = ResponseBody(question: asked, rcode: .serverFailure)
        case "REFUSED": body = ResponseBody(question: asked, rcode: .refused)
        default: throw Mistake(description: "unknown RCODE")
        }
        attempt.received(body.message(for: try QueryMessage(attempt.query), elapsed: 0, maxOctets: 1232))
        loop.run()
    }

    private static func body(_ asked: Question, _ zone: StaticZone, _ isAuthenticated: Bool) throws -> ResponseBody {
        guard case .complete(let resolution)? = zone.lookup(asked) else {
            throw Mistake(description: "the record is not for the question")
        }
        return ResponseBody(
            question: asked, rcode: resolution.rcode, answers: resolution.records, authority: resolution.authority,
            isAuthenticated: isAuthenticated)
    }
}
