// Limits: what they allow, per what, and which are refused; and the advice that concerns them.

import PosternAdmission
import PosternMail
import Testing

@testable import PosternDaemon

@Suite("limits")
struct LimitTableTests {
    private static func limit(_ lines: String...) -> String {
        let given = Set(lines.compactMap { $0.split(separator: " ").first.map(String.init) })
        let base = [
            "name = \"a\"", "per = [\"sasl_username\"]", "count = \"recipients\"", "allow = \"200/1h\"",
            "action = \"defer 4.7.1 Slow down\"",
        ].filter { line in !given.contains(line.split(separator: " ").first.map(String.init) ?? "") }
        return (["[[limit]]"] + lines + base).joined(separator: "\n") + "\n"
    }

    @Test("a limit with all its keys")
    func everything() throws {
        let text = """
            [[limit]]
            name = "per account"
            per = ["client", "sasl_username"]
            count = "octets"
            allow = ["1GiB/1d", "20/1m"]
            action = "hold too much"
            ipv4_prefix = 24
            ipv6_prefix = 48
            clients = ["203.0.113.0/24"]
            users = ["ann", "/@example\\\\.com$/"]
            except = ["bo", "192.0.2.1/32", "@example.org"]
            warn_at = "80%"
            block = "1h"
            window = "fixed"
            shadow = true

            """
        let result = read(text)
        let limit = try #require(result.flawless?.limits.first)
        #expect(limit.name == "per account")
        #expect(limit.per == [.client, .saslUsername])
        #expect(limit.count == .octets)
        #expect(
            limit.allow == [
                AllowedRate(amount: 1 << 30, span: .seconds(86_400)), AllowedRate(amount: 20, span: .seconds(60)),
            ])
        #expect(limit.action == .hold("too much"))
        #expect(limit.ipv4Prefix == 24 && limit.ipv6Prefix == 48)
        #expect(limit.clients == [Example.network])
        #expect(limit.users == [.exact("ann"), .expression("@example\\.com$")])
        #expect(limit.except.map(\.description) == ["bo", "192.0.2.1/32", "@example.org"])
        #expect(limit.warnAt == 80)
        #expect(limit.block == .seconds(3600))
        #expect(limit.window == .fixed && limit.shadow)
        #expect(result.flawless?.differences == text)
        #expect(result.advice == [])
    }

    @Test("a limit with what it needs, and its defaults")
    func defaults() throws {
        let limit = try #require(read(Self.limit()).flawless?.limits.first)
        #expect(limit.allow == [AllowedRate(amount: 200, span: .seconds(3600))])
        #expect(limit.ipv4Prefix == 32 && limit.ipv6Prefix == 64)
        #expect(limit.clients == nil && limit.users == nil && limit.except == [] && limit.warnAt == nil)
        #expect(limit.block == .zero && limit.window == .sliding && !limit.shadow)
        #expect(limit.action == .defer(Reply(code: 450, enhanced: "4.7.1", text: "Slow down")))
    }

    private static let rate = "expected an amount in a time such as \"200/1h\" or \"1GiB/1d\", found"

    @Test("rows", arguments: problems)
    func rows(row: ProblemRow) {
        #expect(read(row.toml).problems.map(\.description) == row.problems.map { "postern.toml:\($0)" })
    }

    static let problems = [
        ProblemRow(
            "a limit without anything", "[[limit]]\n",
            "1:1: limit[1].name: expected the key \"name\" in [[limit]], found none; for example: "
                + "name = \"per account\"",
            "1:1: limit[1].per: expected the key \"per\" in [[limit]], found none; for example: "
                + "per = [\"sasl_username\"]",
            "1:1: limit[1].count: expected the key \"count\" in [[limit]], found none; for example: "
                + "count = \"recipients\"",
            "1:1: limit[1].allow: expected the key \"allow\" in [[limit]], found none; for example: "
                + "allow = [\"200/1h\", \"20/1m\"]",
            "1:1: limit[1].action: expected the key \"action\" in [[limit]], found none; for example: "
                + "action = \"defer 4.7.1 Too many recipients, slow down\""),
        ProblemRow(
            "amounts without a time", limit("allow = [\"200\", \"1h/200\", 7, \"20/1m/2\"]"),
            "2:10: limit[1].allow: \(rate) \"200\"", "2:17: limit[1].allow: \(rate) \"1h/200\"",
            "2:27: limit[1].allow: expected an amount in a time such as \"200/1h\" or \"1GiB/1d\", found the integer 7",
            "2:30: limit[1].allow: \(rate) \"20/1m/2\""),
        ProblemRow(
            "nothing allowed", limit("allow = \"0/1h\""),
            "2:9: limit[1].allow: expected an amount from 1 to 1125899906842624, found \"0/1h\""),
        ProblemRow(
            "times out of bounds", limit("allow = [\"5/100ms\", \"5/365d\"]"),
            "2:10: limit[1].allow: expected a time from \"1s\" to \"31d\" behind the slash, found \"5/100ms\"",
            "2:21: limit[1].allow: expected a time from \"1s\" to \"31d\" behind the slash, found \"5/365d\""),
        ProblemRow(
            "a size of recipients", limit("allow = \"1GiB/1d\""),
            "2:9: limit[1].allow: expected a plain number of recipients, found \"1GiB/1d\""),
        ProblemRow(
            "one time twice", limit("allow = [\"200/60m\", \"100/1h\"]"),
            "2:9: limit[1].allow: expected each span of time once, found \"1h\" twice"),
        ProblemRow(
            "an amount that a longer time never lets be reached", limit("allow = [\"200/1h\", \"200/1m\"]"),
            "2:9: limit[1].allow: expected less in a shorter time, found \"200/1m\", which \"200/1h\" never lets be "
                + "reached"),
        ProblemRow("no time", limit("allow = []"), "2:9: limit[1].allow: expected at least 1 values, found 0"),
        ProblemRow(
            "per what it cannot know", limit("per = [\"ip\"]"),
            "2:8: limit[1].per: expected \"client\", \"client_name\", \"sasl_username\", \"sender\", "
                + "\"sender_domain\", \"recipient\", \"recipient_domain\", \"helo\" or \"policy_context\", found \"ip\""
        ),
        ProblemRow(
            "per one thing twice", limit("per = [\"client\", \"client\"]"),
            "2:7: limit[1].per: expected each value once, found \"client\" twice"),
        ProblemRow("per nothing", limit("per = []"), "2:7: limit[1].per: expected at least 1 values, found 0"),
        ProblemRow(
            "an action that limits do not have", limit("action = \"accept\""),
            "2:10: limit[1].action: expected defer, reject or hold, found \"accept\""),
        ProblemRow(
            "a slip in the action", limit("action = \"deffer 4.7.1 x\""),
            "2:10: limit[1].action: expected defer, reject or hold, found \"deffer\"; do you mean \"defer\"?"),
        ProblemRow(
            "shares", limit("warn_at = \"0%\""),
            "2:11: limit[1].warn_at: expected a share from \"1%\" to \"100%\", found \"0%\""),
        ProblemRow(
            "a share as a number", limit("warn_at = 80"),
            "2:11: limit[1].warn_at: expected a share such as \"80%\", found the integer 80"),
        ProblemRow(
            "two limits of one name", limit() + limit(),
            "8:8: limit[2].name: expected a name of its own, found \"a\", which is limit[1]'s"),
    ]

    @Test("postern-rate alone has limits, and none whose clients or users were not read")
    func roles() {
        for role in [ConfigurationRole.dkim, .dmarc, .policy, .dns] {
            #expect(read(Self.limit(), for: role).flawless?.limits.isEmpty == true)
        }
        #expect(read(Self.limit(), for: .rate).flawless?.limits.count == 1)
        let wrong = read(Self.limit("users = [7]"), for: .dkim)
        #expect(wrong.configuration?.limits.isEmpty == true)
        #expect(wrong.problems.map(\.severity) == [.warning])
    }

    // MARK: Advice

    @Test("limits that strangers can use up for others")
    func strangers() {
        func advice(_ lines: String...) -> [String] {
            read(Self.limit(lines.joined(separator: "\n"))).advice.map(\.description)
        }
        let text =
            "postern.toml:2:7: limit[1].per: strangers can use this limit up for others: add \"client\" or "
            + "\"sasl_username\" to per, or keep it to clients or users"
        let bare =
            "[[limit]]\nper = [\"sender\"]\nname = \"a\"\ncount = \"messages\"\nallow = \"9/1h\"\naction = \"hold\"\n"
        #expect(read(bare).advice.map(\.description) == [text])
        #expect(read(bare).problems == [] && read(bare).flawless != nil)  // advice refuses nothing
        #expect(read(bare + "clients = [\"192.0.2.0/24\"]\n").advice == [])
        #expect(read(bare + "users = [\"/./\"]\n").advice == [])
        // What holds for everybody keeps nobody out.
        #expect(read(bare + "clients = [\"0.0.0.0/0\"]\n").advice.map(\.description) == [text])
        #expect(read(bare + "users = [\"ann\", \"/^/\"]\n").advice.map(\.description) == [text])
        #expect(advice("per = [\"sender\", \"sasl_username\"]") == [])
        #expect(advice("per = [\"recipient\", \"client\"]") == [])
    }

    @Test("prefixes without a client")
    func prefixes() {
        #expect(
            read(Self.limit("ipv4_prefix = 24")).advice.map(\.description) == [
                "postern.toml:2:15: limit[1].ipv4_prefix: ipv4_prefix changes nothing without \"client\" in per"
            ])
    }

    @Test("hold before there is a message")
    func hold() {
        let limit = Self.limit("per = [\"client\"]", "count = \"connections\"", "action = \"hold\"")
        #expect(
            read(limit).advice.map(\.description) == [
                "postern.toml:4:10: limit[1].action: Postfix ignores hold where it asks before there is a message "
                    + "(smtpd_delay_reject = no), and a connection is counted at its first request"
            ])
        #expect(read(Self.limit("action = \"hold\"")).advice == [])
        #expect(read(Self.limit("per = [\"client\"]", "count = \"connections\"")).advice == [])
    }

    private static func named(_ name: String, _ per: String, _ count: String) -> String {
        """
        [[limit]]
        name = "\(name)"
        per = ["\(per)"]
        count = "\(count)"
        allow = "200/1h"
        action = "defer"

        """
    }

    private static let unsettled =
        "RCPT charges at once, also for what is refused or given up later: smtpd_end_of_data_restrictions do not ask "
        + "postern-rate"

    @Test(
        "where Postfix does not ask",
        arguments: [
            (LimitHooks(atRecipients: true, atEnd: true), []),
            (
                LimitHooks(atRecipients: true, atEnd: false),
                [
                    "10:9: limit[2].count: \(unsettled)",
                    "16:9: limit[3].count: only sizes that clients announce are counted: "
                        + "smtpd_end_of_data_restrictions do not ask postern-rate",
                ]
            ),
            (
                LimitHooks(atRecipients: false, atEnd: true),
                [
                    "22:9: limit[4].count: only messages with a single recipient are counted: no recipient restriction "
                        + "asks postern-rate"
                ]
            ),
            (
                LimitHooks(atRecipients: false, atEnd: false),
                [
                    "4:9: limit[1].count: Postfix does not ask postern-rate: no smtpd restriction has its "
                        + "check_policy_service"
                ]
            ),
        ])
    func hooks(_ hooks: LimitHooks, _ expected: [String]) throws {
        let text =
            Self.named("a", "client", "connections") + Self.named("b", "sasl_username", "recipients")
            + Self.named("c", "client", "octets") + Self.named("d", "recipient_domain", "messages")
        let configuration = try #require(read(text).readable)
        #expect(
            configuration.advice(on: hooks, file: "p.toml").map(\.description) == expected.map { "p.toml:\($0)" })
        #expect(read("").readable?.advice(on: hooks, file: "p.toml") == [])
    }
}
