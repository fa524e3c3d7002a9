// Rules: which conditions hold, what is not known where, what ends the list and what is collected (DESIGN §4).

import PosternMail
import TestSupport
import Testing

@testable import PosternAdmission

/// A request at RCPT as Postfix makes it, with some attributes as a row wants them.
func request(_ values: [PolicyAttribute: String] = [:], at stage: PolicyStage = .rcpt) -> PolicyRequest {
    let usual: [PolicyAttribute: String] = [
        .request: "smtpd_access_policy", .protocolState: stage.rawValue, .protocolName: "ESMTP",
        .heloName: "mx.example.net", .sender: "ann@example.org", .recipient: "bo@example.com", .recipientCount: "0",
        .clientAddress: "192.0.2.7", .clientName: "mx.example.net", .reverseClientName: "mx.example.net",
        .instance: "4f2.5a1.0", .size: "2048", .encryptionKeysize: "256", .encryptionProtocol: "TLSv1.3",
        .clientPort: "4711", .serverAddress: "203.0.113.1", .serverPort: "25",
    ]
    return PolicyRequest(stage: stage, usual.merging(values) { $1 }.mapValues { Array($0.utf8) })
}

/// Monday, half past ten in the evening.
let evening = PolicyTime(now: UnixTime(seconds: 1_767_650_400), minute: 22 * 60 + 30, weekday: .mon)

/// Answers what it is told to, and counts.
struct ScriptedQuestions: RuleQuestions {
    var lists = 0
    var policy: SPFResult? = .fail
    var asked: [String] = []

    mutating func listScore(ruleScore: Int) -> Int {
        asked.append("lists")
        return lists
    }

    mutating func senderPolicy() -> SPFFinding? {
        asked.append("spf")
        return policy.map { SPFFinding(result: $0, reason: .noMatch, identity: .helo(HELOIdentity([]))) }
    }
}

@Suite("rules' judge")
struct RulesJudgeTests {
    struct Row: CustomTestStringConvertible, Sendable {
        let rule: String
        let attribute: RuleAttribute
        let values: RuleCondition.Values
        let request: PolicyRequest
        /// Whether KEY and not_KEY hold.
        let holds: (key: Bool, not: Bool)

        init(
            _ rule: String, _ attribute: RuleAttribute, _ values: RuleCondition.Values, _ given: PolicyRequest,
            _ key: Bool, _ not: Bool
        ) {
            (self.rule, self.attribute, self.values, request, holds) = (rule, attribute, values, given, (key, not))
        }
        var testDescription: String { rule }
    }

    private static func name(_ text: String) -> DomainName { (try? DomainName(text)) ?? .root }
    private static let org = name("example.org")
    private static let net = name("example.net")
    private static let network = Network(containing: .v4(0xC000_0200), prefixLength: 24)

    private static func texts(_ texts: String...) -> RuleCondition.Values { .patterns(texts.map { .exact($0) }) }

