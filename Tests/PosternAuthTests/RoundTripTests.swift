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
}
