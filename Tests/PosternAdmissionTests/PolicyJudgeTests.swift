// The way of a request through rules, lists and greylisting: what is asked, what decides, what is told to Postfix. Lists
// and greylisting themselves are scripted here; their judges have tests of their own.

import PosternDNS
import PosternMail
import Synchronization
import TestSupport
import Testing

@testable import PosternAdmission

/// Lists that give a score, refuse from 4 on, and remember how they were asked.
private final class ScriptedLists: DNSBLChecking {
    let score: Int
    let isWhole: Bool
    let isShadow: Bool
    let asked = Mutex<[Bool]>([])

    init(score: Int = 0, isWhole: Bool = true, isShadow: Bool = false) {
        (self.score, self.isWhole, self.isShadow) = (score, isWhole, isShadow)
    }

    func finding(
        for request: PolicyRequest, ruleScore: Int, wantsScore: Bool, telling: PolicyTelling, dns: any DNSAnswering,
        now: UnixTime
    ) -> DNSBLFinding {
        asked.withLock { $0.append(wantsScore) }
        let lists = [
            PolicyFinding(.list("a.example"), score == 0 ? .notListed : .listed, reason: "127.0.0.2", score: score),
            PolicyFinding(.list("b.example"), .unanswered, reason: "late"),
        ]
        return DNSBLFinding(lists: lists, score: score, isWhole: isWhole)
    }

    func decision(on request: PolicyRequest, ruleScore: Int, lists: DNSBLFinding) -> PolicyFinding {
        let score = ruleScore + lists.score
        return PolicyFinding(
            .dnsbl, score >= 4 ? .reject : .pass, reason: "score \(score)", score: score,
            answer: score >= 4 ? .reject(Reply(code: 554, enhanced: "5.7.1", text: "listed")) : nil, isShadow: isShadow)
    }
}

/// Greylists whoever has a score from `from` on, and remembers how it was asked.
private final class ScriptedGreylist: GreylistChecking {
    let from: Int
    let isShadow: Bool
    let asksSPF: Bool
    let asked = Mutex<[Bool]>([])
    static let wait = PolicyAnswer.deferIfPermit(Reply(code: 450, enhanced: "4.2.0", text: "greylisted for 300s"))

    init(from: Int = .min, isShadow: Bool = false, asksSPF: Bool = false) {
        (self.from, self.isShadow, self.asksSPF) = (from, isShadow, asksSPF)
    }

    func concerns(_ request: PolicyRequest, score: Int?, isForced: Bool) -> Bool { isForced || score ?? .max >= from }

    func finding(
        for request: PolicyRequest, score: Int, isForced: Bool, telling: PolicyTelling, now: UnixTime,
        senderPolicy: () -> SPFFinding?
    ) -> PolicyFinding {
        asked.withLock { $0.append(isForced) }
        if asksSPF { _ = senderPolicy() }
        return PolicyFinding(.greylist, .defer, reason: "new", answer: Self.wait, isShadow: isShadow)
    }
}

private final class ScriptedSPF: SenderPolicyChecking {
    let asked = Mutex(0)

    func senderPolicy(
        for request: PolicyRequest, client: IPAddress, dns: any DNSAnswering, now: UnixTime
    ) -> SPFFinding {
        asked.withLock { $0 += 1 }
        return SPFFinding(
            result: .softfail, reason: .matched,
            identity: .mailFrom(MailFromIdentity(sender: Array(request[.sender]), helo: HELOIdentity([]))),
            mechanism: "~all")
    }
}

@Suite("policy judge")
struct PolicyJudgeTests {
    private static let reply = Reply(code: 550, enhanced: "5.7.1", text: "no")
    private static let everybody = RuleCondition(
        attribute: .serverPort, isNegated: false, values: .numbers([NumberRange(least: 25)]))

    private static func rule(
        _ name: String, _ action: RuleAction?, when conditions: [RuleCondition] = [everybody],
        skip: Set<PolicyCheck> = [], shadow: Bool = false
    ) -> RuleSettings {
        RuleSettings(name: name, conditions: conditions, skip: skip, action: action, shadow: shadow)
    }

    private func judge(
        _ rules: [RuleSettings] = [], lists: ScriptedLists = ScriptedLists(), greylist: ScriptedGreylist? = nil,
        policy: ScriptedSPF = ScriptedSPF(), isShadow: Bool = false
    ) throws -> PolicyJudge {
        let origin = OriginSettings(
            networks: [try Network("10.0.0.0/8")], relays: [try Network("198.51.100.9")])
        return try PolicyJudge(
            rules: rules, lists: lists, greylist: greylist, senderPolicy: policy, origin: origin, isShadow: isShadow)
    }

