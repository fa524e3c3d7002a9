// Replays a script against a forwarder whose clock and network are both scripted: who asks what, what is sent to which
// upstream, what it replies, how time goes by, and what is answered. Each line is a step:
//
//     ask NAME TYPE [from CLIENT]               a client asks
//     sent UPSTREAM NAME TYPE [HOW ...]         the next query that left; HOW, where it matters: `tcp`, `edns`, `plain`,
//                                               `nocookie`, `cookie`, `cookie=SERVER`
//     dialed UPSTREAM                           the next TCP connection that was asked for
//     opened, hangup, closed UPSTREAM           the newest connection: it is there; it ends; we have closed it
//     reply UPSTREAM NAME TYPE RCODE [ad] ...   what comes back to the newest such query; then a TTL, and for NOERROR the
//                                               record's data; before them changes to the reply, see `Forgery`
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

/// A query that left.
private struct Sent {
    let upstream: Upstream
    let octets: [UInt8]
    let message: QueryMessage
    let isStream: Bool
    /// Brings octets back to it.
    let deliver: ([UInt8]) -> Void

    /// Whether it left as a script's word says.
    func isAs(_ word: String) throws -> Bool {
        let reader = try ReplyMessage(octets.enumerated().map { $0.offset == 2 ? $0.element | 0x80 : $0.element })
        let cookie = reader.options.cookieOctets
        switch word {
        case "tcp": return isStream
        case "edns": return message.datagramOctets != nil
        case "plain": return message.datagramOctets == nil
        case "nocookie": return cookie == nil
        case "cookie": return cookie?.count == 8
        case let word where word.hasPrefix("cookie="):
            return cookie?.dropFirst(8).elementsEqual(word.utf8.dropFirst(7)) == true
        default: throw Replay.Mistake(description: "unknown word \(word)")
        }
    }
}

/// What left, in its order.
private final class ScriptedNetwork {
    var sent: [Sent] = []
    var unnamed: [Sent] = []
    var wires: [Wire] = []
    var undialed: [Wire] = []

    /// A query holds its try, and that by way of the forwarder this network: a circle that somebody must open.
    func forget() { (sent, unnamed, wires, undialed) = ([], [], [], []) }

    func add(_ upstream: Upstream, _ octets: [UInt8], isStream: Bool, _ deliver: @escaping ([UInt8]) -> Void) {
        guard let message = try? QueryMessage(octets) else {
            Issue.record("a query that is none left for \(upstream): \(octets)")
            return
        }
        let one = Sent(upstream: upstream, octets: octets, message: message, isStream: isStream, deliver: deliver)
        sent.append(one)
        unnamed.append(one)
    }

    final class Socket: UpstreamSocket {
        private let network: ScriptedNetwork
        private weak var attempt: UpstreamTry?
        init(_ network: ScriptedNetwork, _ attempt: UpstreamTry) {
            self.network = network
            self.attempt = attempt
        }
        func start(timeout: Duration) {
            guard let attempt else { return }
            network.add(attempt.upstream.upstream, attempt.query, isStream: false) { attempt.received($0) }
        }
        func close() {}
    }

    final class Wire: StreamWire {
        let upstream: Upstream
        let stream: UpstreamStream
        private let network: ScriptedNetwork
        private(set) var isClosed = false
        init(_ network: ScriptedNetwork, _ upstream: Upstream, _ stream: UpstreamStream) {
            (self.network, self.upstream, self.stream) = (network, upstream, stream)
            network.wires.append(self)
            network.undialed.append(self)
        }
        func write(_ octets: [UInt8]) {
            var buffer = ByteBuffer(bytes: octets)
            while let query = MessageFraming.next(in: &buffer) {
                network.add(upstream, query, isStream: true) { [stream] message in
                    for octet in MessageFraming.framed(message) { stream.received(ByteBuffer(bytes: [octet])) }
                }
            }
            if buffer.readableBytes > 0 { Issue.record("half a query left for \(upstream)") }
        }
        func close() { isClosed = true }
    }
}

