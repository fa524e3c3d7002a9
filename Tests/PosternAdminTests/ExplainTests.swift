// `explain` with a postern-policy that a test plays and without one, and `greylist` against one that a test plays.

import Foundation
import PosternDaemon
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("explain and greylist") struct ExplainTests {
    typealias Daemons = StatusTests.Daemons

    static let request = [
        "explain", "--client", "192.0.2.7", "--helo", "mx.example.net", "--sender", "spam@example.net",
        "--recipient", "bo@example.org",
    ]

    static let rules = """
        [[rule]]
        name = "partner"
        client = ["203.0.113.0/24"]
        skip = ["dnsbl", "greylist"]
        [[rule]]
        name = "bad name"
        client_name = ["*.example.info"]
        action = "score 2"
        [[rule]]
        name = "fails SPF"
        spf = ["fail"]
        action = "reject 5.7.23 SPF"
        [[rule]]
        name = "no spam"
        sender = ["spam@example.net"]
        action = "defer 4.7.1 Not now"

        """

    /// Without a daemon: the folder of control sockets is empty.
    private func explainHere(_ words: [String] = [], rules: String = Self.rules, zone: String = "") throws
        -> Postern.Result
    {
        let folder = try Folder()
        let place = "[host]\nname = \"mx1.example.org\"\n[listen]\ncontrol = \"\(folder.path)\"\n"
        try folder.write(place + rules, to: "p.toml")
        return try Postern(zone: zone).run(Self.request + words + ["--config", folder.file("p.toml")])
    }

    // MARK: Explained here

    @Test("without the daemon the same judge explains: every check in order, with its reason")
    func here() throws {
        let result = try explainHere(["--json"])
        let object = try result.json()
        #expect(object["action"] as? String == "defer")
        let checks = try #require(object["checks"] as? [[String: Any]])
        let words = checks.map { "\($0["check"] as? String ?? ""): \($0["outcome"] as? String ?? "")" }
        #expect(
            words == [
                "rule partner: not_matched", "rule bad name: not_matched", "rule fails SPF: not_matched",
                "rule no spam: matched", "spf: none", "dnsbl: skipped", "greylist: skipped",
            ])
        #expect(checks.allSatisfy { ($0["reason"] as? String)?.isEmpty == false && $0["score"] is Int })
        #expect(result.notes == "warning: postern-policy does not run")
        #expect(result.status == 1)
    }

    @Test("people are told the action first")
    func text() throws {
        let lines = try explainHere().text.split(separator: "\n")
        #expect(lines.first == "defer: 450 4.7.1 Not now (rule no spam)")
        #expect(lines.count == 8)
    }

    @Test(
        "what the request says decides",
        arguments: [
            (["--client-name", "a.example.info"], "defer", 2), (["--attribute", "sender=ann@example.net"], "pass", 0),
            (["--stage", "vrfy"], "pass", 0), (["--attribute", "client_address=203.0.113.5"], "defer", 0),
        ])
    func attributes(_ words: [String], _ action: String, _ score: Int) throws {
        let result = try explainHere(words + ["--json"])
        let object = try result.json()
        #expect(object["action"] as? String == action)
        #expect(object["score"] as? Int == score)
        #expect(result.status == (action == "pass" ? 0 : 1))
    }

    @Test("SPF is asked where a rule wants it")
    func spf() throws {
        let result = try explainHere(["--json"], zone: "example.net. TXT \"v=spf1 -all\"\n")
        #expect(try result.json()["action"] as? String == "reject")
        #expect(result.questions.map { "\($0)" }.contains { $0.contains("example.net") })
    }

    @Test("greylisting's memory is missed, and that is told")
    func memory() throws {
        let result = try explainHere(rules: "[greylist]\nclients = \"all\"\n")
        #expect(result.notes.contains("without what greylisting remembers"))
    }

    @Test(
        "what is no request is 64",
        arguments: [
            ["--attribute", "size"], ["--attribute", "colour=blue"], ["--attribute", "protocol_state=RCPT"],
            ["--stage", "LUNCH"], ["--attribute", "helo_name=a\nrecipient=b"],
        ])
    func misuse(_ words: [String]) throws { #expect(try explainHere(words).status == 64) }

    // MARK: The daemon's word

    static let command = #"""
        {"command":"explain","protocol_state":"RCPT","request":"smtpd_access_policy","protocol_name":"ESMTP","client_address":"192.0.2.7","client_name":"unknown","reverse_client_name":"unknown","helo_name":"mx.example.net","sender":"spam@example.net","recipient":"bo@example.org"}
        """#
    static let answer = #"""
        {"action":"reject","text":"554 5.7.1 listed\u001b[2J","score":4,"checks":[{"check":"list zen.spamhaus.org","outcome":"listed","reason":"127.0.0.2","score":4,"answer":null,"shadow":false,"exchanges":["7.2.0.192.zen.spamhaus.org A: 127.0.0.2"]},{"check":"dnsbl","outcome":"reject","reason":"score 4","score":4,"answer":"reject: 554","shadow":true,"exchanges":[]}]}
        {"complete":true}

        """#

    @Test("the daemon's explanation is shown as it is; controls cannot move the cursor")
    func daemon() throws {
        let daemons = try Daemons([.policy: [Self.command: Self.answer]])
        let words = Self.request + ["--control", daemons.folder.path]
        let result = try Postern().run(words)
        #expect(
            result.text == """
                reject: 554 5.7.1 listed?[2J
                score: 4
                  list zen.spamhaus.org  listed           +4  127.0.0.2
                      7.2.0.192.zen.spamhaus.org A: 127.0.0.2
                  dnsbl                  reject (shadow)  +4  score 4

                """)
        #expect(result.status == 1 && result.notes.isEmpty)
        #expect(result.questions.isEmpty)
        #expect(try Postern().run(words + ["--json"]).json()["score"] as? Int == 4)
    }

    @Test(
        "a daemon that will not, or says something else, is 69",
        arguments: [
            #"{"error":"not you"}"#, "{}", "null", #"{"complete":true}"#, "",
        ])
    func refused(_ answer: String) throws {
        let daemons = try Daemons([.policy: [Self.command: answer]])
        #expect(try Postern().run(Self.request + ["--control", daemons.folder.path]).status == 69)
    }

    // MARK: DNS lists

    static let lists = """
        [[dnsbl.list]]
        zone = "bl.example.org"
        scores = { "127.0.0.[2..11]" = 4 }
        [[dnsbl.list]]
        zone = "abcdefghijklmnopqrstuvwxyz.dq.spamhaus.net"
        scores = { "127.0.0.2" = 3 }
        [[dnsbl.list]]
        zone = "dbl.example.org"
        by = "sender"
        scores = { "127.0.1.2" = 4 }

        """
    static let listZone = """
        2.0.0.127.bl.example.org. 60 IN A 127.0.0.2
        7.2.0.192.bl.example.org. 60 IN A 127.0.0.4

        """

    @Test("test asks the lists about an address; a list without its test entry is none; keys are hidden")
    func dnsblTest() throws {
        func run(_ address: String, _ words: String...) throws -> Postern.Result {
            let folder = try Folder()
            try folder.write("[host]\nname = \"mx1.example.org\"\n" + Self.lists, to: "p.toml")
            let line = ["dnsbl", "test", address, "--config", folder.file("p.toml")] + words
            return try Postern(zone: Self.listZone).run(line)
        }
        let listed = try run("192.0.2.7", "--json")
        let object = try listed.json()
        #expect(listed.status == 1 && object["score"] as? Int == 4)
        let outcomes = (object["checks"] as? [[String: Any]])?.map { $0["outcome"] as? String }
        #expect(outcomes == ["listed", "suspended"])
        #expect(!listed.text.contains("abcdefghijklmnopqrstuvwxyz"))
        let clean = try run("192.0.2.8")
        #expect(clean.status == 0 && clean.text.hasSuffix("score: 0\n"), "\(clean.text)")
        #expect(try run("192.0.2").status == 64)
    }

    @Test("how the lists are, in the daemon's words")
    func dnsblStatus() throws {
        let list = #"""
            {"zone":"bl.example.org","by":"client","state":"%s","reason":null,"since":null,"last_probe":null,"next_probe":null,"lists_ipv6":null,"answers":7,"listings":1,"failures":0,"suspensions":0}
            """#
        func daemons(_ state: String) throws -> Daemons {
            let answer = #"{"lists":[\#(list.replacing("%s", with: state))]}"#
            return try Daemons([.policy: ["dnsbl status": answer]])
        }
        let working = try daemons("working").run("dnsbl", "status")
        #expect(
            working.text == """
                ZONE            BY      STATE    ANSWERS  LISTED  FAILED
                bl.example.org  client  working  7        1       0

                """)
        #expect(working.status == 0)
        #expect(try daemons("suspended").run("dnsbl", "status").status == 1)
        #expect(try Daemons([:]).run("dnsbl", "status").status == 69)
    }

    // MARK: Greylist

    static let triplet = #"""
        {"kind":"triplet","origin":"192.0.2.0/24","sender":"a\u001b@example.net","recipient":"bo@example.org","state":"waiting","first_seen":"2026-11-21T02:00:00.000Z","last_seen":"2026-11-21T02:00:00.000Z","passed_since":null,"expires":"2026-11-23T02:00:00.000Z","passed_triplets":0,"networks":[]}
        """#
    static let domain = #"""
        {"kind":"domain","origin":"example.net","sender":null,"recipient":null,"state":"allowed","first_seen":"2026-11-21T02:00:00.000Z","last_seen":"2026-11-21T02:00:00.000Z","passed_since":"2026-11-21T02:00:00.000Z","expires":null,"passed_triplets":3,"networks":["192.0.2.0/24"]}
        """#

    @Test("entries as a table, or as JSON")
    func list() throws {
        let answer = Self.triplet + "\n" + Self.domain + "\n" + #"{"complete":true}"# + "\n"
        let daemons = try Daemons([.policy: [#"{"command":"greylist list","prefix":""}"#: answer]])
        let result = try daemons.run("greylist", "list")
        #expect(
            result.text == """
                STATE    KIND     ORIGIN        SENDER            RECIPIENT         ENDS
                waiting  triplet  192.0.2.0/24  <a?@example.net>  <bo@example.org>  2026-11-23T02:00:00.000Z
                allowed  domain   example.net   -                 -                 never

                """)
        let object = try daemons.run("greylist", "list", "--json").json()
        #expect((object["entries"] as? [Any])?.count == 2 && object["complete"] as? Bool == true)
        let cut = try daemons.run("greylist", "list", "--limit", "1")
        #expect(cut.text.split(separator: "\n").count == 2)
        #expect(cut.notes == "note: there are more than 1 entries; --limit shows more")
    }

    @Test("a list that breaks off is no list")
    func brokenList() throws {
        let daemons = try Daemons([.policy: [#"{"command":"greylist list","prefix":""}"#: Self.triplet + "\n"]])
        #expect(try daemons.run("greylist", "list").status == 69)
    }

    @Test("one entry, and none")
    func show() throws {
        let daemons = try Daemons([
            .policy: [
                #"{"command":"greylist show","origin":"example.net"}"#: #"{"entry":\#(Self.domain)}"#,
                #"{"command":"greylist show","origin":"192.0.2.7","sender":"","recipient":"bo@example.org"}"#:
                    #"{"entry":null}"#,
            ]
        ])
        let shown = try daemons.run("greylist", "show", "example.net")
        #expect(shown.text.contains("state            allowed\n") && shown.text.contains("passed triplets  3\n"))
        let none = try daemons.run(
            "greylist", "show", "192.0.2.7", "--sender", "", "--recipient", "bo@example.org", "--json")
        #expect(none.text == "{\"entry\":null}\n" && none.status == 1)
    }

    @Test("allow and forget")
    func change() throws {
        let daemons = try Daemons([
            .policy: [
                #"{"command":"greylist allow","origin":"192.0.2.7"}"#: #"{"allowed":"192.0.2.0/24"}"#,
                #"{"command":"greylist forget","origin":"192.0.2.7"}"#: "{\"forgotten\":3}\n{\"complete\":true}\n",
                #"{"command":"greylist forget","origin":"b.example"}"#: "{\"error\":\"database is locked\"}\n",
            ]
        ])
        #expect(try daemons.run("greylist", "allow", "192.0.2.7").text == "192.0.2.0/24 is allowed\n")
        #expect(try daemons.run("greylist", "forget", "192.0.2.7").text == "3 entries forgotten\n")
        let failed = try daemons.run("greylist", "forget", "b.example")
        #expect(failed.status == 69 && failed.notes == "error: postern-policy: database is locked")
        #expect(try daemons.run("greylist", "allow", "192.0.2.7", "--sender", "a@b.example").status == 64)
        #expect(try Daemons([:]).run("greylist", "list").notes == "error: postern-policy does not run")
    }
}
