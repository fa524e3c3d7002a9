// Rules: what actions, patterns and ranges may be, which rules are refused, and what is made of right ones.

import PosternAdmission
import PosternMail
import Testing

@testable import PosternDaemon

@Suite("rules")
struct RuleTableTests {
    // MARK: Actions

    @Test(
        "actions",
        arguments: [
            ("accept", .accept),
            ("reject", .reject(Reply(code: 550, enhanced: "5.7.1", text: "Refused by local policy"))),
            ("reject 5.7.1 You are not me", .reject(Reply(code: 550, enhanced: "5.7.1", text: "You are not me"))),
            ("reject Go away", .reject(Reply(code: 550, enhanced: "5.7.1", text: "Go away"))),
            ("reject 554 5.7.25 No PTR", .reject(Reply(code: 554, enhanced: "5.7.25", text: "No PTR"))),
            ("reject 554 Bye", .reject(Reply(code: 554, enhanced: "5.7.1", text: "Bye"))),
            ("defer", .defer(Reply(code: 450, enhanced: "4.7.1", text: "Refused for now by local policy"))),
            ("defer 4.2.1 Later", .defer(Reply(code: 450, enhanced: "4.2.1", text: "Later"))),
            ("defer 451 4.3.0 Later", .defer(Reply(code: 451, enhanced: "4.3.0", text: "Later"))),
            ("hold", .hold("")), ("hold see ticket 7", .hold("see ticket 7")), ("greylist", .greylist),
            ("prepend X-Rule: partner", .prepend(name: "X-Rule", value: "partner")),
            ("prepend X-Rule:", .prepend(name: "X-Rule", value: "")),
            ("filter smtp:[127.0.0.1]:10024", .filter(transport: "smtp", destination: "[127.0.0.1]:10024")),
            ("filter slow:", .filter(transport: "slow", destination: "")),
            ("redirect ann@example.com", .redirect("ann@example.com")), ("bcc bo@localhost", .bcc("bo@localhost")),
            ("score 3", .score(3)), ("score -2", .score(-2)), ("  score   3", .score(3)),
        ] as [(String, RuleAction)])
    func actions(text: String, action: RuleAction) throws {
        let written = try TextType<WrittenAction>.ruleAction.parse(text)
        #expect(written.action == action)
        #expect(!written.isShadow && written.skip.isEmpty)
        let shadow = try TextType<WrittenAction>.ruleAction.parse("shadow \(text)")
        #expect(shadow.action == action && shadow.isShadow)
    }

    @Test("skip as an action, and what ends the list")
    func skip() throws {
        let skip = try TextType<WrittenAction>.ruleAction.parse("skip dnsbl, greylist")
        #expect(skip.action == nil && skip.skip == [.dnsbl, .greylist])
        let reply = Reply(code: 550, enhanced: "5.7.1", text: "no")
        let ending: [RuleAction] = [
            .accept, .reject(reply), .defer(Reply(code: 450, enhanced: "4.7.1", text: "no")), .hold(""),
            .redirect("a@b"), .filter(transport: "a", destination: ""), .greylist,
        ]
        #expect(ending.allSatisfy { $0.endsList })
        let passing: [RuleAction] = [.prepend(name: "X", value: ""), .bcc("a@b"), .score(1)]
        #expect(!passing.contains { $0.endsList })
    }

    private static let words =
        "expected accept, reject, defer, hold, prepend, filter, redirect, bcc, score, greylist, skip or shadow, found"

