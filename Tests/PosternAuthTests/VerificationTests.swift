// The rules of verification (RFC 6376 §6), one row each: signatures made with any tags, and judged. Every reason that a
// finding can have is reached here or in `HostileMessageTests`.

import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternAuth

@Suite("verification")
struct VerificationTests {
    /// `a`, `c`, `d`, `s` and `h` of a plain good signature.
    static let plainTags = "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.com; s=ed; h=from:to:subject:date"

    /// Judges the plain message under a signature with these tags.
    private func judge(
        _ tags: String, dns: TestZone? = nil, length: UInt64? = nil, body: String? = nil, signedBody: String? = nil,
        now: UnixTime = testNow
    ) throws -> DKIMFinding {
        var message = TestMessage.plain
        if let body { message.body = Array(body.utf8) }
        let isRSA = tags.contains("a=rsa")
        let signed = try craft(
            message, tags: tags, key: try (isRSA ? TestKeys.rsa : TestKeys.ed25519).get(),
            body: signedBody.map { Array($0.utf8) }, length: length)
        let findings = try verify(signed, dns: try dns ?? TestKeys.zone(), now: now)
        #expect(findings.count == 1)
        return try #require(findings.first)
    }

    @Test("signature fields that pass")
    func passing() throws {
        let rows = [
            Self.plainTags,
            "v=1; a=rsa-sha256; d=example.com; s=rsa; h=From",  // RFC 6376 §3.5, c=: simple/simple
            "v=1; a=ed25519-sha256; c=simple; d=example.com; s=ed; h=From:Date",  // body simple
            "v=1; a=ed25519-sha256; c=relaxed; d=example.com; s=ed; h=From:Date",
            "v=1; a=Ed25519-SHA256; c=Relaxed/Relaxed; d=EXAMPLE.com; s=ED; h=FROM",
            "\r\n v = 1 ;\r\n a = ed25519-sha256;d = example.com;s=ed;h = from\r\n : to :\r\n\tsubject ",
            Self.plainTags + "; q=dns/txt",
            Self.plainTags + "; q=http:dns/txt:x",
            Self.plainTags + "; i=@example.com",
            Self.plainTags + "; i=ann@sub.example.com",
            Self.plainTags + "; i=\"a=40b\"@example.com",  // dkim-quoted-printable
            Self.plainTags + "; t=1800000000; x=1800000001",
            Self.plainTags + "; x=1800000000",  // expires after that second
            Self.plainTags + "; t=99999999999999",  // in the future, and beyond 12 digits
            Self.plainTags + "; x=999999999999999999999999999",
            Self.plainTags + "; z=From:x; unknown=1",
            "v=1; a=ed25519-sha256; d=example.com; s=ed; h=from:from:from:x-none:x-none",  // RFC 6376 §5.4.2
            "v=1; a=ed25519-sha256; d=example.com; s=ed; h=from:dkim-signature",  // itself is not meant
        ]
        for tags in rows {
            let finding = try judge(tags)
            #expect(finding.result == .pass, "\(tags): \(finding.reason)")
            #expect(finding.reason == .none)
            #expect(finding.domain?.description == "example.com")
            #expect(finding.signaturePrefix.utf8.count == 8)
        }
    }

