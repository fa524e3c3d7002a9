// postern-policy behind a real Postfix with the lines of contrib/postfix/main.cf.policy: rules, DNS lists, greylisting,
// what Postfix refuses by itself, and mail that flows while the daemon is dead.

import Foundation
import Glibc
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("policy service") struct Policy {
        @Test("a rule refuses, at RCPT, and the log tells which")
        func rule() throws {
            let host = try PolicyHost.shared()
            let reply = try host.rcpt("192.0.2.7", from: "spam@example.net")
            #expect("\(reply)" == "550 5.7.1 <bo@example.org>: Recipient address rejected: No spam")
            let line = try host.policy.await(line: "the refusal") { $0.contains("from=<spam@example.net>") }
            #expect(
                line.hasSuffix(
                    "NOQUEUE: reject: RCPT from mx.example.net[192.0.2.7]: 550 5.7.1 No spam (rule no spam); "
                        + "from=<spam@example.net> to=<bo@example.org> proto=ESMTP helo=<mx.example.net>"))
        }

        @Test("a header field is added once for a message with two recipients")
        func prepend() throws {
            let host = try PolicyHost.shared()
            let client = try host.session("192.0.2.7")
            let reply = try client.send(
                from: "marked@example.net", to: ["bo@example.org", "cy@example.org"], PolicyHost.letter)
            let message = try host.postfix.delivered(queueID: try #require(reply.queueID, "\(reply)"))
            #expect(message.fields("X-Policy").map(\.value) == ["marked"])
        }

        @Test("what Postfix refuses is refused for good, and postern-policy is not asked")
        func unknown() throws {
            let host = try PolicyHost.shared()
            let unknown = try host.rcpt("192.0.2.7", from: "unknown@example.net", to: "nobody@example.org")
            #expect(unknown.code == 550, "\(unknown)")
            let relay = try host.rcpt("192.0.2.7", from: "unknown@example.net", to: "ann@example.com")
            #expect(relay.code == 454, "\(relay)")  // by smtpd_relay_restrictions, which Postfix looks at first
            #expect(!host.policy.lines.contains { $0.contains("from=<unknown@example.net>") })
        }

        @Test("a listed client is refused, and one that is not is let in")
        func listed() throws {
            let host = try PolicyHost.shared()
            // A list is asked only once its test entries were right, in its daemon's first second.
            try Await.until("the list to be proved") { try host.postern(["dnsbl", "status"]).status == 0 }
            let reply = try host.rcpt("203.0.113.66", from: "ann@example.net")
            #expect(reply.code == 550 || reply.code == 554, "\(reply)")
            let line = try host.policy.await(line: "the refusal") { $0.contains("[203.0.113.66]") }
            #expect(line.contains("NOQUEUE: reject: RCPT from mx.example.net[203.0.113.66]: 5"), "\(line)")
            #expect(line.contains("bl.example.org"), "\(line)")
            #expect(try host.rcpt("203.0.113.67", from: "ann@example.net").isPositive)
            #expect(try host.postern(["dnsbl", "test", "203.0.113.66"]).status == 1)
            #expect(try host.postern(["dnsbl", "test", "203.0.113.67"]).status == 0)
        }

        @Test("a new sender is asked to come back, comes back, and is let in; who does not exist is 550 at once")
        func greylisted() throws {
            let host = try PolicyHost.shared()
            let sender = "ann@new.example.net"
            let explained = try host.postern([
                "explain", "--client", "192.0.2.7", "--client-name", "mx.example.net", "--helo", "mx.example.net",
                "--sender", sender, "--recipient", "bo@example.org",
            ])
            #expect(explained.text.hasPrefix("defer: 450 4.2.0 "), "\(explained)")
            let first = try host.rcpt("192.0.2.7", from: sender)
            #expect(first.code == 450 && first.lines.first?.hasPrefix("4.2.0 ") == true, "\(first)")
            #expect(try host.rcpt("192.0.2.7", from: sender, to: "nobody@example.org").code == 550)
            // The delay is a second: who asks again and again finds its end.
            try Await.until("the end of the wait") { try host.rcpt("192.0.2.7", from: sender).isPositive }
            let reply = try host.session("192.0.2.7").send(from: sender, to: ["bo@example.org"], PolicyHost.letter)
            #expect(reply.queueID != nil, "\(reply)")
            let lines = host.policy.lines.filter { $0.contains("from=<\(sender)>") }
            #expect(lines.first?.contains("NOQUEUE: defer: RCPT from mx.example.net[192.0.2.7]: 450 4.2.0 ") == true)
            #expect(lines.last?.contains("NOQUEUE: pass: RCPT from mx.example.net[192.0.2.7]: ") == true)
            let shown = try host.postern(["greylist", "show", "192.0.2.7"])
            #expect(shown.status == 0 && shown.text.contains("state         known"), "\(shown)")
            #expect(try host.postern(["greylist", "forget", "192.0.2.7"]).status == 0)
            #expect(try host.rcpt("192.0.2.7", from: sender).code == 450)
        }

        @Test("explain says what Postfix is told")
        func explain() throws {
            let host = try PolicyHost.shared()
            let result = try host.postern([
                "explain", "--client", "192.0.2.7", "--client-name", "mx.example.net", "--helo", "mx.example.net",
                "--sender", "spam@example.net", "--recipient", "bo@example.org",
            ])
            #expect(result.status == 1 && result.errors.isEmpty, "\(result)")
            #expect(result.text.hasPrefix("reject: 550 5.7.1 No spam (rule no spam)\n"), "\(result.text)")
        }

        @Test("reload puts new rules in force on connections that are open")
        func reload() throws {
            let host = try PolicyHost()
            #expect(try host.rcpt("192.0.2.7", from: "late@example.net").isPositive)
            try host.configure(
                rules: PolicyHost.rules + """
                    [[rule]]
                    name = "too late"
                    sender = ["late@example.net"]
                    action = "reject 5.7.1 Too late"

                    """)
            #expect(try host.postern(["reload", "policy"]).status == 0)
            #expect(try host.rcpt("192.0.2.7", from: "late@example.net").code == 550)
        }

        @Test("a damaged memory is set aside with one warning, and a new one is begun")
        func damaged() throws {
            let host = try PolicyHost()
            let sender = "ann@new.example.net"
            #expect(try host.rcpt("192.0.2.7", from: sender).code == 450)
            #expect(try host.policy.stop() == 0)
            try host.damageMemory()
            try host.restart()
            #expect(try host.rcpt("192.0.2.7", from: sender).code == 450)
            try Await.until("the end of the wait") { try host.rcpt("192.0.2.7", from: sender).isPositive }
            let told = host.policy.lines.filter { $0.contains("greylist.sqlite") }
            #expect(told.count == 1 && told.first?.contains("]: warning: ") == true, "\(host.policy.lines)")
        }

        @Test("SIGKILL: mail flows by default_action=DUNNO, and the next daemon takes over the stale socket")
        func killed() throws {
            let host = try PolicyHost()
            #expect(try host.rcpt("192.0.2.7", from: "spam@example.net").code == 550)
            host.policy.kill()
            let reply = try host.session("192.0.2.7").send(
                from: "spam@example.net", to: ["bo@example.org"], PolicyHost.letter)
            #expect(reply.isPositive, "\(reply)")
            #expect(!host.postfix.troubles.isEmpty)  // Postfix says so, in its own log
            try host.restart()
            #expect(try host.rcpt("192.0.2.7", from: "spam@example.net").code == 550)
        }
    }
}