    @Test(
        "conditions",
        arguments: [
            Row("client in a network", .client, .patterns([.network(network)]), request(), true, false),
            Row(
                "client elsewhere", .client, .patterns([.network(network)]), request([.clientAddress: "192.0.3.1"]),
                false, true),
            Row(
                "a mapped client is IPv4", .client, .patterns([.network(network)]),
                request([.clientAddress: "::ffff:192.0.2.9"]), true, false),
            Row(
                "a client without an address is in no network and not out of one", .client,
                .patterns([.network(network)]),
                request([.clientAddress: "unknown"]), false, false),
            Row("any value of a key may", .clientName, .patterns([.domain(org), .below(net)]), request(), true, false),
            Row(
                "a client without a name is called unknown", .clientName, .patterns([.domain(name("unknown"))]),
                request([.clientName: "unknown"]), true, false),
            Row(
                "the name that is not verified", .reverseClientName, .patterns([.below(net)]),
                request([.clientName: "unknown"]), true, false),
            Row("helo", .helo, .patterns([.expression("^mx")]), request(), true, false),
            Row("no helo is the empty text", .helo, texts(""), request([.heloName: ""]), true, false),
            Row("no helo is no name", .helo, .patterns([.below(net)]), request([.heloName: ""]), false, true),
            Row("sender by address, any case", .sender, texts("Ann@Example.ORG"), request(), true, false),
            Row("sender by domain", .sender, .patterns([.addresses(at: org)]), request(), true, false),
            Row("the null sender", .sender, texts(""), request([.sender: ""]), true, false),
            Row(
                "the null sender is nobody's", .sender, .patterns([.addresses(at: org)]), request([.sender: ""]), false,
                true),
            Row("sender's domain", .senderDomain, .patterns([.domain(org)]), request(), true, false),
            Row(
                "the null sender has no domain", .senderDomain, .patterns([.domain(org)]), request([.sender: ""]),
                false, true),
            Row(
                "a sender without a domain", .senderDomain, .patterns([.domain(org)]),
                request([.sender: "example.org"]), false, true),
            Row(
                "the last @ counts", .senderDomain, .patterns([.domain(org)]), request([.sender: "a@b@example.org"]),
                true, false),
            Row("recipient", .recipient, texts("bo@example.com"), request(), true, false),
            Row("recipient's domain", .recipientDomain, .patterns([.below(name("com"))]), request(), true, false),
            Row("size as announced", .size, .numbers([NumberRange(least: 2000)]), request(), true, false),
            Row(
                "a size that was not announced is not known", .size, .numbers([NumberRange(most: 100)]),
                request([.size: "0"]), false, false),
            Row(
                "a number that is none is not known", .size, .numbers([NumberRange(most: 100)]), request([.size: "x"]),
                false, false),
            Row("no login is the empty text", .saslUsername, texts(""), request(), true, false),
            Row("no login is not ann", .saslUsername, texts("ann"), request(), false, true),
            Row("a login", .saslUsername, texts("ann"), request([.saslUsername: "ANN"]), true, false),
            Row("a method", .saslMethod, texts("PLAIN"), request([.saslMethod: "plain"]), true, false),
            Row("a claimed sender", .saslSender, texts("x"), request([.saslSender: "x"]), true, false),
            Row("TLS", .encryptionProtocol, texts(""), request(), false, true),
            Row(
                "a cipher", .encryptionCipher, .patterns([.expression("SHA384$")]),
                request([.encryptionCipher: "TLS_AES_256_GCM_SHA384"]), true, false),
            Row(
                "no TLS has keys of 0 bits", .encryptionKeysize, .numbers([NumberRange(most: 127)]),
                request([.encryptionKeysize: "0"]), true, false),
            Row(
                "names of certificates are xtext", .ccertSubject, texts("Ann + Co"),  // RFC 3461 §4
                request([.ccertSubject: "Ann+20+2B+20Co"]), true, false),
            Row("xtext that is none stays", .ccertIssuer, texts("a+2"), request([.ccertIssuer: "a+2"]), true, false),
            Row("a fingerprint", .ccertFingerprint, texts("aa:bb"), request([.ccertFingerprint: "AA:BB"]), true, false),
            Row(
                "of a public key", .ccertPubkeyFingerprint, texts("aa:bb"),
                request([.ccertPubkeyFingerprint: "AA:BB"]), true, false),
            Row("SNI", .tlsSNI, .patterns([.domain(net)]), request([.tlsSNI: "example.net"]), true, false),
            Row("protocol", .protocolName, texts("SMTP"), request(), false, true),
            Row("our address", .serverAddress, .patterns([.network(network)]), request(), false, true),
            Row("our port", .serverPort, .numbers([NumberRange(least: 25, most: 25)]), request(), true, false),
            Row(
                "a port before Postfix 3.2 is not known", .serverPort, .numbers([NumberRange(least: 25, most: 25)]),
                request([.serverPort: ""]), false, false),
            Row(
                "policy_context", .policyContext, texts("submission"), request([.policyContext: "submission"]), true,
                false),
            Row("time past midnight", .time, .times([TimeOfDayRange(start: 1320, end: 360)]), request(), true, false),
            Row("another time", .time, .times([TimeOfDayRange(start: 480, end: 1080)]), request(), false, true),
            Row("weekday", .weekday, .weekdays([WeekdayRange(first: .sat, last: .mon)]), request(), true, false),
            Row("lists' score", .dnsblScore, .numbers([NumberRange(least: 3)]), request(), true, false),
            Row("spf", .spf, .spf([.fail, .softfail]), request(), true, false),
            Row("spf, another result", .spf, .spf([.pass]), request(), false, true),
        ])
    func conditions(row: Row) throws {
        for (isNegated, holds) in [(false, row.holds.key), (true, row.holds.not)] {
            let condition = RuleCondition(attribute: row.attribute, isNegated: isNegated, values: row.values)
            let judge = try RuleJudge([
                RuleSettings(name: "a", conditions: [condition], skip: [], action: .accept, shadow: false)
            ])
            var questions = ScriptedQuestions(lists: 3)
            let outcome = judge.outcome(for: row.request, at: evening, telling: .everything, asking: &questions)
            #expect((outcome.ending != nil) == holds, "\(isNegated ? "not_" : "")\(row.attribute.rawValue)")
            let reason = try #require(outcome.findings.first?.reason)
            #expect(reason.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F } && reason.contains(row.attribute.rawValue))
        }
    }

