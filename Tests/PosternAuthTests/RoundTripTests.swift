// What we sign we verify: all four canonicalizations with both algorithms over messages of every shape; and what was
// altered after signing fails.

import PosternAuth
import PosternDNS
import PosternMail
import TestSupport
import Testing

@Suite("sign and verify")
struct RoundTripTests {
    static let algorithms: [DKIMAlgorithm] = [.rsaSHA256, .ed25519SHA256]
    static var settings: [DKIMSigningSettings] {
        HeaderCanonicalization.allCases.flatMap { header in
            BodyCanonicalization.allCases.map { body in
                DKIMSigningSettings(headerCanonicalization: header, bodyCanonicalization: body)
            }
        }
    }

    static var messages: [(String, TestMessage)] {
        var eightBit = TestMessage.plain
        eightBit.header[2].value = [0x20, 0xC3, 0xBC, 0xFF, 0x80]
        eightBit.body = Array((0...255).map(UInt8.init)) + [0x0D, 0x0A]
        var repeated = TestMessage.plain
        for number in 0..<50 { repeated.header.append(HeaderField("List-Id", "list \(number)")) }
        repeated.header.insert(HeaderField("Received", "from a by b"), at: 0)
        return [
            ("plain", .plain),
            (
                "folded header",
                TestMessage([
                    HeaderField(name: Array("From".utf8), value: Array(" Ann\r\n\t<ann@example.com>".utf8)),
                    HeaderField(name: Array("Subject ".utf8), value: Array("\r\n  very   long \t \r\n\ttitle ".utf8)),
                    HeaderField(name: Array("TO".utf8), value: Array("bo@example.net".utf8)),
                ])
            ),
            ("empty body", TestMessage(TestMessage.plain.header, body: "")),
            ("body of empty lines", TestMessage(TestMessage.plain.header, body: "\r\n\r\n")),
            ("no CRLF at the end", TestMessage(TestMessage.plain.header, body: "a  b\r\n\r\nc \t")),
            ("8-bit", eightBit),
            ("repeated fields", repeated),
            ("From alone", TestMessage([HeaderField("From", "ann@example.com")])),
        ]
    }

    @Test("every shape of message, each canonicalization, both algorithms")
    func shapes() throws {
        let zone = try TestZone(txt: TestKeys.records())
        for settings in Self.settings {
            for (name, message) in Self.messages {
                let keys = try Self.algorithms.map { try TestKeys.signing($0) }
                let signed = try sign(message, keys: keys, settings: settings, chunks: 1...50)
                #expect(signed.header.count == message.header.count + 2)
                let findings = try verify(signed, dns: zone, chunks: 1...9)
                #expect(findings.map(\.result) == [.pass, .pass], "\(name), \(settings): \(findings.map(\.reason))")
                #expect(findings.map(\.algorithm) == Self.algorithms)
                #expect(findings.map(\.keyBits) == [1024, 256])
                #expect(findings.map(\.domain?.description) == ["example.com", "example.com"])
                #expect(findings.map(\.selector?.description) == ["rsa", "ed"])
            }
        }
    }

    @Test("2 MiB of body in random chunks")
    func largeBody() throws {
        var random = SeededRandom(seed: 2)
        var message = TestMessage.plain
        let lines = ["the quick  brown\tfox \r\n", "\r\n", String(repeating: "QUJD", count: 19) + "\r\n", "Grüße\r\n"]
        while message.body.count < 2 << 20 { message.body += Array((lines.randomElement(using: &random) ?? "").utf8) }
        for settings in Self.settings.prefix(2) {
            let signed = try sign(message, keys: [TestKeys.signing(.ed25519SHA256)], settings: settings)
            let findings = try verify(signed, dns: try TestKeys.zone(), chunks: 1...65_535)
            #expect(findings.map(\.result) == [.pass])
        }
    }

