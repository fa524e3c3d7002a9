// A machine whose logs are read: Postfix with postern-policy, postern-dkim and postern-dmarc, some thousand messages
// through it. Its daemons write both forms of log lines, each to its own file, as text without times and as JSON.

import Foundation
import Glibc
import PostfixHarness

final class ReportHost: Sendable {
    let postfix: PostfixInstance
    private let policy, dkim, dmarc, dns: Daemon
    private let folder: TemporaryFolder

    init() throws {
        var settings = try PostfixSettings.shipped()
        let shipped = SourceTree.root.appending(path: "contrib/postfix/main.cf.policy")
        settings.mainLines += try String(contentsOf: shipped, encoding: .utf8).components(separatedBy: "\n")
        settings.mainLines += [
            "virtual_mailbox_domains = example.org",
            "virtual_mailbox_maps = inline:{ bo@example.org=box/, cy@example.org=box/ }",
        ]
        // smtp-source(1) comes from loopback, and is a stranger here.
        settings.networks = "192.0.2.250/32"
        settings.hasShortQueueIDs = true
        postfix = try PostfixInstance(settings)
        folder = try TemporaryFolder(isGuarded: true)
        try folder.write("static.zone", Self.zone)
        try folder.shareRunAndState()
        for format in ["postfix", "json"] {
            try folder.write("\(format).toml", Self.configuration(folder.path, postfix, format: format))
        }
        let text = folder.file("postfix.toml").path
        dns = try Daemon("postern-dns", configuration: text, as: .of("postern-dns"))
        policy = try Daemon("postern-policy", configuration: text, as: .of("postern-policy"))
        dkim = try Daemon("postern-dkim", configuration: text, as: .of("postern-dkim"))
        dmarc = try Daemon("postern-dmarc", configuration: folder.file("json.toml").path, as: .of("postern-dmarc"))
    }

    private static let zone = """
        $TTL 300
        org. IN SOA ns.example. admin.example. 1 3600 600 86400 60
        net. IN SOA ns.example. admin.example. 1 3600 600 86400 60
        example. IN SOA ns.example. admin.example. 1 3600 600 86400 60
        example.net. IN TXT "v=spf1 ip4:127.0.0.0/8 ip4:192.0.2.0/24 -all"
        _dmarc.example.net. IN TXT "v=DMARC1; p=reject"
        bank.example. IN TXT "v=spf1 -all"
        _dmarc.bank.example. IN TXT "v=DMARC1; p=reject"

        """

    private static func configuration(_ folder: String, _ postfix: PostfixInstance, format: String) -> String {
        """
        [host]
        name = "mx1.example.org"
        networks = ["192.0.2.250/32"]
        \(postfix.places(of: ["policy", "dkim", "dmarc"], in: folder, logFormat: format))
        [dkim]
        verify = false
        [dmarc]
        on_reject = "reject"
        [greylist]
        delay = "1s"
        [[rule]]
        name = "no spam"
        sender = ["spam@example.net"]
        action = "reject 5.7.1 No spam"
        [[rule]]
        name = "new here"
        sender_domain = ["new.example"]
        action = "greylist"

        """
    }

    // MARK: Mail

    static let letter = Array("From: Ann <ann@example.net>\r\nSubject: a letter\r\n\r\nHello\r\n".utf8)

    /// A stranger's session.
    func session(_ address: String, helo: String = "mx.example.net") throws -> SMTPClient {
        let client = try postfix.connect()
        try client.xclient(name: "mx.example.net", address: address)
        try client.expect("EHLO \(helo)")
        return client
    }

    /// Many messages, as smtp-source(1) sends them: four sessions at a time.
    func send(_ count: Int, from: String) throws {
        let result = try Program.run(
            "/usr/sbin/smtp-source",
            [
                "-m", "\(count)", "-s", "4", "-f", from, "-t", "bo@example.org", "-M", "mx.example.net",
                "inet:127.0.0.1:\(try postfix.port())",
            ])
        guard result.status == 0 else { throw HarnessError("smtp-source: \(result.errors)") }
    }

    /// Waits until so many messages have left the queue.
    func awaitEnd(of count: Int) throws {
        try Await.until("the end of \(count) messages") {
            postfix.logLines.count { $0.service == "qmgr" && $0.text.hasSuffix(": removed") } >= count
        }
    }

    // MARK: Logs

    var postfixLog: String {
        URL(filePath: postfix.configurationFolder).deletingLastPathComponent().appending(path: "mail.log").path
    }
    /// Of postern-policy and postern-dkim: text, without times.
    var text: [String] { policy.lines + dkim.lines }
    /// Of postern-dmarc: JSON.
    var json: [String] { dmarc.lines }

    /// The files to read: Postfix's, our text, our JSON compressed.
    func logs() throws -> [String] {
        let ours = try folder.write("text.log", text.joined(separator: "\n") + "\n")
        let objects = try folder.write("json.log", json.joined(separator: "\n") + "\n")
        let gzip = try Program.run("/usr/bin/gzip", ["-kf", objects.path])
        guard gzip.status == 0 else { throw HarnessError("gzip: \(gzip.errors)") }
        return [postfixLog, ours.path, objects.path + ".gz"]
    }

    /// What `postern status` says of a daemon.
    func status(_ daemon: String) throws -> ProgramResult {
        try Program.run(
            try Products.path("postern"),
            ["status", daemon, "--json", "--config", folder.file("postfix.toml").path])
    }

    func postern(_ arguments: [String]) throws -> ProgramResult {
        try Program.run(
            try Products.path("postern"), arguments + ["--config", folder.file("postfix.toml").path, "--log"] + logs())
    }
}