    @Test("signature fields that do not, RFC 6376 §3.5 and §6.1.1")
    func refused() throws {
        let plain = Self.plainTags
        let rows: [(String, DKIMReason)] = [
            ("a=ed25519-sha256; d=example.com; s=ed; h=from", .missingTag("v")),
            ("v=1; d=example.com; s=ed; h=from", .missingTag("a")),
            ("v=1; a=ed25519-sha256; s=ed; h=from", .missingTag("d")),
            ("v=1; a=ed25519-sha256; d=example.com; h=from", .missingTag("s")),
            ("v=1; a=ed25519-sha256; d=example.com; s=ed", .missingTag("h")),
            (plain.replacing("v=1", with: "v=2"), .unknownVersion),
            (plain.replacing("v=1", with: "v="), .unknownVersion),
            (plain.replacing("v=1", with: "v=01"), .unknownVersion),
            (plain.replacing("a=ed25519-sha256", with: "a=ed25519-sha512"), .unknownAlgorithm),
            (plain.replacing("a=ed25519-sha256", with: "a="), .unknownAlgorithm),
            (plain.replacing("c=relaxed/relaxed", with: "c=nowsp"), .unknownCanonicalization),
            (plain.replacing("c=relaxed/relaxed", with: "c=relaxed/"), .unknownCanonicalization),
            (plain.replacing("c=relaxed/relaxed", with: "c="), .unknownCanonicalization),
            (plain.replacing("c=relaxed/relaxed", with: "c=relaxed/relaxed/relaxed"), .unknownCanonicalization),
            (plain.replacing("d=example.com", with: "d=com"), .syntax("d= is no domain name")),
            (plain.replacing("d=example.com", with: "d="), .syntax("d= is no domain name")),
            (plain.replacing("d=example.com", with: "d=example.com."), .syntax("d= is no domain name")),
            (plain.replacing("d=example.com", with: "d=exa mple.com"), .syntax("d= is no domain name")),
            (plain.replacing("d=example.com", with: "d=-example.com"), .syntax("d= is no domain name")),
            (plain.replacing("d=example.com", with: "d=example..com"), .syntax("d= is no domain name")),
            (plain.replacing("s=ed", with: "s="), .syntax("s= is no domain name")),
            (plain.replacing("s=ed", with: "s=a b"), .syntax("s= is no domain name")),
            (plain.replacing("h=from:to:subject:date", with: "h=to:subject"), .fromNotSigned),
            (plain.replacing("h=from:to:subject:date", with: "h=fromm:x-from"), .fromNotSigned),
            (plain.replacing("h=from:to:subject:date", with: "h="), .syntax("h= holds what is no field name")),
            (plain.replacing("h=from:to:subject:date", with: "h=from:"), .syntax("h= holds what is no field name")),
            (plain.replacing("h=from:to:subject:date", with: "h=from:a b"), .syntax("h= holds what is no field name")),
            (plain + "; i=ann@example.org", .auidNotInDomain),
            (plain + "; i=ann@badexample.com", .auidNotInDomain),
            (plain + "; i=ann@com.example", .auidNotInDomain),
            (plain + "; i=example.com", .syntax("i= is no address")),
            (plain + "; i=", .syntax("i= is no address")),
            (plain + "; i=a=4@example.com", .syntax("i= is no address")),
            (plain + "; i=@com", .syntax("i= is no domain name")),
            (plain + "; q=", .unknownQueryMethod),
            (plain + "; q=dns", .unknownQueryMethod),
            (plain + "; q=http/txt", .unknownQueryMethod),
            (plain + "; l=", .syntax("l= is no number")),
            (plain + "; l=-1", .syntax("l= is no number")),
            (plain + "; l=1 2", .syntax("l= is no number")),
            (plain + "; l=" + String(repeating: "1", count: 77), .syntax("l= is no number")),
            (plain + "; t=x", .syntax("t= is no number")),
            (plain + "; x=1e9", .syntax("x= is no number")),
            (plain + "; t=2; x=2", .timestampAfterExpiry),
            (plain + "; t=3; x=2", .timestampAfterExpiry),
            (plain + "; x=1799999999", .expired),
            (plain + "; t=1; x=2", .expired),
            (plain + "; d=example.com", .syntax("a tag given twice")),
            (plain + "; ; y=1", .syntax("an empty tag")),
        ]
        for (tags, reason) in rows {
            // The signing helper needs a tag list; what is none is made by hand.
            var message = TestMessage.plain
            message.header.insert(HeaderField("DKIM-Signature", "\(tags); bh=AAAA; b=AAAA"), at: 0)
            let findings = try verify(message, dns: try TestKeys.zone())
            #expect(findings.count == 1)
            #expect(findings.first?.reason == reason, "\(tags)")
            #expect(findings.first?.result == .permerror, "\(tags)")
        }
    }

