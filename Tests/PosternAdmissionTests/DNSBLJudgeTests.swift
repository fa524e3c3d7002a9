// RFC 5782 row by row: what lists are asked, what their answers are worth, when the wait ends, and what is told.

import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmission

@Suite("DNS lists")
struct DNSBLJudgeTests {
    /// Lists that are well, and the judge that asks them.
    private func judge(_ settings: DNSBLSettings) throws -> DNSBLJudge {
        let health = DNSBLHealth(settings.lists)
        let zone = settings.lists.map { list in
            list.by == .client ? testEntries("\(list.zone)") : "test.\(list.zone). A 127.0.0.2\n"
        }.joined()
        let well = try ChangingWell(zone)
        health.probe(now: noon) { well }
        return DNSBLJudge(settings, health: health)
    }

    private func find(
        _ judge: DNSBLJudge, _ well: ChangingWell, _ values: [PolicyAttribute: String] = [:], ruleScore: Int = 0,
        wantsScore: Bool = true, telling: PolicyTelling = .outcome
    ) -> DNSBLFinding {
        judge.finding(
            for: request(values), ruleScore: ruleScore, wantsScore: wantsScore, telling: telling, dns: well, now: noon)
    }

    // MARK: What is asked

    @Test(
        "names that are asked",
        arguments: [
            // RFC 5782 §2.1: octets in reverse.
            (DNSBLSubject.client, [.clientAddress: "192.0.2.99"], "99.2.0.192.l.example"),
            (.client, [.clientAddress: "::ffff:192.0.2.99"], "99.2.0.192.l.example"),
            // RFC 5782 §2.4: nibbles in reverse.
            (
                .client, [.clientAddress: "2001:db8:1:2:3:4:567:89ab"],
                "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.l.example"
            ),
            (.client, [.clientAddress: "unknown"], nil), (.client, [.clientAddress: ""], nil),
            // RFC 5782 §3: a name stands before the zone as it is.
            (.sender, [.sender: "ann@Mail.Example.ORG"], "mail.example.org.l.example"),
            (.sender, [.sender: "\"a@b\"@example.org"], "example.org.l.example"),
            (.sender, [.sender: ""], nil), (.sender, [.sender: "ann"], nil), (.sender, [.sender: "ann@localhost"], nil),
            (.sender, [.sender: "ann@[192.0.2.1]"], nil), (.sender, [.sender: "ann@192.0.2.1"], nil),
            (.sender, [.sender: "ann@a b.example"], nil), (.sender, [.sender: "ann@a..example"], nil),
            (.helo, [.heloName: "mx.example.net"], "mx.example.net.l.example"),
            (.helo, [.heloName: "[192.0.2.1]"], nil), (.helo, [.heloName: "[IPv6:2001:db8::1]"], nil),
            (.helo, [.heloName: "192.0.2.1"], nil), (.helo, [.heloName: ""], nil), (.helo, [.heloName: "test"], nil),
            (.helo, [.heloName: "-x.example"], nil), (.helo, [.heloName: "x\u{0}.example"], nil),
            (.clientName, [.clientName: "mx.example.net"], "mx.example.net.l.example"),
            (.clientName, [.clientName: "unknown"], nil), (.clientName, [.clientName: ""], nil),
            (
                .helo,
                [.heloName: Array(repeating: String(repeating: "a", count: 62), count: 4).joined(separator: ".")],
                nil
            ),
        ] as [(DNSBLSubject, [PolicyAttribute: String], String?)])
    func names(_ by: DNSBLSubject, _ values: [PolicyAttribute: String], _ name: String?) throws {
        let judge = try judge(dnsblSettings([try list("l.example", by: by)]))
        let well = try ChangingWell()
        let finding = find(judge, well, values)
        #expect(well.askedNames == (name.map { [$0] } ?? []))
        #expect(well.asked.allSatisfy { $0.type == .a })
        #expect(finding.lists.map(\.outcome) == [name == nil ? .skipped : .notListed])
        #expect(finding.isWhole && finding.score == 0)
    }

    // MARK: What answers are worth