    @Test("where Postfix asks earlier or later, what is not known yet holds in neither form")
    func stages() throws {
        let known: [(RuleAttribute, RuleCondition.Values, [PolicyStage])] = [
            (.client, .patterns([.network(Self.network)]), PolicyStage.allCases),
            (.helo, Self.texts("x"), PolicyStage.allCases.filter { $0 != .connect }),
            (.encryptionProtocol, Self.texts("x"), PolicyStage.allCases.filter { $0 != .connect }),
            (.sender, Self.texts("x"), [.mail, .rcpt, .data, .endOfMessage]),
            (.saslUsername, Self.texts("x"), [.mail, .rcpt, .data, .endOfMessage]),
            (.spf, .spf([.pass]), [.mail, .rcpt, .data, .endOfMessage]),
            (.recipient, Self.texts("x"), [.rcpt, .data, .endOfMessage]),
        ]
        for (attribute, values, stages) in known {
            for stage in PolicyStage.allCases {
                let conditions = [false, true].map {
                    RuleCondition(attribute: attribute, isNegated: $0, values: values)
                }
                let judge = try RuleJudge(
                    conditions.map {
                        RuleSettings(name: "a", conditions: [$0], skip: [], action: .score(1), shadow: false)
                    })
                var questions = ScriptedQuestions()
                let outcome = judge.outcome(
                    for: request(at: stage), at: evening, telling: .outcome, asking: &questions)
                #expect(outcome.score == (stages.contains(stage) ? 1 : 0), "\(attribute) at \(stage)")
            }
        }
        // With several recipients Postfix names none after RCPT.
        let condition = RuleCondition(attribute: .recipient, isNegated: true, values: Self.texts("x"))
        let judge = try RuleJudge([
            RuleSettings(name: "a", conditions: [condition], skip: [], action: .score(1), shadow: false)
        ])
        var questions = ScriptedQuestions()
        let many = request([.recipient: ""], at: .data)
        #expect(judge.outcome(for: many, at: evening, telling: .outcome, asking: &questions).score == 0)
    }

    // MARK: The list

    private static let always = RuleCondition(
        attribute: .client, isNegated: false, values: .patterns([.network(network)]))
    private static let never = RuleCondition(
        attribute: .client, isNegated: true, values: .patterns([.network(network)]))
    private static let no = Reply(code: 550, enhanced: "5.7.1", text: "no")
    private static let later = Reply(code: 450, enhanced: "4.7.1", text: "later")

    private static func rule(
        _ name: String, _ action: RuleAction?, when conditions: [RuleCondition] = [always],
        skip: Set<PolicyCheck> = [], shadow: Bool = false
    ) -> RuleSettings {
        RuleSettings(name: name, conditions: conditions, skip: skip, action: action, shadow: shadow)
    }