    @Test("b= and bh=")
    func base64Tags() throws {
        let rows: [(String, DKIMReason)] = [
            ("bh=AAAA", .missingTag("b")), ("b=AAAA", .missingTag("bh")),
            ("bh=AAAA; b=", .syntax("b= is no base64")), ("bh=AAAA; b=A*AA", .syntax("b= is no base64")),
            ("bh=; b=AAAA", .syntax("bh= is no base64")), ("bh=_; b=AAAA", .syntax("bh= is no base64")),
        ]
        for (tags, reason) in rows {
            var message = TestMessage.plain
            message.header.insert(HeaderField("DKIM-Signature", "\(Self.plainTags); \(tags)"), at: 0)
            let findings = try verify(message, dns: try TestKeys.zone())
            #expect(findings.map(\.reason) == [reason], "\(tags)")
        }
        // Short ones are wrong, not broken: RFC 8463's hash and signature have fixed sizes.
        var message = try craft(.plain, tags: Self.plainTags, key: try TestKeys.ed25519.get())
        let whole = message.header[0].value
        for count in [4, 8, 80] {
            message.header[0].value = Array(whole.dropLast(count))
            #expect(try verify(message, dns: try TestKeys.zone()).map(\.reason) == [.signatureMismatch])
        }
        message.header[0].value = Array(whole.dropLast(3))  // 5 digits are no base64
        #expect(try verify(message, dns: try TestKeys.zone()).map(\.reason) == [.syntax("b= is no base64")])
    }

    @Test("white space around b= is emptied with it, RFC 6376 §3.7")
    func emptiedSignature() throws {
        let tags = "v=1; a=ed25519-sha256; c=simple; d=example.com; s=ed; h=from"
        for (around, tail) in [("", "; z=x"), (" ", ""), ("\r\n\t ", ""), ("\r\n\t", "; z=x"), (" ", ";")] {
            let message = try craft(
                .plain, tags: tags, key: try TestKeys.ed25519.get(), around: around, tail: tail)
            #expect(try verify(message, dns: try TestKeys.zone()).map(\.result) == [.pass], "\(around) \(tail)")
        }
    }

    @Test("rsa-sha1 is refused without asking for its key, RFC 8301 §3.1")
    func sha1() throws {
        let zone = try TestKeys.zone()
        let finding = try judge("v=1; a=rsa-sha1; d=example.com; s=rsa; h=from", dns: zone)
        #expect(finding.result == .policy)
        #expect(finding.reason == .sha1)
        #expect(finding.algorithm == .rsaSHA1)
        #expect(zone.batches.isEmpty)
    }

    @Test("key records, RFC 6376 §3.6.1 and §6.1.2")
    func keyRecords() throws {
        let rsa = try TestKeys.rsa.get().publicKeyRecord.replacing("v=DKIM1; k=rsa; ", with: "")
        let ed = try TestKeys.ed25519.get().publicKeyRecord.replacing("v=DKIM1; k=ed25519; ", with: "k=ed25519; ")
        let rows: [(Answer, DKIMResult, DKIMReason)] = [
            (.txt(ed), .pass, .none),
            (.txt("v=DKIM1; " + ed + "; t=y:s; s=email:x; h=sha1:sha256"), .pass, .none),
            (.noSuchName, .permerror, .noKey),
            (.noData, .permerror, .noKey),
            (.records([], ttl: 1), .permerror, .noKey),
            (.records([.cname(.root)], ttl: 1), .permerror, .noKey),
            (.temporaryFailure("SERVFAIL"), .temperror, .keyUnavailable("SERVFAIL")),
            (.txt("v=spf1 -all"), .permerror, .keySyntax("v= is not DKIM1")),
            (.txt("k=ed25519; v=DKIM1; p=AA=="), .permerror, .keySyntax("v= is not the first tag")),
            (.txt("k=ed25519"), .permerror, .keySyntax("no p=")),
            (.txt("k=ed25519; p=*"), .permerror, .keySyntax("p= is no base64")),
            (.txt(""), .permerror, .keySyntax("an empty tag")),
            (.txt("k=ed25519; p="), .permerror, .keyRevoked),
            (.txt("k=ed25519; p=AQID"), .permerror, .keySyntax("an Ed25519 key that has not 32 octets")),
            (.txt("p=AQID"), .permerror, .keyForOtherAlgorithm),  // an RSA record for an Ed25519 signature
            (.txt(rsa), .permerror, .keyForOtherAlgorithm),
            (.txt("k=dsa; p=AQID"), .permerror, .keyForOtherAlgorithm),
            (.txt(ed + "; s=tlsrpt"), .permerror, .keyForOtherService),
            (.txt(ed + "; h=sha1"), .permerror, .keyForOtherHash),
            // RFC 6376 §3.6.2.2: several records; each that is a key record is tried.
            (.txt("v=spf1 -all", ed), .pass, .none),
            (.txt("k=ed25519; p=", ed), .pass, .none),
            (.txt("hello", "x", "y", "z", ed), .permerror, .keySyntax("a tag without =")),  // the fifth is not
            (.txt("k=ed25519; p=", "v=spf1"), .permerror, .keyRevoked),
        ]
        for (answer, result, reason) in rows {
            let zone = try TestZone(["ed._domainkey.example.com": answer])
            let finding = try judge(Self.plainTags, dns: zone)
            #expect(finding.result == result, "\(answer)")
            #expect(finding.reason == reason, "\(answer)")
            #expect(zone.batches == [[Question(try DomainName("ed._domainkey.example.com"), .txt)]])
        }
    }

