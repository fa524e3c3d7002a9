// What comes in: the result of each kind of signature, in the field and in the log, and mail that flows without DNS.

import Foundation
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("inbound mail", .serialized, .alone(with: MailHost.self)) struct Verifying {
        @Test("a good signature passes", arguments: PeerKey.Kind.allCases)
        func pass(kind: PeerKey.Kind) throws {
            let host = try MailHost.shared()
            let sent = try host.strangersMail(kind)
            let arrival = try host.send(sent, as: .stranger, from: "cy@example.net")
            let selector = host.keys.strangers(kind).selector
            // RFC 8601 §5: our results stand above what they speak of, the Received field of this host included.
            #expect(arrival.message.fields.first?.name == "Authentication-Results")
            let field = try #require(arrival.results.first)
            #expect(field.hasPrefix("example.org;"))
            for part in ["dkim=pass", "header.d=example.net", "header.s=\(selector)", "header.a=\(kind.rawValue)"] {
                #expect(field.contains(part), "\(field)")
            }
            #expect(arrival.message.octets.suffix(sent.count) == sent[...])
            #expect(
                arrival.log == [
                    Self.line(arrival, "dkim=pass d=example.net s=\(selector) a=\(kind.rawValue)")
                ])
        }

        @Test("both signatures of one mail pass")
        func both() throws {
            let host = try MailHost.shared()
            let once = try host.strangersMail(.rsa)
            let (key, selector) = host.keys.strangers(.ed25519)
            let order = SigningOrder(once, key: key, domain: "example.net", selector: selector)
            let twice = try #require(try DKIMPy.sign([order]).first)
            let arrival = try host.send(twice, as: .stranger, from: "cy@example.net")
            #expect(arrival.results.first?.components(separatedBy: "dkim=pass").count == 3, "\(arrival.results)")
        }

        @Test("what is wrong is told")
        func wrong() throws {
            let host = try MailHost.shared()
            let good = String(decoding: try host.strangersMail(), as: UTF8.self)
            let revoked = String(decoding: try host.strangersMail(selector: "revoked"), as: UTF8.self)
            let absent = String(decoding: try host.strangersMail(selector: "absent"), as: UTF8.self)
            let rows: [(what: String, text: String, result: String, log: String)] = [
                ("altered body", good.replacing("Hello", with: "Hallo"), "dkim=fail", "(body hash did not verify)"),
                ("altered header", good.replacing("a door", with: "a gate"), "dkim=fail", "(signature did not verify)"),
                // Oversigned: dkimpy signs From once more than it is there.
                ("second From", "From: Eve <eve@example.net>\r\n" + good, "dkim=fail", "(signature did not verify)"),
                ("revoked key", revoked, "dkim=", "(key is revoked)"),
                ("no key", absent, "dkim=permerror", "(no key in DNS)"),
            ]
            for row in rows {
                let arrival = try host.send(Array(row.text.utf8), as: .stranger, from: "cy@example.net")
                #expect(arrival.results.count == 1, "\(row.what)")
                #expect(arrival.results.first?.contains(row.result) == true, "\(row.what): \(arrival.results)")
                #expect(arrival.log.count == 1, "\(row.what)")
                let line = try #require(arrival.log.first)
                #expect(line.contains(row.log) && line.contains(row.result), "\(row.what): \(line)")
            }
        }

        @Test("DNS down: temperror, and mail flows; back: pass")
        func down() throws {
            let host = try MailHost.shared()
            let sent = try host.strangersMail(.ed25519)
            try host.withoutDNS {
                let arrival = try host.send(sent, as: .stranger, from: "cy@example.net")
                #expect(arrival.results.first?.contains("dkim=temperror") == true, "\(arrival.results)")
                #expect(arrival.log.count == 1)
                #expect(arrival.log.first?.contains("dkim=temperror (key not available") == true, "\(arrival.log)")
            }
            let warnings = host.dkim.lines.filter { $0.contains(": warning: ") }
            #expect(!warnings.isEmpty)
            let arrival = try host.send(sent, as: .stranger, from: "cy@example.net")
            #expect(arrival.results.first?.contains("dkim=pass") == true, "\(arrival.results)")
        }

        static func line(_ arrival: Arrival, _ text: String) -> String {
            "\(arrival.queueID): verify: END-OF-MESSAGE from mx.example.net[192.0.2.7]: \(text); from=<cy@example.net>"
        }
    }
}