    @Test(
        "answers that count",
        arguments: [
            (["127.0.0.2"], .listed, 4), (["127.0.0.11"], .listed, 4),
            // RFC 5782 §2.1: the settings say which answers count.
            (["127.0.0.12"], .notListed, 0), (["127.9.0.2"], .notListed, 0),
            // Of one list the highest counts, once.
            (["127.0.0.2", "127.0.0.3", "127.0.0.200"], .listed, 9), (["127.0.0.3", "127.0.0.2"], .listed, 4),
            // RFC 5782 §5: 127.0.0.1 is no listing.
            (["127.0.0.1"], .notListed, 0), (["127.0.0.1", "127.0.0.2"], .listed, 4),
            // What refuses or is no list's counts nothing, nor does what stands beside it.
            (["127.255.255.254"], .unanswered, 0), (["127.255.255.252", "127.0.0.2"], .unanswered, 0),
            (["127.255.0.1"], .unanswered, 0), (["192.0.2.80"], .unanswered, 0),
            (["127.0.0.2", "0.0.0.0"], .unanswered, 0), ([], .notListed, 0),
        ] as [([String], PolicyFinding.Outcome, Int)])
    func worth(_ answers: [String], _ outcome: PolicyFinding.Outcome, _ score: Int) throws {
        // Everything but refusals is in some pattern, even what must not count.
        let everything = AnswerPattern(octets: [[0...255], [0...255], [0...255], [0...11]])
        let lists = DNSBLListSettings(
            zone: try DomainName("l.example"), by: .client,
            scores: try list("x.example", [(2...11, 4), (200...200, 9)]).scores
                + (answers.contains("127.0.0.1") || answers.first?.hasPrefix("127.255") == true
                    ? [DNSBLScore(answers: everything, score: 1)] : []))
        let judge = try judge(dnsblSettings([lists], reject: 100))
        let well = try ChangingWell(answers.map { "7.2.0.192.l.example. A \($0)\n" }.joined())
        let finding = find(judge, well)
        #expect(finding.lists.map(\.outcome) == [outcome])
        #expect(finding.score == score && finding.lists.first?.score == score)
    }

