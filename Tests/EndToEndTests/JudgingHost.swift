// A machine with all milters attached as contrib/postfix ships them: postern-dkim, then postern-dmarc, before a real
// Postfix, with postern-dns and a zone of their own. Strangers come by XCLIENT. Hosts that many tests share start once.

import Foundation
import Glibc
import PostfixHarness
import Synchronization
import Testing

final class JudgingHost: Sendable {
    let postfix: PostfixInstance
    /// Signs for every stranger: a zone of tests needs no more.
    let key: PeerKey
    /// Serves tarpit.test.
    let tarpit: SilentServer
    private let folder: TemporaryFolder
    /// The configuration without a test's own tables.
    private let base: String
    private let daemons: Mutex<Daemons>

    private struct Daemons {
        var dkim, dmarc, dns: Daemon
    }

    private static let mildOne = Result { try JudgingHost() }
    private static let strictOne = Result { try JudgingHost("[dmarc]\non_reject = \"reject\"\n") }
    /// As it is without any settings of the admin's: nothing is refused but what has no author.
    static func mild() throws -> JudgingHost { try mildOne.get() }
    /// With the opt-in.
    static func strict() throws -> JudgingHost { try strictOne.get() }

    /// - Parameter tables: more of the configuration.
    /// - Parameter verify: `dkim.verify`, which is false where both milters are attached.
    init(_ tables: String = "", verify: Bool = false) throws {
        key = try PeerKey(.ed25519)
        tarpit = try SilentServer()
        folder = try TemporaryFolder(isGuarded: true)
        var settings = try PostfixSettings.shipped()
        // Strangers by XCLIENT come from loopback, whose mail Postfix would complete with a From of its own.
        settings.mainLines.append("local_header_rewrite_clients =")
        postfix = try PostfixInstance(settings)
        try folder.write("static.zone", Self.zone(key))
        base = Self.configuration(folder: folder.path, postfix: postfix, tarpit: tarpit.port, verify: verify)
        try folder.write("postern.toml", base + tables)
        try folder.shareRunAndState()
        let path = folder.file("postern.toml").path
        let dns = try Daemon("postern-dns", configuration: path, as: .of("postern-dns"))
        let dkim = try Daemon("postern-dkim", configuration: path, as: .of("postern-dkim"))
        let dmarc = try Daemon("postern-dmarc", configuration: path, as: .of("postern-dmarc"))
        daemons = Mutex(Daemons(dkim: dkim, dmarc: dmarc, dns: dns))
    }

    private static func configuration(
        folder: String, postfix: PostfixInstance, tarpit: UInt16, verify: Bool
    ) -> String {
        """
        [host]
        name = "mx1.example.org"
        authserv_id = "example.org"
        strip_authserv_ids = ["example.org", "*.example.org"]
        \(postfix.places(of: ["dkim", "dmarc"], in: folder))
        [[dns.zone]]
        name = "tarpit.test"
        upstream = ["127.0.0.1:\(tarpit)"]
        [dkim]
        verify = \(verify)

        """
    }

    /// Whole top-level domains, so that a walk up the tree ends in "there is none"; nobody serves `test.`.
    private static func zone(_ key: PeerKey) -> String {
        var text = "$TTL 300\n"
        for domain in ["org", "net", "example"] {
            text += "\(domain). IN SOA ns.\(domain). admin.\(domain). 1 3600 600 86400 60\n"
        }
        for domain in ["example.net", "bank.example", "evil.example"] {
            text += key.zoneLine(name: "s1._domainkey.\(domain)")
        }
        return text + """
            example.net. IN TXT "v=spf1 ip4:192.0.2.0/24 -all"
            mx.example.net. IN A 192.0.2.7
            mx.example.net. IN TXT "v=spf1 a -all"
            _dmarc.example.net. IN TXT "v=DMARC1; p=reject; rua=mailto:dmarc@example.net"
            bank.example. IN TXT "v=spf1 -all"
            _dmarc.bank.example. IN TXT "v=DMARC1; p=reject; sp=quarantine; np=reject"
            shop.bank.example. IN A 192.0.2.80
            trial.example. IN TXT "v=spf1 -all"
            _dmarc.trial.example. IN TXT "v=DMARC1; p=reject; t=y"
            watched.example. IN TXT "v=spf1 -all"
            _dmarc.watched.example. IN TXT "v=DMARC1; p=none"
            soft.example. IN TXT "v=spf1 ~all"
            broken.example. IN TXT "v=spf1 ip4:192.0.2.256 -all"
            waiting.example. IN TXT "v=spf1 include:absent.test -all"
            lists.example. IN TXT "v=spf1 ip4:192.0.2.7 -all"
            evil.example. IN TXT "v=spf1 ip4:192.0.2.7 -all"
            _dmarc.evil.example. IN TXT "v=DMARC1; p=none"
            slow.example. IN TXT "v=spf1 include:a.tarpit.test include:b.tarpit.test mx:c.tarpit.test -all"

            """
    }
}

// MARK: Its daemons

extension JudgingHost {
    var configurationPath: String { folder.file("postern.toml").path }
    var dkim: Daemon { daemons.withLock { $0.dkim } }
    var dmarc: Daemon { daemons.withLock { $0.dmarc } }

    /// Starts another postern-dmarc in the old one's place.
    func restartDMARC() throws {
        let again = try Daemon("postern-dmarc", configuration: configurationPath, as: .of("postern-dmarc"))
        daemons.withLock { $0.dmarc = again }
    }