    @Test("what is altered after signing fails, whatever the canonicalization")
    func alterations() throws {
        let zone = try TestKeys.zone()
        var original = TestMessage.plain
        original.header.append(HeaderField("List-Id", "one"))
        original.body = Array("Hello Bo,\r\nlunch?\r\n".utf8)
        for settings in Self.settings {
            let signed = try sign(original, keys: Self.algorithms.map { try TestKeys.signing($0) }, settings: settings)
            func results(_ change: (inout TestMessage) -> Void) throws -> [DKIMReason] {
                var message = signed
                change(&message)
                return try verify(message, dns: zone).map(\.reason)
            }
            let bodies: [(inout TestMessage) -> Void] = [
                { $0.body[0] ^= 0x20 }, { $0.body.removeLast(3) }, { $0.body.removeAll() },
                { $0.body += Array("x\r\n".utf8) }, { $0.body.insert(0x0A, at: 0) },
            ]
            for change in bodies { #expect(try results(change) == [.bodyHashMismatch, .bodyHashMismatch]) }
            let headers: [(inout TestMessage) -> Void] = [
                { $0.header[2].value[1] ^= 1 },  // From
                { $0.header[4].value += Array("!".utf8) },  // Subject
                { $0.header.remove(at: 3) },  // To
                { $0.header.removeAll { $0.isNamed("List-Id") } },
                // Oversigning: one more of what was signed, above or below.
                { $0.header.insert(HeaderField("From", "evil@example.org"), at: 0) },
                { $0.header.append(HeaderField("From", "evil@example.org")) },
                { $0.header.insert(HeaderField("Subject", "x"), at: 0) },
                { $0.header.insert(HeaderField("Cc", "x@example.org"), at: 0) },  // absent when it was signed
                { $0.header.insert(HeaderField("Reply-To", "x@example.org"), at: 0) },
                { $0.header.insert(HeaderField("Content-Type", "text/html"), at: 0) },
                { $0.header.insert(HeaderField("List-Id", "two"), at: 0) },
            ]
            for (number, change) in headers.enumerated() {
                #expect(
                    try results(change) == [.signatureMismatch, .signatureMismatch], "change \(number), \(settings)")
            }
            let harmless: [(inout TestMessage) -> Void] = [
                { $0.header.insert(HeaderField("Received", "from c by d"), at: 0) },
                { $0.header.insert(HeaderField("Sender", "list@example.org"), at: 0) },
                { $0.header.swapAt(0, 1) },
                { $0.body += Array("\r\n\r\n".utf8) },
            ]
            for change in harmless { #expect(try results(change) == [.none, .none]) }
            // White space is free in relaxed forms only.
            let space = try results { $0.header[4].value += [0x20] }
            #expect(space.first == (settings.headerCanonicalization == .relaxed ? DKIMReason.none : .signatureMismatch))
            let bodySpace = try results { $0.body.insert(0x20, at: 5) }
            #expect(
                bodySpace.first == (settings.bodyCanonicalization == .relaxed ? DKIMReason.none : .bodyHashMismatch))
        }
    }

    @Test("a tag of the signature itself that is changed fails")
    func ownField() throws {
        let signed = try sign(.plain, keys: [TestKeys.signing(.ed25519SHA256)])
        let value = String(decoding: signed.header[0].value, as: UTF8.self)
        for (old, new) in [("t=1800000000", "t=1700000000"), ("h=From:From:", "h=From:"), ("v=1;", "v=1; z=x;")] {
            var message = signed
            message.header[0].value = Array(value.replacing(old, with: new).utf8)
            #expect(message.header[0].value != signed.header[0].value)
            #expect(try verify(message, dns: try TestKeys.zone()).map(\.reason) == [.signatureMismatch], "\(new)")
        }
        var refolded = signed  // relaxed: folding is free, also inside of b=
        refolded.header[0].value = Array(value.replacing("\r\n\t", with: "\r\n   \t ").utf8)
        #expect(try verify(refolded, dns: try TestKeys.zone()).map(\.result) == [.pass])
    }

    @Test("repeated fields are signed from the bottom up, RFC 6376 §5.4.2")
    func bottomUp() throws {
        var message = TestMessage.plain
        message.header += [HeaderField("X-A", "one"), HeaderField("X-A", "two")]
        let settings = DKIMSigningSettings(fields: ["x-a"])
        let signed = try sign(message, keys: [TestKeys.signing(.ed25519SHA256)], settings: settings)
        #expect(try verify(signed, dns: try TestKeys.zone()).map(\.result) == [.pass])
        var swapped = signed
        swapped.header.swapAt(swapped.header.count - 1, swapped.header.count - 2)
        #expect(try verify(swapped, dns: try TestKeys.zone()).map(\.result) == [.fail])
    }
}
