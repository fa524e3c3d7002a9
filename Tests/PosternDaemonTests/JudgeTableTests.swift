// The tables of the judges: what is wrong in them, with the exact lines it must bring, and what their values mean.

import PosternAdmission
import PosternMail
import Testing

@testable import PosternDaemon

@Suite("tables of judges")
struct JudgeTableTests {
    @Test("rows", arguments: misplaced + actions + exceptions + lists + greylist + zones + others)
    func rows(row: ProblemRow) {
        #expect(read(row.toml).problems.map(\.description) == row.problems.map { "postern.toml:\($0)" })
    }

    static let misplaced = [
        ProblemRow(
            "a key of [dmarc] under [spf]", "[spf]\non_reject = \"reject\"\n",
            "2:1: spf.on_reject: expected a key of [spf], found \"on_reject\", which belongs to [dmarc]: write it "
                + "below that header"),
        ProblemRow(
            "a key of several other tables", "[host]\nclient = [\"192.0.2.1\"]\n",
            "2:1: host.client: expected a key of [host], found \"client\", which belongs to [[dmarc.exception]] or "
                + "[[rule]]: write it below that header"),
        ProblemRow(
            "a list's key that fell into its table", "[dnsbl]\nzone = \"zen.spamhaus.org\"\n",
            "2:1: dnsbl.zone: expected a key of [dnsbl], found \"zone\", which belongs to [dns] or [[dnsbl.list]]: "
                + "write it below that header"),
        ProblemRow(
            "a slip in a judge's key", "[greylist]\nretry_witin = \"2d\"\n",
            "2:1: greylist.retry_witin: expected a key of [greylist], found \"retry_witin\"; do you mean "
                + "\"retry_within\"?"),
        ProblemRow(
            "a slip in a condition's negated form",
            "[[rule]]\nname = \"a\"\nnot_hello = [\"x\"]\naction = \"accept\"\n",
            "1:1: rule[1]: expected at least one condition such as client or helo, found none",
            "3:1: rule[1].not_hello: expected a key of [[rule]], found \"not_hello\"; do you mean \"not_helo\"?"),
        ProblemRow(
            "one pair of brackets for rules", "[rule]\nname = \"a\"\n",
            "1:1: rule: expected [[rule]], found a table; write its header in two pairs of brackets"),
        ProblemRow(
            "a value for rules", "rule = []\nlimit = 5\n",
            "2:9: limit: expected tables [[limit]], found the integer 5"),
    ]

    static let actions = [
        ProblemRow(
            "DNS trouble rejects nobody (RFC 7208 §8.6)", "[spf]\non_temperror = \"reject\"\n",
            "2:16: spf.on_temperror: expected \"accept\", \"quarantine\" or \"defer\", found \"reject\""),
        ProblemRow(
            "nor in DMARC", "[dmarc]\non_temperror = \"reject\"\n",
            "2:16: dmarc.on_temperror: expected \"accept\", \"quarantine\" or \"defer\", found \"reject\""),
        ProblemRow(
            "quarantine is not raised to reject", "[dmarc]\non_quarantine = \"reject\"\n",
            "2:17: dmarc.on_quarantine: expected \"accept\", \"quarantine\" or \"hold\", found \"reject\""),
        ProblemRow(
            "an action that SPF does not have", "[spf]\non_fail = \"hold\"\n",
            "2:11: spf.on_fail: expected \"accept\", \"quarantine\", \"defer\" or \"reject\", found \"hold\""),
        ProblemRow(
            "identities are named once", "[spf]\nidentities = [\"helo\", \"helo\"]\n",
            "2:14: spf.identities: expected each value once, found \"helo\" twice"),
        ProblemRow(
            "identities are some", "[spf]\nidentities = []\n",
            "2:14: spf.identities: expected at least 1 values, found 0"),
        ProblemRow(
            "an unknown identity", "[spf]\nidentities = [\"from\"]\n",
            "2:15: spf.identities: expected \"helo\" or \"mailfrom\", found \"from\""),
        ProblemRow(
            "domains that must pass are domains", "[dmarc]\nrequire = [\"@example.com\", \"com\", \"*.example.com\"]\n",
            "2:12: dmarc.require: expected a domain such as \"example.com\" or \"*.example.com\", found "
                + "\"@example.com\"",
            "2:28: dmarc.require: expected a domain such as \"example.com\" or \"*.example.com\", found \"com\""),
        ProblemRow(
            "an unknown way of discovery", "[dmarc]\ndiscovery = \"tree\"\n",
            "2:13: dmarc.discovery: expected \"treewalk\" or \"psl\", found \"tree\""),
    ]

