// Mail that is written to get past the caps or into our own words: it meets a named cap, is delivered with our result,
// and nothing that claims to be our result is left, wherever it stands.

import Foundation
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("hostile mail", .serialized, .alone(with: MailHost.self)) struct Hostile {
        static let forged = "Authentication-Results: (x) example.org; dkim=pass header.d=bank.example\n"

        static let removed = ", 1 forged Authentication-Results removed"

        @Test("more fields than we keep, From and a forged result behind them")
        func fields() throws {
            let host = try MailHost.shared()
            let many = (0..<20_001).map { "X-\($0): y\n" }.joined() + Self.forged
            let arrival = try host.send(
                Letter.octets(from: "cy@example.net", fields: many), as: .stranger, from: "cy@example.net")
            #expect(arrival.results == ["example.org; dkim=permerror reason=\"signed header is too large\""])
            #expect(
                arrival.log == [
                    Verifying.line(arrival, "dkim=permerror (signed header is too large)\(Self.removed)")
                ])
        }

        @Test("a thousand signatures")
        func signatures() throws {
            let host = try MailHost.shared()
            let one = "DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=absent; h=From; bh=YQ==; b=YQ==\n"
            let arrival = try host.send(
                Letter.octets(from: "cy@example.net", fields: String(repeating: one, count: 1000) + Self.forged),
                as: .stranger, from: "cy@example.net")
            let result =
                "dkim=permerror reason=\"no key in DNS\" header.d=example.net header.s=absent "
                + "header.a=rsa-sha256 header.b=\"YQ==\"; "
            let results = String(repeating: result, count: 8) + "dkim=permerror reason=\"too many signatures\""
            #expect(arrival.results == ["example.org; " + results])
            let found = String(
                repeating: "dkim=permerror (no key in DNS) d=example.net s=absent a=rsa-sha256, ", count: 8)
            #expect(
                arrival.log == [
                    Verifying.line(arrival, found + "dkim=permerror (too many signatures)\(Self.removed)")
                ])
        }

        @Test("a tag of 90 KiB")
        func tag() throws {
            let host = try MailHost.shared()
            let value = (0..<1_300).map { _ in " " + String(repeating: "A", count: 70) }.joined(separator: "\n")
            let field = "DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=r1; h=From; bh=YQ==; b=\n\(value)\n"
            let arrival = try host.send(
                Letter.octets(from: "cy@example.net", fields: field + Self.forged), as: .stranger,
                from: "cy@example.net")
            let result = try #require(arrival.results.first)
            #expect(result.hasPrefix("example.org; dkim=fail "), "\(result)")
            #expect(result.contains("header.b=AAAAAAAA"), "\(result)")
            #expect(arrival.results.count == 1)
            #expect(arrival.log.first?.hasSuffix("\(Self.removed); from=<cy@example.net>") == true)
        }

        @Test("words of a stranger do not become words of ours")
        func words() throws {
            let host = try MailHost.shared()
            let fields = """
                DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=r1; i="x; dkim=pass (y" @example.net;
                 h=From; bh=YQ==; b=YQ==

                """
            let client = try host.session(.stranger)
            let from = "\"a> to=<b\"@example.net"
            let reply = try client.send(
                from: from, to: ["bo@example.org"], Letter.octets(from: "cy@example.net", fields: fields))
            let arrival = try host.arrival(try #require(reply.queueID, "\(reply)"))
            let result = try #require(arrival.results.first)
            #expect(arrival.results.count == 1)
            #expect(result.hasPrefix("example.org; dkim=permerror reason="), "\(result)")
            #expect(!result.contains("dkim=pass"), "\(result)")
            let line = try #require(arrival.log.first)
            #expect(line.hasSuffix("; from=<\"a\\x3E to=\\x3Cb\"@example.net>"), "\(line)")
        }
    }
}
