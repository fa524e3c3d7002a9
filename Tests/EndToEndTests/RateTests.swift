// postern-rate behind a real Postfix with the lines of contrib/postfix/main.cf.rate, and the check at RCPT that it
// describes: what is allowed is accepted, the next recipient is deferred.

import Foundation
import Glibc
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("limits") struct Rate {
        @Test("three recipients are accepted, in one message and another; the fourth is deferred until it is cleared")
        func recipients() throws {
            let host = try RateHost()
            let first = try host.session("192.0.2.7").send(
                from: "ann@example.org", to: ["bo@example.org", "cy@example.org"], RateHost.letter)
            #expect(first.queueID != nil, "\(first)")
            let second = try host.session("192.0.2.7").send(
                from: "ann@example.org", to: ["bo@example.org"], RateHost.letter)
            #expect(second.queueID != nil, "\(second)")
            let refused = try host.rcpt("192.0.2.7")
            #expect(refused.code == 450 && "\(refused)".contains("Slow down"), "\(refused)")
            let line = try host.rate.await(line: "the warning") { $0.contains("limit per client over") }
            #expect(line.contains("192.0.2.7: 3 of 3 recipients in 3600s"), "\(line)")
            #expect(try host.rcpt("192.0.2.8").isPositive)
            let listed = try host.postern(["limit", "list", "--over"])
            #expect(listed.status == 0 && listed.text.contains("192.0.2.7"), "\(listed)")
            // What was counted is on the disk within a second.
            try Await.until("the journal") { try host.journalOctets() > 0 }
            #expect(try host.postern(["limit", "clear", "192.0.2.7"]).status == 0)
            #expect(try host.rcpt("192.0.2.7").isPositive)
        }

        @Test("SIGKILL: mail flows by default_action=DUNNO")
        func killed() throws {
            let host = try RateHost()
            host.rate.kill()
            for _ in 0..<4 {
                let reply = try host.session("192.0.2.7").send(
                    from: "ann@example.org", to: ["bo@example.org"], RateHost.letter)
                #expect(reply.isPositive, "\(reply)")
            }
        }
    }
}

/// A machine of this file's own: Postfix and postern-rate.
private final class RateHost {
    let postfix: PostfixInstance
    let rate: Daemon
    private let folder: TemporaryFolder

    static let letter = Array("From: Ann <ann@example.org>\r\nSubject: a letter\r\n\r\nHello\r\n".utf8)

    // Users that no machine gives to anyone.
    private static let group: gid_t = 64_100
    private static let user: uid_t = 64_105

    init() throws {
        guard let postfixGroup = getgrnam("postfix")?.pointee.gr_gid else { throw HarnessError("no group postfix") }
        var settings = PostfixSettings()
        settings.isChrooted = true
        let shipped = SourceTree.root.appending(path: "contrib/postfix/main.cf.rate")
        settings.mainLines = try String(contentsOf: shipped, encoding: .utf8).components(separatedBy: "\n")
        settings.mainLines += [
            "smtpd_recipient_restrictions = reject_unauth_destination, "
                + "check_policy_service { unix:postern/rate.sock, timeout=5s, default_action=DUNNO }",
            "virtual_mailbox_domains = example.org",
            "virtual_mailbox_maps = inline:{ bo@example.org=box/, cy@example.org=box/ }",
        ]
        postfix = try PostfixInstance(settings)
        folder = try TemporaryFolder(isGuarded: true)
        for (name, mode) in [("run", 0o3770), ("state", 0o3770)] as [(String, mode_t)] {
            let path = folder.file(name).path
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
            chown(path, 0, Self.group)
            chmod(path, mode)
        }
        try folder.write(
            "postern.toml",
            """
            [host]
            name = "mx1.example.org"
            [listen]
            rate = "unix:\(postfix.socketPath("rate.sock"))"
            control = "\(folder.path)/run"
            [state]
            directory = "\(folder.path)/state"
            [log]
            to = "stderr"
            [[limit]]
            name = "per client"
            per = ["client"]
            count = "recipients"
            allow = ["3/1h"]
            action = "defer 4.7.1 Slow down"

            """)
        rate = try Daemon(
            "postern-rate", configuration: folder.file("postern.toml").path,
            as: DaemonIdentity(user: Self.user, group: Self.group, supplementaryGroups: [postfixGroup]))
    }

    func journalOctets() throws -> Int {
        try FileManager.default.attributesOfItem(atPath: folder.file("state/limits.journal").path)[.size] as? Int ?? 0
    }

    /// A stranger's session.
    func session(_ address: String) throws -> SMTPClient {
        let client = try postfix.connect()
        try client.xclient(name: "mx.example.net", address: address)
        try client.expect("EHLO mx.example.net")
        return client
    }

    /// What is answered to one recipient, in a session of its own.
    func rcpt(_ address: String) throws -> SMTPReply {
        let client = try session(address)
        try client.expect("MAIL FROM:<ann@example.org>")
        return try client.command("RCPT TO:<bo@example.org>")
    }

    /// Runs the CLI.
    func postern(_ arguments: [String]) throws -> ProgramResult {
        try Program.run(
            try Products.path("postern"), arguments + ["--config", folder.file("postern.toml").path])
    }
}
