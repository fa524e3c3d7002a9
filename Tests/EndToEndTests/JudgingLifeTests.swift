// Both milters together, and what goes wrong around postern-dmarc: DNS that is dead, slow or a tarpit, a daemon that is
// killed or told to stop, a configuration that changes. Mail flows, and what must be refused still is.

import Foundation
import Glibc
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("life of postern-dmarc", .serialized, .alone(with: JudgingHost.self)) struct JudgingLife {
        private static let letter = Letter.octets(from: "cy@example.net")
        private static let spoof = Letter.octets(from: "ann@bank.example")
        private static let mx = "spf=pass (a) helo=mx.example.net"
        private static let passed =
            "dmarc=pass author=example.net p=reject, spf=pass (ip4:192.0.2.0/24) "
            + "mailfrom=example.net, \(mx), dkim=none"
        private static let spoofed =
            "dmarc=fail (neither SPF nor DKIM passed) author=bank.example p=reject, "
            + "spf=fail (-all) mailfrom=bank.example, \(mx), dkim=none"

        private static let dead = "postern-dns does not answer"

        @Test("behind a postern-dkim that verifies, too: one field is delivered, and it is postern-dmarc's")
        func bothVerify() throws {
            let host = try JudgingHost(verify: true)
            let sent = try host.signed(Self.letter, by: ["example.net"])
            let arrival = try host.send(sent, from: "cy@example.net")
            let found =
                "dmarc=pass author=example.net p=reject, spf=pass (ip4:192.0.2.0/24) mailfrom=example.net, "
                + "\(Self.mx), dkim=pass d=example.net s=s1 a=ed25519-sha256, 1 Authentication-Results removed"
            #expect(arrival.log == [JudgingHost.line("judge", found, from: "cy@example.net")])
            #expect(try host.dkim.outcome(queueID: arrival.queueID).contains(": verify: "))
            #expect(arrival.results.count == 1)
            let field = try #require(arrival.results.first)
            for part in ["spf=pass", "dkim=pass", "dmarc=pass"] {
                #expect(field.components(separatedBy: part).count == (part == "spf=pass" ? 3 : 2), "\(field)")
            }
            #expect(arrival.message.octets.suffix(sent.count) == sent[...])
            #expect(host.troubles == [])
        }

        @Test("forged results of ours are gone, whichever milter comes first to them")
        func forged() throws {
            for verify in [false, true] {
                let host = verify ? try JudgingHost(verify: true) : try JudgingHost.mild()
                for spelling in Forged.spellings + ["Authentication-Results: mx2.example.org; dmarc=pass\n"] {
                    let sent = Letter.octets(from: "cy@example.net", fields: Forged.others + spelling)
                    let arrival = try host.send(sent, from: "cy@example.net")
                    let others = "mx.example.net; dkim=pass header.d=example.net"
                    #expect(arrival.results.dropFirst() == [others], "\(spelling)")
                    #expect(arrival.results.first?.contains("dmarc=pass header.from=example.net") == true)
                }
                #expect(host.troubles == [])
            }
        }

        @Test("postern-dns killed: temperror and mail flows; back: judged")
        func dnsKilled() throws {
            let host = try JudgingHost("[dmarc]\non_reject = \"reject\"\n")
            try host.withoutDNS {
                let arrival = try host.send(Self.spoof, from: "ann@bank.example")
                let found =
                    "dmarc=temperror (no answer for bank.example: \(Self.dead)) author=bank.example, "
                    + "spf=temperror (bank.example not available: \(Self.dead)) mailfrom=bank.example, "
                    + "spf=temperror (mx.example.net not available: \(Self.dead)) helo=mx.example.net, dkim=none"
                #expect(arrival.log == [JudgingHost.line("judge", found, from: "ann@bank.example")])
                #expect(arrival.results.count == 1)
                #expect(arrival.results.first?.contains("dmarc=temperror") == true, "\(arrival.results)")
                #expect(arrival.message.fields("Postern-Disposition").isEmpty)
                #expect(try host.facts(arrival.queueID).first == "bank.example temperror none - p=- rua=-")
            }
            let troubles = host.troubles
            #expect(!troubles.isEmpty && troubles.allSatisfy { $0.contains("postern-dns does not answer") })
            let again = try host.offer(Self.spoof, from: "ann@bank.example")
            #expect(again.reply.code == 550, "\(again)")
        }

        @Test("SIGKILL: mail flows unjudged, and the next one takes over the socket and the facts")
        func killed() throws {
            let host = try JudgingHost("[dmarc]\non_reject = \"reject\"\n")
            let first = try host.send(Self.letter, from: "cy@example.net")
            let before = try host.facts(first.queueID)
            host.dmarc.kill()
            let client = try host.session()
            let reply = try client.send(from: "ann@bank.example", to: ["bo@example.org"], Self.spoof)
            let unjudged = try host.postfix.delivered(queueID: try #require(reply.queueID, "\(reply)"))
            #expect(unjudged.fields("Authentication-Results").isEmpty)
            #expect(unjudged.fields("Postern-Disposition").isEmpty)
            try host.restartDMARC()
            let judgement = try host.offer(Self.spoof, from: "ann@bank.example")
            #expect(judgement.reply.code == 550, "\(judgement)")
            #expect(try host.facts(judgement.queueID).first == "bank.example fail reject - p=reject rua=-")
            #expect(try host.facts(first.queueID) == before)
            // Postfix is the only one who complains.
            #expect(host.troubles.allSatisfy { $0.contains("postern/dmarc.sock") }, "\(host.troubles)")
        }

        @Test("SIGTERM: the open message is judged and its facts are kept; the socket goes")
        func stopped() throws {
            let host = try JudgingHost()
            let client = try host.session()
            try client.expect("MAIL FROM:<cy@example.net>")
            try client.expect("RCPT TO:<bo@example.org>")
            try client.expect("DATA")
            let dmarc = host.dmarc
            // Postfix waits for no answer to MAIL and RCPT (SMFIP_NR_*): it may be ahead of the milter.
            try Await.until("the open message") {
                try host.postern(["status", "dmarc", "--json"]).text.contains("\"open_transactions\":1,")
            }
            dmarc.send(signal: SIGTERM)
            let reply = try client.endOfData(Self.letter)
            let queueID = try #require(reply.queueID, "\(reply)")
            #expect(
                try dmarc.outcome(queueID: queueID)
                    == "\(queueID): \(JudgingHost.line("judge", Self.passed, from: "cy@example.net"))")
            let message = try host.postfix.delivered(queueID: queueID)
            #expect(message.fields("Authentication-Results").count == 1)
            #expect(try dmarc.stop() == 0)
            #expect(!FileManager.default.fileExists(atPath: host.postfix.socketPath("dmarc.sock")))
            #expect(try host.facts(queueID).first?.hasPrefix("example.net pass pass - ") == true)
        }

        @Test("reload and status know it; from the next message on a spoof waits in the hold queue")
        func reloaded() throws {
            let host = try JudgingHost()
            let marked = try host.send(Self.spoof, from: "ann@bank.example")
            #expect(marked.log.first?.hasPrefix("quarantine: ") == true, "\(marked.log)")

            try host.configure("[dmarc]\non_reject = \"perhaps\"\n")
            let refused = try host.postern(["reload", "dmarc"])
            #expect(refused.status == 78, "\(refused.text)\(refused.errors)")
            try host.configure("[dmarc]\non_reject = \"hold\"\n")
            let reloaded = try host.postern(["reload", "dmarc"])
            #expect(reloaded.status == 0, "\(reloaded.text)\(reloaded.errors)")
            #expect(reloaded.text.hasPrefix("postern-dmarc: reloaded"), "\(reloaded.text)")

            let held = try host.offer(Self.spoof, from: "ann@bank.example")
            #expect(held.reply.queueID == held.queueID, "\(held.reply)")
            let found = Self.spoofed.replacing(" p=reject,", with: " p=reject, override=local_policy,")
            #expect(held.line == JudgingHost.line("hold", found, from: "ann@bank.example"))
            // postqueue(1): an exclamation mark for the hold queue.
            #expect(try host.postfix.queued().contains("\(held.queueID)!"))
            #expect(try host.facts(held.queueID).first == "bank.example fail quarantine local_policy p=reject rua=-")
            // The admin lets it go.
            #expect(try host.postfix.command("postsuper", ["-H", held.queueID]).status == 0)
            #expect(try host.postfix.command("postqueue", ["-i", held.queueID]).status == 0)
            let released = try host.postfix.delivered(queueID: held.queueID)
            #expect(released.fields("Authentication-Results").count == 1)
            #expect(released.fields("Postern-Disposition").isEmpty)

            let status = try host.postern(["status", "dmarc", "--json"])
            #expect(status.status == 0, "\(status.text)\(status.errors)")
            for part in [
                "\"generation\":2,", "\"label_value\":\"held\",\"value\":1}",
                "\"label_value\":\"quarantined\",\"value\":1}",
            ] {
                #expect(status.text.contains(part), "\(part): \(status.text)")
            }
        }

        @Test("a field as long as Postfix takes them does not save a spoof: libmilter would hang up at it")
        func longField() throws {
            let host = try JudgingHost.strict()
            let field =
                "X-Long: x" + String(repeating: "\r\n " + String(repeating: "x", count: 70), count: 1370) + "\r\n"
            #expect(field.utf8.count > 65_536 && field.utf8.count < 102_400, "header_size_limit")
            let judgement = try host.offer(Array(field.utf8) + Self.spoof, from: "ann@bank.example")
            #expect(judgement.reply.description.hasPrefix("550 5.7.26 DMARC policy of bank.example (p=reject)"))
            #expect(host.postfix.troubles.map(\.description) == [])
        }

        @Test("starvation: ten signatures and an SPF record at a tarpit do not save a spoof")
        func starvation() throws {
            let host = try JudgingHost.strict()
            let domains = (0..<10).map { "s\($0).tarpit.test" }
            let sent = try host.signed(Self.spoof, by: domains)
            // Postfix waits 30 s for a sign of life and would accept the message then: a refusal was in time.
            let judgement = try host.offer(sent, from: "eve@slow.example")
            let reply =
                "550 5.7.26 DMARC policy of bank.example (p=reject) forbids this message: neither SPF nor DKIM passed"
            #expect(judgement.reply.description == reply)
            #expect(host.tarpit.wasAsked, Comment(rawValue: judgement.line))
            let line = judgement.line
            let found =
                "\(reply); dmarc=fail (neither SPF nor DKIM passed) author=bank.example p=reject, spf=temperror ("
            #expect(line.hasPrefix("reject: END-OF-MESSAGE from mx.example.net[192.0.2.7]: \(found)"), "\(line)")
            // The eight that were judged and that there are more: as many of these as there is room for.
            let told = line.components(separatedBy: ", dkim=temperror (key not available: ").count - 1
            let rest = ", +\(9 - told) more; from=<eve@slow.example> helo=<mx.example.net>"
            #expect(told > 0 && line.hasSuffix(rest), "\(line)")
            #expect(try host.facts(judgement.queueID).first == "bank.example fail reject - p=reject rua=-")
            #expect(host.postfix.troubles.map(\.description) == [])
        }
    }
}
