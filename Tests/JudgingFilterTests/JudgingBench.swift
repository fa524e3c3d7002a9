// Whole messages through JudgingFilter without libmilter: header fields and body in, a verdict, log lines and facts out.

import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail
import PosternMilter
import TestSupport
import Testing

@testable import postern_dmarc

/// A postern-dmarc on scripted time.
struct JudgingBench {
    let well: TarpitWell
    let log: RecordingLog
    let ledger: RecordingLedger
    let service: JudgingService

    /// - Parameter configuration: lines of postern.toml.
    init(
        configuration: String, well: TarpitWell, log: RecordingLog = RecordingLog(),
        ledger: RecordingLedger = RecordingLedger(), method: DMARCDiscoveryMethod = .treeWalk,
        now: UnixTime = UnixTime(seconds: 1_790_000_000)
    ) throws {
        let loaded = Configuration.read(Array(configuration.utf8), file: "test", folder: "/", for: .check)
        let settings = try #require(loaded.flawless, "\(loaded.problems)")
        self.well = well
        self.log = log
        self.ledger = ledger
        service = JudgingService(
            settings, method: method, facts: ledger, log: log,
            clocks: JudgingService.Clocks(now: { now }, monotonic: well.now), dns: well.view)
    }

    /// - Parameter zone: RFC 1035 master file text.
    /// - Parameter tarpits: names at and below which nobody ever answers.
    /// - Parameter slow: a name at and below which answers take so long.
    init(
        _ configuration: String = "", zone: String, failing: Set<DomainName> = [], tarpits: [String] = [],
        slow: [(String, Duration)] = [], method: DMARCDiscoveryMethod = .treeWalk
    ) throws {
        try self.init(
            configuration: "[host]\nname = \"mx1.example.net\"\nauthserv_id = \"example.net\"\n" + configuration,
            well: TarpitWell(
                zone: ZoneResolver(zone: zone, failing: failing), tarpits: tarpits.map { try DomainName($0) },
                slow: slow.map { (try DomainName($0.0), $0.1) }),
            method: method)
    }

    func session(
        _ address: String = "192.0.2.7", helo: String = "mx.example.org", port: UInt16 = 4711, daemon: String? = nil
    ) -> JudgingFilter {
        let client = SMTPClient(name: Array("mx.example.org".utf8), address: IPAddress(address), port: port)
        return JudgingFilter(
            session: SMTPSession(client: client, daemonName: daemon, helo: Array(helo.utf8)), service: service)
    }
}

extension JudgingFilter {
    /// A message in one piece; LF line ends are taken as CRLF.
    /// - Parameter knowsEnvelope: SPF is asked while the envelope comes in.
    func send(
        _ text: String, from: String = "ann@example.org", login: String? = nil, knowsEnvelope: Bool = true
    ) -> Verdict {
        send(MessageText(octets: text.utf8), from: from, login: login, knowsEnvelope: knowsEnvelope)
    }

    func send(
        _ message: MessageText, from: String = "ann@example.org", login: String? = nil, knowsEnvelope: Bool = true
    ) -> Verdict {
        begin(message, from: from, login: login, knowsEnvelope: knowsEnvelope)
        return endOfMessage()
    }

    /// All of the message but its end.
    func begin(
        _ message: MessageText, from: String = "ann@example.org", login: String? = nil, knowsEnvelope: Bool = true
    ) {
        mail(Envelope(mailFrom: Array(from.utf8), login: login.map { Array($0.utf8) }))
        if knowsEnvelope { judgeEnvelope() }
        for field in message.header { header(field) }
        var interest = endOfHeader(queueID: "4abc")
        var rest = message.body[...]
        while interest == .wanted, !rest.isEmpty {
            let chunk = Array(rest.prefix(7))
            interest = body(chunk.span)
            rest = rest.dropFirst(7)
        }
    }
}

extension Verdict {
    /// The one Authentication-Results field added, unfolded, without its name.
    var results: String? {
        inserted.first { $0.isNamed("Authentication-Results") }.map { String($0.unfolded.dropFirst(24)) }
    }
    /// The one Postern-Disposition field added.
    var mark: String? { inserted.first { $0.isNamed(DispositionMark.name) }.map(\.unfolded) }
    var reply: String? { if case .refuse(let reply) = disposition { "\(reply)" } else { nil } }
}
