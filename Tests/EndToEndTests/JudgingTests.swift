// Strangers' mail through Postfix and both milters: for each kind of finding the line in the log, word for word, and
// the fields that are delivered. How findings come about is for PosternAuthTests; here it is that they arrive.

import Foundation
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("judged mail", .serialized, .alone(with: JudgingHost.self)) struct Judging {
        /// A message as it is sent, and what is told about it.
        struct Row: Sendable, CustomTestStringConvertible {
            let name: String
            let mailFrom: String
            /// More of the header, each with its line end, on top.
            var fields = ""
            /// Empty for a message without a From field.
            let author: String
            /// Domains that sign it.
            var signers: [String] = []
            /// Lines that come behind the body once it is signed.
            var footer = ""
            /// The action in the log; for a refusal its reply follows.
            var action = "judge"
            /// In the log.
            let found: String
            /// The field, from behind the authserv-id on; `header.b` as `*`. Empty for a refusal.
            var told = ""
            var mark: String?
            /// A line for each author in facts.sqlite, then the identities and signatures.
            let facts: [String]

            var testDescription: String { name }

            var text: String {
                Letter.text(from: author, fields: fields).replacing("From: Somebody <>\n", with: "")
            }
        }

        private static let mx = "spf=pass (a) helo=mx.example.net"
        private static let toldMX = "spf=pass (a) smtp.helo=mx.example.net"
        private static let signed =
            "dkim=pass (256-bit key) header.d=example.net header.i=@example.net header.s=s1 header.a=ed25519-sha256 "
            + "header.b=*"
        private static let factMX = "spf helo mx.example.net pass"
        private static let wrong =
            "SPF record of broken.example: \"ip4:192.0.2.256\": "
            + "expected an IPv4 address, or a network as 192.0.2.0/24"
        private static let bank = "p=reject rua=-"

        static let accepted = [
            Row(
                name: "pass", mailFrom: "cy@example.net", author: "cy@example.net", signers: ["example.net"],
                found: "dmarc=pass author=example.net p=reject, spf=pass (ip4:192.0.2.0/24) mailfrom=example.net, "
                    + "\(mx), dkim=pass d=example.net s=s1 a=ed25519-sha256",
                told: "spf=pass (ip4:192.0.2.0/24) smtp.mailfrom=cy@example.net; \(toldMX); \(signed); "
                    + "dmarc=pass header.from=example.net polrec.p=reject",
                facts: [
                    "example.net pass pass - p=reject rua=mailto:dmarc@example.net", "spf mfrom example.net pass",
                    factMX, "dkim example.net pass",
                ]),
            Row(
                name: "SPF fail", mailFrom: "ann@watched.example", author: "ann@watched.example",
                found: "dmarc=fail (neither SPF nor DKIM passed) author=watched.example p=none, spf=fail (-all) "
                    + "mailfrom=watched.example, \(mx), dkim=none",
                told: "spf=fail (-all) smtp.mailfrom=ann@watched.example; \(toldMX); dkim=none; "
                    + "dmarc=fail reason=\"neither SPF nor DKIM passed\" header.from=watched.example polrec.p=none",
                facts: ["watched.example fail none - p=none rua=-", "spf mfrom watched.example fail", factMX]),
            Row(
                name: "SPF softfail", mailFrom: "ann@soft.example", author: "ann@soft.example",
                found: "dmarc=none (no policy record) author=soft.example, spf=softfail (~all) "
                    + "mailfrom=soft.example, \(mx), dkim=none",
                told: "spf=softfail (~all) smtp.mailfrom=ann@soft.example; \(toldMX); dkim=none; "
                    + "dmarc=none reason=\"no policy record\" header.from=soft.example",
                facts: ["soft.example none none - p=- rua=-", "spf mfrom soft.example softfail", factMX]),
            Row(
                name: "SPF permerror", mailFrom: "ann@broken.example", author: "ann@broken.example",
                found: "dmarc=none (no policy record) author=broken.example, spf=permerror (\(wrong)) "
                    + "mailfrom=broken.example, \(mx), dkim=none",
                told:
                    "spf=permerror reason=\"\(wrong.replacing("\"", with: "'"))\" smtp.mailfrom=ann@broken.example; "
                    + "\(toldMX); dkim=none; dmarc=none reason=\"no policy record\" header.from=broken.example",
                facts: ["broken.example none none - p=- rua=-", "spf mfrom broken.example permerror", factMX]),
            Row(
                name: "SPF temperror", mailFrom: "ann@waiting.example", author: "cy@example.net",
                signers: ["example.net"],
                found: "dmarc=pass author=example.net p=reject, spf=temperror (absent.test not available: SERVFAIL) "
                    + "mailfrom=waiting.example, \(mx), dkim=pass d=example.net s=s1 a=ed25519-sha256",
                told: "spf=temperror reason=\"absent.test not available\" smtp.mailfrom=ann@waiting.example; "
                    + "\(toldMX); \(signed); dmarc=pass header.from=example.net polrec.p=reject",
                facts: [
                    "example.net pass pass - p=reject rua=mailto:dmarc@example.net",
                    "spf mfrom waiting.example temperror", factMX, "dkim example.net pass",
                ]),
            Row(
                name: "a domain that nobody serves: temperror, and it flows",
                mailFrom: "ann@absent.test", author: "ann@absent.test",
                found: "dmarc=temperror (no answer for absent.test: SERVFAIL) author=absent.test, spf=temperror "
                    + "(absent.test not available: SERVFAIL) mailfrom=absent.test, \(mx), dkim=none",
                told: "spf=temperror reason=\"absent.test not available\" smtp.mailfrom=ann@absent.test; \(toldMX); "
                    + "dkim=none; dmarc=temperror reason=\"policy record not available\" header.from=absent.test",
                facts: ["absent.test temperror none - p=- rua=-", "spf mfrom absent.test temperror", factMX]),
            Row(
                name: "a spoof is marked", mailFrom: "ann@bank.example", author: "ann@bank.example",
                action: "quarantine",
                found: "dmarc=fail (neither SPF nor DKIM passed) author=bank.example p=reject, "
                    + "override=local_policy, spf=fail (-all) mailfrom=bank.example, \(mx), dkim=none",
                told: "spf=fail (-all) smtp.mailfrom=ann@bank.example; \(toldMX); dkim=none; dmarc=fail "
                    + "reason=\"neither SPF nor DKIM passed\" header.from=bank.example polrec.p=reject",
                mark: "quarantine (dmarc bank.example)",
                facts: ["bank.example fail quarantine local_policy \(bank)", "spf mfrom bank.example fail", factMX]),
            Row(
                name: "a mark that came along is not ours", mailFrom: "cy@example.net",
                fields: "Postern-Disposition: quarantine (dmarc example.net)\npostern-disposition : accept\n",
                author: "cy@example.net",
                found: "dmarc=pass author=example.net p=reject, spf=pass (ip4:192.0.2.0/24) mailfrom=example.net, "
                    + "\(mx), dkim=none, 2 Postern-Disposition removed",
                told: "spf=pass (ip4:192.0.2.0/24) smtp.mailfrom=cy@example.net; \(toldMX); dkim=none; "
                    + "dmarc=pass header.from=example.net polrec.p=reject",
                facts: [
                    "example.net pass pass - p=reject rua=mailto:dmarc@example.net", "spf mfrom example.net pass",
                    factMX,
                ]),
            Row(
                name: "results of another host of ours", mailFrom: "ann@watched.example",
                fields: """
                    Authentication-Results: mx2.example.org; dmarc=pass header.from=watched.example
                    Authentication-Results: mx.example.net; dmarc=pass header.from=other.example

                    """,
                author: "ann@watched.example",
                found: "dmarc=fail (neither SPF nor DKIM passed) author=watched.example p=none, spf=fail (-all) "
                    + "mailfrom=watched.example, \(mx), dkim=none",
                told: "spf=fail (-all) smtp.mailfrom=ann@watched.example; \(toldMX); dkim=none; "
                    + "dmarc=fail reason=\"neither SPF nor DKIM passed\" header.from=watched.example polrec.p=none",
                facts: ["watched.example fail none - p=none rua=-", "spf mfrom watched.example fail", factMX]),
        ]

        /// Where `dmarc.on_reject` is "reject".
        static let strict = [
            Row(
                name: "t=y: one level below", mailFrom: "ann@trial.example", author: "ann@trial.example",
                action: "quarantine",
                found: "dmarc=fail (neither SPF nor DKIM passed) author=trial.example p=reject t=y, "
                    + "override=policy_test_mode, spf=fail (-all) mailfrom=trial.example, \(mx), dkim=none",
                told: "spf=fail (-all) smtp.mailfrom=ann@trial.example; \(toldMX); dkim=none; dmarc=fail (t=y) "
                    + "reason=\"neither SPF nor DKIM passed\" header.from=trial.example polrec.p=reject",
                mark: "quarantine (dmarc trial.example)",
                facts: [
                    "trial.example fail quarantine policy_test_mode p=reject rua=-", "spf mfrom trial.example fail",
                    factMX,
                ]),
            Row(
                name: "sp governs a subdomain that exists", mailFrom: "ann@shop.bank.example",
                author: "ann@shop.bank.example", action: "quarantine",
                found: "dmarc=fail (neither SPF nor DKIM passed) author=shop.bank.example sp=quarantine "
                    + "at=bank.example, spf=none (no SPF record) mailfrom=shop.bank.example, \(mx), dkim=none",
                told: "spf=none reason=\"no SPF record\" smtp.mailfrom=ann@shop.bank.example; \(toldMX); dkim=none; "
                    + "dmarc=fail (sp=quarantine) reason=\"neither SPF nor DKIM passed\" "
                    + "header.from=shop.bank.example polrec.p=reject polrec.domain=bank.example",
                mark: "quarantine (dmarc shop.bank.example)",
                facts: [
                    "shop.bank.example fail quarantine - \(bank)", "spf mfrom shop.bank.example none", factMX,
                ]),
            Row(
                name: "a mailing list that broke the signature", mailFrom: "talk-bounces@lists.example",
                fields: "List-Id: Talk <talk.lists.example>\n", author: "ann@bank.example",
                signers: ["bank.example"], footer: "-- \nTalk, the list\n", action: "quarantine",
                found: "dmarc=fail (nothing that passed is aligned) author=bank.example p=reject, "
                    + "override=mailing_list, spf=pass (ip4:192.0.2.7) mailfrom=lists.example, \(mx), dkim=fail "
                    + "(body hash did not verify) d=bank.example s=s1 a=ed25519-sha256",
                told: "spf=pass (ip4:192.0.2.7) smtp.mailfrom=talk-bounces@lists.example; \(toldMX); "
                    + "dkim=fail (256-bit key) reason=\"body hash did not verify\" header.d=bank.example "
                    + "header.i=@bank.example header.s=s1 header.a=ed25519-sha256 header.b=*; dmarc=fail "
                    + "reason=\"nothing that passed is aligned\" header.from=bank.example polrec.p=reject",
                mark: "quarantine (dmarc bank.example)",
                facts: [
                    "bank.example fail quarantine mailing_list \(bank)", "spf mfrom lists.example pass", factMX,
                    "dkim bank.example fail",
                ]),
        ]

        private static let forbidden = "550 5.7.26 DMARC policy of bank.example (p=reject) forbids this message: "

        /// The reply stands in front of what was found.
        static let refused: [(reply: String, row: Row)] = [
            (
                forbidden + "neither SPF nor DKIM passed",
                Row(
                    name: "a spoof", mailFrom: "ann@bank.example", author: "ann@bank.example",
                    found: "dmarc=fail (neither SPF nor DKIM passed) author=bank.example p=reject, spf=fail (-all) "
                        + "mailfrom=bank.example, \(mx), dkim=none",
                    facts: ["bank.example fail reject - \(bank)", "spf mfrom bank.example fail", factMX])
            ),
            (
                forbidden + "nothing that passed is aligned",
                Row(
                    name: "a spoof with a valid signature of another domain", mailFrom: "eve@evil.example",
                    author: "ann@bank.example", signers: ["evil.example"],
                    found: "dmarc=fail (nothing that passed is aligned) author=bank.example p=reject, spf=pass "
                        + "(ip4:192.0.2.7) mailfrom=evil.example, \(mx), dkim=pass d=evil.example s=s1 "
                        + "a=ed25519-sha256",
                    facts: [
                        "bank.example fail reject - \(bank)", "spf mfrom evil.example pass", factMX,
                        "dkim evil.example pass",
                    ])
            ),
            (
                "550 5.7.26 DMARC policy of nowhere.bank.example (np=reject) forbids this message: neither SPF nor "
                    + "DKIM passed",
                Row(
                    name: "np governs a subdomain that does not exist", mailFrom: "ann@nowhere.bank.example",
                    author: "ann@nowhere.bank.example",
                    found: "dmarc=fail (neither SPF nor DKIM passed) author=nowhere.bank.example np=reject "
                        + "at=bank.example, spf=none (no SPF record) mailfrom=nowhere.bank.example, \(mx), dkim=none",
                    facts: [
                        "nowhere.bank.example fail reject - \(bank)", "spf mfrom nowhere.bank.example none", factMX,
                    ])
            ),
            (
                "550 5.7.1 Message cannot be authenticated: no From field",
                Row(
                    name: "no From field", mailFrom: "cy@example.net", author: "",
                    found: "dmarc=permerror (no From field), override=local_policy, spf=pass (ip4:192.0.2.0/24) "
                        + "mailfrom=example.net, \(mx), dkim=none",
                    facts: ["- permerror reject local_policy p=- rua=-", "spf mfrom example.net pass", factMX])
            ),
            (
                "550 5.7.1 Message cannot be authenticated: several From fields",
                Row(
                    name: "two From fields", mailFrom: "cy@example.net", fields: "From: Ann <ann@bank.example>\n",
                    author: "cy@example.net",
                    found: "dmarc=permerror (several From fields), override=local_policy, spf=pass "
                        + "(ip4:192.0.2.0/24) mailfrom=example.net, \(mx), dkim=none",
                    facts: ["- permerror reject local_policy p=- rua=-", "spf mfrom example.net pass", factMX])
            ),
            (
                forbidden + "nothing that passed is aligned",
                Row(
                    name: "two authors: each is judged, the strictest failing policy applies",
                    mailFrom: "eve@evil.example", author: "eve@evil.example>, Ann <ann@bank.example",
                    found: "dmarc=fail (nothing that passed is aligned) author=bank.example p=reject, dmarc=pass "
                        + "author=evil.example p=none, spf=pass (ip4:192.0.2.7) mailfrom=evil.example, \(mx), "
                        + "dkim=none",
                    facts: [
                        "evil.example pass reject local_policy p=none rua=-", "spf mfrom evil.example pass", factMX,
                        "bank.example fail reject - \(bank)", "spf mfrom evil.example pass", factMX,
                    ])
            ),
        ]

        @Test("accepted: line, fields, facts", arguments: accepted)
        func flows(row: Row) throws {
            let host = try JudgingHost.mild()
            try Self.check(row, on: host)
        }

        @Test("accepted where policies are enforced: line, fields, facts", arguments: strict)
        func enforces(row: Row) throws {
            let host = try JudgingHost.strict()
            try Self.check(row, on: host)
        }

        @Test("refused: reply, line, facts", arguments: refused)
        func refuses(reply: String, row: Row) throws {
            let host = try JudgingHost.strict()
            let judgement = try host.offer(try Self.message(row, host), from: row.mailFrom)
            #expect(judgement.reply.description == reply)
            #expect(judgement.line == JudgingHost.line("reject", "\(reply); \(row.found)", from: row.mailFrom))
            #expect(try host.facts(judgement.queueID) == row.facts)
            // What Postfix itself tells its admin.
            try host.postfix.await(line: "milter-reject") { line in
                line.queueID == judgement.queueID
                    && line.text.contains(
                        "milter-reject: END-OF-MESSAGE from mx.example.net[192.0.2.7]: \(reply.dropFirst(4)); from=")
            }
            #expect(host.troubles == [])
        }

        private static func message(_ row: Row, _ host: JudgingHost) throws -> [UInt8] {
            let octets = Message.octets(row.text)
            return (row.signers.isEmpty ? octets : try host.signed(octets, by: row.signers))
                + Message.octets(row.footer)
        }

        private static func check(_ row: Row, on host: JudgingHost) throws {
            let arrival = try host.send(try message(row, host), from: row.mailFrom)
            #expect(arrival.log == [JudgingHost.line(row.action, row.found, from: row.mailFrom)])
            let field = try #require(arrival.results.first)
            #expect(field.replacing(/header\.b=[^ ;]+/, with: "header.b=*") == "example.org; \(row.told)")
            // Those of others stay, those in our name are ours.
            #expect(arrival.results.dropFirst().allSatisfy { $0.hasPrefix("mx.example.net; ") }, "\(arrival.results)")
            #expect(arrival.results.count == 1 + row.text.components(separatedBy: "mx.example.net; ").dropFirst().count)
            #expect(arrival.message.fields("Postern-Disposition").map(\.value) == (row.mark.map { [$0] } ?? []))
            // RFC 8601 §5: our results stand above what they speak of.
            let head = arrival.message.fields.prefix(row.mark == nil ? 1 : 2).map(\.name)
            #expect(head == (row.mark == nil ? [] : ["Postern-Disposition"]) + ["Authentication-Results"])
            #expect(try host.facts(arrival.queueID) == row.facts)
            #expect(host.troubles == [])
        }
    }
}
