// `postern replay` on files of recorded requests: what it counts, what it lists, how it ends.

import Foundation
import PosternAdmission
import PosternDaemon
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

/// A folder with two configurations and files of records.
private final class ReplayFolder {
    let url = FileManager.default.temporaryDirectory.appending(path: "pstn-replay-\(UUID().uuidString)")
    /// 2026-11-17T10:26:40Z.
    static let start = UnixTime(seconds: 1_794_911_200)

    init() throws {
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        try configure("old.toml", "")
        try configure("new.toml", Self.noSpam)
    }
    deinit { try? FileManager.default.removeItem(at: url) }

    static let noSpam = """
        [[rule]]
        name = "no spam"
        sender = ["spam@example.net"]
        action = "reject 5.7.1 No spam"

        """

    func path(_ name: String) -> String { url.appending(path: name).path }

    func configure(_ name: String, _ text: String) throws {
        let head = "[host]\nname = \"mx1.example.org\"\n[state]\ndirectory = \"\(url.path)\"\n"
        try Data((head + text).utf8).write(to: url.appending(path: name))
    }

    /// Of a client an hour; a decision may be given that was taken.
    static func record(
        _ hour: Int, client: String = "192.0.2.7", sender: String = "ann@example.net",
        _ decision: RecordedDecision = RecordedDecision(word: "pass")
    ) -> RecordedRequest {
        let values: [PolicyAttribute: String] = [
            .clientAddress: client, .clientName: "mx.example.net", .heloName: "mx.example.net", .sender: sender,
            .recipient: "bo@example.org", .instance: "\(hour)",
        ]
        return RecordedRequest(
            .policy, at: start + .seconds(3600 * hour),
            PolicyRequest(stage: .rcpt, values.mapValues { Array($0.utf8) }),
            decision)
    }

    func write(_ records: [RecordedRequest], to name: String = "policy-requests.1794911200000") throws {
        var octets = RecordFormat.magic
        for record in records {
            var payload: [UInt8] = []
            RecordFormat.append(record, to: &payload)
            FramedOctets.append(frame: payload, to: &octets)
        }
        try Data(octets).write(to: url.appending(path: name))
    }

    func replay(_ arguments: String...) throws -> Postern.Result {
        var postern = Postern()
        postern.now = Self.start + .seconds(3600 * 100)
        return try postern.run(
            ["replay", "--config", path("new.toml"), "--against", path("old.toml")] + arguments)
    }
}

@Suite("replay") struct ReplayTests {
    private static let records = [
        ReplayFolder.record(1), ReplayFolder.record(2, sender: "spam@example.net"),
        ReplayFolder.record(3, client: "198.51.100.7", sender: "spam@example.net"),
        ReplayFolder.record(
            4, sender: "spam@example.net",
            RecordedDecision(word: "defer", check: "rule gone", answer: "450 4.7.1 x", reason: "r")),
    ]