    @Test("t=y is told, t=s holds i= to d=, RFC 6376 §3.6.1")
    func flags() throws {
        let record = try TestKeys.ed25519.get().publicKeyRecord
        let strict = try TestZone(txt: ["ed._domainkey.example.com": record + "; t=s"])
        let testing = try TestZone(txt: ["ed._domainkey.example.com": record + "; t=y"])
        #expect(try judge(Self.plainTags, dns: strict).result == .pass)
        #expect(try judge(Self.plainTags + "; i=ann@example.com", dns: strict).result == .pass)
        let below = try judge(Self.plainTags + "; i=ann@sub.example.com", dns: strict)
        #expect(below.reason == .auidMustBeDomain)
        #expect(below.result == .permerror)
        #expect(below.auid == Array("ann@sub.example.com".utf8))
        #expect(try judge(Self.plainTags + "; i=ann@sub.example.com", dns: testing).result == .pass)
        #expect(try judge(Self.plainTags, dns: testing).isTesting)
        #expect(try !judge(Self.plainTags, dns: strict).isTesting)
    }

    @Test("RSA keys from 1024 to 4096 bits, RFC 8301 §3.2")
    func keySizes() throws {
        let tags = "v=1; a=rsa-sha256; d=example.com; s=rsa; h=from"
        func zone(_ p: String) throws -> TestZone { try TestZone(txt: ["rsa._domainkey.example.com": "p=\(p)"]) }
        let small = try judge(tags, dns: zone(KeyFixtures.rsa512SPKI))
        #expect(small.result == .policy)
        #expect(small.reason == .keyTooSmall(bits: 512))
        #expect(small.keyBits == 512)
        // A modulus of 4097 bits: 0x01, 512 octets, odd.
        let modulus: [UInt8] = [1] + [UInt8](repeating: 0xFF, count: 512)
        let der: [UInt8] = [0x30, 0x82, 2, 0x0A, 2, 0x82, 2, 1] + modulus + [2, 3, 1, 0, 1]
        let large = try judge(tags, dns: zone(String(decoding: Base64.encode(der), as: UTF8.self)))
        #expect(large.result == .policy)
        #expect(large.reason == .keyTooLarge(bits: 4097))

        let signed = try craft(.plain, tags: tags, key: try TestKeys.rsa.get())
        let strict = try verify(signed, dns: try TestKeys.zone(), settings: DKIMVerificationSettings(minRSABits: 2048))
        #expect(strict.map(\.reason) == [.keyTooSmall(bits: 1024)])
        // The settings cannot lower what RFC 8301 §3.2 forbids.
        let lax = DKIMVerificationSettings(minRSABits: 0)
        let tiny = try verify(signed, dns: try zone(KeyFixtures.rsa512SPKI), settings: lax)
        #expect(tiny.map(\.reason) == [.keyTooSmall(bits: 512)])
        // A key of a fitting size that is another one.
        let other = try verify(signed, dns: try zone(KeyFixtures.rsa1024SPKI))
        #expect(other.map(\.reason) == [.signatureMismatch])
        #expect(other.map(\.result) == [.fail])
        // A bare RSAPublicKey (erratum 3017), and DER that is no key.
        let key = try PrivateKey(pem: Array(KeyFixtures.rsa1024PKCS1.utf8))
        let bare = try verify(try craft(.plain, tags: tags, key: key), dns: try zone(KeyFixtures.rsa1024PublicKey))
        #expect(bare.map(\.result) == [.pass])
        #expect(try judge(tags, dns: zone(KeyFixtures.ecSPKI)).reason == .keySyntax("p= holds no RSA key"))
    }

