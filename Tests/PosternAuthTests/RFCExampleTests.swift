// The examples of RFC 6376 and RFC 8463, as stored in Tests/Fixtures/rfc-examples/dkim: all of them.

import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternAuth

@Suite("RFC examples")
struct RFCExampleTests {
    struct Cases: Decodable {
        struct Case: Decodable {
            var id: String
            var message: String
            var ref: String
            var expect: [String]
        }
        struct Records: Decodable {
            var txt: String
            enum CodingKeys: String, CodingKey { case txt = "TXT" }
        }
        var dns: [String: Records]
        var cases: [Case]
    }
    struct Canonicalizations: Decodable {
        struct Example: Decodable {
            var ref: String
            var input: String
            var headerForm: String
            var bodyForm: String
            var headerOut: String
            var bodyOut: String
            enum CodingKeys: String, CodingKey {
                case ref, input
                case headerForm = "header_canon"
                case bodyForm = "body_canon"
                case headerOut = "header_out"
                case bodyOut = "body_out"
            }
        }
        struct EmptyBody: Decodable {
            var ref: String
            var canon: String
            var body: String
            var sha256: String
            var out: String
        }
        var examples: [Example]
        var emptyBody: [EmptyBody]
        enum CodingKeys: String, CodingKey {
            case examples
            case emptyBody = "empty_body"
        }
    }
    struct Keys: Decodable {
        var seed: String
        var publicKey: String
        enum CodingKeys: String, CodingKey {
            case seed = "rfc8463_ed25519_seed_base64"
            case publicKey = "rfc8463_ed25519_public_base64"
        }
    }

    @Test("messages of RFC 6376 §A and RFC 8463 §A verify as the RFCs say")
    func messages() throws {
        let cases = try Fixtures.json("rfc-examples/dkim/cases.json", as: Cases.self)
        let zone = try TestZone(txt: cases.dns.mapValues(\.txt))
        #expect(cases.cases.count == 6)
        for row in cases.cases {
            let message = try TestMessage(fixture: row.message)
            for chunks in [65_535...65_535, 1...1, 1...7] {
                let findings = try verify(
                    message, dns: zone, authors: ["football.example.com"], now: UnixTime(seconds: 1_600_000_000),
                    chunks: chunks)
                #expect(findings.map(\.result.rawValue) == row.expect, "\(row.id), \(row.ref), chunks of \(chunks)")
            }
        }
    }

    @Test("canonical forms of RFC 6376 §3.4.5")
    func canonicalForms() throws {
        let data = try Fixtures.json("rfc-examples/dkim/canonicalization.json", as: Canonicalizations.self)
        #expect(data.examples.count == 3)
        for example in data.examples {
            let message = TestMessage(text: example.input)
            let header = try #require(HeaderCanonicalization(rawValue: example.headerForm))
            let body = try #require(BodyCanonicalization(rawValue: example.bodyForm))
            var octets: [UInt8] = []
            for field in message.header {
                header.append(field, to: &octets)
                octets += [0x0D, 0x0A]
            }
            #expect(String(decoding: octets, as: UTF8.self) == example.headerOut, "\(example.ref)")
            #expect(canonical(body, [message.body]) == Array(example.bodyOut.utf8), "\(example.ref)")
        }
    }

    @Test("hashes of the empty body, RFC 6376 §3.4.3, §3.4.4")
    func emptyBody() throws {
        let data = try Fixtures.json("rfc-examples/dkim/canonicalization.json", as: Canonicalizations.self)
        #expect(data.emptyBody.count == 2)
        for example in data.emptyBody {
            var digests = BodyDigests()
            let form = try #require(BodyCanonicalization(rawValue: example.canon))
            let digest = try digests.digest(form)
            digests.finish()
            #expect(
                String(decoding: Base64.encode(try digest.finish()), as: UTF8.self) == example.sha256, "\(example.ref)")
            #expect(canonical(form, []) == Array(example.out.utf8))
        }
    }

    @Test("the Ed25519 key of RFC 8463 §A.2 is read from PKCS#8 and publishes the record of §A.2")
    func ed25519Key() throws {
        let keys = try Fixtures.json("rfc-examples/dkim/keys.json", as: Keys.self)
        let seed = try #require(Base64.decode(keys.seed.utf8))
        // RFC 8410 §7: OneAsymmetricKey with the 32 octets of the seed.
        let der: [UInt8] = [0x30, 0x2E, 2, 1, 0, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 4, 0x22, 4, 0x20] + seed
        let pem =
            "-----BEGIN PRIVATE KEY-----\n" + String(decoding: Base64.encode(der), as: UTF8.self)
            + "\n-----END PRIVATE KEY-----\n"
        let key = try PrivateKey(pem: Array(pem.utf8))
        #expect(key.algorithm == .ed25519SHA256)
        #expect(try key.publicKeyRecord == "v=DKIM1; k=ed25519; p=\(keys.publicKey)")
        #expect(try key.pem == Array(pem.utf8))
    }
}
