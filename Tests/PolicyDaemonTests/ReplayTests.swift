// What was recorded under one configuration, judged again under another, gives exactly the decisions that would be
// others; what nobody asked then is said to be unknown, and nothing is guessed.

import Foundation
import PosternAdmission
import PosternDaemon
import PosternMail
import TestSupport
import Testing

@testable import postern_policy

/// postern-policy, recording.
final class RecordedRig {
    let rig: PolicyRig
    let folder: RecordFolder
    private let recorder: RequestRecorder
    private var number = 0

    init(_ configuration: String, zone: String = "") throws {
        rig = try PolicyRig(configuration: configuration, zone: zone)
        folder = try RecordFolder()
        recorder = RequestRecorder(.policy, folder: folder.path, log: rig.log, now: rig.clock.now)
        recorder.adopt(RequestRecorderTests.week)
        if !rig.service.health.statuses.isEmpty { rig.proveLists() }
    }

    /// Messages of a recipient each, a second apart.
    func receive(_ recipients: Recipient...) {
        for recipient in recipients {
            number += 1
            var recipient = recipient
            recipient.instance = "\(number)"
            _ = message().answer(recipient.request)
            rig.clock.advance(by: .seconds(1))
        }
    }

    func message() -> JudgedMessage { JudgedMessage(service: rig.service, recorder: recorder) }

    func records() throws -> [RecordedRequest] {
        recorder.close()
        return try folder.records()
    }

    static func settings(_ text: String) throws -> ReplaySettings {
        let text = text.contains("[host]") ? text : "[host]\nname = \"mx1.example.org\"\n\(text)"
        func read(_ role: ConfigurationRole) throws -> Configuration {
            let result = Configuration.read(Array(text.utf8), file: "test", folder: "/", for: role)
            return try #require(result.configuration, "\(result.problems)")
        }
        return ReplaySettings(policy: try read(.policy), rate: try read(.rate))
    }
}

/// Two configurations side by side, over all records.
struct ReplayRun {
    /// What each of them decides: `pass`, `reject rule no spam`.
    var decisions: [(record: RecordedRequest, sides: [ReplayedDecision])] = []
    let replay: Replay

    init(_ records: [RecordedRequest], _ sides: String...) throws {
        replay = try Replay(try sides.map { try RecordedRig.settings($0) })
        for record in records {
            let time = PolicyTime(now: record.time, minute: 600, weekday: .wed)
            decisions.append((record, replay.judge(record, at: time)))
        }
    }

    /// Those that the last one decides otherwise than the first.
    var changes: [String] {
        decisions.compactMap { record, sides in
            guard let old = sides.first, let new = sides.last, !new.decision.isSame(as: old.decision) else {
                return nil
            }
            let sender = String(decoding: record.request[.sender], as: UTF8.self)
            return "\(sender): \(old.decision.told) -> \(new.decision.told)"
        }
    }

    /// Records whose decision the first one's replay does not give.
    var disagreeing: [String] {
        decisions.compactMap { record, sides in
            guard let first = sides.first, !first.decision.isSame(as: record.decision) else { return nil }
            return "\(record.decision.told) replayed as \(first.decision.told)"
        }
    }

    var unknown: [[String]] { decisions.map { $0.sides.last?.unknown ?? [] } }
}

extension RecordedDecision {
    fileprivate var told: String {
        [isWithheld ? "shadow" : "", word, check].filter { !$0.isEmpty }.joined(separator: " ")
    }
}

@Suite("replaying postern-policy's requests") struct ReplayTests {
    static let zone = """
        $TTL 300
        example.net. TXT "v=spf1 ip4:192.0.2.0/24 -all"
        2.0.0.127.bl.example. A 127.0.0.2
        9.2.0.192.bl.example. A 127.0.0.2
        66.113.0.203.bl.example. A 127.0.0.2
        2.0.0.127.white.example. A 127.0.0.2
        9.2.0.192.white.example. A 127.0.3.2

        """
    static let list = """
        [[dnsbl.list]]
        zone = "bl.example"
        scores = { "127.0.0.2" = 4 }

        """
    static let noSpam = """
        [[rule]]
        name = "no spam"
        sender = ["spam@example.net"]
        action = "reject 5.7.1 No spam"

        """
    static let forged = """
        [[rule]]
        name = "forged"
        spf = ["fail"]
        action = "reject 5.7.1 Not theirs"

        """