/// A machine of this file's own: Postfix, postern-policy, postern-dns with a zone of its own.
final class PolicyHost: @unchecked Sendable {
    // Unchecked: `policy` is replaced by the test that owns the host, which is one thread.
    let postfix: PostfixInstance
    private(set) var policy: Daemon
    private let dns: Daemon
    private let folder: TemporaryFolder
    private let identity: DaemonIdentity

    private static let made = Result { try PolicyHost() }
    /// The one of this run.
    static func shared() throws -> PolicyHost { try made.get() }

    static let letter = Array("From: Ann <ann@example.net>\r\nSubject: a letter\r\n\r\nHello\r\n".utf8)

    // Users that no machine gives to anyone.
    private static let group: gid_t = 64_100
    private static let user: uid_t = 64_104

    init() throws {
        guard let postfixGroup = getgrnam("postfix")?.pointee.gr_gid else { throw HarnessError("no group postfix") }
        identity = DaemonIdentity(user: Self.user, group: Self.group, supplementaryGroups: [postfixGroup])
        var settings = PostfixSettings()
        settings.isChrooted = true
        let shipped = SourceTree.root.appending(path: "contrib/postfix/main.cf.policy")
        settings.mainLines = try String(contentsOf: shipped, encoding: .utf8).components(separatedBy: "\n")
        settings.mainLines += [
            "virtual_mailbox_domains = example.org",
            "virtual_mailbox_maps = inline:{ bo@example.org=box/, cy@example.org=box/ }",
        ]
        postfix = try PostfixInstance(settings)
        folder = try TemporaryFolder(isGuarded: true)
        try folder.write("static.zone", Self.zone)
        for (name, mode) in [("run", 0o3770), ("state", 0o3770)] as [(String, mode_t)] {
            let path = folder.file(name).path
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
            chown(path, 0, Self.group)
            chmod(path, mode)
        }
        let path = folder.file("postern.toml").path
        try folder.write("postern.toml", Self.configuration(folder: folder.path, postfix) + Self.rules)
        dns = try Daemon("postern-dns", configuration: path)
        policy = try Daemon("postern-policy", configuration: path, as: identity)
    }

