// Keys of a directory take turns: what `dkim testkey` and the doctor say of those whose turn it is not. A key that waits for
// its record is no fault, and one whose record was taken away after its time even less.

import Foundation
import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("keys of a directory in DNS") struct KeyTurnTests {
    /// What DNS holds of one key.
    enum Record: Sendable {
        case published, missing, noText, revoked, other, misplaced
    }
    struct Row: CustomTestStringConvertible, Sendable {
        let rule: String
        /// Of the keys a, b, c, the oldest first.
        let records: [Record]
        let results: [String]
        var status: Int32 = 0
        /// Asked of each by its selector.
        let statuses: [Int32]
        /// What the doctor shows.
        var found: [String] = []
        var testDescription: String { rule }
    }

    static let rows = [
        Row(
            rule: "before a rotation", records: [.published], results: ["ok"], statuses: [0]),
        Row(
            rule: "the next key waits for its record", records: [.published, .missing], results: ["ok", "waiting"],
            statuses: [0, 1], found: ["warning:dkim_key"]),
        Row(
            rule: "its name is there and has no TXT", records: [.published, .noText], results: ["ok", "waiting"],
            statuses: [0, 1], found: ["warning:dkim_key"]),
        Row(
            rule: "its record is at another name: a mistake", records: [.published, .misplaced],
            results: ["ok", "nxdomain"], status: 1, statuses: [0, 1], found: ["warning:dkim_key"]),
        Row(
            rule: "its record holds another key: a mistake", records: [.published, .other],
            results: ["ok", "mismatch"], status: 1, statuses: [0, 1], found: ["warning:dkim_key"]),
        Row(
            rule: "its record is revoked already: a mistake", records: [.published, .revoked],
            results: ["ok", "revoked"], status: 1, statuses: [0, 1], found: ["warning:dkim_key"]),
        Row(
            rule: "the next key signs, the older is still published", records: [.published, .published],
            results: ["ok", "ok"], statuses: [0, 0]),
        Row(
            rule: "the older one's record is gone", records: [.missing, .published], results: ["retired", "ok"],
            statuses: [0, 0]),
        Row(
            rule: "the older one's record is revoked", records: [.revoked, .published], results: ["retired", "ok"],
            statuses: [0, 0]),
        Row(
            rule: "the older one's name holds another key", records: [.other, .published],
            results: ["mismatch", "ok"], status: 1, statuses: [1, 0], found: ["warning:dkim_key"]),
        Row(
            rule: "one gone, one in force, one to come", records: [.missing, .published, .missing],
            results: ["retired", "ok", "waiting"], statuses: [0, 0, 1], found: ["warning:dkim_key"]),
        Row(
            rule: "none is published: nobody's turn is known", records: [.missing, .missing],
            results: ["nxdomain", "nxdomain"], status: 1, statuses: [1, 1], found: ["dkim_key", "dkim_key"]),
    ]

    /// Keys of one directory, and a zone for them.
    private struct Host {
        let folder: Folder
        let config: String
        var zone = "$TTL 300\n"

        init(_ records: [Record]) throws {
            folder = try Folder()
            let keys = folder.file("keys/example.org")
            try FileManager.default.createDirectory(atPath: keys, withIntermediateDirectories: true)
            config = try folder.write(
                "[[dkim.key]]\ndomain = \"example.org\"\ndirectory = \"keys/example.org\"\n", to: "postern.toml")
            for (age, (selector, record)) in zip(["a", "b", "c"], records).enumerated() {
                let path = "\(keys)/\(selector).pem"
                let made = try Postern()(
                    "dkim", "genkey", "--domain", "example.org", "--selector", selector, "--ed25519", "--out", path,
                    "--json")
                try FileManager.default.setAttributes(
                    [.modificationDate: Date(timeIntervalSince1970: 1_795_000_000 + Double(age) * 86_400)],
                    ofItemAtPath: path)
                let value = try #require(try made.json()["value"] as? String)
                let name = "\(selector)._domainkey.example.org."
                let other = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
                let lines =
                    switch record {
                    case .published: "\(name) IN TXT \"\(value)\"\n"
                    case .missing: ""
                    case .noText: "\(name) IN A 192.0.2.1\n"
                    case .revoked: "\(name) IN TXT \"v=DKIM1; k=ed25519; p=\"\n"
                    case .other: "\(name) IN TXT \"\(other)\"\n"
                    case .misplaced: "\(name)example.org. IN TXT \"\(value)\"\n"
                    }
                zone += lines
            }
            zone += "example.org. IN A 192.0.2.1\n"
        }

        func testkey(_ words: String...) throws -> Postern.Result {
            try Postern(zone: zone).run(["dkim", "testkey", "--config", config, "--resolver", "::1"] + words)
        }
    }

    @Test("results and exit statuses, of all keys and of one by its selector", arguments: rows)
    func testkey(row: Row) throws {
        let host = try Host(row.records)
        let all = try host.testkey("--json")
        #expect(all.status == row.status)
        let keys = try all.json()["keys"] as? [[String: Any]] ?? []
        #expect(keys.map { $0["result"] as? String ?? "" } == row.results)
        for (selector, (result, status)) in zip(["a", "b", "c"], zip(row.results, row.statuses)) {
            let one = try host.testkey("example.org", selector)
            #expect(one.status == status, "\(one.text)")
            #expect(one.text.hasPrefix("\(selector)._domainkey.example.org: \(result) "), "\(one.text)")
        }
    }

    @Test("what is said of keys whose turn it is not")
    func texts() throws {
        let host = try Host([.missing, .published, .missing])
        let lines = try host.testkey().text.split(separator: "\n").map(String.init)
        let size = "(ed25519-sha256, 256 bits)"
        #expect(
            lines == [
                "a._domainkey.example.org: retired \(size): b._domainkey.example.org has taken over, and the record is "
                    + "gone; the file may go",
                "b._domainkey.example.org: ok \(size)",
                "c._domainkey.example.org: waiting \(size): expected a TXT record, found no such name; publish what "
                    + "`postern dkim record --config \(host.config) --domain example.org --selector c` prints; "
                    + "b._domainkey.example.org signs until then",
            ])
        let revoked = try Host([.revoked, .published]).testkey("example.org", "a")
        #expect(revoked.text.hasSuffix(": b._domainkey.example.org has taken over, and the record is revoked\n"))
        let kept = try Host([.published, .published]).testkey("example.org", "a")
        #expect(
            kept.text.hasSuffix(
                ": note: b._domainkey.example.org has taken over; `postern dkim keys` tells when the record may go\n"))
    }

    @Test("the doctor warns of a key that waits, and not of one whose record was rightly removed", arguments: rows)
    func doctor(row: Row) throws {
        let host = try Host(row.records)
        let entries = Configuration.load(path: host.config, for: .check, as: .current).readable?.dkim.entries ?? []
        let keys = try entries.map { try NamedKey($0, $0.privateKey(for: .current)) }
        #expect(keys.count == row.records.count)
        let tests = try KeyFindings.tests(of: keys, config: nil, dns: try ZoneResolver(zone: host.zone))
        for isRequired in [true, false] {
            let findings = KeyFindings.all(tests, requirePublished: isRequired)
            #expect(DoctorWiringTests.shown(findings) == row.found, "\(findings.map(\.lines).joined())")
        }
    }

    @Test("keys that are named by themselves take no turns")
    func named() throws {
        let host = try Host([.missing, .published])
        let text = ["a", "b"].map {
            "[[dkim.key]]\ndomain = \"example.org\"\nselector = \"\($0)\"\nfile = \"keys/example.org/\($0).pem\"\n"
        }
        try host.folder.write(text.joined(), to: "postern.toml")
        let result = try host.testkey()
        #expect(result.status == 1)
        #expect(result.text.contains("a._domainkey.example.org: nxdomain "))
    }
}
