// A machine with all daemons: a real Postfix that asks them, a zone of their own, `postern metrics`, and Debian's
// Prometheus that scrapes it by contrib/prometheus/scrape.yml, with contrib's rules.

import Foundation
import Glibc
import PostfixHarness
import Synchronization

final class MetricsHost: Sendable {
    let postfix: PostfixInstance
    let daemons: [String: Daemon]
    let prometheus: Prometheus
    /// `127.0.0.1:PORT` of the page.
    let page: String
    private let server: BackgroundProgram
    private let folder: TemporaryFolder
    private let keys: HostKeys
    private let redis: RedisInstance

    private static let made = Swift.Result {
        let host = try MetricsHost()
        try host.sendMail()
        return host
    }
    /// The one of this run, after some mail.
    static func shared() throws -> MetricsHost { try made.get() }

    init() throws {
        keys = try HostKeys()
        redis = try RedisInstance()
        var settings = try PostfixSettings.shipped()
        settings.mainLines += [
            // As contrib/postfix/main.cf.policy and main.cf.rate have them, one behind the other; but no time limit ends
            // on a slow machine and makes DUNNO of an answer.
            """
            smtpd_recipient_restrictions = reject_unauth_destination,
                check_policy_service { unix:postern/policy.sock, timeout=100s, default_action=DUNNO },
                check_policy_service { unix:postern/rate.sock, timeout=100s, default_action=DUNNO }
            """,
            "local_header_rewrite_clients =",
        ]
        // Users are asked for nothing of that.
        settings.services[1].options.append("smtpd_recipient_restrictions=permit")
        postfix = try PostfixInstance(settings)
        folder = try TemporaryFolder(isGuarded: true)
        try folder.write("static.zone", keys.zone + Self.zone)
        for (name, pem) in keys.files { try folder.writeKey(name, pem) }
        try folder.shareRunAndState()
        let path = try folder.write("postern.toml", Self.configuration(folder.path, postfix, redis)).path
        var daemons: [String: Daemon] = [:]
        for name in Self.daemonNames {
            daemons[name] = try Daemon(name, configuration: path, as: .of(name))
        }
        self.daemons = daemons
        let backups = folder.file("backups").path
        for words in [["create", "--to", backups], ["test", backups]] {
            let made = try Program.run(try Products.path("postern"), ["backup"] + words + ["--config", path])
            guard made.status == 0 else { throw HarnessError("backup \(words): \(made.errors)\(made.text)") }
        }
        let port = try FreePort.tcp()
        page = "127.0.0.1:\(port)"
        server = try BackgroundProgram(
            try Products.path("postern"), ["metrics", "--listen", page, "--config", path],
            until: { lines in lines.contains { $0.contains("serving http metrics on") } })
        prometheus = try Prometheus(configuration: try Self.scraping(page))
    }

    private static func text(_ path: String) throws -> String {
        try String(contentsOf: SourceTree.root.appending(path: path), encoding: .utf8)
    }

    /// contrib's file with this host's address and rules, in a hurry; Prometheus watches itself too.
    private static func scraping(_ page: String) throws -> String {
        let rules = SourceTree.root.appending(path: "contrib/prometheus/postern.rules.yml").path
        var text = try text("contrib/prometheus/scrape.yml")
        for (word, mine) in [
            ("127.0.0.1:9154", page), ("/etc/prometheus/postern.rules.yml", rules),
            ("scrape_interval: 15s", "scrape_interval: 1s"),
            ("scrape_timeout: 10s", "scrape_timeout: 1s"),
            ("rule_files:", "  - job_name: prometheus\n    static_configs: [{targets: [\"SELF\"]}]\nrule_files:"),
        ] {
            guard text.contains(word) else { throw HarnessError("scrape.yml: expected \(word)") }
            text = text.replacingOccurrences(of: word, with: mine)
        }
        return "global: {scrape_interval: 1s, evaluation_interval: 1s}\n" + text
    }

    private static let zone = """
        example.net. IN TXT "v=spf1 ip4:192.0.2.0/24 -all"
        _dmarc.example.net. IN TXT "v=DMARC1; p=reject"
        bl.example.org. IN SOA ns.example.org. admin.example.org. 1 3600 600 86400 60
        2.0.0.127.bl.example.org. IN A 127.0.0.2
        66.113.0.203.bl.example.org. IN A 127.0.0.2

        """