    private static let zone = """
        $TTL 300
        example.net. IN SOA ns.example.net. admin.example.net. 1 3600 600 86400 60
        example.net. IN TXT "v=spf1 ip4:192.0.2.0/24 -all"
        bl.example.org. IN SOA ns.example.org. admin.example.org. 1 3600 600 86400 60
        2.0.0.127.bl.example.org. IN A 127.0.0.2
        66.113.0.203.bl.example.org. IN A 127.0.0.2

        """

    private static func configuration(folder: String, _ postfix: PostfixInstance) -> String {
        """
        [host]
        name = "mx1.example.org"
        [listen]
        policy = "unix:\(postfix.socketPath("policy.sock"))"
        dns = ["unix:\(folder)/run/dns.sock"]
        control = "\(folder)/run"
        [state]
        directory = "\(folder)/state"
        [log]
        to = "stderr"
        [dns]
        # Nobody answers there: what the zone below does not hold is a temporary failure; no test asks the world.
        upstream = ["127.0.0.1:9"]
        static = "static.zone"
        [[dnsbl.list]]
        zone = "bl.example.org"
        scores = { "127.0.0.[2..11]" = 4 }
        [greylist]
        delay = "1s"

        """
    }

    static let rules = """
        [[rule]]
        name = "no spam"
        sender = ["spam@example.net"]
        action = "reject 5.7.1 No spam"
        [[rule]]
        name = "marked"
        sender = ["marked@example.net"]
        action = "prepend X-Policy: marked"
        [[rule]]
        name = "new here"
        sender_domain = ["new.example.net"]
        action = "greylist"

        """

    /// Writes the file anew; a reload or another start reads it.
    func configure(rules: String) throws {
        try folder.write("postern.toml", Self.configuration(folder: folder.path, postfix) + rules)
    }

    /// Writes over the greylist's file.
    func damageMemory() throws {
        let file = try FileHandle(forWritingTo: folder.file("state/greylist.sqlite"))
        try file.write(contentsOf: Data(repeating: 0x5A, count: 64 << 10))
        try file.close()
        for suffix in ["-wal", "-shm"] {
            try? FileManager.default.removeItem(at: folder.file("state/greylist.sqlite\(suffix)"))  // may not be there
        }
    }

    /// Starts another postern-policy in the dead one's place.
    func restart() throws {
        policy = try Daemon("postern-policy", configuration: folder.file("postern.toml").path, as: identity)
    }

    /// A stranger's session.
    func session(_ address: String) throws -> SMTPClient {
        let client = try postfix.connect()
        try client.xclient(name: "mx.example.net", address: address)
        try client.expect("EHLO mx.example.net")
        return client
    }

    /// What is answered to one recipient, in a session of its own.
    func rcpt(_ address: String, from sender: String, to recipient: String = "bo@example.org") throws -> SMTPReply {
        let client = try session(address)
        try client.expect("MAIL FROM:<\(sender)>")
        return try client.command("RCPT TO:<\(recipient)>")
    }

    /// Runs the CLI.
    func postern(_ arguments: [String]) throws -> ProgramResult {
        try Program.run(
            try Products.path("postern"), arguments + ["--config", folder.file("postern.toml").path])
    }
}
