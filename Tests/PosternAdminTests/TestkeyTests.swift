// `dkim testkey`: each thing that can be wrong with a published key, as text and JSON, and its exit status.

import Foundation
import Glibc
import PosternDaemon
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

/// One way to publish the RSA key, and what testkey says to it.
private struct Row: Sendable, CustomTestStringConvertible {
    let rule: String
    /// TXT records at the key's name; `VALUE` is what should be there, `OTHER` another key's `p=`.
    var records: [String] = []
    /// Other records.
    var zone = ""
    let result: String
    /// After the first `expected `.
    var reason: String?
    var notes: [String] = []
    var status: Int32 = 1

    var testDescription: String { rule }
}

@Suite("dkim testkey") struct TestkeyTests {
    private let keys: Keys
    private let publish = "publish what `postern dkim record FILE --domain example.com --selector r` prints"

    init() throws { keys = try Keys() }

    private static let rows = [
        Row(rule: "as it should be", records: ["VALUE"], result: "ok", status: 0),
        Row(rule: "k= may be absent, RFC 6376 §3.6.1", records: ["p=P"], result: "ok", status: 0),
        Row(rule: "h= and s= that include us", records: ["VALUE; h=sha1:sha256; s=email"], result: "ok", status: 0),
        Row(
            rule: "t=y and t=s are notes", records: ["VALUE; t=y:s"], result: "ok",
            notes: [
                "t=y: receivers treat this domain's signatures as a test; take it out when that is over",
                "t=s: signatures with an i= of a subdomain fail; postern-dkim writes no i=",
            ], status: 0),
        Row(
            rule: "by way of a CNAME", zone: "r._domainkey.example.com. CNAME k.example.net.\nk.example.net. TXT VALUE",
            result: "ok", status: 0),
        Row(rule: "no such name", result: "nxdomain", reason: "a TXT record, found no such name; PUBLISH"),
        Row(
            rule: "no TXT", zone: "r._domainkey.example.com. A 192.0.2.1", result: "nodata",
            reason: "a TXT record, found none, though the name is there; PUBLISH"),
        Row(
            rule: "a name that was taken as relative", zone: "r._domainkey.example.com.example.com. TXT VALUE",
            result: "nxdomain",
            reason:
                "a TXT record, found none here, but one at r._domainkey.example.com.example.com; end the name in the "
                + "zone with a dot, or leave the zone's own name out"),
        Row(
            rule: "several, ours among them, RFC 6376 §3.6.2.2", records: ["VALUE", "v=spf1 -all"], result: "several",
            reason: "one TXT record, found 2; remove the others: verifiers may try any of them"),
        Row(
            rule: "several, none of them ours", records: ["v=spf1 -all", "v=DKIM1; p="], result: "several",
            reason: "one TXT record, found 2, none of them this key's; remove them and PUBLISH"),
        Row(
            rule: "no tag list", records: ["hello"], result: "syntax",
            reason: "a key record, found what breaks its syntax: a tag without =; PUBLISH"),
        Row(
            rule: "no p=", records: ["v=DKIM1; k=rsa"], result: "syntax",
            reason: "a key record, found what breaks its syntax: no p=; PUBLISH"),
        Row(
            rule: "quotation marks in the text", records: [#"\"v=DKIM1; p=P\""#], result: "syntax",
            reason:
                "a key record, found what breaks its syntax: a tag name that is none (the text itself has quotation "
                + "marks); PUBLISH"),
        Row(
            rule: "backslashes in the text", records: [#"v=DKIM1\\; k=rsa\\; p=P"#], result: "syntax",
            reason: "a key record, found what breaks its syntax: v= is not DKIM1 (the text itself has backslashes); "
                + "PUBLISH"),
        Row(
            rule: "cut after 255 octets", records: ["CUT"], result: "syntax",
            reason: "a key record, found what breaks its syntax: p= is no base64 (the text is cut after 255 octets); "
                + "PUBLISH"),
        Row(
            rule: "revoked", records: ["v=DKIM1; p="], result: "revoked",
            reason: "a key in p=, found it empty: the key is revoked; sign with another key, or PUBLISH"),
        Row(
            rule: "h= without sha256", records: ["VALUE; h=sha1"], result: "restricted",
            reason: "no h=, or one with sha256, found an h= without it; take h= out of the record"),
        Row(
            rule: "s= without email", records: ["VALUE; s=tlsrpt"], result: "restricted",
            reason: "no s=, or one with email or *, found an s= without either; take s= out of the record"),
        Row(
            rule: "another type", records: ["v=DKIM1; k=ed25519; p=OTHER"], result: "mismatch",
            reason: "k=rsa, found k=ed25519; PUBLISH, or sign with the key that is published"),
        Row(
            rule: "a type that is unknown", records: ["v=DKIM1; k=dsa; p=OTHER"], result: "mismatch",
            reason: "k=rsa, found a k= that nobody knows; PUBLISH, or sign with the key that is published"),
        Row(
            rule: "the type says RSA, the key is none", records: ["v=DKIM1; k=rsa; p=OTHER"], result: "syntax",
            reason: "a key record, found what breaks its syntax: p= is no DER; PUBLISH"),
        Row(
            rule: "another size",
            records: [
                "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDtldHl0aoJwjk7Qol3QVio3Iq5XUGwsW2d91Ufk4JB5bxS+gdHauJN"
                    + "4hUqkmoPilCLnU0cMhx6yvY8VO+oI1lK4TFoSBnSwGcaYEzOXT8xZXMnL9/Q7sCBQ74pBy01urwJst0ABmmF9Ov8gatS7o/u"
                    + "V7S/T2GBcYfrrLZh5ZdykQIDAQAB"
            ], result: "mismatch",
            reason: "a key of 2048 bits, found one of 1024 bits; PUBLISH, or sign with the key that is published"),
    ]

    /// The zone's lines for a row; long texts in pieces.
    private func zone(_ row: Row) throws -> String {
        let value = try keys.value("r")
        let p = try #require(value.split(separator: "p=").last)
        let other = try #require(try keys.value("e").split(separator: "p=").last)
        let name = try DomainName("r._domainkey.example.com")
        let records = row.records.map { record in
            let text = record == "CUT" ? String(value.prefix(255)) : record
            let whole = text.replacing("VALUE", with: value).replacing("OTHER", with: other).replacing(
                "=P", with: "=\(p)")
            // Rows write `\` and `"` as a zone file does.
            let octets = Array(whole.replacing(#"\""#, with: "\"").replacing(#"\\"#, with: #"\"#).utf8)
            return ZoneText.record(name, txt: octets)
        }
        let quoted = ZoneText.strings(Array(value.utf8)).map { ZoneText.quoted($0) }.joined(separator: " ")
        return "$TTL 300\n\(records.joined())\(row.zone.replacing("VALUE", with: quoted))\n"
    }

    @Test("what DNS may hold", arguments: rows) private func published(row: Row) throws {
        let file = keys.folder.file("r.pem")
        let postern = Postern(zone: try zone(row))
        let words = [
            "dkim", "testkey", "--key", file, "--domain", "example.com", "--selector", "r", "--resolver", "::1",
        ]
        let reason = row.reason.map {
            "expected " + $0.replacing("PUBLISH", with: publish.replacing("FILE", with: file))
        }
        let result = try postern.run(words)
        let name = "r._domainkey.example.com"
        let lines =
            ["\(name): \(row.result) (rsa-sha256, 2048 bits)\(reason.map { ": \($0)" } ?? "")"]
            + row.notes.map { "\(name): note: \($0)" }
        #expect(result.text == lines.map { "\($0)\n" }.joined())
        #expect(result.status == row.status)
        #expect(result.output.notes.isEmpty)

        let json = try postern.run(words + ["--json"])
        #expect(json.status == row.status)
        let list = try #require(try json.json()["keys"] as? [[String: Any]])
        let key = try #require(list.first)
        #expect(list.count == 1)
        #expect(
            Set(key.keys) == [
                "domain", "selector", "name", "algorithm", "bits", "result", "reason", "record", "notes",
            ])
        #expect(key["result"] as? String == row.result)
        #expect(key["reason"] as? String == reason)
        #expect(key["notes"] as? [String] == row.notes)
        let hasOne = row.records.count == 1 || row.rule.contains("CNAME")
        #expect((key["record"] is NSNull) == !hasOne)
    }

    @Test("another key of the same size is told by its hash") func otherKey() throws {
        let other = try Postern()(
            "dkim", "genkey", "--domain", "example.com", "--selector", "e", "--ed25519", "--out",
            keys.folder.file("other.pem"))
        let result = try Postern(zone: other.text)(
            "dkim", "testkey", "--key", keys.folder.file("e.pem"), "--domain", "example.com", "--selector", "e")
        #expect(result.status == 1)
        let pattern = try Regex(
            "e\\._domainkey\\.example\\.com: mismatch \\(ed25519-sha256, 256 bits\\): expected the key whose SHA-256 begins "
                + "with ([0-9a-f]{16}), found one whose begins with ([0-9a-f]{16}); publish what .*\n")
        let match = try #require(try pattern.wholeMatch(in: result.text), "\(result.text)")
        #expect(match[1].substring != match[2].substring)
    }

    @Test("exact JSON of a key that is ok") func exactJSON() throws {
        let result = try Postern(zone: keys.zone)(
            "dkim", "testkey", "--key", keys.folder.file("e.pem"), "--domain", "example.com", "--selector", "e",
            "--json")
        #expect(
            result.text
                == #"{"keys":[{"domain":"example.com","selector":"e","name":"e._domainkey.example.com","#
                + #""algorithm":"ed25519-sha256","bits":256,"result":"ok","reason":null,"record":"\#(try keys.value("e"))","#
                + #""notes":[]}]}"# + "\n")
    }

    @Test("a small RSA key is a note, RFC 8301 §3.2") func small() throws {
        let made = try Postern()(
            "dkim", "genkey", "--domain", "example.com", "--selector", "s", "--bits", "1024", "--out",
            keys.folder.file("s.pem"))
        let result = try Postern(zone: made.text)(
            "dkim", "testkey", "--key", keys.folder.file("s.pem"), "--domain", "example.com", "--selector", "s")
        #expect(result.status == 0)
        #expect(
            result.text == """
                s._domainkey.example.com: ok (rsa-sha256, 1024 bits)
                s._domainkey.example.com: note: receivers may refuse an RSA key of 1024 bits; RFC 8301 §3.2 wants 2048

                """)
    }

    // MARK: Which keys

    @Test(
        "configured keys, all or some of them",
        arguments: [
            ([], ["r", "e"]), (["example.com"], ["r", "e"]), (["Example.COM.", "e"], ["e"]),
        ] as [([String], [String])])
    func configured(words: [String], selectors: [String]) throws {
        let config = try keys.configuration()
        let result = try Postern(zone: keys.zone).run(["--config", config, "dkim", "testkey"] + words)
        #expect(result.status == 0)
        #expect(result.text.split(separator: "\n").map { String($0.prefix(1)) } == selectors)
        #expect(result.questions.count == selectors.count)
        #expect(result.resolvers == [.daemon(.unix(path: "/run/postern/dns.sock"))])
    }

    @Test("the answer names the command with its --config") func recordCommand() throws {
        let config = try keys.configuration()
        let result = try Postern()("--config", config, "dkim", "testkey", "example.com", "e")
        #expect(result.text.contains("`postern dkim record --config \(config) --domain example.com --selector e`"))
    }

    @Test(
        "a key that is not there is 78 and names those that are",
        arguments: [
            (["example.org"], #"domain "example.org", found r of example.com, e of example.com"#),
            (["example.com", "x"], #"domain "example.com" and selector "x", found r of example.com"#),
        ])
    func missing(words: [String], expected: String) throws {
        let result = try Postern().run(["dkim", "testkey", "--config", try keys.configuration()] + words)
        #expect(result.status == 78)
        #expect(result.text.isEmpty)
        #expect(result.notes.contains(expected), "\(result.notes)")
    }

    @Test("no keys, no file, a wrong file: 78") func noConfiguration() throws {
        let empty = try keys.folder.write("", to: "empty.toml")
        let none = try Postern()("dkim", "testkey", "--config", empty)
        #expect(none.status == 78)
        #expect(none.notes.contains("expected a [[dkim.key]], found none; make a key by `postern dkim genkey`"))
        #expect(try Postern()("dkim", "testkey", "--config", keys.folder.file("no.toml")).status == 78)
        let broken = try keys.folder.write("[[dkim.key]]\ndomain = \"example.com\"\nselector = \"s\"\n", to: "b.toml")
        let half = try Postern()("dkim", "testkey", "--config", broken)
        #expect(half.status == 78)
        #expect(
            half.notes.hasPrefix("error: expected a [[dkim.key]] in \(broken) that can be used, found none:\nerror: "))
        let syntax = try keys.folder.write("[dkim\n", to: "syntax.toml")
        #expect(try Postern()("dkim", "testkey", "--config", syntax).status == 78)
        let wrong = try keys.configuration("listen.dns = 5")
        let result = try Postern(zone: keys.zone)("dkim", "testkey", "--config", wrong)
        #expect(result.status == 78)
        #expect(result.notes.contains("listen.dns"))
        #expect(try Postern(zone: keys.zone)("dkim", "testkey", "--config", wrong, "--resolver", "::1").status == 0)
    }

    @Test("what is wrong elsewhere does not keep keys from being tested") func otherProblems() throws {
        let config = try keys.configuration("dkim.verify = 5")
        #expect(try Postern(zone: keys.zone)("dkim", "testkey", "--config", config).status == 0)
    }

    @Test("a key that cannot be used is told, the others are tested") func unusable() throws {
        let config = try keys.configuration("", more: "[[dkim.key]]\ndomain = \"example.com\"\nselector = \"x\"")
        try #require(chmod(keys.folder.file("r.pem"), 0o444) == 0)
        let postern = Postern(zone: keys.zone)
        let result = try postern("dkim", "testkey", "--config", config)
        #expect(result.status == 78)
        #expect(result.text == "e._domainkey.example.com: ok (ed25519-sha256, 256 bits)\n")
        #expect(result.output.notes.count == 2)
        #expect(result.notes.contains("dkim.key[3].file: expected the key \"file\""))
        #expect(result.notes.contains("error: \(config): dkim.key[1].file: expected a private key that only user"))
        #expect(try postern("dkim", "testkey", "example.com", "e", "--config", config).status == 0)
        let bad = try postern("dkim", "testkey", "example.com", "r", "--config", config)
        #expect(bad.status == 78 && bad.text.isEmpty && bad.questions.isEmpty)
        let record = try postern("dkim", "record", "--domain", "example.com", "--selector", "r", "--config", config)
        #expect(record.status == 78)
        #expect(
            record.notes.hasPrefix("error: expected a key that can be used, found none:\nerror: \(config): dkim.key[1]")
        )
        let good = try postern("dkim", "record", "--domain", "example.com", "--selector", "e", "--config", config)
        #expect(good.status == 0)
    }

    @Test("a file that is no key is 65, one that is not there 69") func keyFile() throws {
        let bad = try keys.folder.write("hello", to: "bad.pem")
        for (file, status) in [(bad, 65), (keys.folder.file("no.pem"), 69)] as [(String, Int32)] {
            let result = try Postern()(
                "dkim", "testkey", "--key", file, "--domain", "example.com", "--selector", "s", "--resolver", "::1")
            #expect(result.status == status)
            #expect(result.text.isEmpty)
        }
    }

    // MARK: Exit status

    @Test("what is wrong for certain comes before what nobody could tell") func status() throws {
        let config = try keys.configuration()
        let (r, e) = (try DomainName("r._domainkey.example.com"), try DomainName("e._domainkey.example.com"))
        let words = ["dkim", "testkey", "--config", config]
        let unknown = try Postern(zone: keys.zone, failing: [e]).run(words)
        #expect(unknown.status == 69)
        #expect(
            unknown.text == """
                r._domainkey.example.com: ok (rsa-sha256, 2048 bits)
                e._domainkey.example.com: temperror (ed25519-sha256, 256 bits): expected an answer, found a temporary \
                failure (SERVFAIL); nobody could tell: try again

                """)
        #expect(try Postern(zone: keys.zone, failing: [r, e]).run(words).status == 69)
        #expect(try Postern(zone: "", failing: [e]).run(words).status == 1)
        #expect(try Postern(zone: "").run(words).status == 1)
        #expect(try Postern(zone: keys.zone).run(words).status == 0)
    }

    @Test("records of a stranger never trap, and write no line of ours") func mutations() throws {
        let value = Array("v=DKIM1; k=rsa; h=sha256; s=email; t=y:s; \(try keys.value("r").dropFirst(16))".utf8)
        let name = try DomainName("r._domainkey.example.com")
        let words = [
            "dkim", "testkey", "--key", keys.folder.file("r.pem"), "--domain", "example.com", "--selector", "r",
        ]
        var results: Set<Int32> = []
        try Mutations.of(
            [value], tokens: [";", "=", "p=", "k=ed25519", "\n"].map { Array($0.utf8) }, count: 300, seed: 5
        ) { octets in
            let postern = Postern(zone: "$TTL 300\n" + ZoneText.record(name, txt: octets))
            let result = try postern.run(words)
            results.insert(result.status)
            let lines = result.text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
            #expect(lines.allSatisfy { $0.hasPrefix("r._domainkey.example.com: ") })
            #expect(try postern.run(words + ["--json"]).json().count == 1)
        }
        #expect(results == [0, 1])
    }
}
