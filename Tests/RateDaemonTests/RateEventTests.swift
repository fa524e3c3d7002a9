// What followers of postern-rate's events are handed, and what `postern explain` is answered: through the commands of the
// control socket, without the socket.

import PosternDaemon
import PosternMail
import PosternPolicy
import TestSupport
import Testing

@testable import postern_rate

@Suite("postern-rate's events")
struct RateEventTests {
    /// All that a feed has now, and whether it goes on.
    private func read(_ feed: ControlFeed) -> (documents: [ControlDocument], goesOn: Bool) {
        var all: [ControlDocument] = []
        while true {
            switch feed.nextPart() {
            case .documents(let documents): all += documents
            case .nothingYet: return (all, true)
            case .end: return (all, false)
            }
        }
    }

    private func kinds(_ documents: [ControlDocument]) -> [String] { documents.compactMap { $0["event"]?.text } }

    @Test("over and nearly used up, and what the admin does, in order and numbered")
    func kinds() throws {
        let rig = try RateRig(limit("4/1h", "warn_at = \"50%\"\nblock = \"2h\""))
        for number in 1...6 { _ = rig.rcpt(number) }
        let key: ControlDocument = ["key": .text("ann"), "seconds": .number(60)]
        for name in ["limit unblock", "limit block", "limit clear"] { _ = try rig.ask(name, key) }
        _ = try rig.ask("limit clear", ["key": .text("nobody")])
        let (documents, goesOn) = read(try rig.feed("events", [:]))
        #expect(!goesOn && documents.first == ["run": .text(rig.service.events.run), "last": .number(5)])
        #expect(kinds(documents) == ["nearing", "over", "unblocked", "blocked", "cleared"])
        #expect(documents.compactMap { $0["number"]?.number } == [1, 2, 3, 4, 5])
        let over = try #require(documents.first { $0["event"] == .text("over") })
        #expect(
            "\(over)" == """
                {"event":"over","time":"2026-09-21T14:13:20.000Z","run":"1790000000000000000","number":2,\
                "limit":"per account","count":"recipients","key":"ann",\
                "uses":[{"used":4,"allowed":4,"seconds":3600}],"reserved":0,"blocked_seconds":7200,"refuses":true,\
                "account":"ann","clients":["192.0.2.7"]}
                """)
        let blocked = try #require(documents.first { $0["event"] == .text("blocked") })
        #expect(blocked.members.map(\.key) == over.members.map(\.key))
        #expect(blocked["blocked_seconds"]?.number == 60 && blocked["account"] == nil && blocked["refuses"] == nil)
        #expect(rig.log.lines.count { $0.contains("by the admin: ann") } == 3)
    }

    @Test("a follower begins with what comes, and goes on; a reload goes on with it")
    func follow() throws {
        let rig = try RateRig(limit("1/1h"))
        for number in 1...2 { _ = rig.rcpt(number) }
        let feed = try rig.feed("events", ["follow": .boolean(true)])
        let first = read(feed)
        #expect(first.goesOn && first.documents.count == 1 && first.documents.first?["last"]?.number == 1)
        #expect(read(feed).documents.isEmpty)
        for number in 1...2 { _ = rig.rcpt(number, login: "bo") }
        #expect(read(feed).documents.map { $0["key"]?.text } == ["bo"])
        try rig.reload(limit("2/1h"))
        for number in 3...5 { _ = rig.rcpt(number, login: "cy") }
        let (documents, goesOn) = read(feed)
        #expect(goesOn && documents.map { $0["key"]?.text } == ["cy"])
        feed.close()
        #expect(rig.counted(.followerDropped) == 0)
    }

    @Test("what is remembered: of some time, or behind the last that was seen")
    func place() throws {
        let rig = try RateRig(limit("1/1h"))
        for login in ["ann", "bo", "cy"] {
            for number in 1...2 { _ = rig.rcpt(number, login: login) }
            rig.clock.advance(by: .seconds(60))
        }
        func keys(_ arguments: ControlDocument) throws -> [String] {
            read(try rig.feed("events", arguments)).documents.compactMap { $0["key"]?.text }
        }
        #expect(try keys([:]) == ["ann", "bo", "cy"])
        #expect(try keys(["seconds": .number(120)]) == ["bo", "cy"])
        #expect(try keys(["seconds": .number(59)]) == [])
        let run = ControlDocument.text(rig.service.events.run)
        #expect(try keys(["run": run, "after": .number(1)]) == ["bo", "cy"])
        #expect(try keys(["run": run, "after": .number(99)]) == [])
        // Another run's numbers say nothing: all of this one's are new.
        #expect(try keys(["run": .text("1"), "after": .number(2)]) == ["ann", "bo", "cy"])
        for wrong in [["follow": .number(1)], ["seconds": .number(0)], ["run": .number(1)]] as [ControlDocument] {
            #expect(throws: ControlRefusal.self) { _ = try rig.feed("events", wrong) }
        }
    }

    @Test("the last thousand are remembered, and whoever is further behind is told and dropped")
    func behind() throws {
        let rig = try RateRig(limit("1/1h"))
        for number in 1...2 { _ = rig.rcpt(number) }
        let feed = try rig.feed("events", ["follow": .boolean(true), "seconds": .number(60)])
        _ = feed.nextPart()  // where it begins
        for number in 0..<(2 * EventLog.maxKept) { _ = rig.rcpt(number, login: "a\(number / 2)") }
        let (documents, goesOn) = read(feed)
        #expect(!goesOn && documents.count == 1 && documents.first?["error"]?.text?.contains("too far behind") == true)
        #expect(rig.counted(.followerDropped) == 1)
        let all = read(try rig.feed("events", [:])).documents.dropFirst()
        #expect(all.count == EventLog.maxKept)
        #expect(all.first?["number"]?.number == 2 && all.last?["key"]?.text == "a\(EventLog.maxKept - 1)")
    }

    @Test("a follower that goes with something in hand is counted")
    func slow() throws {
        let rig = try RateRig(limit("1/1h"))
        for number in 1...2 { _ = rig.rcpt(number) }
        let feed = try rig.feed("events", ["follow": .boolean(true), "seconds": .number(60)])
        _ = feed.nextPart()
        guard case .documents = feed.nextPart() else { throw ControlRefusal("expected an event") }
        feed.close()
        #expect(rig.counted(.followerDropped) == 1)
    }

    // MARK: Explain

    private func explain(_ rig: RateRig, _ attributes: [(PolicyAttribute, String)]) throws -> ControlDocument {
        let command = ControlCommand.explain(stage: .rcpt, attributes)
        guard case .document(let document)? = try RateCommands(service: rig.service).answer(command) else {
            throw ControlRefusal("expected one document")
        }
        return document
    }

    @Test("explain: every limit, and nothing is counted")
    func explained() throws {
        let rig = try RateRig(limit("1/1h") + limit("9/1h").replacing("per account", with: "wide"))
        _ = rig.rcpt(1)
        let attributes: [(PolicyAttribute, String)] = [
            (.clientAddress, "192.0.2.7"), (.sender, "ann@example.org"), (.recipient, "bo@example.org"),
            (.instance, "explain"),
        ]
        let document = try explain(rig, attributes + [(.saslUsername, "ann")])
        #expect(
            "\(document)" == """
                {"action":"defer","text":"450 4.7.1 Slow down (limit per account: ann: 1 of 1 recipients in 3600s, \
                free in 3700s)","score":0,"checks":[{"check":"limit per account","outcome":"over",\
                "reason":"defer 450 4.7.1 Slow down: ann: 1 of 1 recipients in 3600s, free in 3700s","score":0,\
                "answer":"defer: 450 4.7.1 Slow down","shadow":false,"exchanges":[],"key":"ann",\
                "uses":[{"used":1,"allowed":1,"seconds":3600}],"reserved":0,"free_seconds":3700},\
                {"check":"limit wide","outcome":"pass","reason":"ann: 1 of 9 recipients in 3600s","score":0,\
                "answer":null,"shadow":false,"exchanges":[],"key":"ann",\
                "uses":[{"used":1,"allowed":9,"seconds":3600}],"reserved":0,"free_seconds":0}]}
                """)
        let stranger = try explain(rig, attributes)
        #expect(stranger["action"]?.text == "pass")
        #expect(
            stranger["checks"]?.elements.map { $0["reason"]?.text }
                == Array(repeating: "sasl_username is not known", count: 2))
        #expect(rig.counted(.over) == 0)
        #expect(
            try rig.ask("limit show", ["key": .text("ann")])?["entries"]?.elements.first?["uses"]?.elements.first?[
                "used"] == .number(1))
        #expect(throws: ControlRefusal.self) { _ = try explain(rig, [(.heloName, "a\nb")]) }
    }
}
