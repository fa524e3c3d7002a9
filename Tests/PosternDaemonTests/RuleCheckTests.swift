// What `check` finds in rules: expressions that are none, rules that can never match or are never reached, each with its
// line; and what it advises where two rules meet.

import PosternAdmission
import PosternMail
import Testing

@testable import PosternDaemon

@Suite("checks of rules")
struct RuleCheckTests {
    /// One rule, its conditions from line 3 on.
    private static func rule(_ lines: String, _ action: String = "accept", name: String = "a") -> String {
        "[[rule]]\nname = \"\(name)\"\n\(lines)\naction = \"\(action)\"\n"
    }

    @Test(
        "expressions are compiled where they are read",
        arguments: [
            (
                "helo = [\"x\", \"/(a/\"]",
                "3:14: rule[1].helo: expected \")\" for each \"(\", in the expression \"/(a/\""
            ),
            (
                "not_sender = ['/a\\1/']",
                "3:15: rule[1].not_sender: expected no back-references, found \\1, in the expression \"/a\\1/\""
            ),
            (
                "sender_domain = ['/a\\b/']",
                "3:18: rule[1].sender_domain: expected \\d, \\w, \\s, \\t, \\xHH or \\ before a sign, found \\b, in the "
                    + "expression \"/a\\b/\""
            ),
        ])
    func expressions(lines: String, problem: String) {
        #expect(read(Self.rule(lines)).problems.map(\.description) == ["postern.toml:\(problem)"])
    }

    @Test("expressions and networks in files are told with the file's line")
    func files() throws {
        let folder = try TemporaryFolder()
        try folder.write("names", "example.com\n/^dsl/\n/[/\n")
        try folder.write("nets", "192.0.2.0/24\n192.0.2.1/24\n")
        let text = Self.rule("client = \"file:nets\"\nhelo = \"file:names\"")
        let problems = read(Array(text.utf8), folder: folder.path, for: .policy).problems
        #expect(problems.map { "\($0.file.split(separator: "/").last ?? ""):\($0.line)" } == ["nets:2", "names:3"])
    }