/// What is not as it should be in a reply.
private enum Forgery {
    /// Changes a good reply as a script's word says.
    static func apply(_ word: String, to reply: inout [UInt8], _ sent: Sent) throws {
        func cookie(_ client: [UInt8], _ server: Substring) { append(10, client + server.utf8, to: &reply) }
        let client = sent.message.clientCookie ?? []
        let parts = word.split(separator: "=", maxSplits: 1)
        let value = parts.dropFirst().first ?? ""
        switch parts.first {
        case "+id": reply[1] ^= 1
        case "+type": reply[12 + sent.message.questionOctets.count - 3] ^= 1
        case "+name": reply[13] ^= 1
        case "+case": reply[13] ^= 0x20
        case "+query": reply[2] &= 0x7F
        case "+tc": reply[2] |= 0x02
        case "+cut": reply.removeLast(reply.count - 20)
        case "+empty": reply = []
        case "+noedns":  // the OPT record is the last one, and without options
            reply.removeLast(11)
            reply[11] -= 1
        case "+cookie": cookie(client, value)
        case "+badcookie":
            cookie(client, value)
            reply[reply.count - 4 - client.count - value.utf8.count - 6] = 1  // RFC 6891 §6.1.3: the upper bits of 23
            reply[3] = reply[3] & 0xF0 | 7
        case "+badvers":
            reply[reply.count - 6] = 1  // 16
            reply[3] &= 0xF0
        case "+wrongcookie": cookie(client.map { $0 ^ 1 }, value)
        case "+oddcookie": cookie(Array(client.prefix(7)), "")
        case "+ede": append(15, [0, UInt8(value) ?? 0], to: &reply)
        default: throw Replay.Mistake(description: "unknown change \(word)")
        }
    }

    private static func append(_ code: UInt8, _ octets: [UInt8], to reply: inout [UInt8]) {
        reply[reply.count - 1] = UInt8(4 + octets.count)
        reply += [0, code, 0, UInt8(octets.count)] + octets
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
            network: UpstreamNetwork(
                datagram: { attempt, _, _ in ScriptedNetwork.Socket(network, attempt) },
                dial: { upstream, stream, _, _ in ScriptedNetwork.Wire(network, upstream, stream) }))
    }

    deinit { network.forget() }

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
        loop.run()  // what that left for later: the loop would keep it, and it the forwarder
    }

    private func step(_ verb: String, _ words: [String]) throws {
        switch verb {
        case "ask": try ask(words)
        case "sent":
            guard !network.unnamed.isEmpty else { throw Mistake(description: "nothing was sent") }
            let sent = network.unnamed.removeFirst()
            try expect("\(sent.upstream) \(sent.message.question)", words.prefix(3).joined(separator: " "))
            let how = words.dropFirst(3)
            try expect(sent.isStream ? "tcp" : "udp", how.contains("tcp") ? "tcp" : "udp")
            for word in how where try !sent.isAs(word) { throw Mistake(description: "it is not \(word)") }
        case "dialed":
            guard !network.undialed.isEmpty else { throw Mistake(description: "nothing was dialed") }
            try expect("\(network.undialed.removeFirst().upstream)", words.joined())
        case "opened": try wire(words).stream.opened()
        case "hangup": try wire(words).stream.ended("it closed the TCP connection")
        case "closed": if try !wire(words).isClosed { throw Mistake(description: "it is not closed") }
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
                (network.undialed.map { "dialed \($0.upstream)" }
                    + network.unnamed.map { "sent \($0.upstream) \($0.message.question)" }
                    + answers.map { "answer \($0)" })
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

    private func wire(_ words: [String]) throws -> ScriptedNetwork.Wire {
        guard let wire = network.wires.last(where: { "\($0.upstream)" == words.first }) else {
            throw Mistake(description: "no such connection")
        }
        return wire
    }

    private func reply(_ words: [String]) throws {
        let asked = try question(Array(words.dropFirst()))
        var rest = words.dropFirst(3)
        let matching = network.sent.filter { "\($0.upstream)" == words.first && $0.message.question == asked }
        guard let rcode = rest.popFirst(), var sent = matching.last else {
            throw Mistake(description: "no such query was sent, or no RCODE is given")
        }
        var changes: [String] = []
        while let word = rest.first, word.hasPrefix("+") {
            rest = rest.dropFirst()
            if word == "+first", let first = matching.first { sent = first } else { changes.append(word) }
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
        case "FORMERR": body = ResponseBody(question: asked, rcode: .formatError)
        case "NOTIMP": body = ResponseBody(question: asked, rcode: .notImplemented)
        case "EMPTY": body = ResponseBody(question: asked, rcode: .noError)
        default: throw Mistake(description: "unknown RCODE")
        }
        var octets = body.message(for: sent.message, elapsed: 0, maxOctets: sent.isStream ? 65_535 : 1232)
        for change in changes { try Forgery.apply(change, to: &octets, sent) }
        sent.deliver(octets)
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