    @Test("the same configuration decides the same, by rules, SPF, lists and greylisting, and misses nothing")
    func same() throws {
        let configuration = "\(Self.list)[greylist]\nclients = \"all\"\n\(Self.noSpam)\(Self.forged)"
        let recorded = try RecordedRig(configuration, zone: Self.zone)
        for _ in 0..<3 {
            recorded.receive(
                Recipient(), Recipient(sender: "spam@example.net"),
                Recipient(client: "203.0.113.66", sender: "eve@example.com"), Recipient(client: "198.51.100.7"), Recipient(client: "198.51.100.7", sender: ""),
                Recipient(client: "127.0.0.1"), Recipient(login: "ann"), Recipient(stage: .data),
                Recipient(client: "192.0.2.8", recipient: "cy@example.org"), Recipient(client: "unknown"),
                Recipient(stage: .connect), Recipient(stage: .mail))
            recorded.rig.clock.advance(by: .seconds(200))
        }
        let records = try recorded.records()
        #expect(records.count == 36)
        #expect(Set(records.map(\.decision.check)) == ["", "rule no spam", "rule forged", "dnsbl", "greylist"])
        let run = try ReplayRun(records, configuration)
        #expect(run.disagreeing == [] && run.unknown.allSatisfy(\.isEmpty))
        #expect(run.replay.seeded == 0 && run.replay.comingBack == 0)
    }