    @Test("lists by all subjects add up, below zero too")
    func sum() throws {
        let lists = [
            try list("ip.example"), try list("allow.example", [(2...11, -2)]),
            try list("dom.example", by: .sender, [(2...2, 3)]),
            try list("none.example"),
        ]
        let well = try ChangingWell(
            """
            7.2.0.192.ip.example. A 127.0.0.4
            7.2.0.192.allow.example. A 127.0.1.3
            example.org.dom.example. A 127.0.1.2
            """)
        let judge = try judge(dnsblSettings(lists, reject: 5))
        let finding = find(judge, well)
        #expect(finding.lists.map(\.score) == [4, -2, 3, 0] && finding.score == 5)
        #expect(finding.lists.map(\.reason) == ["127.0.0.4", "127.0.1.3", "example.org: 127.0.1.2", "no answer"])
        #expect(well.batches == 1)
        let decision = judge.decision(on: request(), ruleScore: 1, lists: finding)
        #expect(decision.outcome == .reject && decision.score == 6)
        #expect(decision.reason == "score 6 (ip.example 4, allow.example -2, dom.example 3, rules 1)")
        #expect(
            decision.answer
                == .reject(
                    Reply(
                        code: 554, enhanced: "5.7.1",
                        text: "Service unavailable; client [192.0.2.7] is listed by ip.example")))
    }

    @Test("thresholds: refuse, defer, only score, observe; rules alone can refuse")
    func thresholds() throws {
        let found = DNSBLFinding(lists: [], score: 0, isWhole: true)
        func outcome(_ score: Int, _ settings: DNSBLSettings) throws -> PolicyFinding {
            try judge(settings).decision(on: request(), ruleScore: score, lists: found)
        }
        let both = dnsblSettings([], reject: 4, defer: 2)
        #expect(try [1, 2, 3, 4].map { try outcome($0, both).outcome } == [.pass, .defer, .defer, .reject])
        #expect(try outcome(99, dnsblSettings([], reject: nil)).answer == nil)
        #expect(
            try outcome(2, both).answer
                == .defer(Reply(code: 450, enhanced: "4.7.1", text: "Service unavailable, by local policy")))
        let shadow = try outcome(4, dnsblSettings([], shadow: true))
        #expect(shadow.isShadow && shadow.outcome == .reject && shadow.answer != nil)
        #expect(try outcome(.max, both).score == .max)
    }

    @Test("what is late, broken or without a name lists nobody")
    func silence() throws {
        let judge = try judge(dnsblSettings([try list("a.example"), try list("b.example")]))
        let well = try ChangingWell("7.2.0.192.b.example. A 127.0.0.2", failing: ["7.2.0.192.a.example"])
        let finding = find(judge, well)
        #expect(finding.lists.map(\.outcome) == [.unanswered, .listed] && finding.score == 4 && finding.isWhole)
    }

    // MARK: When the wait ends

    @Test("ends early where the outcome is clear, and waits where it is not")
    func early() throws {
        let lists = [
            try list("a.example"), try list("b.example", [(2...2, 2)]), try list("allow.example", [(2...2, -2)]),
        ]
        func ended(
            _ zone: String, slow: [String], reject: Int? = 4, wantsScore: Bool, shadow: Bool = false,
            ruleScore: Int = 0,
            telling: PolicyTelling = .outcome
        ) throws -> [PolicyFinding.Outcome] {
            let well = try ChangingWell(zone)
            try well.slowDown(slow.map { "7.2.0.192.\($0).example" })
            let judge = try judge(dnsblSettings(lists, reject: reject, shadow: shadow))
            let finding = find(
                judge, well, ruleScore: ruleScore, wantsScore: wantsScore, telling: telling)
            #expect(finding.isWhole == !finding.lists.contains { $0.outcome == .skipped })
            return finding.lists.map(\.outcome)
        }
        let (listedByA, nobody) = ("7.2.0.192.a.example. A 127.0.0.2", "x.example. A 192.0.2.1")
        // An allow list that is missing can still save the client.
        #expect(try ended(listedByA, slow: ["b", "allow"], wantsScore: false) == [.listed, .notListed, .notListed])
        #expect(try ended(listedByA, slow: ["allow", "b"], wantsScore: true) == [.listed, .skipped, .notListed])
        #expect(try ended(listedByA, slow: ["b"], wantsScore: false) == [.listed, .skipped, .notListed])
        // b alone cannot refuse: without interest in the score the wait ends, else not.
        #expect(try ended(nobody, slow: ["b"], wantsScore: false) == [.notListed, .skipped, .notListed])
        #expect(try ended(nobody, slow: ["b"], wantsScore: true) == [.notListed, .notListed, .notListed])
        // Nobody is refused: only the score is of interest, or nothing; all are asked for the log.
        #expect(try ended(nobody, slow: ["b"], reject: nil, wantsScore: false).contains(.skipped) == false)
        // Explain waits for all; where refusals are only observed, the score goes on to greylisting.
        #expect(try ended(listedByA, slow: ["b"], wantsScore: false, telling: .everything).contains(.skipped) == false)
        #expect(try ended(listedByA, slow: ["b"], wantsScore: true, shadow: true).contains(.skipped) == false)
        // A rule's score that no allow list lifts: nobody is asked.
        #expect(try ended(nobody, slow: [], wantsScore: true, ruleScore: 6) == [.skipped, .skipped, .skipped])
        #expect(try ended(nobody, slow: [], wantsScore: true, ruleScore: 5).contains(.skipped) == false)
    }

    // MARK: What is told

    @Test("the list's own reason: only for whom is refused, of the list that counts most, printable and cut")
    func reason() throws {
        let lists = [try list("a.example", [(2...2, 2)]), try list("b.example", [(2...2, 4)])]
        let long = String(repeating: "x", count: 190)
        let zone = """
            7.2.0.192.a.example. A 127.0.0.2
            7.2.0.192.a.example. TXT "of a"
            7.2.0.192.b.example. A 127.0.0.2
            7.2.0.192.b.example. TXT "see \\007https://b.example/7" "\(long)"
            """
        let judge = try judge(dnsblSettings(lists, tellsReason: true))
        let well = try ChangingWell(zone)
        let finding = find(judge, well)
        let told = try #require(finding.told)
        #expect(told.hasPrefix("see ?https://b.example/7xxx") && told.utf8.count == DNSBLJudge.maxReasonOctets)
        #expect(well.asked.filter { $0.type == .txt }.map { "\($0.name)" } == ["7.2.0.192.b.example"])
        guard case .reject(let reply) = judge.decision(on: request(), ruleScore: 0, lists: finding).answer else {
            Issue.record("not refused")
            return
        }
        #expect(
            reply.text.hasPrefix(
                "Service unavailable; client [192.0.2.7] is listed by b.example, a.example: see ?https://b.example/7xx")
        )
        // Nobody is refused: nobody asks why.
        let tame = try ChangingWell("7.2.0.192.a.example. A 127.0.0.2\n7.2.0.192.a.example. TXT \"of a\"")
        #expect(find(judge, tame).told == nil && !tame.asked.contains { $0.type == .txt })
        #expect(find(try self.judge(dnsblSettings(lists)), well).told == nil)
    }

    @Test("a reply names what the list lists")
    func subjects() throws {
        let rows: [(DNSBLSubject, String, String)] = [
            (.sender, "example.org.l.example", "sender domain example.org"),
            (.helo, "mx.example.net.l.example", "HELO name mx.example.net"),
            (.clientName, "mx.example.net.l.example", "client name mx.example.net"),
        ]
        for (by, name, text) in rows {
            let judge = try judge(dnsblSettings([try list("l.example", by: by)]))
            let finding = find(judge, try ChangingWell("\(name). A 127.0.0.2"))
            let decision = judge.decision(on: request(), ruleScore: 0, lists: finding)
            #expect(decision.answer?.summary == "554 5.7.1 Service unavailable; \(text) is listed by l.example")
        }
    }

    @Test("a query key is told nowhere")
    func keys() throws {
        let key = "abcdefghijklmnopqrstuvwxyz"
        let zone = "\(key).zen.dq.spamhaus.net"
        let lists = [try list(zone)]
        let judge = try judge(dnsblSettings(lists, tellsReason: true))
        let well = try ChangingWell(
            """
            7.2.0.192.\(zone). A 127.0.0.2
            7.2.0.192.\(zone). TXT "https://x.example/?k=\(key.uppercased())&ip=192.0.2.7 \(key)"
            """)
        let finding = find(judge, well, telling: .everything)
        let decision = judge.decision(on: request(), ruleScore: 0, lists: finding)
        let all = "\(finding) \(decision)".lowercased()
        #expect(!all.contains(key) && all.contains("(key).zen.dq.spamhaus.net"))
        #expect(finding.told == "https://x.example/?k=(key)&ip=192.0.2.7 (key)")
        #expect(finding.lists.first?.exchanges == ["7.2.0.192.(key).zen.dq.spamhaus.net A: 127.0.0.2, ttl 3600"])
    }

    @Test("whatever lists answer and clients say: no trap, texts are printable, the score is within bounds")
    func mutations() throws {
        let lists = [
            try list("a.example"), try list("s.example", by: .sender), try list("h.example", by: .helo),
        ]
        let judge = try judge(dnsblSettings(lists, tellsReason: true))
        let well = try ChangingWell(
            """
            *.a.example. A 127.0.0.2
            *.s.example. A 127.0.0.3
            *.h.example. A 127.0.0.4
            *.a.example. TXT "caf\\195\\169 \\000\\255"
            """)
        let samples = ["mx.example.net", "ann@example.org", "192.0.2.7", "2001:db8::7"].map { Array($0.utf8) }
        var listed = 0
        Mutations.of(samples, tokens: [[0], [0x2E], [0xC3, 0xA9], [0x5B]], count: 2000, seed: 5782) { text in
            let request = PolicyRequest(
                stage: .rcpt, [.heloName: text, .sender: Array("a@".utf8) + text, .clientAddress: text])
            let finding = judge.finding(
                for: request, ruleScore: 0, wantsScore: true, telling: .everything, dns: well, now: noon)
            let decision = judge.decision(on: request, ruleScore: 0, lists: finding)
            let texts = finding.lists.map(\.reason) + [finding.told ?? "", decision.reason]
            #expect(texts.allSatisfy { $0.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F } })
            #expect((0...12).contains(finding.score))
            if finding.score > 0 { listed += 1 }
        }
        #expect(listed > 0)
    }
}
