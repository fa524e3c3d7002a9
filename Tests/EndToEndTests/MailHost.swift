// The machine that the end-to-end tests share: a stock Postfix with contrib/postfix's own lines, postern-dns with a
// zone of its own, postern-dkim between them. Its parts start once; tests tell their mail apart by queue id.

import Foundation
import Glibc
import PostfixHarness
import Synchronization
import Testing

/// Every test through Postfix is nested in this suite. The suites in it run beside each other, each one's own tests one
/// after another: an instance is heavy, and this machine may be small.
@Suite("end to end", .onOwnThreads, .enabled(if: PostfixInstance.isAvailable, "needs root and Postfix"))
struct EndToEnd {}

final class MailHost: Sendable {
    /// What the zone holds and the keys' files hold.
    let keys: HostKeys
    let postfix: PostfixInstance
    private let folder: TemporaryFolder
    private let daemons: Mutex<(dkim: Daemon, dns: Daemon)>

    private static let made = Result { try MailHost() }
    /// The one of this run; every test fails with the same text if it does not come up.
    static func shared() throws -> MailHost { try made.get() }

    /// One of a test's own, for what would disturb others.
    init() throws {
        keys = try HostKeys()
        folder = try TemporaryFolder(isGuarded: true)
        // These tests are about postern-dkim alone; JudgingHost has both milters.
        var settings = try PostfixSettings.shipped(without: "dmarc")
        // Users that log in, by XCLIENT (XCLIENT_README): no password is ever asked.
        let sasl = ["smtpd_sasl_auth_enable=yes", "smtpd_sasl_path=smtpd"]
        settings.services.append(SMTPService("login", options: sasl))
        settings.services.append(SMTPService("reinject", options: ["milter_macro_daemon_name=REINJECT"]))
        postfix = try PostfixInstance(settings)
        try folder.write("static.zone", keys.zone)
        try folder.write("postern.toml", Self.configuration(folder: folder.path, postfix: postfix))
        for (name, pem) in keys.files { try folder.writeKey(name, pem) }
        try TemporaryFolder.share(folder.file("run"))
        // postern-dkim first: it has to find postern-dns by itself, as after a boot.
        let path = folder.file("postern.toml").path
        let dkim = try Daemon("postern-dkim", configuration: path, as: .of("postern-dkim"))
        daemons = Mutex((dkim, try Daemon("postern-dns", configuration: path, as: .of("postern-dns"))))
    }

    var configurationPath: String { folder.file("postern.toml").path }
    /// `--resolver` for the CLI.
    var resolver: String { "unix:\(folder.file("run/dns.sock").path)" }

    private static func configuration(folder: String, postfix: PostfixInstance) -> String {
        """
        [host]
        name = "mx1.example.org"
        authserv_id = "example.org"
        [listen]
        dkim = "unix:\(postfix.socketPath("dkim.sock"))"
        dns = ["unix:\(folder)/run/dns.sock"]
        control = "\(folder)/run"
        [log]
        to = "stderr"
        [dns]
        # Nobody answers there: what the zone below does not hold is a temporary failure; no test asks the world.
        upstream = ["127.0.0.1:9"]
        static = "static.zone"
        [[dkim.key]]
        domain = "example.org"
        selector = "r1"
        file = "keys/org-r1.pem"
        [[dkim.key]]
        domain = "example.org"
        selector = "e1"
        file = "keys/org-e1.pem"

        """
    }

    var dkim: Daemon { daemons.withLock { $0.dkim } }

    /// Starts another postern-dkim in the old one's place.
    func restartDKIM() throws {
        let again = try Daemon("postern-dkim", configuration: configurationPath, as: .of("postern-dkim"))
        daemons.withLock { $0.dkim = again }
    }

    /// Runs `body` while postern-dns is dead, and starts a new one after it.
    func withoutDNS(_ body: () throws -> Void) throws {
        daemons.withLock { $0.dns }.kill()
        let outcome = Result { try body() }
        let again = try Daemon("postern-dns", configuration: configurationPath, as: .of("postern-dns"))
        daemons.withLock { $0.dns = again }
        try outcome.get()
    }

    /// What an admin would have to look at, and no test has asked for.
    var troubles: [String] {
        let expected = [": warning: postern-dns does not answer: "]
        let ours = dkim.lines.filter { line in
            ["warning: ", "error: ", "critical: "].contains { line.contains("]: \($0)") }
                && !expected.contains { line.contains($0) }
        }
        return ours + postfix.troubles.map(\.description)
    }

    /// Runs the CLI.
    func postern(_ arguments: [String], input: [UInt8]? = nil) throws -> ProgramResult {
        try Program.run(try Products.path("postern"), arguments, input: input)
    }
}

/// Keys of our domain and of a stranger's, and the zone that publishes them.
struct HostKeys: Sendable {
    let rsa: PeerKey
    let ed25519: PeerKey
    let strangersRSA: PeerKey
    let strangersEd25519: PeerKey

    init() throws {
        rsa = try PeerKey(.rsa)
        ed25519 = try PeerKey(.ed25519)
        strangersRSA = try PeerKey(.rsa)
        strangersEd25519 = try PeerKey(.ed25519)
    }

    func strangers(_ kind: PeerKey.Kind) -> (key: PeerKey, selector: String) {
        kind == .rsa ? (strangersRSA, "r1") : (strangersEd25519, "e1")
    }

    /// Name and PEM of the files of our own keys.
    var files: [(String, String)] { [("org-r1.pem", rsa.pem), ("org-e1.pem", ed25519.pem)] }

    /// TXT records by name.
    var records: [String: String] {
        [
            "r1._domainkey.example.org": rsa.record, "e1._domainkey.example.org": ed25519.record,
            "r1._domainkey.example.net": strangersRSA.record, "e1._domainkey.example.net": strangersEd25519.record,
            "revoked._domainkey.example.net": "v=DKIM1; k=rsa; p=",
        ]
    }

    /// With SOA records, so that a name which is not there does not exist.
    var zone: String {
        var text = "$TTL 300\n"
        for domain in ["example.org", "example.net"] {
            text += "\(domain). IN SOA ns.\(domain). admin.\(domain). 1 3600 600 86400 60\n"
        }
        return text + records.sorted { $0.key < $1.key }.map { ZoneText.txt(name: $0.key, $0.value) }.joined()
    }
}
