// Messages made to hurt: too many of everything, and damaged signatures. What is capped ends in a finding of its own,
// and the work stays proportional to the message.

import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternAuth

@Suite("hostile messages")
struct HostileMessageTests {
    private func signatureField(_ domain: String, extra: String = "") -> HeaderField {
        HeaderField(
            "DKIM-Signature", "v=1; a=ed25519-sha256; d=\(domain); s=x; h=from;\(extra) bh=\(Self.hash); b=AAAABBBB")
    }
    private static let hash = String(repeating: "A", count: 43) + "="

    @Test("signatures that could align come first, then the others, then what cannot pass")
    func priority() throws {
        let sha1 = HeaderField("DKIM-Signature", "v=1; a=rsa-sha1; d=a.test; s=x; h=from; bh=AAAA; b=AAAA")
        var message = TestMessage.plain
        let others = (0..<5).map { signatureField("other\($0).test") }
        message.header = [sha1, sha1] + others + [signatureField("other.example.com")] + message.header
        message = try sign(message, keys: [TestKeys.signing(.rsaSHA256), TestKeys.signing(.ed25519SHA256)])
        message.header.append(message.header.removeFirst())  // to the very bottom
        let zone = try TestKeys.zone()
        func judged(_ max: Int, authors: [String] = ["mail.example.com"]) throws -> [String] {
            let settings = DKIMVerificationSettings(maxSignatures: max)
            return try verify(message, dns: zone, authors: authors, settings: settings).map {
                "\($0.result.rawValue) \($0.domain?.description ?? "-")"
            }
        }
        // Below the cap: all, top to bottom, and no word of the cap.
        #expect(try judged(100).count == 10)
        #expect(try judged(10).last == "pass example.com")
        let surplus = "permerror -"
        #expect(try judged(2) == ["pass example.com", "pass example.com", surplus])
        #expect(try judged(3) == ["pass example.com", "permerror other.example.com", "pass example.com", surplus])
        #expect(
            try judged(4)
                == [
                    "pass example.com", "permerror other0.test", "permerror other.example.com", "pass example.com",
                    surplus,
                ])
        #expect(try judged(9).filter { $0 == "policy a.test" }.count == 1)
        #expect(try judged(0) == [surplus])
        #expect(try judged(-1) == [surplus])
        #expect(try judged(2, authors: ["example.com"]) == ["pass example.com", "pass example.com", surplus])
        #expect(try judged(1, authors: ["example.com"]) == ["pass example.com", surplus])
        #expect(try judged(2, authors: []) == ["pass example.com", "permerror other0.test", surplus])
        // RFC 9989 §11.5: each of several authors is judged, so that none may be starved.
        #expect(
            try judged(3, authors: ["other4.test", "example.com"])
                == ["pass example.com", "permerror other4.test", "pass example.com", surplus])
        #expect(try judged(1, authors: ["nobody.test", "example.com"]) == ["pass example.com", surplus])
        let last = try verify(message, dns: zone, settings: DKIMVerificationSettings(maxSignatures: 1)).last
        #expect(last?.reason == .tooManySignatures)
    }

    @Test("1,000 signatures: eight are judged, one line says so, eight names are asked")
    func manySignatures() throws {
        var message = TestMessage.plain
        message.header = (0..<2000).map { signatureField("d\($0).test") } + message.header
        let zone = try TestZone()
        let findings = try verify(message, dns: zone)
        #expect(findings.count == 9)
        #expect(findings.dropLast().allSatisfy { $0.reason == .noKey })
        #expect(findings.last == DKIMFinding(result: .permerror, reason: .tooManySignatures))
        #expect(zone.batches.map(\.count) == [8])
        // Beyond the fields that are parsed a good one is not seen, which is the sender's doing.
        message.header += try sign(.plain, keys: [TestKeys.signing(.ed25519SHA256)]).header.prefix(1)
        #expect(try verify(message, dns: TestKeys.zone()).allSatisfy { $0.result == .permerror })
        message.header.swapAt(999, message.header.count - 1)
        #expect(try verify(message, dns: TestKeys.zone()).contains { $0.result == .pass })
    }

    @Test("10,000 fields and 1,000 names in h=")
    func manyFields() throws {
        var message = TestMessage.plain
        message.header += (0..<10_000).map { HeaderField("X-\($0 % 10)", "\($0)") }
        let names = (["from"] + (0..<999).map { "x-\($0 % 10)" }).joined(separator: ":")
        let tags = "v=1; a=ed25519-sha256; c=relaxed; d=example.com; s=ed; h="
        let key = try TestKeys.ed25519.get()
        let signed = try craft(message, tags: tags + names, key: key)
        #expect(try verify(signed, dns: TestKeys.zone()).map(\.result) == [.pass])
        var changed = signed
        changed.header[changed.header.count - 1].value = [0x20, 0x78]
        #expect(try verify(changed, dns: TestKeys.zone()).map(\.reason) == [.signatureMismatch])
        let over = try craft(message, tags: tags + names + ":x", key: key)
        #expect(try verify(over, dns: TestKeys.zone()).map(\.reason) == [.syntax("h= of more than 1000 names")])
    }

    @Test("a header field of 1 MiB, and tags of 100 KiB")
    func largeFields() throws {
        let tags = "v=1; a=ed25519-sha256; c=relaxed; d=example.com; s=ed; h=from:subject"
        let key = try TestKeys.ed25519.get()
        var message = TestMessage.plain
        message.header[2].value = [UInt8](repeating: 0x20, count: 1 << 20)
        let large = try craft(message, tags: tags, key: key)
        let finding = try #require(try verify(large, dns: TestKeys.zone()).first)
        #expect(finding.reason == .headerTooLarge)
        #expect(finding.result == .permerror)
        message.header[2].value = [UInt8](repeating: 0x61, count: 1_000_000)
        #expect(try verify(craft(message, tags: tags, key: key), dns: TestKeys.zone()).map(\.result) == [.pass])

        let filler = String(repeating: "x", count: 100 * 1024)
        for extra in [" z=\(filler);", " i=\(filler)@example.com;", " q=\(filler);", " l=\(filler);"] {
            var padded = TestMessage.plain
            padded.header.insert(signatureField("example.com", extra: extra), at: 0)
            #expect(
                try verify(padded, dns: TestKeys.zone()).map(\.reason) == [
                    .syntax("a tag list of more than 65536 octets")
                ])
        }
        let record = try TestZone(txt: ["ed._domainkey.example.com": "p=AQID; n=\(filler)"])
        let plain = try craft(.plain, tags: tags, key: key)
        #expect(try verify(plain, dns: record).map(\.reason) == [.keySyntax("a tag list of more than 65536 octets")])
    }

    @Test("damaged signature fields never trap, and never pass")
    func mutations() throws {
        let signed = try sign(.plain, keys: [TestKeys.signing(.ed25519SHA256)])
        let zone = try TestKeys.zone()
        let keys = PublicKeyCache()
        var facts = DKIMFinding(result: .none, reason: .none)
        let good = try DKIMSignature(value: signed.header[0].value, facts: &facts)
        func text(_ value: [UInt8]) -> [UInt8] { value.filter { !$0.isFoldingWhiteSpace } }
        let tokens = [
            ";", "=", ":", "l=1;", "x=1;", "i=@a;", "\r\n ", "h=from", "bh=", "c=simple/simple;", "a=rsa-sha256;",
        ]
        var passes = 0
        try Mutations.of(
            [signed.header[0].value, Array(VerificationTests.plainTags.utf8)], tokens: tokens.map { Array($0.utf8) },
            count: 4000, seed: 6376
        ) { value in
            var message = signed
            message.header[0].value = value
            let findings = try verify(message, dns: zone, keys: keys)
            #expect(findings.count == 1)
            guard findings.first?.result == .pass else { return }
            // White space and the way that b= is written are free in the relaxed form; anything else would be a hole.
            passes += 1
            let damaged = try DKIMSignature(value: value, facts: &facts)
            #expect(text(damaged.emptiedValue) == text(good.emptiedValue))
            #expect(damaged.signature == good.signature)
        }
        #expect(passes < 400)
    }

    @Test("damaged messages never trap")
    func mutatedMessages() throws {
        let message = try TestMessage(fixture: "rfc8463-a-signed.eml")
        var text: [UInt8] = []
        for field in message.header { text += field.name + [0x3A] + field.value + [0x0D, 0x0A] }
        text += [0x0D, 0x0A] + message.body
        let zone = try TestKeys.zone()
        try Mutations.of([text], tokens: [[0x0D, 0x0A], Array("DKIM-Signature: ".utf8)], count: 1500, seed: 5322) {
            octets in
            let damaged = MessageText(octets: octets)
            var whole = TestMessage(damaged.header)
            whole.body = damaged.body
            let once = try verify(whole, dns: zone)
            #expect(try verify(whole, dns: zone, chunks: 1...3) == once)
        }
    }
}