    static let exceptions = [
        ProblemRow(
            "an exception by author alone", "[[dmarc.exception]]\nauthor = [\"example.com\"]\n",
            "1:1: dmarc.exception[1]: expected client or dkim_domain in [[dmarc.exception]], found author alone, which "
                + "anyone can write"),
        ProblemRow(
            "an exception for everybody", "[[dmarc.exception]]\n",
            "1:1: dmarc.exception[1]: expected client or dkim_domain in [[dmarc.exception]], found neither"),
        ProblemRow(
            "an exception for no client", "[[dmarc.exception]]\nclient = []\n",
            "2:10: dmarc.exception[1].client: expected at least 1 values, found 0"),
        ProblemRow(
            "a reason that reports do not know", "[[dmarc.exception]]\nclient = [\"192.0.2.1\"]\nreason = \"friend\"\n",
            "3:10: dmarc.exception[1].reason: expected \"local_policy\", \"mailing_list\", \"trusted_forwarder\" or "
                + "\"other\", found \"friend\""),
    ]

    private static func list(_ scores: String, zone: String = "zen.spamhaus.org") -> String {
        "[[dnsbl.list]]\nzone = \"\(zone)\"\nscores = \(scores)\n"
    }
    private static let answer = "expected an answer such as \"127.0.0.2\" or \"127.0.0.[2..4;10]\", found"

    static let lists = [
        ProblemRow(
            "a list has a zone and scores", "[[dnsbl.list]]\n",
            "1:1: dnsbl.list[1].zone: expected the key \"zone\" in [[dnsbl.list]], found none; for example: "
                + "zone = \"zen.spamhaus.org\"",
            "1:1: dnsbl.list[1].scores: expected the key \"scores\" in [[dnsbl.list]], found none; for example: "
                + "scores = { \"127.0.0.[2..11]\" = 4 }"),
        ProblemRow(
            "scores as a number", list("4"),
            "3:10: dnsbl.list[1].scores: expected a table such as { \"127.0.0.[2..11]\" = 4 }, found the integer 4"),
        ProblemRow(
            "no scores", list("{}"),
            "3:10: dnsbl.list[1].scores: expected a table such as { \"127.0.0.[2..11]\" = 4 }, found an empty table"),
        ProblemRow(
            "every wrong score at its place", list("{ \"127.0.0.[4..2]\" = 4, \"127.0.0.2\" = \"4\", \"x\" = 9999 }"),
            "3:12: dnsbl.list[1].scores: \(answer) \"127.0.0.[4..2]\"",
            "3:48: dnsbl.list[1].scores: expected an integer from -1000 to 1000, found \"4\"",
            "3:53: dnsbl.list[1].scores: \(answer) \"x\"",
            "3:59: dnsbl.list[1].scores: expected an integer from -1000 to 1000, found the integer 9999"),
        ProblemRow(
            "an answer outside 127/8 (RFC 5782 §2.1)", list("{ \"192.0.2.1\" = 4 }"),
            "3:12: dnsbl.list[1].scores: expected an answer within 127.0.0.0/8 (RFC 5782 §2.1), found \"192.0.2.1\""),
        ProblemRow(
            "answers that tell of errors", list("{ \"127.255.255.[252..254]\" = 4, \"127.0.0.1\" = 1 }"),
            "3:12: dnsbl.list[1].scores: expected answers that can count: 127.0.0.1 and 127.255.0.0/16 never do, found "
                + "\"127.255.255.[252..254]\"",
            "3:42: dnsbl.list[1].scores: expected answers that can count: 127.0.0.1 and 127.255.0.0/16 never do, found "
                + "\"127.0.0.1\""),
        ProblemRow(
            "answers without quotes are parts of a key", list("{ 127.0.0.2 = 4 }"),
            "3:12: dnsbl.list[1].scores: \(answer) \"127\"",
            "3:12: dnsbl.list[1].scores: expected an integer from -1000 to 1000, found a table"),
        ProblemRow(
            "one zone asked the same twice",
            list("{ \"127.0.0.2\" = 4 }") + list("{ \"127.0.0.3\" = 4 }", zone: "ZEN.spamhaus.org.")
                + list("{ \"127.0.0.2\" = 4 }") + "by = \"helo\"\n",
            "5:8: dnsbl.list[2].zone: expected a zone that is asked by client once, found zen.spamhaus.org, which is "
                + "dnsbl.list[1]'s"),
        ProblemRow(
            "query keys are not repeated", list("{ \"127.0.0.2\" = 4 }", zone: "\(key).zen.dq.spamhaus net"),
            "2:8: dnsbl.list[1].zone: expected a zone such as \"zen.spamhaus.org\", found \"(key).zen.dq.spamhaus net\""
        ),
        ProblemRow(
            "a budget longer than Postfix waits", "[dnsbl]\nbudget = \"30s\"\nreject_score = -1\n",
            "2:10: dnsbl.budget: expected a duration from \"100ms\" to \"7s\", found \"30s\"",
            "3:16: dnsbl.reject_score: expected an integer from 0 to 1000, found the integer -1"),
    ]
    static let key = "abcdefghijklmnopqrstuvwxyz"

