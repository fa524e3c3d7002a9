// `dkim sign` and `dkim verify`: the round trip, the forms of a message, exact JSON, exit statuses, the RFCs' examples.

import Foundation
import Glibc
import PosternAuth
import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("dkim sign and verify") struct SignVerifyTests {
    private let keys: Keys
    private var folder: Folder { keys.folder }

    init() throws { keys = try Keys() }

    @Test(
        "what sign signs, verify passes",
        arguments: ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple", "simple"])
    func roundTrip(canonicalization: String) throws {
        let signed = try keys.sign(plain, "--canonicalization", canonicalization)
        #expect(signed.status == 0 && signed.output.notes.isEmpty)
        #expect(signed.output.octets.suffix(plain.count).elementsEqual(plain))
        let verified = try keys.verify(signed.output.octets)
        #expect(verified.status == 0)
        #expect(
            verified.text == """
                pass d=example.com s=r a=rsa-sha256 2048 bits
                pass d=example.com s=e a=ed25519-sha256 256 bits

                """)
        #expect(signed.text.contains("c=\(canonicalization == "simple" ? "simple/simple" : canonicalization);"))
    }

    @Test(
        "messages in every form",
        arguments: [
            ("LF line ends", Array(String(decoding: plain, as: UTF8.self).replacing("\r\n", with: "\n").utf8), "\n"),
            ("no body, no empty line", message("From: ann@example.com"), "\r\n"),
            ("no line end at the end", Array("From: ann@example.com\n\nx".utf8), "\n"),
            ("one line without end", Array("From: ann@example.com".utf8), "\r\n"),
            ("octets over 127 and NUL", message("From: ann@example.com", "Subject: \u{FC}", "", "\u{0}\u{E9}"), "\r\n"),
            ("an empty body", message("From: ann@example.com", ""), "\r\n"),
            ("no mbox line but a From field", message("From : ann@example.com", "", "x"), "\r\n"),  // RFC 5322 §4.5
        ] as [(String, [UInt8], String)])
    func forms(name: String, message: [UInt8], lineEnd: String) throws {
        let signed = try keys.sign(message)
        #expect(signed.status == 0)
        // The message stays as it is; the new lines end as its lines do.
        #expect(signed.output.octets.suffix(message.count).elementsEqual(message))
        let fields = String(decoding: signed.output.octets.dropLast(message.count), as: UTF8.self)
        #expect(fields.hasPrefix("DKIM-Signature:"))
        #expect(fields.hasSuffix(lineEnd))
        #expect(fields.utf8.contains(0x0D) == (lineEnd == "\r\n"))
        #expect(try keys.verify(signed.output.octets).status == 0)
        // What is LF here is CRLF on the way.
        #expect(try keys.verify(MessageText.withCRLF(signed.output.octets)).status == 0)
    }

    @Test("an mbox line stays on top") func mbox() throws {
        let separator = Array("From ann@example.com Sat Nov 21 02:00:00 2026\r\n".utf8)
        let signed = try keys.sign(separator + plain)
        #expect(signed.output.octets.starts(with: separator + Array("DKIM-Signature:".utf8)))
        #expect(try keys.verify(signed.output.octets).status == 0)
    }

    @Test("fields only, one key by options, and what the options say") func options() throws {
        let result = try Postern(input: plain, now: UnixTime(seconds: 1_795_000_000))(
            "dkim", "sign", "-", "--key", keys.folder.file("e.pem"), "--domain", "example.com", "--selector", "e",
            "--expire", "1d", "--sign-header-fields", "to:subject", "--fields-only")
        #expect(result.status == 0)
        let text = result.text
        #expect(text.contains("t=1795000000;") && text.contains("x=1795086400;"))
        #expect(text.replacing("\r\n\t", with: "").contains("h=From:From:to:to:subject:subject;"))
        #expect(!text.contains("Hello"))
        let json = try Postern(input: plain)(
            "--json", "dkim", "sign", "-", "--key", keys.folder.file("e.pem"), "--domain", "example.com", "--selector",
            "e")
        let fields = try #require(try json.json()["fields"] as? [String])
        #expect(fields.count == 1 && fields.first?.hasPrefix("DKIM-Signature: v=1; a=ed25519-sha256;") == true)
        #expect(fields.first?.hasSuffix("\r\n") == false)
    }

    @Test("the message is read from a file as from standard input") func file() throws {
        let path = try folder.write(plain, to: "m.eml")
        let signed = try Postern().run(["dkim", "sign", path] + keys.options)
        #expect(signed.output == (try keys.sign(plain)).output)
        let signedPath = try folder.write(signed.output.octets, to: "s.eml")
        #expect(try Postern(zone: keys.zone)("dkim", "verify", signedPath).status == 0)
    }

    @Test(
        "what cannot be signed or verified is 65",
        arguments: [
            ("nothing", [], "nothing"), ("no header", Array("hello\r\n".utf8), "no header field"),
            ("an empty line first", Array("\r\nhello".utf8), "no header field"),
            ("NULs", [0, 0, 0], "no header field"),
        ] as [(String, [UInt8], String)])
    func noMessage(name: String, octets: [UInt8], expected: String) throws {
        for result in [try keys.sign(octets), try keys.verify(octets), try keys.verify(octets, "--json")] {
            #expect(result.status == 65)
            #expect(result.text.isEmpty)
            #expect(result.notes.contains(expected))
        }
    }

    @Test("no author is no signature") func noAuthor() throws {
        let result = try keys.sign(message("To: bo@example.net", "", "x"))
        #expect(result.status == 65)
        #expect(result.notes.contains("From"))
    }

    @Test("files that cannot be read are 69, too large ones 65") func unreadable() throws {
        #expect(try Postern()("dkim", "verify", folder.file("no")).status == 69)
        #expect(try Postern()("dkim", "verify", folder.path).status == 69)
        #expect(try Postern().run(["dkim", "sign", folder.file("no")] + keys.options).status == 69)
        let path = folder.file("huge")
        #expect(truncate(try folder.write([], to: "huge"), off_t(Files.maxMessageOctets) + 1) == 0)
        let result = try Postern()("dkim", "verify", path)
        #expect(result.status == 65)
        #expect(result.notes.contains("at most \(Files.maxMessageOctets) octets"))
    }

    @Test("a header over the caps never passes, and is not signed") func capped() throws {
        var large = Array("From: ann@example.com\r\n".utf8)
        for number in 0...HeaderCollector.maxFields { large += Array("X: \(number)\r\n".utf8) }
        #expect(try keys.sign(large).status == 65)
        let verified = try keys.verify(large)
        #expect(verified.status == 1)
        #expect(verified.text == "permerror (signed header is too large)\n")
    }

    // MARK: What verify finds

    @Test("exact JSON of a pass") func passJSON() throws {
        let signed = try keys.sign(plain)
        let result = try keys.verify(signed.output.octets, "--json")
        #expect(result.status == 0)
        #expect(
            result.text == """
                {"signatures":[{"result":"pass","domain":"example.com","selector":"r","auid":null,\
                "algorithm":"rsa-sha256","key_bits":2048,"reason":null},{"result":"pass","domain":"example.com",\
                "selector":"e","auid":null,"algorithm":"ed25519-sha256","key_bits":256,"reason":null}]}

                """)
    }

    @Test("no signature is a negative finding") func none() throws {
        #expect(try keys.verify(plain).text == "none (no DKIM-Signature field)\n")
        let json = try keys.verify(plain, "--json")
        #expect(json.text == "{\"signatures\":[]}\n")
        #expect(json.status == 1)
    }

    @Test("one good signature is enough for 0") func oneIsEnough() throws {
        let signed = try keys.sign(plain).output.octets
        let zone = keys.zone.replacing("k=ed25519; p=", with: "k=ed25519; n=")
        let result = try Postern(zone: zone, input: signed)("dkim", "verify", "-")
        #expect(result.status == 0)
        #expect(result.text.hasSuffix("permerror (key record syntax: no p=) d=example.com s=e a=ed25519-sha256\n"))
    }

    @Test("altered, without key, without DNS, expired") func negative() throws {
        let signed = try keys.sign(plain, "--expire", "1d").output.octets
        let altered = try keys.verify(signed + Array("more\r\n".utf8), "--json")
        #expect(altered.status == 1)
        #expect(
            altered.text.contains(#""result":"fail""#) && altered.text.contains(#""reason":"body hash did not verify""#)
        )

        let keyless = try Postern(input: signed)("dkim", "verify", "-", "--json")
        #expect(keyless.status == 1)
        #expect(keyless.text.contains(#""result":"permerror""#) && keyless.text.contains(#""key_bits":null"#))

        let failing = Set([try DomainName("r._domainkey.example.com"), try DomainName("e._domainkey.example.com")])
        let down = try Postern(zone: keys.zone, failing: failing, input: signed)("dkim", "verify", "-")
        #expect(down.status == 1)
        #expect(down.text.hasPrefix("temperror (key not available: SERVFAIL) d=example.com s=r a=rsa-sha256\n"))

        let expired = try keys.verify(signed, "--now", "1796000000")
        #expect(expired.status == 1)
        #expect(expired.text.contains("signature expired"))
    }

    @Test("octets of a stranger cannot write a line of ours") func hostile() throws {
        let field =
            "DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=r; h=From; bh=AAAA; b=AAAA;"
            + " i=\"=0Apass=1B[2J\"@example.com"
        let octets = message("From: ann@example.com", field, "", "x")
        let lines = try keys.verify(octets).text
        #expect(lines.split(separator: "\n").count == 1)
        #expect(!lines.utf8.dropLast().contains { $0 < 0x20 || $0 > 0x7E })
        let json = try keys.verify(octets, "--json").json()
        #expect((json["signatures"] as? [Any])?.count == 1)
    }

    @Test("damaged messages never trap verify") func mutations() throws {
        let signed = try keys.sign(plain).output.octets
        let tokens = ["\r\n", "\n", ";", "=", "i=", "l=0;", "DKIM-Signature:", ":", "\u{0}"].map { Array($0.utf8) }
        var results: Set<Int32> = []
        try Mutations.of([signed], tokens: tokens, count: 400, seed: 11) { octets in
            results.insert(try keys.verify(octets, "--json").status)
        }
        #expect(results.isSubset(of: [0, 1, 65]))
        #expect(results.contains(1))
    }

    // MARK: The configuration

    @Test(
        "without --key the configuration's keys sign as in the daemon",
        arguments: [
            ("any", "ann@example.com", [], 0, 2), ("any", "ann@mail.example.com", [], 0, 2),
            ("any", "ann@example.org", [], 1, 0), ("envelope", "ann@example.com", [], 0, 2),
            ("envelope", "ann@example.com", ["--mail-from", "bo@example.org"], 1, 0),
            ("envelope", "ann@example.com", ["--mail-from", "bo@example.com"], 0, 2),
            ("login", "ann@example.com", [], 1, 0), ("login", "ann@example.com", ["--login", "ann"], 0, 1),
            ("login", "ann@example.com", ["--login", "bo"], 1, 0),
            ("any", "ann@example.com, bo@example.com", [], 65, 0),
        ] as [(String, String, [String], Int32, Int)])
    func configured(rule: String, author: String, options: [String], status: Int32, signatures: Int) throws {
        let config = try folder.write(
            """
            [dkim]
            author = "\(rule)"
            canonicalization = "simple/simple"
            expire = "2d"
            [[dkim.key]]
            domain = "example.com"
            selector = "r"
            file = "\(keys.folder.file("r.pem"))"
            [[dkim.key]]
            domain = "example.com"
            selector = "e"
            file = "\(keys.folder.file("e.pem"))"
            users = ["ann"]

            """, to: "postern.toml")
        let result = try Postern(input: message("From: \(author)", "", "x")).run(
            ["dkim", "sign", "-", "--config", config] + options)
        #expect(result.status == status, "\(result.notes)")
        let pieces = result.text.split(separator: "DKIM-Signature:", omittingEmptySubsequences: false)
        #expect(pieces.count - 1 == signatures)
        if status == 0 {
            #expect(result.text.contains("c=simple/simple;") && result.text.contains("x=1795172800;"))
        } else {
            #expect(result.text.isEmpty && !result.notes.isEmpty)
        }
    }

    @Test("the configuration's limits hold in verify; a broken one is 78") func limits() throws {
        let signed = try keys.sign(plain).output.octets
        let strict = try folder.write("[dkim]\nmin_rsa_bits = 3072\n", to: "strict.toml")
        #expect(try keys.verify(signed, "--config", strict).text.hasPrefix("policy (key of 2048 bits is too small)"))
        let broken = try folder.write("[dns]\ncache = \"much\"\n", to: "broken.toml")
        let result = try keys.verify(signed, "--config", broken)
        #expect(result.status == 78)
        #expect(result.notes.contains("broken.toml:2:") && result.notes.contains("dns.cache"))
        #expect(try keys.verify(signed, "--config", folder.file("no.toml")).status == 78)
        // A table of another daemon is survived as a daemon survives it, and told.
        let odd = try folder.write("[dkim]\nmin_rsa_bits = 5\n", to: "odd.toml")
        let survived = try keys.verify(signed, "--config", odd)
        #expect(survived.status == 0)
        #expect(survived.notes.hasPrefix("warning: ") && survived.notes.contains("dkim.min_rsa_bits"))
    }

    @Test("DNS is asked where the configuration says, or --resolver") func resolver() throws {
        let signed = try keys.sign(plain).output.octets
        let config = try folder.write(
            "[listen]\ndns = [\"unix:/tmp/d.sock\", \"udp:127.0.0.1:5300\"]\n", to: "d.toml")
        #expect(try keys.verify(signed, "--config", config).resolvers == [.daemon(.unix(path: "/tmp/d.sock"))])
        let other = try keys.verify(signed, "--config", config, "--resolver", "127.0.0.1:5300")
        #expect(other.resolvers == [.server(.v4(0x7F00_0001), port: 5300)])
        #expect(other.questions.count == 2)
    }
}