    private func verdict(
        _ judge: PolicyJudge, _ given: PolicyRequest = request(), telling: PolicyTelling = .outcome
    ) throws -> PolicyVerdict {
        var facts = InstanceFacts()
        let dns = try ZoneResolver(zone: "")
        return judge.verdict(on: given, at: evening, facts: &facts, dns: dns, telling: telling)
    }

    // MARK: Who decides

    @Test("nobody has anything against it")
    func nothing() throws {
        let verdict = try verdict(judge())
        #expect(verdict.answer == .dunno && verdict.decision == nil && verdict.word == "pass")
        #expect(verdict.text == "no objection")
    }

    @Test("a rule that answers is the last word: neither lists nor greylisting are asked")
    func ruleDecides() throws {
        for (action, answer) in [
            (RuleAction.reject(Self.reply), PolicyAnswer.reject(Self.reply)), (.accept, .dunno),
            (.hold("x"), .hold("x")),
            (.redirect("a@example.com"), .redirect("a@example.com")),
            (.filter(transport: "smtp", destination: ""), .filter(transport: "smtp", destination: "")),
        ] {
            let (lists, greylist) = (ScriptedLists(score: 9), ScriptedGreylist())
            let verdict = try verdict(judge([Self.rule("r", action)], lists: lists, greylist: greylist))
            #expect(verdict.answer == answer && verdict.decision?.check == .rule("r"))
            #expect(verdict.text.hasSuffix("(rule r)"))
            #expect(lists.asked.withLock { $0 }.isEmpty && greylist.asked.withLock { $0 }.isEmpty)
        }
    }

    @Test("the lists refuse before greylisting is asked; a rule's score adds up with theirs")
    func listsDecide() throws {
        let greylist = ScriptedGreylist()
        let refused = try verdict(
            judge([Self.rule("r", .score(2))], lists: ScriptedLists(score: 2), greylist: greylist))
        #expect(refused.answer.word == "reject" && refused.decision?.check == .dnsbl && refused.score == 4)
        #expect(refused.text == "554 5.7.1 listed (dnsbl: score 4)")
        #expect(greylist.asked.withLock { $0 }.isEmpty)
        #expect(refused.findings.map(\.check) == [.rule("r"), .list("a.example"), .dnsbl])
        let passed = try verdict(judge([Self.rule("r", .score(-3))], lists: ScriptedLists(score: 6)))
        #expect(passed.answer == .dunno && passed.score == 3)
        // Rules alone can refuse too.
        #expect(try verdict(judge([Self.rule("r", .score(4))])).answer.word == "reject")
    }

    @Test("greylisting comes last")
    func greylistDecides() throws {
        let verdict = try verdict(judge(greylist: ScriptedGreylist()))
        #expect(verdict.answer == ScriptedGreylist.wait && verdict.word == "defer")
        #expect(verdict.text == "450 4.2.0 greylisted for 300s (greylist: new)")
    }

    @Test("greylisting is asked with the score; a rule may force it, and still the lists refuse first")
    func greylistScore() throws {
        let unsuspected = ScriptedGreylist(from: 2)
        #expect(try verdict(judge(lists: ScriptedLists(score: 1), greylist: unsuspected)).answer == .dunno)
        #expect(unsuspected.asked.withLock { $0 }.isEmpty)
        let forced = ScriptedGreylist(from: 2)
        #expect(try verdict(judge([Self.rule("r", .greylist)], greylist: forced)).answer == ScriptedGreylist.wait)
        #expect(forced.asked.withLock { $0 } == [true])
        let refused = try verdict(
            judge([Self.rule("r", .greylist)], lists: ScriptedLists(score: 4), greylist: ScriptedGreylist()))
        #expect(refused.decision?.check == .dnsbl)
    }

    @Test("rules skip lists and greylisting")
    func skips() throws {
        let lists = ScriptedLists(score: 9)
        let both = try judge(
            [Self.rule("r", nil, skip: [.dnsbl, .greylist])], lists: lists, greylist: ScriptedGreylist())
        #expect(try verdict(both).answer == .dunno)
        #expect(lists.asked.withLock { $0 }.isEmpty)
        let one = try judge([Self.rule("r", nil, skip: [.dnsbl])], lists: lists, greylist: ScriptedGreylist())
        #expect(try verdict(one).decision?.check == .greylist)
        // Whoever skips greylisting skips it also where a later rule wants it.
        let contrary = try judge(
            [Self.rule("r", nil, skip: [.greylist]), Self.rule("s", .greylist)], greylist: ScriptedGreylist())
        #expect(try verdict(contrary).answer == .dunno)
    }