    @Test(
        "what ends the list and what goes on",
        arguments: [
            (.accept, true), (.reject(no), true), (.defer(later), true), (.hold("why"), true),
            (.redirect("x@example.com"), true), (.filter(transport: "smtp", destination: "x"), true),
            (.greylist, true), (.score(2), false), (.prepend(name: "X-A", value: "b"), false),
            (.bcc("x@example.com"), false), (nil, false),
        ] as [(RuleAction?, Bool)])
    func ends(action: RuleAction?, ends: Bool) throws {
        let skip: Set<PolicyCheck> = action == nil ? [.dnsbl] : []
        for shadow in [false, true] {
            let judge = try RuleJudge([
                Self.rule("a", .score(5), when: [Self.never]), Self.rule("b", action, skip: skip, shadow: shadow),
                Self.rule("c", .score(7)),
            ])
            var questions = ScriptedQuestions()
            let outcome = judge.outcome(for: request(), at: evening, telling: .outcome, asking: &questions)
            let goesOn = !ends || shadow
            #expect((outcome.ending == nil) == goesOn)
            #expect(outcome.findings.map(\.check) == (goesOn ? [.rule("b"), .rule("c")] : [.rule("b")]))
            #expect(outcome.findings.first?.isShadow == shadow)
            #expect(outcome.skip == (shadow ? [] : skip))
            let own = if case .score(let amount) = action, !shadow { amount } else { 0 }
            #expect(outcome.score == own + (goesOn ? 7 : 0))
        }
    }

    @Test("all keys of a rule must match")
    func allKeys() throws {
        let judge = try RuleJudge([
            Self.rule("a", .score(1), when: [Self.always, Self.never]),
            Self.rule("b", .score(2), when: [Self.always, Self.always]),
        ])
        var questions = ScriptedQuestions()
        #expect(judge.outcome(for: request(), at: evening, telling: .outcome, asking: &questions).score == 2)
    }

    @Test("lists and SPF are asked only where every cheaper condition holds")
    func lazily() throws {
        let spf = RuleCondition(attribute: .spf, isNegated: false, values: .spf([.fail]))
        let score = RuleCondition(attribute: .dnsblScore, isNegated: false, values: .numbers([NumberRange(least: 5)]))
        var questions = ScriptedQuestions(lists: 3)
        let unmatched = try RuleJudge([Self.rule("a", .accept, when: [spf, score, Self.never])])
        _ = unmatched.outcome(for: request(), at: evening, telling: .outcome, asking: &questions)
        #expect(questions.asked == [])
        // The score is too low for SPF to be asked; a rule above makes it high enough.
        let low = try RuleJudge([Self.rule("a", .accept, when: [spf, score])])
        #expect(low.outcome(for: request(), at: evening, telling: .outcome, asking: &questions).ending == nil)
        #expect(questions.asked == ["lists"])
        let high = try RuleJudge([Self.rule("a", .score(2)), Self.rule("b", .accept, when: [spf, score])])
        #expect(high.outcome(for: request(), at: evening, telling: .outcome, asking: &questions).ending != nil)
        #expect(questions.asked == ["lists", "lists", "spf"])
    }

    @Test("a rule that skips the lists leaves the rules' own score for conditions below it")
    func skippedScore() throws {
        let score = RuleCondition(
            attribute: .dnsblScore, isNegated: false, values: .numbers([NumberRange(least: 2, most: 2)]))
        let judge = try RuleJudge([
            Self.rule("a", .score(2), skip: [.dnsbl]), Self.rule("b", .accept, when: [score]),
        ])
        var questions = ScriptedQuestions(lists: 9)
        #expect(judge.outcome(for: request(), at: evening, telling: .outcome, asking: &questions).ending != nil)
        #expect(questions.asked == [])
    }