    @Test(
        "what is no action",
        arguments: [
            ("", "\(words) \"\""), ("OK", "\(words) \"OK\"; do you mean \"accept\"?"),
            ("PERMIT", "\(words) \"PERMIT\"; do you mean \"accept\"?"),
            ("dunno", "\(words) \"dunno\"; do you mean \"accept\"?"),
            ("rejct 5.7.1 no", "\(words) \"rejct\"; do you mean \"reject\"?"),
            ("REJECT no", "\(words) \"REJECT\"; do you mean \"reject\"?"),
            ("discard", "\(words) \"discard\"; do you mean \"reject\"?"), ("550 no", "\(words) \"550\""),
            ("accept it", "expected nothing after \"accept\", found \"accept it\""),
            ("reject 4.7.1 no", "expected an enhanced status code of class 5, found \"reject 4.7.1 no\""),
            ("defer 5.7.1 no", "expected an enhanced status code of class 4, found \"defer 5.7.1 no\""),
            ("reject 450 no", "expected a reply code of 5xx, found \"reject 450 no\""),
            ("defer 550 no", "expected a reply code of 4xx, found \"defer 550 no\""),
            ("defer 421 4.7.0 no", "expected a reply code other than 421, found \"defer 421 4.7.0 no\""),
            ("reject nö", "expected a reply of printable ASCII on one line, found \"reject nö\""),
            (
                "reject a\r\nb",
                "expected a reply of printable ASCII on one line, found \"reject a\\u{D}\\u{A}b\""
            ),
            ("reject \(String(repeating: "x", count: 451))", "expected a reply of at most 450 octets, found 451"),
            ("hold a\nb", "expected a text of printable ASCII on one line, found \"hold a\\u{A}b\""),
            ("prepend X-Rule", "expected \"prepend Field-Name: text\", found \"prepend X-Rule\""),
            ("prepend X Rule: a", "expected \"prepend Field-Name: text\", found \"prepend X Rule: a\""),
            ("filter smtp", "expected \"filter TRANSPORT:DESTINATION\", found \"filter smtp\""),
            ("redirect ann", "expected an address such as \"ann@example.com\", found \"redirect ann\""),
            (
                "bcc a@example.com, b@example.com",
                "expected an address such as \"ann@example.com\", found \"bcc a@example.com, b@example.com\""
            ),
            (
                "score", "expected an integer from -1000 to 1000, other than 0, after \"score\", found \"score\""
            ),
            (
                "score 0", "expected an integer from -1000 to 1000, other than 0, after \"score\", found \"score 0\""
            ),
            ("skip", "expected dnsbl or greylist after \"skip\", found \"skip\""),
            ("skip spf", "expected dnsbl or greylist after \"skip\", found \"spf\""),
            ("shadow", "expected an action after \"shadow\", found \"shadow\""),
            ("shadow shadow accept", "expected an action after \"shadow\", found \"shadow shadow accept\""),
            ("shadow acept", "\(words) \"acept\"; do you mean \"accept\"?"),
        ])
    func noActions(text: String, problem: String) {
        #expect(Self.problem { try TextType<WrittenAction>.ruleAction.parse(text) } == problem)
    }

    private static func problem(_ parse: () throws -> some Sendable) -> String? {
        do { _ = try parse() } catch { return (error as? Unfit)?.text }
        return nil
    }

    // MARK: Patterns

    @Test(
        "patterns",
        arguments: [
            (.hostCondition, "mx1.example.com", .domain(Example.host)),
            (.hostCondition, "MX1.Example.com.", .domain(Example.host)),
            (.hostCondition, "*.example.com", .below(Example.domain)),
            (.hostCondition, "unknown", .domain(Example.name("unknown"))),
            (.hostCondition, "[192.0.2.1]", .exact("[192.0.2.1]")), (.hostCondition, "friend!", .exact("friend!")),
            (.hostCondition, "/^dsl-/", .expression("^dsl-")),
            (.hostCondition, "/a\\/b\\\\/", .expression("a\\/b\\\\")),
            (.addressCondition, "ann@example.com", .exact("ann@example.com")), (.addressCondition, "<>", .exact("")),
            (.addressCondition, "", .exact("")), (.addressCondition, "@example.com", .addresses(at: Example.domain)),
            (.domainCondition, "example.com", .domain(Example.domain)),
            (.domainCondition, "@example.com", .domain(Example.domain)),
            (.anyCondition, "192.0.2.1", .network(Network(containing: .v4(0xC000_0201), prefixLength: 32))),
            (
                .anyCondition, "2001:db8::/32",
                .network(Network(containing: .v6(0x2001_0DB8_0000_0000, 0), prefixLength: 32))
            ),
            (.anyCondition, "ann", .exact("ann")), (.anyCondition, "jürg", .exact("jürg")),
            (.textCondition("a login"), "ann bo", .exact("ann bo")), (.textCondition("a login"), "", .exact("")),
            (.networkCondition, "203.0.113.0/24", .network(Example.network)),
        ] as [(TextType<MatchPattern>, String, MatchPattern)])
    func patterns(type: TextType<MatchPattern>, text: String, pattern: MatchPattern) throws {
        #expect(try type.parse(text) == pattern)
        #expect(try type.parse(type.write(pattern)) == pattern)  // what is shown is read again
    }

