// A machine with all of Postern before a real Postfix, wired by the lines of contrib/postfix, which the doctor's tests
// break and mend. Its zone is what a careful admin publishes.

import Foundation
import Glibc
import PostfixHarness
import Testing

final class DoctorHost {
    let postfix: PostfixInstance
    private let folder: TemporaryFolder
    private let certificates: RedisCertificates
    private var daemons: [String: Daemon] = [:]
    /// main.cf, master.cf and postern.toml as they are when all is right.
    private let right: [String: [UInt8]]

    init() throws {
        var settings = try PostfixSettings.shipped()
        for name in ["main.cf.policy", "main.cf.rate"] {
            let file = SourceTree.root.appending(path: "contrib/postfix/\(name)")
            settings.mainLines += try String(contentsOf: file, encoding: .utf8).components(separatedBy: "\n")
        }
        certificates = try RedisCertificates(for: ["DNS:mx1.example.org"])
        settings.mainLines += [
            "smtpd_tls_security_level = may",
            "smtpd_tls_chain_files = \(certificates.key), \(certificates.certificate)",
        ]
        postfix = try PostfixInstance(settings)
        folder = try TemporaryFolder(isGuarded: true)
        let key = try PeerKey(.ed25519)
        try folder.write("static.zone", Self.zone + key.zoneLine(name: "s1._domainkey.example.org"))
        try folder.shareRunAndState()
        try folder.writeKey("s1.pem", key.pem)
        try folder.write("postern.toml", Self.configuration(folder.path, postfix))
        var right: [String: [UInt8]] = [:]
        for path in [
            "\(postfix.configurationFolder)/main.cf", "\(postfix.configurationFolder)/master.cf",
            folder.file("postern.toml").path,
        ] {
            right[path] = Array(try Data(contentsOf: URL(filePath: path)))
        }
        self.right = right
        for name in ["dns", "dkim", "dmarc", "policy", "rate"] {
            daemons[name] = try Daemon(
                "postern-\(name)", configuration: folder.file("postern.toml").path, as: .of("postern-\(name)"))
        }
        for line in ["postern backup create", "postern backup test"] {
            try shell("\(line) --config \(folder.file("postern.toml").path)")
        }
    }

    private static let zone = """
        $TTL 300
        example.org. IN SOA ns.example.org. admin.example.org. 1 3600 600 86400 60
        org. IN SOA ns.org. admin.org. 1 3600 600 86400 60
        example.org. IN TXT "v=spf1 a:mx1.example.org -all"
        example.org. IN MX 10 mx1.example.org.
        _mta-sts.example.org. IN TXT "v=STSv1; id=1"
        mx1.example.org. IN A 192.0.2.25
        mx9.example.org. IN A 192.0.2.25
        _dmarc.example.org. IN TXT "v=DMARC1; p=reject; rua=mailto:dmarc@example.org"
        25.2.0.192.in-addr.arpa. IN PTR mx1.example.org.
        bl.example.org. IN SOA ns.example.org. admin.example.org. 1 3600 600 86400 60
        2.0.0.127.bl.example.org. IN A 127.0.0.2

        """

    private static func configuration(_ folder: String, _ postfix: PostfixInstance) -> String {
        """
        [host]
        name = "mx1.example.org"
        authserv_id = "example.org"
        \(postfix.places(of: ["dkim", "dmarc", "policy", "rate"], in: folder))
        [dkim]
        verify = false
        [[dkim.key]]
        domain = "example.org"
        selector = "s1"
        file = "keys/s1.pem"
        [[dnsbl.list]]
        zone = "bl.example.org"
        scores = { "127.0.0.[2..11]" = 4 }
        [[limit]]
        name = "per client"
        per = ["client"]
        count = "messages"
        allow = ["1000/1h"]
        action = "defer 4.7.1 Slow down"

        """
    }

    // MARK: Breaking and mending

    /// The submission service as `postconf -P` names it.
    func submission() throws -> String { "127.0.0.1:\(try postfix.port("submission"))/inet" }
    func mx() throws -> String { "127.0.0.1:\(try postfix.port())/inet" }
    var postern: URL { postfix.queueFolder.appending(path: "postern") }

