// `dkim rotate` and what `dkim keys` tells of a directory: the next keys, their names, and what a postern-dkim that a test
// plays says of them.

import Foundation
import Glibc
import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("dkim rotate") struct RotateTests {
    typealias Daemons = StatusTests.Daemons

    /// A configuration with a directory that is there, and empty.
    private struct Host {
        let folder: Folder
        let config: String

        init(_ more: String = "") throws {
            folder = try Folder()
            config = try folder.write(
                "[[dkim.key]]\ndomain = \"example.com\"\ndirectory = \"keys/example.com\"\n\(more)", to: "postern.toml")
            try FileManager.default.createDirectory(
                atPath: folder.file("keys/example.com"), withIntermediateDirectories: true)
        }

        func rotate(_ words: String..., now: Int64 = 1_795_000_000, control: String? = nil) throws -> Postern.Result {
            try Postern(now: UnixTime(seconds: now), owner: .daemon(.current)).run(
                ["dkim", "rotate", "example.com", "--config", config, "--control", control ?? folder.path] + words)
        }

        var keys: [String] {
            get throws {
                let read = Configuration.load(path: config, for: .dkim, as: .current)
                return read.configuration?.dkim.keys.map { "\($0.selector) \($0.privateKey.bits)" } ?? []
            }
        }
    }
    private static let adopted =
        #"{"name":"postern-dkim","result":"adopted","generation":2,"problems":[],"notices":[]}"#

    @Test("the first key is RSA; the next is of the algorithms that are there, and named by the day")
    func next() throws {
        let host = try Host()
        let first = try host.rotate()
        #expect(first.status == 0)
        #expect(first.notes == "note: postern-dkim does not run; it takes the new keys when it starts")
        #expect(try host.keys == ["20261118 2048"])
        #expect(try host.rotate("--ed25519").status == 0)
        #expect(Set(try host.keys) == ["20261118 2048", "20261118e 256"])
        #expect(try host.rotate().status == 0)
        #expect(Set(try host.keys) == ["20261118 2048", "20261118e 256", "20261118b 2048", "20261118eb 256"])
        let day = try host.rotate(now: 1_795_000_000 + 86_400)
        #expect(day.status == 0)
        #expect(Set(try host.keys).isSuperset(of: ["20261119 2048", "20261119e 256"]))
        var status = stat()
        #expect(stat(host.folder.file("keys/example.com/20261119.pem"), &status) == 0)
        #expect(status.st_mode & 0o7777 == 0o400)
        // What is printed is a zone file with both records, and comments.
        let zone = try ZoneResolver(zone: day.text)
        for selector in ["20261119", "20261119e"] {
            let key = try PrivateKey(pem: try host.folder.read("keys/example.com/\(selector).pem"))
            let answer = zone.answer(to: Question(try DomainName("\(selector)._domainkey.example.com"), .txt))
            guard case .records(let records, _) = answer else {
                Issue.record("\(answer)")
                continue
            }
            #expect(records == [.txt(Array(try key.publicKeyRecord.utf8))])
        }
        #expect(day.text.contains("; The older record stays published for 7d after that"))
    }

    @Test("the folder is made where it is not there; as large as the newest key")
    func folder() throws {
        let host = try Host()
        try FileManager.default.removeItem(atPath: host.folder.file("keys"))
        #expect(try host.rotate("--rsa", "--ed25519").status == 0)
        #expect(try host.keys.count == 2)
        let path = host.folder.file("keys/example.com/big.pem")
        #expect(
            try Postern()(
                "dkim", "genkey", "--domain", "example.com", "--selector", "big", "--bits", "3072", "--out", path
            ).status == 0)
        #expect(try host.rotate("--rsa").status == 0)
        #expect(try host.keys.contains("20261118b 3072"))
    }

    @Test("postern-dkim is asked to read the keys; one that refuses is 78, with its problems")
    func reload() throws {
        let host = try Host()
        let adopting = try Daemons([.dkim: ["reload": Self.adopted]])
        let done = try host.rotate("--json", control: adopting.folder.path)
        #expect(done.status == 0 && done.notes.isEmpty)
        let json = try done.json()
        #expect(json["reloaded"] as? Bool == true)
        let key = try #require((json["keys"] as? [[String: Any]])?.first)
        #expect(key["name"] as? String == "20261118._domainkey.example.com")
        #expect(key["file"] as? String == host.folder.file("keys/example.com/20261118.pem"))
        let refusing = try Daemons([
            .dkim: [
                "reload": #"{"name":"postern-dkim","result":"refused","generation":1,"problems":[{"file":"/p.toml","#
                    + #""line":3,"column":8,"key":"host.name","text":"expected a"}],"notices":[]}"#
            ]
        ])
        let refused = try host.rotate(control: refusing.folder.path)
        #expect(refused.status == 78)
        #expect(refused.notes.contains("/p.toml:3:8: host.name: expected a"))
        #expect(refused.notes.contains("postern-dkim refused its configuration"))
        let failing = try Daemons([.dkim: ["reload": "{\"error\":\"not you\"}"]])
        let failed = try host.rotate("--json", control: failing.folder.path)
        #expect(failed.status == 0 && failed.notes.contains("postern reload dkim"))
        #expect(try failed.json()["reloaded"] is NSNull)
    }

    @Test("a domain without a directory, or with two, and a directory that is full")
    func refused() throws {
        let none = try Keys()
        let result = try Postern()("dkim", "rotate", "example.com", "--config", try none.configuration())
        #expect(result.status == 78)
        #expect(result.notes.contains("with a directory, found none; write directory = \"keys/example.com\""))
        let two = try Host("[[dkim.key]]\ndomain = \"example.com\"\ndirectory = \"keys\"\n")
        #expect(try two.rotate().notes.contains("found 2"))
        let full = try Host()
        for number in 0..<DKIMKeyDirectory.maxKeys {
            let path = full.folder.file("keys/example.com/k\(number).pem")
            let made = try Postern()(
                "dkim", "genkey", "--domain", "example.com", "--selector", "k\(number)", "--ed25519", "--out", path)
            #expect(made.status == 0)
        }
        let more = try full.rotate()
        #expect(more.status == 78)
        #expect(more.notes.contains("expected at most 16 keys with the new ones, found 16 already"))
        #expect(try Postern()("dkim", "rotate", "exa mple", "--config", full.config).status == 64)
    }

    // MARK: keys

    @Test("what postern-dkim knows of each key stands beside it")
    func standings() throws {
        let host = try Host()
        for day in 0..<4 { #expect(try host.rotate("--rsa", now: 1_795_000_000 + Int64(day) * 86_400).status == 0) }
        for (day, name) in ["20261118", "20261119", "20261120", "20261121"].enumerated() {
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSince1970: Double(1_795_000_000 + day * 86_400))],
                ofItemAtPath: host.folder.file("keys/example.com/\(name).pem"))
        }
        func key(_ selector: String, _ rest: String) -> String {
            "{\"name\":\"\(selector)._domainkey.example.com\",\(rest)}"
        }
        let used = 1_795_000_000 + 3 * 86_400
        let answer =
            "{\"keys\":["
            + [
                key("20261118", #""signs":false,"published":true,"last_use":1795000000,"record_may_go":1795000001"#),
                key("20261119", #""signs":false,"published":true,"last_use":null,"record_may_go":1796000000"#),
                key("20261120", #""signs":true,"published":true,"last_use":\#(used),"record_may_go":null"#),
                key("20261121", #""signs":false,"published":false,"last_use":null,"record_may_go":null"#),
            ].joined(separator: ",") + "]}"
        let daemons = try Daemons([.dkim: ["dkim keys": answer]])
        let words = ["dkim", "keys", "--config", host.config, "--control", daemons.folder.path]
        let result = try Postern(now: UnixTime(seconds: Int64(used))).run(words)
        #expect(result.status == 0 && result.notes.isEmpty)
        let told = result.text.split(separator: "\n").filter { $0.hasPrefix("  signing") }.map { $0.dropFirst(12) }
        #expect(told.first == "superseded: its record may go")
        #expect(told.dropFirst().first?.hasPrefix("superseded: its record may go after 2026-11-") == true)
        #expect(told.dropFirst(2) == ["yes", "waits: DNS does not publish it"])
        #expect(result.text.contains("  made      2026-11-18, 3 days ago\n"))
        #expect(result.text.contains("  last use  none known\n"))
        let keys = try Postern().run(words + ["--json"]).json()["keys"] as? [[String: Any]] ?? []
        #expect(keys.map { $0["signs"] as? Bool } == [false, false, true, false])
        #expect(keys.map { $0["published"] as? Bool } == [true, true, true, false])
        #expect(keys.first?["last_use"] as? String == "2026-11-18T11:06:40Z")
        #expect(keys.first?["made"] as? String == "2026-11-18T11:06:40Z")
        #expect(keys.last?["record_may_go"] is NSNull)
    }

    @Test("a key that postern-dkim has not read, and one that will not tell")
    func unknown() throws {
        let host = try Host()
        #expect(try host.rotate("--ed25519").status == 0)
        let empty = try Daemons([.dkim: ["dkim keys": "{\"keys\":[]}"]])
        let unread = try Postern()("dkim", "keys", "--config", host.config, "--control", empty.folder.path)
        #expect(unread.text.contains("  signing   not known: postern-dkim has not read it; run postern reload dkim\n"))
        let refusing = try Daemons([.dkim: ["dkim keys": "{\"error\":\"not you\"}"]])
        let silent = try Postern()("dkim", "keys", "--config", host.config, "--control", refusing.folder.path)
        #expect(silent.status == 0 && silent.notes == "warning: postern-dkim: not you")
        #expect(silent.text.contains("  signing   not known: postern-dkim does not tell\n"))
    }

    @Test("dkim sign takes the keys whose turn it is, and all where nobody can tell")
    func sign() throws {
        let daemons = try Daemons([
            .dkim: [
                "dkim keys": #"{"keys":[{"name":"20261118e._domainkey.example.com","signs":false},"#
                    + #"{"name":"20261119e._domainkey.example.com","signs":true}]}"#
            ]
        ])
        let host = try Host()
        for day in [0, 86_400] { #expect(try host.rotate("--ed25519", now: 1_795_000_000 + Int64(day)).status == 0) }
        func signed(_ control: String) throws -> (selectors: [String], notes: String) {
            try host.folder.write(
                "listen.control = \"\(control)\"\n" + String(decoding: host.folder.read("postern.toml"), as: UTF8.self),
                to: "sign.toml")
            let result = try Postern(input: plain)(
                "dkim", "sign", "-", "--fields-only", "--config", host.folder.file("sign.toml"))
            let selectors = result.text.split(whereSeparator: { " ;\t\r\n".contains($0) }).filter { $0.hasPrefix("s=") }
            return (selectors.map { String($0.dropFirst(2)) }, result.notes)
        }
        let known = try signed(daemons.folder.path)
        #expect(known.selectors == ["20261119e"] && known.notes.isEmpty)
        let unknown = try signed(host.folder.path)
        #expect(unknown.selectors.count == 2 && unknown.notes.contains("whose turn it is"))
    }
}