    @Test("everything is told in order: why a rule does not match, and that one is not reached")
    func everything() throws {
        let helo = RuleCondition(attribute: .helo, isNegated: true, values: .patterns([.below(Self.net)]))
        let judge = try RuleJudge([
            Self.rule("a", .reject(Self.no), when: [Self.always, helo]),
            Self.rule("b", .prepend(name: "X-A", value: "b"), skip: [.greylist, .dnsbl]),
            Self.rule("c", .accept), Self.rule("d", .accept),
        ])
        var questions = ScriptedQuestions()
        let outcome = judge.outcome(for: request(), at: evening, telling: .everything, asking: &questions)
        #expect(outcome.findings.map(\.outcome) == [.notMatched, .matched, .matched, .notReached])
        #expect(
            outcome.findings.map(\.reason) == [
                "helo <mx.example.net> matches *.example.net, which not_helo leaves out",
                "prepend X-A: b, skip dnsbl, greylist: client 192.0.2.7 matches 192.0.2.0/24",
                "accept: client 192.0.2.7 matches 192.0.2.0/24", "rule c has ended the list",
            ])
    }

    @Test("a wrong expression says whose it is")
    func wrongExpression() {
        let condition = RuleCondition(attribute: .helo, isNegated: false, values: .patterns([.expression("(")]))
        let error = #expect(throws: ExpressionError.self) {
            try RuleJudge([Self.rule("mine", .accept, when: [condition])])
        }
        #expect(error?.description.hasPrefix("rule mine, helo: expected") == true)
    }

    @Test("scores never overflow")
    func overflow() throws {
        let judge = try RuleJudge([
            Self.rule("a", .score(.max)), Self.rule("b", .score(.max)), Self.rule("c", .score(1)),
        ])
        var questions = ScriptedQuestions(lists: .max)
        #expect(judge.outcome(for: request(), at: evening, telling: .outcome, asking: &questions).score == .max)
    }

    // MARK: Hostile requests

    @Test("whatever strangers send, nothing traps and reasons stay on one printable line")
    func hostile() throws {
        let expression = MatchPattern.expression("^(dsl|dyn)[^a]*(\\d{1,3}-?){2,4}")
        let patterns: [RuleAttribute: RuleCondition.Values] = [
            .client: .patterns([.network(Self.network)]),
            .clientName: .patterns([.below(Self.net), expression]),
            .helo: .patterns([.domain(Self.net), .exact("[x]"), expression]),
            .sender: .patterns([.addresses(at: Self.org), .exact(""), expression]),
            .senderDomain: .patterns([.below(Self.org)]), .recipientDomain: .patterns([.domain(Self.org)]),
            .ccertSubject: .patterns([.exact("x"), expression]), .size: .numbers([NumberRange(least: 1, most: 9)]),
            .serverPort: .numbers([NumberRange(least: 25)]), .tlsSNI: .patterns([.below(Self.net)]),
        ]
        let conditions = patterns.flatMap { attribute, values in
            [false, true].map { RuleCondition(attribute: attribute, isNegated: $0, values: values) }
        }
        let judge = try RuleJudge(
            conditions.enumerated().map { Self.rule("\($0)", .score(1), when: [$1]) })
        let samples = [
            "mx.example.net", "ann@example.org", "<>\r\n550 x", "dsl-1-2-3.example.net", "[192.0.2.1]", "192.0.2.7",
            "a+2B+",
            "25", "99999999999999999999", "::ffff:192.0.2.1", "xn--ü..", String(repeating: "a.", count: 200),
            "\u{1B}[31m\u{202E}",
        ]
        var values: [[UInt8]] = []
        Mutations.of(
            samples.map { Array($0.utf8) },
            tokens: [[0], [0x0D, 0x0A], [0xFF, 0xC0], Array("@".utf8), Array("..".utf8)],
            count: 3_000, seed: 8
        ) { values.append($0) }
        var random = SeededRandom(seed: 9)
        for _ in 0..<1_000 {
            var attributes: [PolicyAttribute: [UInt8]] = [:]
            for attribute in PolicyAttribute.allCases { attributes[attribute] = values.randomElement(using: &random) }
            let stage = PolicyStage.allCases.randomElement(using: &random) ?? .rcpt
            var questions = ScriptedQuestions()
            let outcome = judge.outcome(
                for: PolicyRequest(stage: stage, attributes), at: evening, telling: .everything, asking: &questions)
            #expect(outcome.findings.count == conditions.count)
            // KEY and not_KEY hold together for nothing.
            #expect(outcome.score <= patterns.count)
            for finding in outcome.findings {
                #expect(finding.reason.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F } && finding.reason.utf8.count < 700)
            }
        }
    }
}