    /// Runs `body` while postern-dns is dead, and starts a new one after it.
    func withoutDNS(_ body: () throws -> Void) throws {
        daemons.withLock { $0.dns }.kill()
        let outcome = Result { try body() }
        let again = try Daemon("postern-dns", configuration: configurationPath, as: .of("postern-dns"))
        daemons.withLock { $0.dns = again }
        try outcome.get()
    }

    /// Runs the CLI with this host's configuration.
    func postern(_ arguments: [String]) throws -> ProgramResult {
        try Program.run(try Products.path("postern"), arguments + ["--config", configurationPath])
    }

    /// Puts other tables in the place of those it was made with; the daemons learn of it when they reload.
    func configure(_ tables: String) throws { try folder.write("postern.toml", base + tables) }

    /// What an admin would have to look at.
    var troubles: [String] {
        let ours = (dkim.lines + dmarc.lines).filter { line in
            ["warning: ", "error: ", "critical: "].contains { line.contains("]: \($0)") }
        }
        return ours + postfix.troubles.map(\.description)
    }
}

// MARK: Mail

/// What became of a message at the door.
struct Judgement {
    let reply: SMTPReply
    let queueID: String
    /// postern-dmarc's line about it, from the action on.
    let line: String
}

extension JudgingHost {
    /// An open session of a stranger's.
    func session() throws -> SMTPClient {
        let client = try postfix.connect()
        try client.xclient(name: "mx.example.net", address: "192.0.2.7")
        try client.expect("EHLO mx.example.net")
        return client
    }

    /// Sends one message as a stranger and waits for the line about it. One at a time: a refusal names no queue id.
    func offer(_ message: [UInt8], from: String) throws -> Judgement {
        let before = outcomes.count
        let client = try session()
        let reply = try client.send(from: from, to: ["bo@example.org"], message)
        try client.quit()
        let line = try Await.value("postern-dmarc's line", context: { "\(reply)\n\(dmarc.lines.suffix(5))" }) {
            outcomes.dropFirst(before).first
        }
        let words = line.split(separator: ": ", maxSplits: 2)
        guard words.count == 3 else { throw HarnessError("expected a line with an action, found \(line)") }
        return Judgement(reply: reply, queueID: String(words[1]), line: String(words[2]))
    }

    private var outcomes: [String] { dmarc.lines.filter { $0.contains(": END-OF-MESSAGE from ") } }

    /// Sends one message that is accepted, and waits for its delivery.
    func send(_ message: [UInt8], from: String) throws -> Arrival {
        let judgement = try offer(message, from: from)
        guard judgement.reply.queueID == judgement.queueID else {
            throw HarnessError("\(judgement.reply); \(judgement.line)")
        }
        let delivered = try postfix.delivered(queueID: judgement.queueID)
        return Arrival(queueID: judgement.queueID, message: delivered, log: [judgement.line])
    }

    /// The line of postern-dmarc about a message, from the action on.
    static func line(_ action: String, _ text: String, from: String) -> String {
        "\(action): END-OF-MESSAGE from mx.example.net[192.0.2.7]: \(text); from=<\(from)> helo=<mx.example.net>"
    }

    /// Signs a message once for each domain; no signature covers another.
    func signed(_ message: [UInt8], by domains: [String]) throws -> [UInt8] {
        let orders = domains.map { SigningOrder(message, key: key, domain: $0, selector: "s1") }
        return try DKIMPy.sign(orders).flatMap { $0.dropLast(message.count) } + message
    }
}

// MARK: Facts

extension JudgingHost {
    private static let reader = """
        import sqlite3, sys
        def name(octets):
            labels = []
            while octets:
                labels.append(octets[1:1 + octets[0]].decode())
                octets = octets[1 + octets[0]:]
            return ".".join(label for label in labels if label) or "-"
        store = sqlite3.connect(sys.argv[1])
        for (fact, author, result, disposition, override, p, rua) in store.execute(
                "SELECT fact.id, author, result, disposition, override, p, rua FROM fact "
                "LEFT JOIN policy ON policy.id = fact.policy WHERE queue_id = ? ORDER BY fact.id", (sys.argv[2],)):
            print(name(author), result, disposition, override or "-", "p=" + (p or "-"), "rua=" + (rua or "-"))
            for row in store.execute("SELECT scope, domain, result FROM spf WHERE fact = ? ORDER BY position", (fact,)):
                print("spf", row[0], name(row[1]), row[2])
            for row in store.execute("SELECT domain, result FROM dkim WHERE fact = ? ORDER BY position", (fact,)):
                print("dkim", name(row[0]), row[1])
        """

    /// Waits for what facts.sqlite holds about a message: a line for each author, then those of SPF and DKIM.
    /// Its owner lets nobody else open it: what is read is a copy, as a crash at this moment would leave it.
    func facts(_ queueID: String) throws -> [String] {
        var last = "no file"
        return try Await.value("facts of \(queueID)", context: { last + dmarc.lines.joined(separator: "\n") }) {
            let copy = try TemporaryFolder()
            for name in ["facts.sqlite", "facts.sqlite-wal"] {
                guard let octets = try? folder.read("state/\(name)") else { continue }  // not there yet
                try copy.write(name, octets)
            }
            let result = try Program.run(
                "/usr/bin/python3", ["-c", Self.reader, copy.file("facts.sqlite").path, queueID])
            let lines = result.text.split(separator: "\n").map(String.init)
            // A copy made during a write may be of two halves: the next one is better.
            guard result.status == 0, !lines.isEmpty else {
                last = result.errors
                return nil
            }
            return lines
        }
    }
}