    @Test("counts, agreement and each changed decision with its reason")
    func text() throws {
        let folder = try ReplayFolder()
        try folder.write(Self.records)
        let result = try folder.replay()
        #expect(result.status == 1 && result.output.notes == [])
        let lines = result.text.split(separator: "\n").map { $0.trimmingPrefix { $0 == " " } }
        for line in [
            "postern-policy  4 requests, 3 decided otherwise (75.0 %), 1 of them doubtful",
            "the configuration in force, replayed, agrees with 3 of 4 decisions (75.0 %)",
            "3  pass -> reject  rule no spam  1 doubtful", "Changes", "Decisions (3 of 3)",
            "old  pass", "new  reject 550 5.7.1 No spam (rule no spam)",
            "doubtful: was defer 450 4.7.1 x (rule gone)",
        ] {
            #expect(lines.contains { $0 == line }, "\(line) in \(result.text)")
        }
        #expect(
            lines.contains { $0.contains("mx.example.net[198.51.100.7] from=<spam@example.net> to=<bo@example.org>") })
    }

    @Test("JSON has the same")
    func json() throws {
        let folder = try ReplayFolder()
        try folder.write(Self.records)
        let result = try folder.replay("--json", "--limit", "1")
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(result.output.octets)) as? [String: Any])
        #expect(object["requests"] as? Int == 4 && object["changed"] as? Int == 3 && object["agreeing"] as? Int == 3)
        let changes = try #require(object["changes"] as? [[String: Any]])
        #expect(changes.map { $0["count"] as? Int } == [3] && changes.first?["check"] as? String == "rule no spam")
        let decisions = try #require(object["decisions"] as? [[String: Any]])
        #expect(decisions.count == 1 && decisions.first?["sender"] as? String == "spam@example.net")
        #expect((decisions.first?["new"] as? [String: Any])?["answer"] as? String == "550 5.7.1 No spam")
    }

    @Test(
        "which decisions are listed; the counts stay",
        arguments: [
            (["--limit", "1"], 1), (["--limit", "0"], 0), (["--client", "198.51.100.0/24"], 1),
            (["--changes", "pass:reject"], 3), (["--changes", ":defer"], 0), (["--changes", "pass:"], 3),
        ])
    func filters(arguments: [String], rows: Int) throws {
        let folder = try ReplayFolder()
        try folder.write(Self.records)
        let result = try Postern().run(
            ["replay", "--config", folder.path("new.toml"), "--against", folder.path("old.toml")] + arguments)
        #expect(result.text.components(separatedBy: "    new  ").count - 1 == rows, "\(result.text)")
        #expect(result.text.contains("4 requests, 3 decided otherwise"))
    }

    @Test("older and younger requests are not counted; files may be named")
    func times() throws {
        let folder = try ReplayFolder()
        try folder.write(Self.records, to: "some.records")
        let since = try folder.replay("--since", "97h", folder.path("some.records"))
        #expect(since.text.contains("2 requests, 2 decided otherwise") && since.text.contains("2 older requests"))
        let until = try folder.replay("--until", "98h", folder.path("some.records"))
        #expect(until.text.contains("2 requests, 1 decided otherwise"))
        let none = try folder.replay("--since", "1h", folder.path("some.records"))
        #expect(none.status == 0 && none.text == "No recorded requests of that time; 4 are older.\n")
    }

    @Test("nothing would be decided otherwise: 0; what is wrong has its own status")
    func statuses() throws {
        let folder = try ReplayFolder()
        try folder.write(Self.records)
        try folder.configure("new.toml", "")
        #expect(try folder.replay().status == 0)
        try folder.configure("new.toml", ReplayFolder.noSpam)
        let alone = try Postern().run(["replay", "--config", folder.path("new.toml"), "--against", "/nonexistent/x"])
        #expect(alone.status == 78)
        try folder.configure("new.toml", "[[rule]]\nname = 1\n")
        #expect(try folder.replay().status == 78)
        for wrong in [["--limit", "-1"], ["--changes", "pass"], ["--changes", "pass:x"], ["--client", "x"]] {
            #expect(try Postern().run(["replay"] + wrong).status == 64, "\(wrong)")
        }
    }

    @Test("no records, another file, a damaged one")
    func damaged() throws {
        let folder = try ReplayFolder()
        let none = try folder.replay()
        #expect(none.status == 69 && none.text.isEmpty)
        #expect(none.output.notes.contains { $0.contains("record = \"7d\"") }, "\(none.output.notes)")
        try Data("something else".utf8).write(to: folder.url.appending(path: "policy-requests.1"))
        // Nothing that can be read is not nothing that would be decided otherwise.
        let foreign = try folder.replay()
        #expect(foreign.status == 69 && foreign.text.isEmpty)
        #expect(foreign.output.notes.contains { $0.contains("policy-requests.1: no file") })
        try Data().write(to: folder.url.appending(path: "empty"))
        #expect(try folder.replay(folder.path("empty")).status == 65)
        try folder.write(Self.records)
        let other = try folder.replay()
        #expect(
            other.text.contains("4 requests")
                && other.output.notes.contains { $0.contains("policy-requests.1: no file") })
        #expect(try folder.replay(folder.path("policy-requests.1")).status == 65)
        #expect(try folder.replay(folder.path("absent")).status == 69)
        let path = folder.url.appending(path: "policy-requests.1794911200000")
        var octets = Array(try Data(contentsOf: path))
        octets[RecordFormat.magic.count + FramedOctets.frameHead + 20] ^= 1
        try Data(octets).write(to: path)
        let damaged = try folder.replay()
        #expect(damaged.text.contains("3 requests") && damaged.text.contains("1 damaged records were left out"))
        #expect(damaged.output.notes.contains { $0.contains("damaged; what is in order was read") })
    }

    @Test("a stranger's text is shown escaped")
    func hostile() throws {
        let folder = try ReplayFolder()
        try folder.configure("new.toml", "[[rule]]\nname = \"x\"\naction = \"hold y\"\nhelo = [\"mx.example.net\"]\n")
        try folder.write([
            ReplayFolder.record(
                1, sender: "\u{1b}[2J<x>\nä@example.net",
                RecordedDecision(word: "pass", check: "\u{1b}[1m", reason: "\u{1b}[2m"))
        ])
        let text = try folder.replay().text
        #expect(text.contains("from=<\\x1B[2J\\x3Cx\\x3E\\x0A\\xC3\\xA4@example.net>"), "\(text)")
        #expect(text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F || $0 == 0x0A })
    }

    @Test("what nobody asked is asked now with --ask, and told as not known without")
    func ask() throws {
        let folder = try ReplayFolder()
        try folder.write(Self.records)
        try folder.configure(
            "new.toml", "[[dnsbl.list]]\nzone = \"bl.example\"\nscores = { \"127.0.0.2\" = 4 }\n")
        let silent = try folder.replay()
        #expect(silent.status == 0)
        #expect(silent.text.contains("not known: bl.example for 4 requests: nobody asked then"), "\(silent.text)")
        var postern = Postern()
        postern.zone = "7.2.0.192.bl.example. 60 A 127.0.0.2\n"
        let asked = try postern.run([
            "replay", "--config", folder.path("new.toml"), "--against", folder.path("old.toml"), "--ask",
        ])
        #expect(asked.status == 1 && asked.text.contains("4 requests, 3 decided otherwise"), "\(asked.text)")
        #expect(asked.text.contains("asked now: 4 questions"))
    }
}