    /// A line for the shell; every one must succeed. Backups go into a folder of this host's.
    func shell(_ line: String) throws {
        var line = line
        for (word, place) in [("postern backup create", " --to"), ("postern backup test", "")]
        where line.hasPrefix(word) {
            line = "\(try Products.path("postern"))\(line.dropFirst(7))\(place) \(folder.file("backups").path)"
        }
        let result = try Program.run("/bin/sh", ["-c", line])
        guard result.status == 0 else { throw HarnessError("\(line): \(result.errors)") }
    }

    /// postconf with these words, on this Postfix.
    func postconf(_ arguments: [String]) throws {
        let result = try postfix.command("postconf", arguments)
        guard result.status == 0 else { throw HarnessError("postconf \(arguments): \(result.errors)") }
    }

    /// Everything as it was when all was right.
    func restore() throws {
        for (path, octets) in right { try Data(octets).write(to: URL(filePath: path)) }
        chmod(postern.path, 0o3770)
    }

    /// What `postern backup` has left word of is gone.
    func forgetBackup(_ name: String) throws { try FileManager.default.removeItem(at: folder.file("state/\(name)")) }

    /// It was so many days ago.
    func ageBackup(_ name: String, days: Int) throws {
        let then = Int(Date().timeIntervalSince1970) - days * 86_400 - 60
        try folder.write("state/\(name)", "{\"time\":\(then),\"octets\":1}\n")
    }

    func stop(_ name: String) throws { try daemons[name]?.stop() }

    /// Puts lines that the doctor proposes into postern.toml, where its table begins.
    func set(_ toml: String) throws {
        var text = try folder.text("postern.toml").components(separatedBy: "\n")
        var table = 0
        for line in toml.components(separatedBy: "\n") {
            if line.hasPrefix("[") {
                guard let index = text.firstIndex(of: line) else { throw HarnessError("no table \(line)") }
                table = index
            } else {
                let key = line.prefix { $0 != "=" }
                text.removeAll { $0.hasPrefix(key) }
                text.insert(line, at: table + 1)
            }
        }
        try folder.write("postern.toml", text.joined(separator: "\n"))
    }

    // MARK: The doctor

    struct Report {
        let status: Int32
        let findings: [Finding]
        let notes: String

        /// Errors and warnings that are not about the machine that the tests run on.
        var serious: [Finding] {
            findings.filter { $0.severity != "note" && !["clock", "disk_space"].contains($0.id) }
        }
        func first(_ id: String) -> Finding? { findings.first { $0.id == id } }
    }
    struct Finding: Decodable {
        struct Mend: Decodable {
            let kind: String
            let text: String
        }
        let id: String
        let severity: String
        let what: String
        let mend: [Mend]
    }
    private struct Document: Decodable { let findings: [Finding] }

    func doctor() throws -> Report {
        let result = try run(["--json"])
        guard !result.output.isEmpty else { throw HarnessError("doctor: \(result.status) \(result.errors)") }
        let document = try JSONDecoder().decode(Document.self, from: Data(result.output))
        return Report(status: result.status, findings: document.findings, notes: result.errors)
    }

    func help() throws -> String { try Program.run(try Products.path("postern"), ["doctor", "--help"]).text }

    /// - Parameter user: whom it runs as; default: as this process.
    func run(_ arguments: [String], as user: uid_t? = nil) throws -> ProgramResult {
        var words = [
            try Products.path("postern"), "doctor", "--config", folder.file("postern.toml").path, "--postfix-config",
            postfix.configurationFolder,
        ]
        if let user {
            // The build may be in a folder that only root can enter.
            let copy = folder.file("postern-cli").path
            if access(copy, X_OK) != 0 { try FileManager.default.copyItem(atPath: words[0], toPath: copy) }
            words =
                ["/usr/bin/setpriv", "--reuid=\(user)", "--regid=\(user)", "--clear-groups", copy] + words.dropFirst()
        }
        return try Program.run(words[0], words.dropFirst() + arguments)
    }

    /// Does what the findings of a kind propose.
    func apply(_ id: String, of report: Report) throws {
        for finding in report.findings where finding.id == id {
            for mend in finding.mend {
                switch mend.kind {
                case "run": try shell(mend.text)
                case "set": try set(mend.text)
                default: break
                }
            }
        }
    }
}