    static let greylist = [
        ProblemRow(
            "a retry that cannot come in time", "[greylist]\ndelay = \"1h\"\nretry_within = \"30m\"\n",
            "2:9: greylist.delay: expected delay to be shorter than retry_within, found \"1h\" and \"30m\": nobody "
                + "could come back in time"),
        ProblemRow(
            "a retry sooner than the default delay", "[greylist]\nretry_within = \"5m\"\n",
            "2:16: greylist.retry_within: expected delay to be shorter than retry_within, found \"5m\" and \"5m\": "
                + "nobody could come back in time"),
        ProblemRow(
            "clients in words", "[greylist]\nclients = \"some\"\n",
            "2:11: greylist.clients: expected \"none\", \"suspicious\" or \"all\", found \"some\""),
        ProblemRow(
            "networks of all the world", "[greylist]\nipv4_prefix = 0\nipv6_prefix = 129\n",
            "2:15: greylist.ipv4_prefix: expected an integer from 8 to 32, found the integer 0",
            "3:15: greylist.ipv6_prefix: expected an integer from 16 to 128, found the integer 129"),
        ProblemRow(
            "those who never wait, each wrong one",
            "[greylist]\nskip_clients = [\"192.0.2.1/24\", \"ann bo\"]\nskip_senders = [\"@\", \"/x\", "
                + "\"192.0.2.0/24\"]\n",
            "2:17: greylist.skip_clients: expected a network without host bits, found \"192.0.2.1/24\"; do you mean "
                + "\"192.0.2.0/24\"?",
            "2:33: greylist.skip_clients: expected an address, a network, or a name such as \"mx1.example.com\", "
                + "\"*.example.com\" or \"/EXPRESSION/\", found \"ann bo\"",
            "3:17: greylist.skip_senders: expected an address such as \"ann@example.com\", \"@example.com\", \"<>\" or "
                + "\"/EXPRESSION/\", found \"@\"",
            "3:22: greylist.skip_senders: expected an expression between two slashes, found \"/x\"",
            "3:28: greylist.skip_senders: expected an address such as \"ann@example.com\", \"@example.com\", "
                + "\"*.example.com\", \"<>\" or \"/EXPRESSION/\", found \"192.0.2.0/24\""),
    ]