    @Test("rules are for everybody; lists and greylisting leave our own alone")
    func exemptions() throws {
        let ours: [[PolicyAttribute: String]] = [
            [.clientAddress: "10.1.2.3"], [.clientAddress: "::ffff:10.1.2.3"], [.clientAddress: "198.51.100.9"],
            [.saslUsername: "ann"],
        ]
        for values in ours {
            let lists = ScriptedLists(score: 9)
            let judge = try judge(lists: lists, greylist: ScriptedGreylist())
            #expect(try verdict(judge, request(values)).answer == .dunno)
            #expect(lists.asked.withLock { $0 }.isEmpty)
            let refused = try self.judge([Self.rule("r", .reject(Self.reply))])
            #expect(try verdict(refused, request(values)).answer == .reject(Self.reply))
        }
        #expect(
            try verdict(judge(greylist: ScriptedGreylist()), request([.clientAddress: "198.51.100.8"])).answer != .dunno
        )
    }

    @Test("stages: greylisting at RCPT only, lists elsewhere too, VRFY and ETRN not at all")
    func stages() throws {
        for stage in PolicyStage.allCases {
            let lists = ScriptedLists()
            let greylist = ScriptedGreylist()
            _ = try verdict(judge(lists: lists, greylist: greylist), request(at: stage))
            #expect(greylist.asked.withLock { $0.count } == (stage == .rcpt ? 1 : 0))
            #expect(lists.asked.withLock { $0 } == ([.vrfy, .etrn].contains(stage) ? [] : [stage == .rcpt]))
        }
    }

    // MARK: What is told to Postfix

    @Test("one action fits: the first header field or copy where nobody refuses, and a refusal goes before them")
    func collected() throws {
        let collecting = [
            Self.rule("a", .prepend(name: "X-A", value: "1")), Self.rule("b", .bcc("c@example.com")),
        ]
        let told = try verdict(judge(collecting))
        #expect(told.answer == .prepend(name: "X-A", value: "1") && told.decision?.check == .rule("a"))
        #expect(told.text == "X-A: 1 (rule a)")
        #expect(try verdict(judge(collecting + [Self.rule("c", .accept)])).answer == told.answer)
        let refused = try verdict(judge(collecting + [Self.rule("c", .reject(Self.reply))]))
        #expect(refused.answer == .reject(Self.reply))
        #expect(try verdict(judge(collecting + [Self.rule("c", .hold(""))])).answer == .hold(""))
        #expect(try verdict(judge(collecting, lists: ScriptedLists(score: 4))).answer.word == "reject")
        #expect(try verdict(judge(collecting, greylist: ScriptedGreylist())).answer == ScriptedGreylist.wait)
    }

    @Test("a header field is told once for a message, a copy of it too; without an instance each time")
    func once() throws {
        let judge = try judge([Self.rule("a", .prepend(name: "X-A", value: "1"))])
        let dns = try ZoneResolver(zone: "")
        var facts = InstanceFacts()
        let answers = ["bo@example.com", "cy@example.com"].map {
            judge.verdict(on: request([.recipient: $0]), at: evening, facts: &facts, dns: dns).answer
        }
        #expect(answers == [.prepend(name: "X-A", value: "1"), .dunno])
        var none = InstanceFacts()
        for _ in 0..<2 {
            let verdict = judge.verdict(on: request([.instance: ""]), at: evening, facts: &none, dns: dns)
            #expect(verdict.answer == .prepend(name: "X-A", value: "1"))
        }
    }

    @Test("at END-OF-MESSAGE the header has gone by")
    func endOfMessage() throws {
        let rules = [Self.rule("a", .prepend(name: "X-A", value: "1")), Self.rule("b", .bcc("c@example.com"))]
        #expect(try verdict(judge(rules), request(at: .endOfMessage)).answer == .bcc("c@example.com"))
    }

    // MARK: Facts of a message

    @Test("lists and SPF are asked once for a message")
    func facts() throws {
        let (lists, policy) = (ScriptedLists(score: 1), ScriptedSPF())
        let spf = RuleCondition(attribute: .spf, isNegated: false, values: .spf([.softfail]))
        let score = RuleCondition(attribute: .dnsblScore, isNegated: false, values: .numbers([NumberRange(least: 1)]))
        let judge = try judge(
            [Self.rule("a", .score(1), when: [spf]), Self.rule("b", .score(1), when: [score, spf])], lists: lists,
            greylist: ScriptedGreylist(asksSPF: true), policy: policy)
        var facts = InstanceFacts()
        for recipient in ["bo@example.com", "cy@example.com"] {
            let verdict = judge.verdict(
                on: request([.recipient: recipient]), at: evening, facts: &facts, dns: try ZoneResolver(zone: ""))
            #expect(verdict.score == 3)
        }
        #expect(lists.asked.withLock { $0 } == [true] && policy.asked.withLock { $0 } == 1)
        #expect(facts.senderPolicy?.result == .softfail && facts.lists?.score == 1)
    }

    @Test("lists that were left early are asked again for the next recipient")
    func leftEarly() throws {
        let lists = ScriptedLists(isWhole: false)
        let judge = try judge(lists: lists)
        var facts = InstanceFacts()
        for _ in 0..<2 {
            _ = judge.verdict(on: request(), at: evening, facts: &facts, dns: try ZoneResolver(zone: ""))
        }
        #expect(lists.asked.withLock { $0 } == [false, false])
    }

    @Test("the score itself is wanted only where something looks at it")
    func wantsScore() throws {
        func wanted(_ rules: [RuleSettings], _ greylist: ScriptedGreylist?, _ telling: PolicyTelling) throws -> [Bool] {
            let lists = ScriptedLists()
            _ = try verdict(judge(rules, lists: lists, greylist: greylist), telling: telling)
            return lists.asked.withLock { $0 }
        }
        #expect(try wanted([], nil, .outcome) == [false])
        #expect(try wanted([], ScriptedGreylist(), .outcome) == [true])
        #expect(try wanted([Self.rule("r", nil, skip: [.greylist])], ScriptedGreylist(), .outcome) == [false])
        #expect(try wanted([], nil, .everything) == [true])
    }

    @Test("SPF is not asked for a client without an address")
    func noAddress() throws {
        let policy = ScriptedSPF()
        let spf = RuleCondition(attribute: .spf, isNegated: true, values: .spf([.pass]))
        let judge = try judge(
            [Self.rule("a", .reject(Self.reply), when: [spf])], greylist: ScriptedGreylist(asksSPF: true),
            policy: policy)
        #expect(try verdict(judge, request([.clientAddress: "unknown"])).answer == ScriptedGreylist.wait)
        #expect(policy.asked.withLock { $0 } == 0)
    }

    // MARK: Shadows

    @Test("what only observes is told and does nothing")
    func shadows() throws {
        let rules = [
            Self.rule("a", .reject(Self.reply), shadow: true),
            Self.rule("b", .score(9), skip: [.greylist], shadow: true),
        ]
        let verdict = try verdict(
            judge(rules, lists: ScriptedLists(score: 5, isShadow: true), greylist: ScriptedGreylist(isShadow: true)))
        #expect(verdict.answer == .dunno && verdict.decision == nil && verdict.withheld == nil && verdict.score == 5)
        #expect(
            verdict.text
                == "no objection; shadow: would reject: 550 5.7.1 no (rule a); shadow: score 9, skip greylist: "
                + "server_port 25 is in server_port (rule b); shadow: would reject: 554 5.7.1 listed (dnsbl: score 5); "
                + "shadow: would defer: 450 4.2.0 greylisted for 300s (greylist: new)")
    }

    @Test("the whole suite only observes")
    func wholeShadow() throws {
        let verdict = try verdict(judge([Self.rule("a", .reject(Self.reply))], isShadow: true))
        #expect(verdict.answer == .dunno && verdict.withheld == .reject(Self.reply) && verdict.word == "shadow")
        #expect(verdict.text == "would reject: 550 5.7.1 no (rule a)")
        #expect(try self.verdict(judge(isShadow: true)).word == "pass")
    }

    // MARK: Explain

    @Test("everything is told in order, also what was skipped and why")
    func everything() throws {
        let spf = RuleCondition(attribute: .spf, isNegated: false, values: .spf([.pass]))
        let asked = try judge(
            [Self.rule("a", .accept, when: [spf])], lists: ScriptedLists(score: 1), greylist: ScriptedGreylist())
        let told = try verdict(asked, telling: .everything).findings
        #expect(
            told.map { "\($0.check): \($0.outcome)" } == [
                "rule a: not_matched", "spf: softfail", "list a.example: listed", "list b.example: unanswered",
                "dnsbl: pass", "greylist: defer",
            ])
        #expect(told.dropFirst().first?.reason == "example.org, a mechanism matched: ~all")
        let decided = try verdict(judge([Self.rule("a", .reject(Self.reply))]), telling: .everything).findings
        #expect(decided.map(\.outcome) == [.matched, .skipped, .skipped])
        #expect(decided.last?.reason == "rule a has decided")
        let exempt = try verdict(
            judge(greylist: ScriptedGreylist()), request([.clientAddress: "10.0.0.1"]), telling: .everything)
        #expect(exempt.findings.map(\.reason) == Array(repeating: "the client is in host.networks", count: 2))
    }
}