    @Test("l=, RFC 6376 §3.5 and §8.2")
    func bodyLength() throws {
        let tags = Self.plainTags
        let rows: [(String, UInt64?, String, DKIMResult, DKIMReason)] = [
            ("7", 7, "Hello\r\n", .pass, .none),
            ("7", 7, "Hello  \r\n\r\n\r\n", .pass, .none),  // nothing canonical is beyond
            ("7", 7, "Hello\r\nand more\r\n", .policy, .partOfBodyUnsigned),
            ("0", 0, "Hello\r\n", .policy, .partOfBodyUnsigned),
            ("0", 0, "", .pass, .none),
            ("5", 5, "Hello\r\n", .policy, .partOfBodyUnsigned),
            ("8", 7, "Hello\r\n", .fail, .bodyShorterThanSigned),
            ("18446744073709551616", 7, "Hello\r\n", .fail, .bodyShorterThanSigned),
            (String(repeating: "9", count: 76), 7, "Hello\r\n", .fail, .bodyShorterThanSigned),
            ("7", 7, "Jello\r\nand more\r\n", .fail, .bodyHashMismatch),
        ]
        for (digits, length, body, result, reason) in rows {
            let signedBody = body.isEmpty ? "" : "Hello\r\n"
            let finding = try judge(tags + "; l=\(digits)", length: length, body: body, signedBody: signedBody)
            #expect(finding.result == result, "l=\(digits): \(body)")
            #expect(finding.reason == reason, "l=\(digits): \(body)")
        }
    }

    @Test("the body is wanted until every hash is settled")
    func wantsBody() throws {
        func verification(_ message: TestMessage) throws -> DKIMVerification {
            DKIMVerification(
                header: message.header, authors: [], settings: .init(), keys: PublicKeyCache(), now: testNow)
        }
        let key = try TestKeys.ed25519.get()
        #expect(try !verification(.plain).wantsBody)
        let broken = try craft(.plain, tags: Self.plainTags.replacing("v=1", with: "v=2"), key: key)
        #expect(try !verification(broken).wantsBody)

        let limited = try craft(.plain, tags: Self.plainTags + "; l=7", key: key, length: 7)
        let first = try verification(limited)
        #expect(first.wantsBody)
        let line = Array("Hello\r\n".utf8)
        first.update(line.span)
        #expect(first.wantsBody)  // it may end here
        let more = [UInt8](repeating: 0x61, count: 40_000)
        first.update(more.span)
        #expect(!first.wantsBody)
        first.update(more.span)
        #expect(first.finish(dns: try TestKeys.zone()).map(\.reason) == [.partOfBodyUnsigned])

        let both = try verification(try craft(limited, tags: Self.plainTags, key: key))
        both.update(more.span)
        #expect(both.wantsBody)
    }