    static let zones = [
        ProblemRow(
            "a zone has a name", "[[dns.zone]]\nupstream = []\n",
            "1:1: dns.zone[1].name: expected the key \"name\" in [[dns.zone]], found none; for example: "
                + "name = \"zen.spamhaus.org\"",
            "2:12: dns.zone[1].upstream: expected at least 1 values, found 0"),
        ProblemRow(
            "a zone twice", "[[dns.zone]]\nname = \"x.example\"\n[[dns.zone]]\nname = \"X.example.\"\n",
            "4:8: dns.zone[2].name: expected each zone once, found x.example, which is dns.zone[1]'s"),
        ProblemRow(
            "bounds the wrong way round", "[dns]\nttl_min = \"1h\"\nttl_max = \"1m\"\n",
            "2:11: dns.ttl_min: expected ttl_min of at most ttl_max, found \"1h\" and \"1m\""),
        ProblemRow(
            "and in a zone", "[[dns.zone]]\nname = \"x.example\"\nttl_max = \"1s\"\nttl_min = \"2s\"\n",
            "4:11: dns.zone[1].ttl_min: expected ttl_min of at most ttl_max, found \"2s\" and \"1s\""),
        ProblemRow(
            "postern-dns as its own upstream",
            "[listen]\ndns = [\"unix:/run/d.sock\", \"udp:127.0.0.1:5300\", \"tcp:localhost:5301\"]\n"
                + "[dns]\nupstream = [\"127.0.0.1:5300\"]\n[[dns.zone]]\nname = \"x.example\"\n"
                + "upstream = [\"192.0.2.1\", \"127.0.0.1:5301\"]\n",
            "4:12: dns.upstream: expected servers other than postern-dns itself, found 127.0.0.1:5300, where it "
                + "listens",
            "7:12: dns.zone[1].upstream: expected servers other than postern-dns itself, found 127.0.0.1:5301, where "
                + "it listens"),
    ]

    private static let url = "expected a URL such as \"redis://192.0.2.10:6379/0\", found"

    static let others = [
        ProblemRow(
            "a relative folder for state", "[state]\ndirectory = \"state\"\n",
            "2:13: state.directory: expected an absolute path, found \"state\""),
        ProblemRow(
            "a store of another kind", "[store]\nurl = \"mysql://ann:secret@192.0.2.1\"\n",
            "2:7: store.url: expected redis://, rediss://, redis+sentinel:// or rediss+sentinel://, found "
                + "\"192.0.2.1\""),
        ProblemRow(
            "a password is not repeated", "[store]\nurl = \"redis://ann:secret@192.0.2.1\"\n",
            "2:7: store.url: expected the password in password_file, found a URL with one"),
        ProblemRow(
            "two servers without Sentinels", "[store]\nurl = \"redis://192.0.2.1,192.0.2.2/0\"\n",
            "2:7: store.url: \(url) \"redis://192.0.2.1,192.0.2.2/0\""),
        ProblemRow(
            "a database that is none", "[store]\nurl = \"redis://192.0.2.1/x\"\n",
            "2:7: store.url: expected a database's number behind the server, found \"redis://192.0.2.1/x\""),
        ProblemRow(
            "Sentinels without a master", "[store]\nurl = \"redis+sentinel://a.example,b.example\"\n",
            "2:7: store.url: expected the master's name behind the Sentinels, found "
                + "\"redis+sentinel://a.example,b.example\""),
        ProblemRow(
            "a store that is waited for too long", "[store]\ntimeout = \"1m\"\n",
            "2:11: store.timeout: expected a duration from \"5ms\" to \"3s\", found \"1m\""),
    ]

    // MARK: What values mean