    @Test("a new rule gives exactly its changes, each with what was and what would be")
    func newRule() throws {
        let recorded = try RecordedRig(Self.list, zone: Self.zone)
        recorded.receive(
            Recipient(), Recipient(sender: "spam@example.net"), Recipient(client: "203.0.113.66"),
            Recipient(client: "203.0.113.66", sender: "spam@example.net"))
        let run = try ReplayRun(try recorded.records(), Self.list, Self.list + Self.noSpam)
        #expect(
            run.changes == [
                "spam@example.net: pass -> reject rule no spam",
                "spam@example.net: reject dnsbl -> reject rule no spam",
            ])
        #expect(run.disagreeing == [] && run.unknown.allSatisfy(\.isEmpty))
    }

    @Test("a score that is changed: the answers are those of then")
    func scores() throws {
        let recorded = try RecordedRig(Self.list, zone: Self.zone)
        recorded.receive(Recipient(), Recipient(client: "203.0.113.66"))
        let records = try recorded.records()
        #expect(records.map(\.decision.word) == ["pass", "reject"])
        let weaker = Self.list.replacing("= 4", with: "= 3")
        #expect(try ReplayRun(records, Self.list, weaker).changes == ["ann@example.net: reject dnsbl -> pass"])
        let stricter = "[dnsbl]\nreject_score = 2\n" + weaker
        #expect(try ReplayRun(records, weaker, stricter).changes == ["ann@example.net: pass -> reject dnsbl"])
    }

    @Test("a list that nobody asked then is unknown, unless its answer could not matter")
    func newList() throws {
        let recorded = try RecordedRig(Self.list, zone: Self.zone)
        recorded.receive(Recipient(), Recipient(client: "203.0.113.66"), Recipient(client: "127.0.0.1"))
        let records = try recorded.records()
        func other(_ score: Int) -> String {
            Self.list + "[[dnsbl.list]]\nzone = \"other.example\"\nscores = { \"127.0.0.2\" = \(score) }\n"
        }
        let strong = try ReplayRun(records, Self.list, other(4))
        #expect(strong.unknown == [["other.example"], [], []] && strong.changes == [])
        let weak = try ReplayRun(records, Self.list, other(3))
        #expect(weak.unknown == [[], [], []] && weak.changes == [])
        // One that may count for the client could have let the second one in.
        let kind = try ReplayRun(records, Self.list, other(-2))
        #expect(kind.unknown == [[], ["other.example"], []])
    }

    @Test("another key of the same list is no other list")
    func key() throws {
        let key = String(repeating: "k", count: 26)
        let list = Self.list.replacing("bl.example", with: "\(key).bl.example")
        let recorded = try RecordedRig(list, zone: Self.zone.replacing("bl.example", with: "\(key).bl.example"))
        recorded.receive(Recipient(client: "203.0.113.66"))
        let records = try recorded.records()
        #expect(records.map(\.decision.word) == ["reject"])
        let file = try #require(recorded.folder.files().first)
        #expect(try Data(contentsOf: URL(filePath: file.path)).range(of: Data(key.utf8)) == nil)
        let run = try ReplayRun(records, list, list.replacing(key, with: String(key.dropLast() + "x")))
        #expect(run.changes == [] && run.unknown == [[]])
    }

    @Test("a list that was suspended then is so in the replay")
    func suspended() throws {
        let recorded = try RecordedRig(Self.list, zone: "$TTL 300\nbl.example. TXT \"none\"\n")
        recorded.receive(Recipient(client: "203.0.113.66"))
        let records = try recorded.records()
        #expect(records.first?.lists?.map(\.answer) == [.suspended])
        let run = try ReplayRun(records, Self.list)
        #expect(run.disagreeing == [] && run.unknown == [[]])
    }

    @Test("SPF is told where it was asked, for all recipients of the message; elsewhere it is unknown")
    func spf() throws {
        let recorded = try RecordedRig(Self.forged + Self.noSpam, zone: Self.zone)
        let message = recorded.message()
        let stranger = Recipient(client: "198.51.100.7", instance: "m")
        _ = message.answer(stranger.request)
        _ = message.answer(Recipient(client: "198.51.100.7", recipient: "cy@example.org", instance: "m").request)
        recorded.receive(Recipient())
        let records = try recorded.records()
        #expect(records.map { $0.senderPolicy?.result } == [.fail, nil, .pass])
        #expect(records.map(\.decision.word) == ["reject", "reject", "pass"])
        let lenient = Self.forged.replacing("\"fail\"", with: "\"pass\"")
        #expect(
            try ReplayRun(records, Self.forged, lenient).changes == [
                "ann@example.net: reject rule forged -> pass", "ann@example.net: reject rule forged -> pass",
                "ann@example.net: pass -> reject rule forged",
            ])
        let plain = try RecordedRig(Self.noSpam, zone: Self.zone)
        plain.receive(stranger)
        let run = try ReplayRun(try plain.records(), Self.noSpam, Self.forged)
        #expect(run.unknown == [["SPF"]] && run.changes == [])
    }

    @Test("a header field is told once for a message in the replay too")
    func once() throws {
        let recorded = try RecordedRig("")
        let message = recorded.message()
        for recipient in ["bo@example.org", "cy@example.org"] {
            _ = message.answer(Recipient(recipient: recipient, instance: "m").request)
        }
        let marked = "[[rule]]\nname = \"marked\"\nhelo = [\"mx.example.net\"]\naction = \"prepend X-A: b\"\n"
        #expect(
            try ReplayRun(try recorded.records(), "", marked).changes == [
                "ann@example.net: pass -> prepend rule marked"
            ])
    }

    @Test("shadow of the whole suite: what would be told without it")
    func shadow() throws {
        let watching = "[host]\nname = \"mx1.example.org\"\nshadow = true\n\(Self.noSpam)"
        let recorded = try RecordedRig(watching)
        recorded.receive(Recipient(), Recipient(sender: "spam@example.net"))
        let run = try ReplayRun(try recorded.records(), watching, Self.noSpam)
        #expect(run.changes == ["spam@example.net: shadow reject rule no spam -> reject rule no spam"])
        #expect(run.disagreeing == [])
    }

    // MARK: Greylisting

    static let greylist = "[greylist]\nclients = \"all\"\n"

    @Test("what greylisting knew from before the records is taken over from its answers")
    func knownBefore() throws {
        let recorded = try RecordedRig(Self.greylist, zone: Self.zone)
        let (first, other) = (Recipient(), Recipient(client: "198.51.100.7", sender: "bob@example.com"))
        // Before the records begin: the first one has come back, the other has not yet.
        _ = recorded.rig.message().answer(first.request)
        recorded.rig.clock.advance(by: .seconds(301))
        _ = recorded.rig.message().answer(first.request)
        _ = recorded.rig.message().answer(other.request)
        recorded.rig.clock.advance(by: .seconds(200))
        recorded.receive(first, Recipient(client: "192.0.2.9", sender: "carl@example.net"), other)
        recorded.rig.clock.advance(by: .seconds(200))
        recorded.receive(other, Recipient(client: "203.0.113.5", sender: "dora@example.com"))
        let records = try recorded.records()
        #expect(records.map(\.decision.word) == ["pass", "pass", "defer", "pass", "defer"])
        let run = try ReplayRun(records, Self.greylist, Self.greylist + Self.noSpam)
        #expect(run.disagreeing == [] && run.changes == [])
        #expect(run.replay.seeded == 2)
    }

    @Test("greylisting that is switched on: a client waits once, and is taken to come back")
    func switchedOn() throws {
        let recorded = try RecordedRig("", zone: Self.zone)
        let first = Recipient(sender: "")
        recorded.receive(first)
        recorded.rig.clock.advance(by: .seconds(100))
        recorded.receive(Recipient(sender: "", recipient: "cy@example.org"))
        recorded.rig.clock.advance(by: .seconds(300))
        recorded.receive(first, Recipient(sender: "", recipient: "dy@example.org"))
        let run = try ReplayRun(try recorded.records(), "", Self.greylist)
        #expect(run.changes == [": pass -> defer greylist", ": pass -> defer greylist"])
        #expect(run.replay.comingBack == 2 && run.disagreeing == [])
        // Its identity is by SPF, which nobody asked.
        #expect(run.unknown.first == ["SPF"])
    }

    @Test("greylisting that is switched off, or made longer")
    func switchedOff() throws {
        let recorded = try RecordedRig(Self.greylist, zone: Self.zone)
        recorded.receive(Recipient())
        recorded.rig.clock.advance(by: .seconds(310))
        recorded.receive(Recipient())
        let records = try recorded.records()
        #expect(records.map(\.decision.word) == ["defer", "pass"])
        #expect(
            try ReplayRun(records, Self.greylist, "").changes == ["ann@example.net: defer greylist -> pass"])
        let long = try ReplayRun(records, Self.greylist, Self.greylist + "delay = \"1h\"\n")
        #expect(long.changes == ["ann@example.net: pass -> defer greylist"] && long.replay.comingBack == 1)
    }
}
