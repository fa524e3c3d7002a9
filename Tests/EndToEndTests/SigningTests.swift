// What leaves our host: whose mail is signed, whose is not, and who can verify it.

import Foundation
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("outbound mail", .serialized, .alone(with: MailHost.self)) struct Signing {
        static let both = "d=example.org s=r1 a=rsa-sha256, d=example.org s=e1 a=ed25519-sha256"

        @Test("gets both signatures, which both peers verify")
        func both() throws {
            let host = try MailHost.shared()
            let sent = Letter.octets(from: "ann@example.org")
            let arrival = try host.send(sent, as: .user, from: "ann@example.org", to: "cy@example.net")
            #expect(arrival.signatures.count == 2)
            #expect(arrival.results.isEmpty)
            #expect(arrival.message.fields.prefix(3).map(\.name) == ["DKIM-Signature", "DKIM-Signature", "Received"])
            #expect(arrival.message.octets.suffix(sent.count) == sent[...])
            #expect(
                arrival.log == [
                    "\(arrival.queueID): sign: END-OF-MESSAGE from laptop.example.com[198.51.100.9]: \(Self.both); "
                        + "from=<ann@example.org>"
                ])
            let octets = arrival.message.octets
            #expect(try DKIMPy.verify(octets, records: host.keys.records) == [.passed, .passed])
            let opinion = try OpenDKIM.verify(octets, records: host.keys.records)
            #expect(opinion.results == ["pass", "pass"], "\(opinion.field)")
        }

        @Test("what relays may alter is told and signed all the same; as Postfix says what was declared")
        func fragile() throws {
            let host = try MailHost.shared()
            let body = "Gr\u{FC}\u{DF}e\n"
            let told = ", fragile: 8-bit text without BODY=8BITMIME"
            for (parameters, fields, fragile) in [
                ("", "", told), (" BODY=8BITMIME", "", ""), (" SIZE=1000 body=8bitmime", "", ""),
                ("", "Content-Transfer-Encoding: 8bit\n", ""), (" BODY=7BIT", "", told),
            ] {
                let client = try host.session(.user)
                let sent = Letter.octets(from: "ann@example.org", fields: fields, body: body)
                let reply = try client.send(
                    from: "ann@example.org", to: ["bo@example.org"], sent, mailParameters: parameters)
                let arrival = try host.arrival(try #require(reply.queueID, "\(reply)"))
                #expect(
                    arrival.log.first?.hasSuffix(
                        "END-OF-MESSAGE from laptop.example.com[198.51.100.9]: \(Self.both)"
                            + "\(fragile); from=<ann@example.org>") == true, "\(parameters): \(arrival.log)")
                #expect(arrival.message.octets.suffix(sent.count) == sent[...])
                #expect(
                    try DKIMPy.verify(arrival.message.octets, records: host.keys.records) == [.passed, .passed])
            }
        }

        @Test("whose mail is ours")
        func ours() throws {
            let host = try MailHost.shared()
            let sent = Letter.octets(from: "ann@example.org")
            for (sender, client) in [
                (Sender.login, "laptop.example.com[198.51.100.9]"), (.user, "laptop.example.com[198.51.100.9]"),
                (.local, "localhost[127.0.0.1]"),
            ] {
                let arrival = try host.send(sent, as: sender, from: "ann@example.org")
                #expect(arrival.signatures.count == 2, "\(sender)")
                #expect(
                    arrival.log == [
                        "\(arrival.queueID): sign: END-OF-MESSAGE from \(client): \(Self.both); from=<ann@example.org>"
                    ])
            }
        }

        @Test("sendmail(1)'s mail is ours")
        func sendmail() throws {
            let host = try MailHost.shared()
            let queueID = try host.postfix.sendmail(
                from: "root@example.org", to: "cy@example.net", Letter.octets(from: "root@example.org"))
            let arrival = try host.arrival(queueID)
            #expect(
                arrival.log == [
                    "\(queueID): sign: END-OF-MESSAGE from localhost[127.0.0.1]: \(Self.both); from=<root@example.org>"
                ])
            #expect(
                try DKIMPy.verify(arrival.message.octets, records: host.keys.records) == [.passed, .passed])
        }

        @Test("mail of ours without a key passes as it is")
        func noKey() throws {
            let host = try MailHost.shared()
            let sent = Letter.octets(from: "ann@example.com")
            let arrival = try host.send(sent, as: .user, from: "ann@example.com")
            #expect(arrival.signatures.isEmpty)
            #expect(arrival.results.isEmpty)
            #expect(arrival.message.octets.suffix(sent.count) == sent[...])
            let line = try #require(arrival.log.first)
            #expect(
                line.hasPrefix(
                    "\(arrival.queueID): pass: END-OF-MESSAGE from laptop.example.com[198.51.100.9]: not signed: "))
            #expect(line.hasSuffix("; from=<ann@example.com>"))
        }

        @Test("mail with two authors is not signed")
        func twoAuthors() throws {
            let host = try MailHost.shared()
            for fields in ["From: Eve <eve@example.org>\n", "Subject: x\nfrom : eve@example.net\n"] {
                let sent = Letter.octets(from: "ann@example.org", fields: fields)
                let arrival = try host.send(sent, as: .user, from: "ann@example.org")
                #expect(arrival.signatures.isEmpty, "\(fields)")
                #expect(arrival.log.first?.contains(": pass: ") == true, "\(arrival.log)")
            }
        }

        @Test("a stranger's spoof that a filter brings back is not signed")
        func reinjected() throws {
            let host = try MailHost.shared()
            let fields = """
                Received: from mx.example.net (mx.example.net [192.0.2.7])
                 by mx1.example.org (Postfix) with ESMTP id 4cXk2J1hz; Sat, 21 Nov 2026 01:53:41 +0000
                Authentication-Results: (x) example.org; dkim=pass header.d=example.org

                """
            let sent = Letter.octets(from: "ann@example.org", fields: fields)
            for (sender, text) in [(Sender.local, "loopback"), (.filter, "passthrough")] {
                let arrival = try host.send(sent, as: sender, from: "ann@example.org")
                #expect(arrival.signatures.isEmpty)
                #expect(arrival.results.isEmpty)
                let line = try #require(arrival.log.first)
                #expect(line.hasPrefix("\(arrival.queueID): pass: END-OF-MESSAGE from localhost[127.0.0.1]: "))
                #expect(line.contains(text), "\(line)")
            }
        }

        @Test("a stranger who says to be us is verified, not signed")
        func spoof() throws {
            let host = try MailHost.shared()
            let arrival = try host.send(
                Letter.octets(from: "ann@example.org"), as: .stranger, from: "ann@example.org")
            #expect(arrival.signatures.isEmpty)
            #expect(arrival.results == ["example.org; dkim=none"])
            #expect(
                arrival.log == [
                    "\(arrival.queueID): verify: END-OF-MESSAGE from mx.example.net[192.0.2.7]: dkim=none; "
                        + "from=<ann@example.org>"
                ])
        }
    }
}