    @Test(
        "what is no pattern",
        arguments: [
            (.hostCondition, "mx*.example.com"), (.hostCondition, "192.0.2.0/24"), (.hostCondition, "ann@example.com"),
            (.hostCondition, "a b"), (.hostCondition, "/"), (.hostCondition, "//"), (.hostCondition, "/a"),
            (.hostCondition, "/a/b/"), (.hostCondition, "/a\\/"), (.hostCondition, "/a\u{7}/"),
            (.hostCondition, "/a/i"),
            (.addressCondition, "ann"), (.addressCondition, "@"), (.addressCondition, "a@b@example.com "),
            (.addressCondition, "*.example.com"), (.addressCondition, "ann@-"),
            (.addressCondition, "<ann@example.com>"),
            (.domainCondition, "com"), (.domainCondition, "192.0.2.1"), (.domainCondition, ""),
            (.anyCondition, ""), (.anyCondition, "192.0.2.1/24"), (.anyCondition, "a*"),
            (.textCondition("a login"), "a\tb"), (.networkCondition, "mx1.example.com"),
        ] as [(TextType<MatchPattern>, String)])
    func noPatterns(type: TextType<MatchPattern>, text: String) {
        #expect(throws: Unfit.self) { try type.parse(text) }
    }

    @Test("a bare domain for an address is told what is meant")
    func hints() {
        #expect(
            Self.problem { try TextType.addressCondition.parse("example.com") }?.hasSuffix(
                "found \"example.com\"; do you mean \"@example.com\"?") == true)
    }

    // MARK: Ranges

    @Test("ranges of numbers, sizes, times and days hold what they say")
    func ranges() throws {
        let least = try TextType<NumberRange>.numbers.parse("-3..")
        #expect(least.contains(-3) && least.contains(9) && !least.contains(-4))
        let one = try TextType<NumberRange>.numbers.parse("25")
        #expect(one.contains(25) && !one.contains(24) && !one.contains(26))
        let most = try TextType<NumberRange>.sizes.parse("..64KiB")
        #expect(most.contains(65_536) && most.contains(0) && !most.contains(65_537))
        let day = try TextType<TimeOfDayRange>.timesOfDay.parse("08:00..18:00")
        #expect([479, 480, 1079, 1080].map(day.contains) == [false, true, true, false])
        let night = try TextType<TimeOfDayRange>.timesOfDay.parse("22:00..06:30")
        #expect([1319, 1320, 0, 389, 390].map(night.contains) == [false, true, true, true, false])
        let late = try TextType<TimeOfDayRange>.timesOfDay.parse("22:00..24:00")
        #expect([1319, 1439, 0].map(late.contains) == [false, true, false])
        #expect(try TextType<WeekdayRange>.weekdays.parse("fri..mon").days == [.fri, .sat, .sun, .mon])
        #expect(try TextType<WeekdayRange>.weekdays.parse("wed").days == [.wed])
        for text in ["-3..", "25", "1..3", "..7"] {
            #expect(try TextType<NumberRange>.numbers.write(TextType<NumberRange>.numbers.parse(text)) == text)
        }
    }

    @Test("what is no range")
    func noRanges() {
        for text in ["", "..", "a", "1..a", "3..1", "1...3", "1-3", "1..2..3", "99999999999999999999", "--1", "1.5"] {
            #expect(throws: Unfit.self, "\(text)") { try TextType<NumberRange>.numbers.parse(text) }
        }
        for text in [
            "8..10", "08:00", "08:00..", "08:60..09:00", "24:00..01:00", "23:00..24:01", "08:00..08:00", "8:00..9:00",
        ] {
            #expect(throws: Unfit.self, "\(text)") { try TextType<TimeOfDayRange>.timesOfDay.parse(text) }
        }
        for text in ["", "monday", "Mon", "mon-fri", "mon..", "..fri"] {
            #expect(throws: Unfit.self, "\(text)") { try TextType<WeekdayRange>.weekdays.parse(text) }
        }
    }

    // MARK: Whole rules

    @Test("rules in their order, with conditions, skips and actions")
    func rules() throws {
        let text = """
            [[rule]]
            name = "they say they are us"
            helo = ["mx1.example.com", "*.example.com"]
            not_client = ["192.0.2.0/24"]
            action = "reject 5.7.1 You are not me"
            [[rule]]
            name = "partner"
            client = ["203.0.113.0/24"]
            skip = ["dnsbl", "greylist"]
            [[rule]]
            name = "night"
            time = ["22:00..06:00"]
            weekday = ["sat..sun"]
            server_port = [25, "587"]
            spf = ["fail", "softfail"]
            size = ["10MiB.."]
            action = "shadow skip greylist"
            [[rule]]
            name = "score"
            sasl_username = [""]
            action = "score 2"
            shadow = true
            """
        let rules = try #require(read(text).flawless?.rules)
        #expect(rules.map(\.name) == ["they say they are us", "partner", "night", "score"])
        #expect(
            rules.first?.conditions == [
                RuleCondition(
                    attribute: .client, isNegated: true,
                    values: .patterns([.network(Network(containing: .v4(0xC000_0200), prefixLength: 24))])),
                RuleCondition(
                    attribute: .helo, isNegated: false,
                    values: .patterns([.domain(Example.host), .below(Example.domain)])),
            ])
        #expect(rules.map(\.skip) == [[], [.dnsbl, .greylist], [.greylist], []])
        #expect(rules.map { $0.action == nil } == [false, true, true, false])
        #expect(rules.map(\.shadow) == [false, false, true, true])
        #expect(rules.dropFirst(2).first?.conditions.map(\.attribute) == [.size, .serverPort, .time, .weekday, .spf])
        let ports = rules.dropFirst(2).first?.conditions.first { $0.attribute == .serverPort }?.values
        #expect(ports == .numbers([NumberRange(least: 25, most: 25), NumberRange(least: 587, most: 587)]))
        // What is told can be read again, in the same order.
        let told = try #require(read(text).flawless?.differences)
        #expect(read(told).flawless?.differences == told)
        #expect(read(told).flawless?.rules.map(\.name) == rules.map(\.name))
    }

    @Test("rows", arguments: problems)
    func rows(row: ProblemRow) {
        #expect(read(row.toml).problems.map(\.description) == row.problems.map { "postern.toml:\($0)" })
    }

    private static func rule(_ lines: String, _ name: String = "a") -> String {
        "[[rule]]\nname = \"\(name)\"\n\(lines)\n"
    }

    static let problems = [
        ProblemRow(
            "a rule without anything", "[[rule]]\n",
            "1:1: rule[1].name: expected the key \"name\" in [[rule]], found none; for example: name = \"partner\"",
            "1:1: rule[1]: expected at least one condition such as client or helo, found none",
            "1:1: rule[1]: expected an action or skip, found neither"),
        ProblemRow(
            "a rule that skips nothing", "[[rule]]\nname = \"a\"\nhelo = [\"x\"]\nskip = []\n",
            "4:8: rule[1].skip: expected an action or something to skip, found an empty list"),
        ProblemRow(
            "a condition without values", "[[rule]]\nname = \"a\"\nhelo = []\naction = \"accept\"\n",
            "3:8: rule[1].helo: expected at least 1 values, found 0"),
        ProblemRow(
            "a wrong action is one problem", "[[rule]]\nname = \"a\"\nhelo = [\"x\"]\naction = \"permit\"\n",
            "4:10: rule[1].action: \(words) \"permit\"; do you mean \"accept\"?"),
        ProblemRow(
            "an action of another type", "[[rule]]\nname = \"a\"\nhelo = [\"x\"]\naction = [\"accept\"]\n",
            "4:10: rule[1].action: expected an action such as \"reject 5.7.1 Go away\", found a list"),
        ProblemRow(
            "two rules of one name",
            "[[rule]]\nname = \"a\"\nhelo = [\"x\"]\naction = \"accept\"\n[[rule]]\nname = \"a\"\nhelo = [\"y\"]\n"
                + "action = \"accept\"\n",
            "6:8: rule[2].name: expected a name of its own, found \"a\", which is rule[1]'s"),
        ProblemRow(
            "a rule that can never match",
            "[[rule]]\nname = \"a\"\nhelo = [\"x\"]\nnot_helo = [\"y\", \"X\"]\nweekday = [\"mon..tue\"]\n"
                + "not_weekday = [\"sun..mon\", \"tue..wed\"]\naction = \"accept\"\n",
            "3:8: rule[1].helo: expected values that not_helo leaves over, found none: the rule can never match",
            "5:11: rule[1].weekday: expected values that not_weekday leaves over, found none: the rule can never match"
        ),
        ProblemRow(
            "one that can", "[[rule]]\nname = \"a\"\nhelo = [\"x\", \"z\"]\nnot_helo = [\"x\"]\naction = \"accept\"\n"),
        ProblemRow(
            "a rule that is never reached",
            rule("helo = [\"x\"]\naction = \"score 1\"") + rule("helo = [\"x\"]\naction = \"shadow accept\"", "b")
                + rule("helo = [\"x\"]\naction = \"accept\"", "c")
                + rule("helo = [\"x\"]\nclient = [\"::1\"]\naction = \"hold\"", "d")
                + rule("not_helo = [\"x\"]\naction = \"hold\"", "e") + rule("helo = [\"x\"]\nskip = [\"dnsbl\"]", "f"),
            "13:1: rule[4]: expected a rule that can be reached, found that rule[3] ends the list for all that it "
                + "matches",
            "22:1: rule[6]: expected a rule that can be reached, found that rule[3] ends the list for all that it "
                + "matches"),
        ProblemRow(
            "each wrong value of a condition at its place",
            "[[rule]]\nname = \"a\"\nclient = [\"mx1.example.com\", \"192.0.2.1/24\"]\nserver_port = [25.0]\n"
                + "spf = [\"FAIL\"]\nskip = [\"dnsbl\", \"spf\"]\n",
            "3:11: rule[1].client: expected an address or ADDRESS/LENGTH, found \"mx1.example.com\"",
            "3:30: rule[1].client: expected a network without host bits, found \"192.0.2.1/24\"; do you mean "
                + "\"192.0.2.0/24\"?",
            "4:16: rule[1].server_port: expected a number or a range such as \"4\", \"10..\" or \"..3\", found the "
                + "number 25.0",
            "5:8: rule[1].spf: expected \"none\", \"neutral\", \"pass\", \"fail\", \"softfail\", \"temperror\" or "
                + "\"permerror\", found \"FAIL\"",
            "6:18: rule[1].skip: expected \"dnsbl\" or \"greylist\", found \"spf\""),
    ]

    @Test("conditions come from files, which may be empty still")
    func files() throws {
        let folder = try TemporaryFolder()
        try folder.write("nets", (0..<20_000).map { "10.\($0 / 256).\($0 % 256).0/24\n" }.joined())
        try folder.write("none", "# nobody yet\n")
        try folder.write("bad", "example.com\nfoo bar\n/x/y/\n")
        func rule(_ condition: String) -> LoadResult {
            read(
                Array("[[rule]]\nname = \"a\"\n\(condition)\naction = \"accept\"\n".utf8), folder: folder.path,
                for: .policy)
        }
        let many = rule("client = \"file:nets\"").flawless?.rules.first?.conditions.first?.values
        guard case .patterns(let patterns)? = many else { return #expect(Bool(false), "no patterns") }
        #expect(patterns.count == 20_000)
        #expect(rule("client = \"file:none\"").flawless?.rules.first?.conditions.first?.values == .patterns([]))
        let bad = rule("sender_domain = [\"file:bad\"]")
        #expect(bad.problems.map { "\($0.file.split(separator: "/").last ?? ""):\($0.line)" } == ["bad:2", "bad:3"])
        #expect(bad.configuration == nil)
    }

    @Test("lists that are not whole are not compared: files that are empty still, or not opened here")
    func unreadFiles() throws {
        let folder = try TemporaryFolder()
        try folder.write("none", "")
        try folder.write("empty", "# nobody yet\n")
        let text = """
            [[rule]]
            name = "a"
            client = ["file:none"]
            action = "accept"
            [[rule]]
            name = "b"
            client = ["file:empty"]
            action = "accept"
            """
        #expect(read(Array(text.utf8), folder: folder.path, for: .policy).flawless?.rules.count == 2)
        let elsewhere = Self.rule(
            "client = [\"192.0.2.1\", \"file:a\"]\nnot_client = [\"192.0.2.1\"]\naction = \"accept\"")
        let alike =
            Self.rule("helo = [\"x\", \"file:a\"]\naction = \"accept\"", "b")
            + Self.rule("helo = [\"x\", \"file:b\"]\naction = \"accept\"", "c")
        #expect(read(elsewhere + alike, for: .dkim).problems == [])
    }

    @Test("postern-policy alone has rules")
    func roles() {
        let text = "[[rule]]\nname = \"a\"\nclient = \"file:absent\"\naction = \"accept\"\n"
        for role in [ConfigurationRole.dkim, .dmarc, .rate, .dns] {
            #expect(read(text, for: role).flawless?.rules.isEmpty == true)
        }
        #expect(read(text, for: .policy).problems.map(\.keyPath) == ["rule[1].client"])
    }
}
