// One bad table must not stop the mail edge: which daemon starts with which table broken; who opens which files, and
// whose rights are judged; and advice that reads several tables together.

import Foundation
import PosternAdmission
import PosternAuth
import PosternMail
import Testing

@testable import PosternDaemon

@Suite("roles")
struct ConfigurationRoleTests {
    /// Each table with a mistake in it, and the daemons that do not start then.
    static let broken: [(table: String, toml: String, fatal: Set<ConfigurationRole>)] = [
        ("host", "[host]\nname = 1\n", all), ("listen", "[listen]\nmode = 1\n", all),
        ("state", "[state]\ndirectory = 1\n", all), ("log", "[log]\nto = 1\n", all),
        ("dns", "[dns]\ncache = true\n", all), ("dns.zone", "[[dns.zone]]\nname = \"a b\"\n", all),
        ("dkim", "[dkim]\nverify = 1\n", [.dkim]), ("dkim.key", "[[dkim.key]]\ndomain = \"x\"\n", [.dkim]),
        ("spf", "[spf]\non_fail = \"kill\"\n", [.dmarc]), ("dmarc", "[dmarc]\non_reject = 5\n", [.dmarc]),
        ("dmarc.exception", "[[dmarc.exception]]\nauthor = [\"example.com\"]\n", [.dmarc]),
        ("dnsbl", "[dnsbl]\nbudget = \"1d\"\n", [.policy]), ("dnsbl.list", "[[dnsbl.list]]\n", [.policy]),
        ("greylist", "[greylist]\ndelay = \"3d\"\n", [.policy]), ("rule", "[[rule]]\n", [.policy]),
        ("policy", "[policy]\nrecord = 7\n", [.policy, .rate]),
        ("limit", "[[limit]]\n", [.rate]), ("store", "[store]\nurl = \"x\"\n", []),
        ("an unknown table", "[kitchen]\n", []), ("an unknown key of one", "[kitchen]\nsink = 1\n", []),
        ("an unknown key of a judge's table", "[greylist]\nsink = 1\n", [.policy]),
    ]
    private static let all: Set<ConfigurationRole> = [.dkim, .dmarc, .policy, .rate, .dns]

    @Test(
        "each daemon starts with each table of others broken, and with none of its own that it needs",
        arguments: broken.indices)
    func startsWithBrokenTables(index: Int) throws {
        let row = try #require(Self.broken.dropFirst(index).first)
        for role in ConfigurationRole.allCases {
            let result = read(row.toml, for: role)
            #expect(!result.problems.isEmpty, "\(row.table) \(role)")
            #expect(result.flawless == nil, "\(row.table) \(role)")  // no reload takes it
            let isFatal = role == .check || row.fatal.contains(role)
            #expect((result.configuration == nil) == isFatal, "\(row.table) \(role)")
            #expect(result.problems.contains { $0.severity == .error } == isFatal, "\(row.table) \(role)")
        }
    }