    @Test(
        "answers of lists, in postscreen's syntax",
        arguments: [
            ("127.0.0.2", ["127.0.0.2"], ["127.0.0.3", "127.0.1.2", "126.0.0.2"]),
            ("127.0.0.[2..11]", ["127.0.0.2", "127.0.0.7", "127.0.0.11"], ["127.0.0.1", "127.0.0.12"]),
            ("127.0.0.[2;4..6]", ["127.0.0.2", "127.0.0.5"], ["127.0.0.3", "127.0.0.7"]),
            ("127.0.[0..255].[1..3]", ["127.0.0.1", "127.0.255.3"], ["127.1.0.1", "127.0.9.4"]),
            ("127.[0..255].0.2", ["127.255.0.2"], ["127.255.0.3", "::ffff:127.0.0.2", "::1"]),
        ])
    func answers(text: String, held: [String], others: [String]) throws {
        let pattern = try AnswerPattern(text)
        #expect(pattern.description == text)
        for address in try held.map({ try #require(IPAddress($0)) }) { #expect(pattern.contains(address)) }
        for address in try others.map({ try #require(IPAddress($0)) }) { #expect(!pattern.contains(address)) }
    }

    @Test(
        "texts that are no answers",
        arguments: [
            "", ".", "127", "127.0.0", "127.0.0.2.3", "127.0.0.256", "127.0.0.-1", "127.0.0.[]", "127.0.0.[2..]",
            "127.0.0.[..2]", "127.0.0.[2..4", "127.0.0.2..4]", "127.0.0.[2,4]", "127.0.0.[2..4]x", "[127.0.0.2]",
            "127.0.0.0002", "127.0.0.٢", " 127.0.0.2", "127..0.2", "127.0.0.[2;]", "127.0.0.[[2]]",
        ])
    func noAnswers(text: String) {
        #expect(throws: Unfit.self) { try AnswerPattern(text) }
    }

    @Test("lists with what they are asked about and what counts")
    func listValues() throws {
        let text = """
            [[dnsbl.list]]
            zone = "zen.spamhaus.org"
            scores = { "127.0.0.[2..11]" = 4, "127.0.0.10" = 1 }
            [[dnsbl.list]]
            zone = "dbl.example"
            by = "client_name"
            scores = { "127.0.1.2" = -2 }
            """
        let lists = try #require(read(text).flawless?.dnsbl.lists)
        #expect(lists.map(\.zone.description) == ["zen.spamhaus.org", "dbl.example"])
        #expect(lists.map(\.by) == [.client, .clientName])
        #expect(
            lists.map { $0.scores.map { "\($0.answers) \($0.score)" } } == [
                ["127.0.0.[2..11] 4", "127.0.0.10 1"], ["127.0.1.2 -2"],
            ])
    }

    @Test("query keys in zones are shown nowhere")
    func queryKeys() throws {
        let zone = "\(Self.key).zen.dq.spamhaus.net"
        let list = "[[dnsbl.list]]\nzone = \"\(zone)\"\nscores = { \"127.0.0.2\" = 4 }\n"
        let twice = read(list + list + "[[dns.zone]]\nname = \"\(zone)\"\n[[dns.zone]]\nname = \"\(zone)\"\n")
        #expect(twice.problems.count == 2)
        #expect(twice.problems.allSatisfy { $0.text.contains("(key).zen.dq.spamhaus.net") }, "\(twice.problems)")
        #expect(!twice.problems.contains { $0.text.contains(Self.key) })
        let one = try #require(read(list).flawless)
        #expect(one.dnsbl.lists.first?.zone.description == zone)
        #expect(one.differences.contains("zone = \"(key).zen.dq.spamhaus.net\""))
        #expect(!one.differences.contains(Self.key))
    }

    @Test("a host's whole configuration, as an admin would write it, is right and needs no advice")
    func wholeConfiguration() throws {
        let text = """
            [host]
            name = "mx1.example.com"
            authserv_id = "example.com"
            strip_authserv_ids = ["*.example.com"]
            networks = ["127.0.0.0/8", "::1/128"]
            relays = []
            passthrough = ["REINJECT"]
            [listen]
            dkim = "unix:/var/spool/postfix/postern/dkim.sock"
            dns = ["unix:/run/postern/dns.sock"]
            [state]
            directory = "/var/lib/postern"
            [log]
            to = "journal"
            [dns]
            upstream = ["127.0.0.1:53"]
            cache = "64MiB"
            negative_ttl_max = "60s"
            [[dns.zone]]
            name = "zen.spamhaus.org"
            upstream = ["127.0.0.1:5353"]
            stale = "0s"
            [dkim]
            verify = false
            [spf]
            on_fail = "accept"
            [dmarc]
            on_reject = "quarantine"
            on_invalid_author = "reject"
            facts = "90d"
            [[dmarc.exception]]
            client = ["203.0.113.0/24"]
            [dnsbl]
            reject_score = 4
            defer_score = 0
            budget = "3s"
            [[dnsbl.list]]
            zone = "zen.spamhaus.org"
            by = "client"
            scores = { "127.0.0.[2..11]" = 4 }
            [[dnsbl.list]]
            zone = "list.dnswl.org"
            scores = { "127.0.[0..255].[1..3]" = -2 }
            [greylist]
            clients = "all"
            suspicious_score = 1
            delay = "5m"
            retry_within = "2d"
            remember = "35d"
            [[rule]]
            name = "they say they are us"
            helo = ["mx1.example.com", "*.example.com"]
            action = "reject 5.7.1 You are not me"
            [[rule]]
            name = "partner"
            client = ["203.0.113.0/24"]
            skip = ["dnsbl", "greylist"]
            [[limit]]
            name = "per account"
            per = ["sasl_username"]
            count = "recipients"
            allow = ["200/1h", "20/1m"]
            action = "defer 4.7.1 Too many recipients, slow down"
            """
        let result = read(text)
        #expect(result.problems == [] && result.advice == [])
        let configuration = try #require(result.flawless)
        #expect(configuration.rules.count == 2 && configuration.limits.count == 1)
        #expect(configuration.dnsbl.lists.count == 2 && configuration.greylist.clients == .all)
        #expect(configuration.dns.zones.map(\.stale) == [.zero])
    }

    @Test("exceptions keep what they are kept to")
    func exceptionValues() throws {
        let text = """
            [[dmarc.exception]]
            dkim_domain = ["lists.example.net", "*.example.net"]
            author = ["example.com"]
            """
        let exception = try #require(read(text).flawless?.dmarc.exceptions.first)
        #expect(exception.client.isEmpty && exception.reason == .trustedForwarder)
        #expect(exception.dkimDomain.map(\.description) == ["lists.example.net", "*.example.net"])
        #expect(exception.author == [.domain(Example.domain)])
    }

    @Test("an exception whose values are wrong or not read is none, and never one for all")
    func unreadExceptions() throws {
        let wrong = "[[dmarc.exception]]\nclient = [\"x\"]\ndkim_domain = [\"example.net\"]\n"
        #expect(read(wrong, for: .dkim).configuration?.dmarc.exceptions.isEmpty == true)
        let elsewhere = "[[dmarc.exception]]\nclient = \"file:absent\"\ndkim_domain = [\"example.net\"]\n"
        #expect(read(elsewhere, for: .dkim).flawless?.dmarc.exceptions.isEmpty == true)
        let folder = try TemporaryFolder()
        try folder.write("none", "# nobody yet\n")
        let empty = "[[dmarc.exception]]\nclient = \"file:none\"\ndkim_domain = [\"example.net\"]\n"
        let read = read(Array(empty.utf8), folder: folder.path, for: .dmarc)
        #expect(read.flawless?.dmarc.exceptions.isEmpty == true)
    }

    @Test(
        "URLs of stores",
        arguments: [
            ("redis://192.0.2.10:6379/0", "redis://192.0.2.10:6379/0"),
            ("redis://a.example", "redis://a.example:6379/0"),
            ("rediss://[2001:db8::1]:6380/2", "rediss://[2001:db8::1]:6380/2"),
            ("redis://[2001:db8::1]", "redis://[2001:db8::1]:6379/0"),
            ("redis+sentinel://a,b:1,c/main", "redis+sentinel://a:26379,b:1,c:26379/main"),
            ("rediss+sentinel://a,[::1]:2/main", "rediss+sentinel://a:26379,[::1]:2/main"),
        ])
    func storeURLs(text: String, written: String) throws {
        let url = try TextType<StoreURL>.storeURL.parse(text)
        #expect(TextType<StoreURL>.storeURL.write(url) == written)
        #expect(try TextType<StoreURL>.storeURL.parse(written) == url)
    }
}