    @Test("more expressions than are tried one by one")
    func manyExpressions() {
        let many = (0...PatternTable.maxExpressions).map { "\"/a\($0)/\"" }.joined(separator: ", ")
        #expect(
            read(Self.rule("helo = [\(many)]")).problems.map(\.description) == [
                "postern.toml:3:8: rule[1].helo: expected at most 1000 expressions, found 1001; they are tried one by one"
            ])
    }

    @Test(
        "rules that can never match",
        arguments: [
            ("client = [\"192.0.2.0/24\"]\nnot_client = [\"192.0.0.0/16\"]", "client"),
            ("client = [\"::/0\"]\nnot_client = [\"0.0.0.0/0\", \"::/0\"]", "client"),  // and not_client alone
            ("not_client = [\"0.0.0.0/0\", \"::/0\"]", "not_client"),
            ("helo = [\"a.example.com\"]\nnot_helo = [\"*.example.com\"]", "helo"),
            ("helo = [\"*.a.example.com\"]\nnot_helo = [\"*.example.com\"]", "helo"),
            ("helo = [\"[192.0.2.1]\"]\nnot_helo = ['/^\\[/']", "helo"),
            ("sender = [\"Ann@example.com\"]\nnot_sender = [\"@example.com\"]", "sender"),
            ("sender = [\"<>\"]\nsender_domain = [\"example.com\"]", "sender"),
            ("sender = [\"ann@example.org\", \"@example.net\"]\nsender_domain = [\"example.com\"]", "sender"),
            ("recipient = [\"@a.example.com\"]\nnot_recipient_domain = [\"*.example.com\"]", "recipient"),
            ("sasl_username = [\"Ann\"]\nnot_sasl_username = [\"ann\"]", "sasl_username"),
            ("size = [0]", "size"), ("size = [\"..64KiB\"]\nnot_size = [\"1..\"]", "not_size"),
            ("server_port = [\"70000..\"]", "server_port"), ("encryption_keysize = [\"..-1\"]", "encryption_keysize"),
            ("server_port = [25]\nnot_server_port = [\"20..30\"]", "server_port"),
            ("time = [\"08:00..10:00\"]\nnot_time = [\"07:00..09:00\", \"09:00..10:00\"]", "time"),
            ("not_weekday = [\"mon..fri\", \"sat..sun\"]", "not_weekday"),
            (
                "not_spf = [\"none\", \"neutral\", \"pass\", \"fail\", \"softfail\", \"temperror\", \"permerror\"]",
                "not_spf"
            ),
        ])
    func never(lines: String, key: String) {
        let problems = read(Self.rule(lines)).problems
        #expect(problems.contains { $0.keyPath == "rule[1].\(key)" && $0.line >= 3 })
        #expect(problems.allSatisfy { $0.text.hasSuffix("found none: the rule can never match") })
    }

    @Test(
        "rules that can match",
        arguments: [
            "client = [\"192.0.0.0/16\"]\nnot_client = [\"192.0.2.0/24\"]", "not_client = [\"0.0.0.0/0\"]",
            "helo = [\"example.com\"]\nnot_helo = [\"*.example.com\"]",
            "helo = [\"*.example.com\"]\nnot_helo = [\"a.example.com\"]",
            "sender = [\"<>\"]\nnot_sender_domain = [\"example.com\"]",
            "sender = [\"ann@example.org\", \"bo@example.com\"]\nsender_domain = [\"example.com\"]",
            "sender = [\"/a/\"]\nsender_domain = [\"example.com\"]", "size = [\"0..5\"]",
            "server_port = [\"20..30\"]\nnot_server_port = [25]",
            "time = [\"08:00..10:00\"]\nnot_time = [\"07:00..09:00\", \"09:01..10:00\"]",
            "not_weekday = [\"mon..sat\"]",
            "dnsbl_score = [\"-5..-1\"]",
        ])
    func possible(lines: String) {
        #expect(read(Self.rule(lines)).problems.map(\.description) == [])
    }

    @Test(
        "rules that are never reached, and those that are",
        arguments: [
            ("client = [\"192.0.0.0/16\"]", "client = [\"192.0.2.0/24\"]\nhelo = [\"x\"]", true),
            ("client = [\"192.0.2.0/24\"]", "client = [\"192.0.0.0/16\"]", false),
            ("not_helo = [\"a\"]", "not_helo = [\"a\", \"b\"]", true),
            ("not_helo = [\"a\", \"b\"]", "not_helo = [\"a\"]", false),
            (
                "helo = [\"*.example.com\"]\nspf = [\"fail\", \"none\"]",
                "helo = [\"a.example.com\"]\nspf = [\"fail\"]", true
            ),
            ("helo = [\"*.example.com\"]\nspf = [\"fail\"]", "helo = [\"a.example.com\"]", false),
            ("helo = [\"a\"]", "not_helo = [\"b\"]", false),
            ("time = [\"08:00..18:00\"]", "time = [\"09:00..10:00\"]", true),
        ])
    func reach(above: String, below: String, isUnreachable: Bool) {
        let problems = read(Self.rule(above) + Self.rule(below, name: "b")).problems
        let expected =
            isUnreachable
            ? ["expected a rule that can be reached, found that rule[1] ends the list for all that it matches"] : []
        #expect(problems.map(\.text) == expected)
    }

    @Test("a rule that greylists and skips greylisting")
    func bothWays() {
        #expect(
            read(Self.rule("helo = [\"x\"]\nskip = [\"greylist\"]", "greylist")).problems.map(\.description) == [
                "postern.toml:5:10: rule[1].action: expected greylisting or skipping it, found both"
            ])
    }

    // MARK: Advice

    private static func advice(_ text: String) -> [String] {
        let result = read(text)
        return result.problems.map(\.description) + result.advice.map { "\($0.line) \($0.keyPath): \($0.text)" }
    }

    private static let prepend = rule("client = [\"192.0.2.0/24\"]", "prepend X-A: b")

    @Test("two header fields or copies that one request can want")
    func meeting() {
        let both = Self.prepend + Self.rule("helo = [\"x\"]", "bcc x@example.com", name: "b")
        #expect(
            Self.advice(both) == [
                "8 rule[2].action: this is not done where rule[1] matches too: Postfix takes one action for a request"
            ])
        let held = Self.prepend + Self.rule("helo = [\"x\"]", "hold", name: "b")
        #expect(
            Self.advice(held) == [
                "8 rule[2].action: what rule[1] adds is not done where this matches too: Postfix takes one action for a request"
            ])
    }

    @Test(
        "those that no request wants both of, or that are refused, are left alone",
        arguments: [
            Self.rule("helo = [\"x\"]", "reject", name: "b"), Self.rule("helo = [\"x\"]", "accept", name: "b"),
            Self.rule("helo = [\"x\"]", "shadow bcc x@example.com", name: "b"),
            Self.rule("not_client = [\"192.0.2.0/24\"]", "bcc x@example.com", name: "b"),
        ])
    func apart(other: String) {
        #expect(Self.advice(Self.prepend + other) == [])
        let contexts = ["a", "b"].map {
            Self.rule("policy_context = [\"\($0)\"]", "prepend X-A: \($0)", name: $0)
        }
        #expect(Self.advice(contexts.joined()) == [])
    }

    @Test("a score that nothing gives")
    func score() {
        let looking = Self.rule("dnsbl_score = [\"2..\"]", "reject", name: "b")
        #expect(
            Self.advice(looking) == [
                "1 rule[1]: this never matches: no [[dnsbl.list]] and no rule above gives a score"
            ])
        #expect(Self.advice(Self.rule("helo = [\"x\"]", "score 2") + looking) == [])
        #expect(Self.advice(Self.rule("dnsbl_score = [\"..1\"]", "accept")) == [])
        let list = "[[dnsbl.list]]\nzone = \"list.example.net\"\nscores = { \"127.0.0.2\" = 2 }\n"
        #expect(Self.advice(list + looking) == [])
    }
}