    @Test("every table has a row, and a file that is no TOML starts nobody")
    func rowsAreComplete() {
        let tables = Set(Configuration.schema.flatMap(\.withAllBelow).map(\.path))
        #expect(tables.isSubset(of: Self.broken.map(\.table)))
        for role in ConfigurationRole.allCases { #expect(read("x =", for: role).configuration == nil) }
    }

    @Test("a daemon starts with the defaults of a table that is broken, and with the rest as it is written")
    func defaultsOfBrokenTables() throws {
        let text = "[greylist]\nclients = \"all\"\ndelay = 5\n[dkim]\nmin_rsa_bits = 2048\n"
        let configuration = try #require(read(text, for: .dkim).configuration)
        #expect(configuration.greylist.delay == .seconds(300))
        #expect(configuration.dkim.verification.minRSABits == 2048)
        #expect(read(text, for: .dkim).problems.map(\.severity) == [.warning])
    }

    // MARK: Files

    @Test("files are opened by the daemons that need them, and judged for their users")
    func fileAccess() {
        for role in ConfigurationRole.allCases {
            #expect(role.files(of: "host", as: nil).opens)
            #expect(role.files(of: "dns", as: nil).opens == (role == .dns || role == .check))
            #expect(role.files(of: "rule", as: nil).opens == (role == .policy || role == .check))
            #expect(role.files(of: "greylist", as: nil).opens == (role == .policy || role == .check))
            #expect(role.files(of: "limit", as: nil).opens == (role == .rate || role == .check))
            #expect(role.files(of: "dmarc", as: nil).opens == (role == .dmarc || role == .check))
        }
        let somebody = UserIdentity(name: "somebody", uid: 61_234, gid: 61_234)
        #expect(ConfigurationRole.check.files(of: "rule", as: somebody).readers == [somebody])
        #expect(ConfigurationRole.policy.files(of: "rule", as: nil).readers == [.current])
        #expect(ConfigurationRole.policy.files(of: "limit", as: somebody).readers == [])
        #expect(ConfigurationRole.allCases.map(\.userName).sorted().first == "postern-dkim")
    }

    @Test("lists and the zone file must be readable for the daemon's user, not only for who checks")
    func readability() throws {
        let folder = try TemporaryFolder()
        let other = UserIdentity(name: "postern-policy", uid: 61_234, gid: 61_234)
        try folder.write("list", "192.0.2.0/24\n", mode: 0o640)
        try folder.write("static.zone", "a.example. 300 IN A 192.0.2.1\n", mode: 0o600)
        let text = Array(
            """
            [dns]
            static = "static.zone"
            [[rule]]
            name = "a"
            client = ["file:list"]
            action = "accept"
            """.utf8)
        let path = printable(folder.path)
        let owner = UserIdentity.current.uid
        #expect(read(text, folder: folder.path, as: .current).problems == [])
        #expect(
            read(text, folder: folder.path, as: other).problems.map(\.description) == [
                "postern.toml:2:10: dns.static: expected a file that user postern-policy can read, found mode 0600 of "
                    + "uid \(owner) of \(path)/static.zone",
                "postern.toml:5:11: rule[1].client: expected a file that user postern-policy can read, found mode 0640 "
                    + "of uid \(owner) of \(path)/list",
            ])
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: "\(folder.path)/list")
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: "\(folder.path)/static.zone")
        #expect(read(text, folder: folder.path, as: other).problems == [])
        let member = UserIdentity(name: "member", uid: 61_234, gid: 61_234, groups: UserIdentity.current.groups)
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: "\(folder.path)/list")
        #expect(read(text, folder: folder.path, as: member).problems == [])
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: folder.path)
        let closed = read(text, folder: folder.path, as: other).problems
        #expect(closed.map(\.keyPath) == ["dns.static", "rule[1].client"])
        #expect(
            closed.allSatisfy {
                $0.text
                    == "expected folders that user postern-policy can enter, found mode 0700 of uid \(owner) of \(path)"
            })
    }

    // MARK: Advice

    private static let lists = "[[dnsbl.list]]\nzone = \"zen.spamhaus.org\"\nscores = { \"127.0.0.2\" = 4 }\n"

    @Test(
        "advice",
        arguments: [
            ("an empty file needs none", "", []),
            (
                "suspicious above what is refused",
                "[greylist]\nclients = \"suspicious\"\nsuspicious_score = 4\n" + lists,
                [
                    "3:20: greylist.suspicious_score: nobody waits: clients with a score of 4 are refused, which is no "
                        + "more than this"
                ]
            ),
            ("all wait, whatever the score", "[greylist]\nclients = \"all\"\nsuspicious_score = 9\n", []),
            (
                "suspicious above what is deferred",
                "[dnsbl]\ndefer_score = 2\n[greylist]\nclients = \"suspicious\"\nsuspicious_score = 3\n" + lists,
                [
                    "5:20: greylist.suspicious_score: nobody waits: clients with a score of 2 are refused, which is no "
                        + "more than this"
                ]
            ),
            (
                "suspicious without a score", "[greylist]\nclients = \"suspicious\"\n",
                [
                    "1:1: greylist.suspicious_score: nobody waits: there is no [[dnsbl.list]] and no rule with a score"
                ]
            ),
            (
                "a rule gives a score",
                "[greylist]\nclients = \"suspicious\"\n[[rule]]\nname = \"a\"\nhelo = [\"x\"]\naction = \"score 2\"\n",
                []
            ),
            (
                "a policy of quarantine that is taken more seriously than one of reject",
                "[dmarc]\non_quarantine = \"hold\"\n",
                [
                    "2:17: dmarc.on_quarantine: mail fares worse where its author asks for less: \"hold\" is stricter than "
                        + "dmarc.on_reject, which is \"quarantine\""
                ]
            ),
            (
                "the same by a milder on_reject", "[dmarc]\non_reject = \"accept\"\n",
                [
                    "1:1: dmarc.on_quarantine: mail fares worse where its author asks for less: \"quarantine\" is stricter "
                        + "than dmarc.on_reject, which is \"accept\""
                ]
            ),
            ("both alike", "[dmarc]\non_reject = \"hold\"\non_quarantine = \"hold\"\n", []),
            (
                "a score that defers nobody", "[dnsbl]\ndefer_score = 4\n",
                ["2:15: dnsbl.defer_score: nobody is deferred: clients with a score of 4 are rejected"]
            ),
            ("rejecting is off", "[dnsbl]\ndefer_score = 4\nreject_score = 0\n", []),
            (
                "a dead list", lists.replacing("zen.spamhaus.org", with: "dnsbl.sorbs.net"),
                [
                    "2:8: dnsbl.list[1].zone: this list answers no more since June 2024, and may list everybody one day: remove it"
                ]
            ),
            (
                "a list asked by a public resolver", "[dns]\nupstream = [\"192.0.2.53\", \"8.8.8.8\"]\n" + lists,
                [
                    "4:8: dnsbl.list[1].zone: DNS lists refuse or mislead public resolvers such as 8.8.8.8 (Google): ask by one "
                        + "of your own, for all zones or by [[dns.zone]]"
                ]
            ),
            (
                "but for a zone of its own",
                "[dns]\nupstream = [\"8.8.8.8\"]\n[[dns.zone]]\nname = \"spamhaus.org\"\n"
                    + "upstream = [\"127.0.0.1:53\"]\n" + lists, []
            ),
        ] as [(String, String, [String])])
    func advice(rule: String, toml: String, expected: [String]) {
        let result = read(toml)
        #expect(result.advice.map(\.description) == expected.map { "postern.toml:\($0)" })
        #expect(result.problems == [])
        #expect(result.flawless != nil)  // advice refuses nothing
    }
}
