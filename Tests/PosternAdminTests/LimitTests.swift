// `limit` and `events` against a postern-rate that a test plays, and `explain` with limits: the daemon's, or judged here.

import Foundation
import PosternDaemon
import PosternMail
import PosternSocket
import Synchronization
import Testing

@testable import PosternAdmin

@Suite("limit, events, and explain with limits") struct LimitTests {
    typealias Daemons = StatusTests.Daemons

    static func entry(
        _ key: String, used: Int = 200, over: Bool = true, blocked: Int = 0, byAdmin: Bool = false
    ) -> String {
        #"""
        {"limit":"per account","count":"recipients","key":"\#(key)","uses":[{"used":\#(used),"allowed":200,"seconds":3600},{"used":2,"allowed":20,"seconds":60}],"reserved":3,"over":\#(over),"blocked_seconds":\#(blocked),"blocked_by_admin":\#(byAdmin),"clients":["192.0.2.7","2001:db8::7"]}
        """#
    }
    static let complete = "{\"complete\":true}\n"

    // MARK: limit

    @Test("keys as a table, or as JSON")
    func list() throws {
        let entries = [
            Self.entry("ann"), Self.entry("b\\u001bo", used: 7, over: false), Self.entry("cy", blocked: 60),
            Self.entry("di", blocked: 5, byAdmin: true),
        ]
        let answer = entries.map { $0 + "\n" }.joined() + Self.complete
        let daemons = try Daemons([
            .rate: [
                #"{"command":"limit list","over":false}"#: answer,
                #"{"command":"limit list","over":true}"#: Self.complete,
            ]
        ])
        let result = try daemons.run("limit", "list")
        #expect(
            result.text == """
                STATE        LIMIT        KEY  USED                                      RESERVED  CLIENTS
                over         per account  ann  200/200 in 3600s; 2/20 in 60s recipients  3         192.0.2.7,2001:db8::7
                free         per account  b?o  7/200 in 3600s; 2/20 in 60s recipients    3         192.0.2.7,2001:db8::7
                blocked 60s  per account  cy   200/200 in 3600s; 2/20 in 60s recipients  3         192.0.2.7,2001:db8::7
                stopped 5s   per account  di   200/200 in 3600s; 2/20 in 60s recipients  3         192.0.2.7,2001:db8::7

                """)
        #expect(result.status == 0 && result.notes.isEmpty)
        let object = try daemons.run("limit", "list", "--json").json()
        let keys = (object["entries"] as? [[String: Any]])?.map { $0["key"] as? String }
        #expect(keys == ["ann", "b\u{1b}o", "cy", "di"] && object["complete"] as? Bool == true)
        #expect(try daemons.run("limit", "list", "--over", "--json").text == "{\"entries\":[],\"complete\":true}\n")
        let cut = try daemons.run("limit", "list", "--limit", "1", "--json")
        let left = try cut.json()
        #expect((left["entries"] as? [Any])?.count == 1 && left["complete"] as? Bool == false)
        #expect(cut.notes == "note: there are more than 1 entries; --limit shows more")
    }

    @Test("a long list is written page by page: columns that have grown stay as wide; none of it is lost")
    func pages() throws {
        let keys = (0..<450).map { "k\(String(repeating: "x", count: $0 / 200))\($0)" }
        let answer = keys.map { Self.entry($0) + "\n" }.joined() + Self.complete
        let daemons = try Daemons([.rate: [#"{"command":"limit list","over":false}"#: answer]])
        let lines = try daemons.run("limit", "list").text.split(separator: "\n")
        #expect(lines.count == 451)
        #expect(lines.dropFirst().map { $0.split(separator: " ")[3] } == keys.map { $0[...] })
        let object = try daemons.run("limit", "list", "--json").json()
        #expect((object["entries"] as? [[String: Any]])?.compactMap { $0["key"] as? String } == keys)
    }

    @Test(
        "a list that breaks off, is refused or is none at all is no list",
        arguments: [entry("ann") + "\n", "{\"error\":\"not you\"}\n", "null\n" + complete, ""])
    func broken(_ answer: String) throws {
        let daemons = try Daemons([.rate: [#"{"command":"limit list","over":false}"#: answer]])
        for words in [["limit", "list"], ["limit", "list", "--json"]] {
            let result = try Postern().run(words + ["--control", daemons.folder.path])
            #expect(result.status == (answer.hasPrefix("null") ? 0 : 69))
            #expect(answer.hasPrefix("null") || result.notes.hasPrefix("error: postern-rate: "))
        }
    }

    @Test("standard output that takes no more ends what is written little by little")
    func full() throws {
        let many = (0..<450).map { Self.entry("k\($0)") + "\n" }.joined() + Self.complete
        let daemons = try Daemons([
            .rate: [
                #"{"command":"limit list","over":false}"#: many,
                #"{"command":"events","follow":true}"#: Self.head(0) + Self.event(1) + Self.event(2),
            ]
        ])
        for words in [["limit", "list"], ["limit", "list", "--json"], ["events", "--follow"]] {
            let result = try Postern(room: 10).run(words + ["--control", daemons.folder.path])
            #expect(result.status == 69 && !result.text.contains("k449") && !result.text.contains("\"number\":2"))
            #expect(
                result.notes == "error: cannot write to standard output: no space left; what it holds is not complete")
        }
    }

    @Test("one key, and one that nothing is counted for")
    func show() throws {
        let daemons = try Daemons([
            .rate: [
                #"{"command":"limit show","key":"ann"}"#: #"{"entries":[\#(Self.entry("ann"))]}"#,
                #"{"command":"limit show","key":"bo"}"#: #"{"entries":[]}"#,
                #"{"command":"limit show","key":"cy"}"#: "{}",
            ]
        ])
        let shown = try daemons.run("limit", "show", "ann")
        #expect(shown.text.contains("over   per account  ann  200/200 in 3600s") && shown.status == 0)
        let none = try daemons.run("limit", "show", "bo")
        #expect(none.text == "nothing is counted\n" && none.status == 1)
        #expect(try daemons.run("limit", "show", "bo", "--json").text == "{\"entries\":[]}\n")
        let odd = try daemons.run("limit", "show", "cy")
        #expect(
            odd.status == 69 && odd.notes == "error: postern-rate: expected a list of entries, found something else")
    }

    @Test("clear, block and unblock, in how many limits")
    func change() throws {
        let daemons = try Daemons([
            .rate: [
                #"{"command":"limit clear","key":"ann"}"#: #"{"cleared":2}"#,
                #"{"command":"limit clear","key":"bo"}"#: #"{"cleared":0}"#,
                #"{"command":"limit block","key":"ann","seconds":3600}"#: #"{"blocked":1}"#,
                #"{"command":"limit block","key":"ann","limit":"per account","seconds":86400}"#: #"{"blocked":1}"#,
                #"{"command":"limit unblock","key":"ann","limit":"no such"}"#: #"{"error":"limit: expected the name"}"#,
                #"{"command":"limit unblock","key":"ann"}"#: #"{"blocked":1}"#,
            ]
        ])
        #expect(try daemons.run("limit", "clear", "ann").text == "cleared in 2 limits\n")
        let none = try daemons.run("limit", "clear", "bo")
        #expect(none.text == "nothing is counted for it\n" && none.status == 1)
        #expect(try daemons.run("limit", "clear", "bo", "--json").text == "{\"cleared\":0}\n")
        #expect(try daemons.run("limit", "block", "ann").text == "blocked in 1 limit\n")
        let long = try daemons.run("limit", "block", "--for", "1d", "--limit", "per account", "ann", "--json")
        #expect(long.text == "{\"blocked\":1}\n" && long.status == 0)
        let unknown = try daemons.run("limit", "unblock", "--limit", "no such", "ann")
        #expect(unknown.status == 69 && unknown.notes == "error: postern-rate: limit: expected the name")
        let odd = try daemons.run("limit", "unblock", "ann")
        #expect(odd.status == 69 && odd.notes.contains("expected a number of limits"))
    }

    @Test(
        "wrong usage, and a daemon that does not run",
        arguments: [
            (["limit", "block", "--for", "0s", "ann"], 64), (["limit", "block", "--for", "367d", "ann"], 64),
            (["limit", "block", "--for", "soon", "ann"], 64), (["limit", "clear"], 64),
            (["limit", "list", "--limit", "0"], 64), (["limit"], 64), (["events", "--since", "soon"], 64),
            (["events", "--since", "0s"], 64), (["events", "--limit", "0"], 64), (["limit", "list"], 69),
            (["limit", "show", "ann"], 69), (["limit", "clear", "ann"], 69), (["limit", "block", "ann"], 69),
            (["limit", "unblock", "ann"], 69), (["events"], 69),
        ] as [([String], Int32)])
    func unavailable(_ words: [String], _ status: Int32) throws {
        let daemons = try Daemons([:])
        let place = words == ["limit"] ? [] : ["--control", daemons.folder.path]
        let result = try Postern().run(words + place)
        #expect(result.status == status && result.text.isEmpty)
        #expect(status == 64 || result.notes == "error: postern-rate does not run")
    }

    // MARK: events

    static func event(_ number: Int, _ run: String = "1", key: String = "ann") -> String {
        #"{"event":"over","run":"\#(run)","number":\#(number),"key":"\#(key)"}"# + "\n"
    }
    static func head(_ last: Int, _ run: String = "1") -> String { "{\"run\":\"\(run)\",\"last\":\(last)}\n" }

    @Test("what is remembered, one object a line")
    func events() throws {
        let daemons = try Daemons([
            .rate: [
                #"{"command":"events","follow":false}"#: Self.head(2) + Self.event(1) + Self.event(2) + Self.complete,
                #"{"command":"events","follow":false,"seconds":3600}"#: Self.head(2) + Self.complete,
            ]
        ])
        let result = try daemons.run("events")
        #expect(result.text == Self.event(1) + Self.event(2) && result.status == 0 && result.notes.isEmpty)
        #expect(try daemons.run("events", "--json", "--limit", "1").text == Self.event(1))
        let none = try daemons.run("events", "--since", "1h")
        #expect(none.text.isEmpty && none.status == 0)
        let cut = try Daemons([.rate: [#"{"command":"events","follow":false}"#: Self.head(1) + Self.event(1)]])
        #expect(try cut.run("events").status == 69)
    }

    @Test("a daemon that was started anew is followed again, with what came meanwhile; what was missed is told")
    func follow() throws {
        let daemons = try Daemons([
            .rate: [
                #"{"command":"events","follow":true}"#: Self.head(7) + Self.event(8),
                #"{"command":"events","follow":true,"run":"1","after":8}"#: Self.head(12) + Self.event(11),
                #"{"command":"events","follow":true,"run":"1","after":11}"#:
                    Self.head(2, "2") + Self.event(1, "2", key: "b\\u001b") + Self.event(2, "2"),
                #"{"command":"events","follow":true,"run":"2","after":2}"#: Self.head(3, "2") + Self.event(3, "2"),
            ]
        ])
        let pauses = Mutex(0)
        let postern = Postern(pause: { _ in pauses.withLock { $0 += 1 } })
        let result = try postern.run(["events", "--follow", "--limit", "5", "--control", daemons.folder.path])
        #expect(result.text.split(separator: "\n").count == 5 && result.status == 0)
        #expect(result.text.contains(#""key":"b\u001b""#))
        #expect(
            result.output.notes == [
                "note: postern-rate has gone; waiting", "note: postern-rate answers again",
                "note: 2 events were missed", "note: postern-rate has gone; waiting",
                "note: postern-rate answers again, after a start", "note: postern-rate has gone; waiting",
                "note: postern-rate answers again",
            ])
        #expect(pauses.withLock { $0 } == 3)
    }

    @Test("one that does not run is waited for; one that refuses is not")
    func waiting() throws {
        let folder = try Folder()
        let server = Mutex<ControlServer?>(nil)
        let postern = Postern(pause: { _ in
            guard server.withLock({ $0 == nil }) else { return }
            let place = ControlSocket.endpoint(folder: folder.path, program: "postern-rate")
            // A test that cannot listen waits for ever, and is seen to.
            guard let listener = try? Socket.listen(place),
                let made = try? ControlServer(
                    listener: listener, answer: { _ in .whole(Array((Self.head(0) + Self.event(1)).utf8)) },
                    refuse: { _ in [] })
            else { return }
            server.withLock { $0 = made }
            Foundation.Thread.detachNewThread { made.run() }
        })
        let result = try postern.run(["events", "--follow", "--limit", "1", "--control", folder.path])
        server.withLock { $0?.stop() }
        #expect(result.text == Self.event(1))
        #expect(
            result.output.notes == [
                "note: postern-rate does not run; waiting", "note: postern-rate answers again, after a start",
            ])
        let refusing = try Daemons([.rate: [#"{"command":"events","follow":true}"#: "{\"error\":\"not you\"}\n"]])
        let refused = try refusing.run("events", "--follow")
        #expect(refused.status == 69 && refused.notes == "error: postern-rate: not you")
    }

    // MARK: explain

    static let request = [
        "explain", "--client", "192.0.2.7", "--helo", "laptop", "--sender", "ann@example.org", "--recipient",
        "bo@example.net",
    ]

    static let limits = """
        [[limit]]
        name = "per account"
        per = ["sasl_username"]
        count = "recipients"
        allow = ["20/1h", "2/1m"]
        action = "defer 4.7.1 Slow down"
        [[limit]]
        name = "size"
        per = ["client"]
        count = "octets"
        allow = ["1MiB/1h"]
        action = "reject 5.7.1 Too much"
        [[limit]]
        name = "sessions"
        per = ["client"]
        count = "connections"
        allow = ["5/1m"]
        action = "defer 4.7.1 Slow down"

        """

    private func explainHere(_ words: String...) throws -> Postern.Result {
        let folder = try Folder()
        let place = "[host]\nname = \"mx1.example.org\"\n[listen]\ncontrol = \"\(folder.path)\"\n"
        try folder.write(place + Self.limits, to: "p.toml")
        return try Postern().run(Self.request + words + ["--config", folder.file("p.toml")])
    }

    @Test("without postern-rate its limits are explained as if nothing were counted")
    func explainedHere() throws {
        let result = try explainHere("--sasl-username", "ann")
        let lines = result.text.split(separator: "\n").filter { $0.contains("limit ") }
        #expect(
            lines == [
                "  limit per account  pass     ann: 0 of 20 recipients in 3600s; 0 of 2 recipients in 60s",
                "  limit size         skipped  size is not announced",
                "  limit sessions     pass     192.0.2.7: 0 of 5 connections in 60s",
            ])
        #expect(
            result.output.notes == [
                "warning: postern-policy does not run",
                "warning: postern-rate does not run; its limits are explained as if nothing were counted",
            ])
        #expect(result.status == 0)
    }

    @Test(
        "what the request says decides",
        arguments: [
            (["--size", "2000000"], "reject", ["skipped", "over", "pass"]),
            (["--size", "2000"], "pass", ["skipped", "pass", "pass"]),
            (
                ["--stage", "end-of-message", "--recipient-count", "3", "--size", "2000", "--sasl-username", "ann"],
                "defer", ["over", "pass", "pass"]
            ),
            (["--stage", "connect"], "pass", ["skipped", "skipped", "pass"]),
            (["--attribute", "client_port=0"], "pass", ["skipped", "skipped", "skipped"]),
        ])
    func attributes(_ words: [String], _ action: String, _ outcomes: [String]) throws {
        let folder = try Folder()
        let place = "[host]\nname = \"mx1.example.org\"\n[listen]\ncontrol = \"\(folder.path)\"\n"
        try folder.write(place + Self.limits, to: "p.toml")
        let result = try Postern().run(Self.request + words + ["--json", "--config", folder.file("p.toml")])
        let object = try result.json()
        let checks = (object["checks"] as? [[String: Any]] ?? []).filter {
            ($0["check"] as? String)?.hasPrefix("limit ") == true
        }
        #expect(object["action"] as? String == action)
        #expect(checks.map { $0["outcome"] as? String ?? "" } == outcomes)
        #expect(result.status == (action == "pass" ? 0 : 1))
    }

    @Test("the daemon's word; a refusal of either daemon is the action")
    func explained() throws {
        let attributes = ExplainTests.command.replacing("spam@example.net", with: "ann@example.org")
            .replacing("bo@example.org", with: "bo@example.net").replacing("mx.example.net", with: "laptop")
        let more = attributes.dropLast() + #","instance":"explain","client_port":"1"}"#
        func explain(_ policy: String, _ rate: String) throws -> Postern.Result {
            let daemons = try Daemons([
                .policy: [attributes: policy + "\n" + Self.complete], .rate: [String(more): rate],
            ])
            return try Postern().run(Self.request + ["--json", "--control", daemons.folder.path])
        }
        func says(_ action: String, _ check: String) -> String {
            #"{"action":"\#(action)","text":"\#(action) it","score":0,"checks":[{"check":"\#(check)"}]}"#
        }
        for (policy, rate, action) in [
            ("pass", "defer", "defer"), ("reject", "defer", "reject"), ("hold", "defer", "defer"),
            ("prepend", "hold", "prepend"), ("pass", "pass", "pass"), ("pass", "hold", "hold"),
        ] {
            let object = try explain(says(policy, "greylist"), says(rate, "limit a")).json()
            #expect(object["action"] as? String == action && object["text"] as? String == "\(action) it")
            #expect((object["checks"] as? [[String: Any]])?.map { $0["check"] as? String } == ["greylist", "limit a"])
        }
        let refusing = try explain(says("pass", "greylist"), #"{"error":"not you"}"#)
        #expect(refusing.status == 69 && refusing.notes == "error: postern-rate: not you")
        #expect(try explain(says("pass", "greylist"), "[]").status == 69)
    }
}