    private static func configuration(
        _ folder: String, _ postfix: PostfixInstance, _ redis: RedisInstance
    ) -> String {
        """
        [host]
        name = "mx1.example.org"
        \(postfix.places(of: ["dkim", "dmarc", "policy", "rate"], in: folder))
        [[dkim.key]]
        domain = "example.org"
        selector = "r1"
        file = "keys/org-r1.pem"
        [[dnsbl.list]]
        zone = "bl.example.org"
        scores = { "127.0.0.[2..11]" = 4 }
        [greylist]
        clients = "all"
        delay = "1s"
        [[rule]]
        name = "a rule"
        helo = ["spam.example"]
        action = "reject 5.7.1 No spam"
        [[limit]]
        name = "per client"
        per = ["client"]
        clients = ["192.0.2.50"]
        count = "recipients"
        allow = ["5/1h"]
        action = "defer 4.7.1 Too many recipients, slow down"
        [store]
        url = "\(redis.url)"
        timeout = "3s"

        """
    }

    static let daemonNames = ["postern-dns", "postern-dkim", "postern-dmarc", "postern-policy", "postern-rate"]

    var configurationPath: String { folder.file("postern.toml").path }

    /// Runs the CLI.
    func postern(_ arguments: [String]) throws -> ProgramResult {
        try Program.run(try Products.path("postern"), arguments + ["--config", configurationPath])
    }

    // MARK: Mail

    /// What makes every daemon count and measure.
    func sendMail() throws {
        // Ours, signed.
        let user = try postfix.connect("submission")
        try user.xclient(name: "laptop.example.com", address: "198.51.100.9")
        try user.expect("EHLO laptop")
        for number in 0..<3 {
            let letter = Array("From: Ann <ann@example.org>\r\nSubject: \(number)\r\n\r\nHello\r\n".utf8)
            let reply = try user.send(from: "ann@example.org", to: ["bo@example.net"], letter)
            guard reply.isPositive else { throw HarnessError("submission: \(reply)") }
        }
        // A list is asked only once its test entries were right.
        try Await.until("the list to be proved") { try postern(["dnsbl", "status"]).status == 0 }
        // A listed one, and one whose domain's DNS fails.
        _ = try rcpt("203.0.113.66", from: "eve@example.net")
        _ = try rcpt("192.0.2.99", from: "eve@nowhere.test")
        // A stranger, greylisted first, signed and judged; another, over the limit.
        var answer: SMTPReply?
        try Await.until("greylisting to let it in", context: { "\(answer.map { "\($0)" } ?? "")" }) {
            answer = try rcpt("192.0.2.7", from: "ann@example.net")
            return answer?.isPositive == true
        }
        let letter = Array("From: Ann <ann@example.net>\r\nSubject: a letter\r\n\r\nHello\r\n".utf8)
        let order = SigningOrder(letter, key: keys.strangersEd25519, domain: "example.net", selector: "e1")
        guard let signed = try DKIMPy.sign([order]).first else { throw HarnessError("no signature") }
        for message in [letter, signed] {
            let client = try stranger("192.0.2.7")
            let reply = try client.send(from: "ann@example.net", to: ["bo@example.org"], message)
            guard reply.isPositive else { throw HarnessError("a stranger: \(reply)") }
        }
        try Await.until("the limit") {
            "\(try rcpt("192.0.2.50", from: "ann@example.net"))".contains("Too many recipients")
        }
    }

    private func stranger(_ address: String) throws -> SMTPClient {
        let client = try postfix.connect()
        try client.xclient(name: "mx.example.net", address: address)
        try client.expect("EHLO mx.example.net")
        return client
    }

    /// The answer to RCPT.
    private func rcpt(_ address: String, from: String) throws -> SMTPReply {
        let client = try stranger(address)
        try client.expect("MAIL FROM:<\(from)>")
        let reply = try client.command("RCPT TO:<bo@example.org>")
        try client.quit()
        return reply
    }
}
