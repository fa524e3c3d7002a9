// `dkim genkey` and `dkim record`: the file, who may read it, and what is printed for the zone.

import Foundation
import Glibc
import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("dkim genkey and record") struct GenkeyTests {
    /// Somebody whom files can be given to: anybody for root, else who runs the test.
    private var user: UserIdentity {
        geteuid() == 0 ? UserIdentity(name: "postern-dkim", uid: 54_321, gid: 54_322) : .current
    }

    @Test("the key lies in keys/DOMAIN/SELECTOR.pem beside the configuration, for the daemon alone") func place() throws
    {
        let folder = try Folder()
        let result = try Postern(owner: .daemon(user))(
            "dkim", "genkey", "--domain", "Example.COM.", "--selector", "2026Q4", "--config",
            folder.file("postern.toml"))
        #expect(result.status == 0)
        #expect(result.output.notes.isEmpty)
        #expect(try folder.names == ["keys", "keys/example.com", "keys/example.com/2026q4.pem"])
        var status = stat()
        #expect(stat(folder.file("keys/example.com/2026q4.pem"), &status) == 0)
        #expect(status.st_mode & 0o7777 == 0o400)
        #expect(status.st_uid == user.uid && status.st_gid == user.gid)
        for name in ["keys", "keys/example.com"] {
            #expect(stat(folder.file(name), &status) == 0)
            #expect(status.st_mode & 0o7777 == 0o750)
            #expect(status.st_uid == geteuid() && status.st_gid == user.gid)
        }
        let key = try PrivateKey(pem: try folder.read("keys/example.com/2026q4.pem"))
        #expect(key.algorithm == .rsaSHA256 && key.bits == 2048)
    }

    @Test(
        "what is printed is a zone file whose record is the key's",
        arguments: [
            ([], "rsa-sha256", 2048), (["--bits", "3072"], "rsa-sha256", 3072), (["--ed25519"], "ed25519-sha256", 256),
        ] as [([String], String, Int)])
    func zone(options: [String], algorithm: String, bits: Int) throws {
        let folder = try Folder()
        let path = folder.file("k.pem")
        let result = try Postern().run(
            ["dkim", "genkey", "--domain", "example.com", "--selector", "s1", "--out", path] + options)
        #expect(result.status == 0)
        let key = try PrivateKey(pem: try folder.read("k.pem"))
        #expect(key.algorithm.rawValue == algorithm && key.bits == bits)
        let answer = try ZoneResolver(zone: result.text).answer(
            to: Question(DomainName("s1._domainkey.example.com"), .txt))
        guard case .records(let records, _) = answer else {
            Issue.record("\(answer)")
            return
        }
        #expect(records == [.txt(Array(try key.publicKeyRecord.utf8))])
        let others = result.text.split(separator: "\n").filter { !$0.hasPrefix(";") && !$0.hasPrefix("    \"") }
        #expect(others == ["s1._domainkey.example.com. IN TXT ("])
    }

    @Test("the printed block makes a configuration that check accepts") func block() throws {
        let folder = try Folder()
        let result = try Postern(owner: .daemon(.current))(
            "dkim", "genkey", "--domain", "example.com", "--selector", "s1", "--config", folder.file("postern.toml"))
        let block = result.text.split(separator: "\n").filter { $0.hasPrefix("; ") }.map { $0.dropFirst(2) }
            .drop { $0 != "[[dkim.key]]" }
        #expect(block.contains("file = \"keys/example.com/s1.pem\""))
        try folder.write(block.joined(separator: "\n") + "\n", to: "postern.toml")
        let read = Configuration.load(path: folder.file("postern.toml"), for: .dkim, as: .current)
        #expect(read.problems.isEmpty)
        #expect(read.configuration?.dkim.keys.first?.selector == (try DomainName("s1")))
    }

    @Test("a caller who cannot give the file away is told what to do") func caller() throws {
        let folder = try Folder()
        let path = folder.file("k.pem")
        let result = try Postern(owner: .caller(reason: "only root may"))(
            "dkim", "genkey", "--domain", "example.com", "--selector", "s", "--ed25519", "--out", path)
        #expect(result.status == 0)
        #expect(result.notes.contains("chown postern-dkim \(path)"))
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_uid == geteuid() && status.st_mode & 0o7777 == 0o400)
    }

    @Test("a small RSA key is warned about") func small() throws {
        let folder = try Folder()
        let result = try Postern()(
            "dkim", "genkey", "--domain", "example.com", "--selector", "s", "--bits", "1024", "--out",
            folder.file("k.pem"))
        #expect(result.status == 0)
        #expect(result.notes.contains("RFC 8301"))
    }

    @Test("nothing is overwritten without --force, and nothing is left behind") func overwrite() throws {
        let folder = try Folder()
        let path = try folder.write("mine", to: "k.pem")
        let words = ["dkim", "genkey", "--domain", "example.com", "--selector", "s", "--ed25519", "--out", path]
        let refused = try Postern().run(words)
        #expect(refused.status == 69)
        #expect(refused.text.isEmpty)
        #expect(refused.notes.contains("--force"))
        #expect(try folder.read("k.pem") == Array("mine".utf8))
        #expect(try folder.names == ["k.pem"])
        let replaced = try Postern().run(words + ["--force"])
        #expect(replaced.status == 0)
        #expect(try PrivateKey(pem: try folder.read("k.pem")).algorithm == .ed25519SHA256)
        #expect(try folder.names == ["k.pem"])
    }

    @Test("a dangling link is not written through") func link() throws {
        let folder = try Folder()
        #expect(symlink(folder.file("elsewhere"), folder.file("k.pem")) == 0)
        let result = try Postern()(
            "dkim", "genkey", "--domain", "example.com", "--selector", "s", "--ed25519", "--out", folder.file("k.pem"))
        #expect(result.status == 69)
        #expect(try folder.names == ["k.pem"])
    }

    @Test("the file that came meanwhile stays") func race() throws {
        let folder = try Folder()
        try folder.write("theirs", to: "k.pem")
        #expect(throws: FileFailure.exists(path: folder.file("k.pem"))) {
            try KeyFile.write([1], to: folder.file("k.pem"), owner: .caller(reason: ""), replace: false)
        }
        #expect(try folder.names == ["k.pem"])
        #expect(try folder.read("k.pem") == Array("theirs".utf8))
    }

    @Test("a place that cannot be written to is 69") func noPlace() throws {
        let folder = try Folder()
        try folder.write("", to: "file")
        let result = try Postern()(
            "dkim", "genkey", "--domain", "example.com", "--selector", "s", "--ed25519", "--out",
            folder.file("file/k.pem"))
        #expect(result.status == 69)
        #expect(result.notes.contains("file"))
    }

    // MARK: record

    @Test("record tells what genkey told, as JSON too") func record() throws {
        let folder = try Folder()
        let path = folder.file("k.pem")
        let made = try Postern()(
            "dkim", "genkey", "--domain", "example.com", "--selector", "s1", "--out", path, "--json"
        ).json()
        let text = try Postern()("dkim", "record", path, "--domain", "example.com", "--selector", "s1")
        #expect(text.status == 0)
        let value = try #require(made["value"] as? String)
        #expect(text.text == ZoneText.record(try DomainName("s1._domainkey.example.com"), txt: Array(value.utf8)))
        let json = try Postern()("dkim", "record", path, "--domain", "example.com", "--selector", "s1", "--json")
        let strings = try #require(made["strings"] as? [String])
        #expect(strings.joined() == value && strings.allSatisfy { $0.utf8.count <= 255 })
        #expect(
            json.text == """
                {"name":"s1._domainkey.example.com","type":"txt","value":"\(value)",\
                "strings":["\(strings.joined(separator: "\",\""))"]}

                """)
        let piped = try Postern(input: try folder.read("k.pem"))(
            "dkim", "record", "-", "--domain", "example.com", "--selector", "s1")
        #expect(piped.text == text.text)
    }

    @Test("record of a configured key") func configured() throws {
        let folder = try Folder()
        let config = folder.file("postern.toml")
        let made = try Postern(owner: .daemon(.current))(
            "dkim", "genkey", "--domain", "example.com", "--selector", "s1", "--config", config, "--json"
        ).json()
        try folder.write(
            "[[dkim.key]]\ndomain = \"example.com\"\nselector = \"s1\"\nfile = \"keys/example.com/s1.pem\"\n",
            to: "postern.toml")
        let found = try Postern()(
            "dkim", "record", "--domain", "example.com", "--selector", "s1", "--config", config, "--json")
        #expect(found.status == 0)
        #expect(try found.json()["value"] as? String == made["value"] as? String)
        let absent = try Postern()("dkim", "record", "--domain", "example.com", "--selector", "s2", "--config", config)
        #expect(absent.status == 78)
        #expect(absent.notes.contains("\"s2\""))
    }

    @Test(
        "files that are no key",
        arguments: [
            ("", "no PEM text"), ("hello", "no PEM text"), ("-----BEGIN PUBLIC KEY-----\n", "public key"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "passphrase"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "private key"),
        ])
    func noKey(text: String, expected: String) throws {
        let folder = try Folder()
        let path = try folder.write(text, to: "k.pem")
        let result = try Postern()("dkim", "record", path, "--domain", "example.com", "--selector", "s")
        #expect(result.status == 65)
        #expect(result.notes.contains(expected) && result.notes.contains(path))
    }

    @Test("a key file that is not there is 69, one of megabytes 65") func unreadable() throws {
        let folder = try Folder()
        #expect(
            try Postern()("dkim", "record", folder.file("no"), "--domain", "example.com", "--selector", "s").status
                == 69)
        try folder.write([UInt8](repeating: 0x41, count: 1 << 20), to: "big")
        #expect(
            try Postern()("dkim", "record", folder.file("big"), "--domain", "example.com", "--selector", "s").status
                == 65)
    }
}