    @Test("names that cannot be asked are permanent errors")
    func longNames() throws {
        let label = String(repeating: "a", count: 63)
        let long = "\(label).\(label).\(label).\(String(repeating: "b", count: 50)).com"
        let zone = try TestKeys.zone()
        let rows = [
            Self.plainTags.replacing("d=example.com", with: "d=\(long)"),  // fits, but not with the selector
            Self.plainTags.replacing("d=example.com", with: "d=\(long).\(label)"),
            Self.plainTags.replacing("s=ed", with: "s=\(label)a"),
        ]
        for tags in rows {
            let finding = try judge(tags, dns: zone)
            #expect(finding.reason == .nameTooLong)
            #expect(finding.result == .permerror)
        }
        #expect(zone.batches.isEmpty)
    }

    @Test("U-labels are A-labels, RFC 8616 §4")
    func internationalNames() throws {
        let record = try TestKeys.ed25519.get().publicKeyRecord
        let zone = try TestZone(txt: ["xn--schlssel-95a._domainkey.xn--bcher-kva.example": record])
        let tags =
            "v=1; a=ed25519-sha256; c=relaxed; d=bücher.example; s=schlüssel; h=from; i=jörg@x.xn--bcher-kva.example"
        let finding = try judge(tags, dns: zone)
        #expect(finding.result == .pass, "\(finding.reason)")
        #expect(finding.domain?.description == "xn--bcher-kva.example")
        #expect(finding.auid == Array("jörg@x.xn--bcher-kva.example".utf8))
    }

    @Test("all questions go out at once, each once, and missing answers are temporary")
    func questions() throws {
        let keys = try [DKIMAlgorithm.rsaSHA256, .ed25519SHA256].map { try TestKeys.signing($0) }
        var message = try sign(.plain, keys: keys)
        message = try sign(message, keys: keys)
        let zone = try TestKeys.zone()
        #expect(try verify(message, dns: zone).map(\.result) == [.pass, .pass, .pass, .pass])
        let names = try ["rsa", "ed"].map { Question(try DomainName("\($0)._domainkey.example.com"), .txt) }
        #expect(zone.batches == [names])

        struct Silent: DNSAnswering {
            func answers(to questions: [Question]) -> [Answer] { [] }
            func prefetch(_ questions: [Question]) {}
        }
        let findings = try verify(message, dns: Silent())
        #expect(findings.allSatisfy { $0.result == .temperror && $0.reason == .keyUnavailable("no answer") })
        // A changed body is changed, whether or not the key can be had.
        message.body.append(0x61)
        #expect(try verify(message, dns: Silent()).allSatisfy { $0.reason == .bodyHashMismatch })
    }

    @Test("header.b has octets enough to tell signatures apart, RFC 6008 §4")
    func prefixes() throws {
        var findings = ["abcdefghijkl", "abcdefghijXl", "ABCDEFGHIJKL", "abcdefghijkl", "abc", ""].map {
            DKIMFinding(result: .pass, reason: .none, signaturePrefix: $0)
        }
        SignaturePrefixes.shorten(&findings)
        #expect(
            findings.map(\.signaturePrefix) == ["abcdefghijk", "abcdefghijX", "ABCDEFGH", "abcdefghijk", "abc", ""])
        var message = TestMessage.plain
        message.header.insert(HeaderField("DKIM-Signature", "v=1; b=AB\r\n CDE FGHIJK"), at: 0)
        message.header.insert(HeaderField("DKIM-Signature", "v=1; b=AB\"CD"), at: 0)
        #expect(try verify(message, dns: try TestZone()).map(\.signaturePrefix) == ["", "ABCDEFGH"])
    }

    @Test("facts are told of signatures that cannot be used")
    func facts() throws {
        var message = TestMessage.plain
        let value = "v=3; a=rsa-sha256; d=Example.COM; s=Sel; i=@a.example.com; b=AAAABBBBCCCC"
        message.header.insert(HeaderField("dkim-signature ", value), at: 0)
        let finding = try #require(try verify(message, dns: try TestZone()).first)
        #expect(finding.domain?.description == "example.com")
        #expect(finding.selector?.description == "sel")
        #expect(finding.auid == Array("@a.example.com".utf8))
        #expect(finding.algorithm == .rsaSHA256)
        #expect(finding.signaturePrefix == "AAAABBBB")
        #expect(finding.keyBits == nil)
    }
}
