// `postern why` where a short queue id comes again: each message apart, the oldest first, none joined to another's lines,
// however the first one ended, and whether the logs are rotated, compressed, or said twice.

import Foundation
import PosternMail
import Testing

@testable import PosternAdmin

@Suite("why: queue ids that come again") struct WhyReuseTests {
    private static let id = "72E90F7815D"

    /// How a message goes away, and its queue id becomes free.
    enum End: String, CaseIterable {
        case delivered, refusedAtItsEnd, neverSentWhole, deletedByHand
    }

    /// The lines of one message of client 192.0.2.N.
    private static func message(
        _ time: String, _ number: Int, _ end: End = .delivered, id: String = WhyReuseTests.id, pid: Int = 1
    ) -> String {
        let client = "c\(number).example[192.0.2.\(number)]"
        let envelope = "from=<a\(number)@example.net> to=<bo@example.org> proto=ESMTP helo=<x>"
        var lines = [
            "smtpd[\(pid)]: connect from \(client)",
            "smtpd[\(pid)]: \(id): client=\(client)", "cleanup[2]: \(id): message-id=<\(number)@x>",
        ]
        let queued = "qmgr[5]: \(id): from=<a\(number)@example.net>, size=\(number), nrcpt=1 (queue active)"
        switch end {
        case .delivered:
            lines += [
                queued,
                "smtp[6]: \(id): to=<b\(number)@example.org>, relay=x, delay=1, delays=0/0/0/0, dsn=2.0.0, "
                    + "status=sent (ok)",
                "qmgr[5]: \(id): removed",
            ]
        case .refusedAtItsEnd:
            lines.append("cleanup[2]: \(id): milter-reject: END-OF-MESSAGE from \(client): 5.7.1 no; \(envelope)")
        case .neverSentWhole: lines.append("smtpd[\(pid)]: lost connection after DATA from \(client)")
        case .deletedByHand: lines += [queued, "postsuper[9]: \(id): removed"]
        }
        return lines.map { "\(time)Z mx1 postfix/\($0)\n" }.joined()
    }

    private static func why(_ folder: Folder, _ words: [String], logs: [String]) throws -> Postern.Result {
        try Postern().run(
            ["why"] + words + ["--json", "--config", folder.file("none.toml"), "--log"] + logs.map { folder.file($0) })
    }

    /// For each message its client and how many lines are its own.
    private static func shown(_ result: Postern.Result) throws -> [String] {
        try WhyTests.messages(result).map { message in
            let address = message["client_address"] as? String ?? "none"
            return
                "\(address) \(message["message_id"] as? String ?? "none") \(WhyTests.events(message, "message").count)"
        }
    }

    @Test("however the first one ended", arguments: End.allCases) func ends(end: End) throws {
        let folder = try Folder()
        let lines = end == .delivered ? 5 : end == .neverSentWhole ? 2 : end == .deletedByHand ? 4 : 3
        try folder.write(
            Self.message("2026-11-21T01:00:00", 1, end) + Self.message("2026-11-21T01:00:07", 2), to: "mail.log")
        let found = try Self.why(folder, [Self.id], logs: ["mail.log"])
        #expect(try Self.shown(found) == ["192.0.2.1 <1@x> \(lines)", "192.0.2.2 <2@x> 5"])
        #expect(found.notes == "note: 2 messages had this queue id, one after another; the oldest is shown first")
        // Each has the beginning of its own session.
        for (message, client) in zip(try WhyTests.messages(found), ["c1", "c2"]) {
            #expect(WhyTests.events(message, "before") == ["postfix/smtpd connect from \(client).example[192.0."])
        }
        // By Message-ID only the one that has it.
        let second = try Self.why(folder, ["--message-id", "2@x"], logs: ["mail.log"])
        #expect(try Self.shown(second) == ["192.0.2.2 <2@x> 5"])
        #expect(second.notes.isEmpty)
        let first = try Self.why(folder, ["--message-id", "<1@x>"], logs: ["mail.log"])
        #expect(try Self.shown(first) == ["192.0.2.1 <1@x> \(lines)"])
    }

    @Test("in rotated and compressed logs, named in any order, and twice in one second") func rotated() throws {
        let folder = try Folder()
        let oldest = try folder.write(Self.message("2026-11-18T01:00:00", 1), to: "mail.log.2")
        try folder.write(
            Self.message("2026-11-19T01:00:00", 2, .refusedAtItsEnd)
                + Self.message("2026-11-19T01:00:05", 3, .neverSentWhole), to: "mail.log.1")
        try folder.write(
            Self.message("2026-11-20T01:00:00", 4) + Self.message("2026-11-20T01:00:00", 5), to: "mail.log")
        let gzip = Process()
        gzip.executableURL = URL(filePath: "/usr/bin/gzip")
        gzip.arguments = [oldest]
        try gzip.run()
        gzip.waitUntilExit()
        let expected = [
            "192.0.2.1 <1@x> 5", "192.0.2.2 <2@x> 3", "192.0.2.3 <3@x> 2", "192.0.2.4 <4@x> 5", "192.0.2.5 <5@x> 5",
        ]
        for logs in [["mail.log.2.gz", "mail.log.1", "mail.log"], ["mail.log", "mail.log.1", "mail.log.2.gz"]] {
            let found = try Self.why(folder, [Self.id], logs: logs)
            #expect(try Self.shown(found) == expected)
            for (number, message) in try WhyTests.messages(found).enumerated() {
                #expect(
                    WhyTests.events(message, "before") == ["postfix/smtpd connect from c\(number + 1).example[192.0."])
            }
            for number in 1...5 {
                let one = try Self.why(folder, ["--message-id", "\(number)@x"], logs: logs)
                #expect(try Self.shown(one) == [expected[number - 1]])
            }
        }
        let some = try Self.why(
            folder, [Self.id, "--since", "2026-11-19T01:00:03Z"], logs: ["mail.log.1", "mail.log"])
        #expect(try Self.shown(some) == Array(expected.dropFirst(2)))
    }

    @Test("a message across a rotation is one, and a log that is named twice brings no second") func across() throws {
        let folder = try Folder()
        let lines = Self.message("2026-11-21T01:00:00", 1).split(separator: "\n").map { $0 + "\n" }
        let later = lines.suffix(2).joined().replacing("T01:00:00", with: "T09:00:00")
        try folder.write(lines.dropLast(2).joined(), to: "mail.log.1")
        try folder.write(later + Self.message("2026-11-21T10:00:00", 2), to: "mail.log")
        let found = try Self.why(folder, [Self.id], logs: ["mail.log", "mail.log.1"])
        #expect(try Self.shown(found) == ["192.0.2.1 <1@x> 5", "192.0.2.2 <2@x> 5"])
        let twice = try Self.why(folder, [Self.id], logs: ["mail.log", "mail.log", "mail.log.1", "mail.log.1"])
        #expect(try Self.shown(twice) == ["192.0.2.1 <1@x> 10", "192.0.2.2 <2@x> 10"])
        // Where the first's beginning is not in the log.
        let cut = try Self.why(folder, [Self.id], logs: ["mail.log"])
        #expect(try Self.shown(cut) == ["none none 2", "192.0.2.2 <2@x> 5"])
    }

    @Test("a notification is the message that had the id at that time") func notifications() throws {
        let folder = try Folder()
        let bounced = """
            2026-11-20T02:00:00Z mx1 postfix/smtpd[1]: 4cXk2J1hB: client=c9.example[192.0.2.9]
            2026-11-20T02:00:00Z mx1 postfix/cleanup[2]: 4cXk2J1hB: message-id=<9@x>
            2026-11-20T02:00:01Z mx1 postfix/qmgr[5]: 4cXk2J1hB: from=<a9@example.net>, size=1, nrcpt=1 (queue active)
            2026-11-20T02:00:02Z mx1 postfix/smtp[6]: 4cXk2J1hB: to=<b@example.org>, relay=x, delay=1, \
            delays=0/0/0/0, dsn=5.0.0, status=bounced (no)
            2026-11-20T02:00:02Z mx1 postfix/cleanup[2]: \(Self.id): message-id=<n9@mx1>
            2026-11-20T02:00:02Z mx1 postfix/bounce[7]: 4cXk2J1hB: sender non-delivery notification: \(Self.id)
            2026-11-20T02:00:02Z mx1 postfix/qmgr[5]: \(Self.id): from=<>, size=4000, nrcpt=1 (queue active)
            2026-11-20T02:00:02Z mx1 postfix/qmgr[5]: 4cXk2J1hB: removed
            2026-11-20T02:00:03Z mx1 postfix/smtp[6]: \(Self.id): to=<a9@example.net>, relay=x, delay=1, \
            delays=0/0/0/0, dsn=2.0.0, status=sent (ok)
            2026-11-20T02:00:03Z mx1 postfix/qmgr[5]: \(Self.id): removed

            """
        try folder.write(
            Self.message("2026-11-20T01:00:00", 1) + bounced + Self.message("2026-11-20T03:00:00", 3)
                + Self.message("2026-11-20T04:00:00", 4, id: "4cXk2J1hB"), to: "mail.log")
        let notified = "none <n9@mx1> 4"
        let of = try Self.why(folder, ["--message-id", "9@x"], logs: ["mail.log"])
        #expect(try Self.shown(of) == ["192.0.2.9 <9@x> 6", notified])
        let both = try Self.why(folder, ["4cXk2J1hB"], logs: ["mail.log"])
        #expect(try Self.shown(both) == ["192.0.2.9 <9@x> 6", notified, "192.0.2.4 <4@x> 5"])
        let own = try Self.why(folder, [Self.id], logs: ["mail.log"])
        #expect(try Self.shown(own) == ["192.0.2.1 <1@x> 5", notified, "192.0.2.3 <3@x> 5"])
    }

    @Test("what postsuper -r has taken in anew is found by both ids") func requeued() throws {
        let folder = try Folder()
        let log =
            Self.message("2026-11-21T01:00:00", 1, .deletedByHand, id: "4cXk2J1hB")
            .replacing("removed", with: "requeued") + """
                2026-11-21T01:00:09Z mx1 postfix/pickup[4]: 4cXk2J1hC: uid=106 from=<a1@example.net> orig_id=4cXk2J1hB
                2026-11-21T01:00:09Z mx1 postfix/cleanup[2]: 4cXk2J1hC: message-id=<1@x>
                2026-11-21T01:00:09Z mx1 postfix/qmgr[5]: 4cXk2J1hC: from=<a1@example.net>, size=1, nrcpt=1 (queue \
                active)

                """
        try folder.write(log + Self.message("2026-11-21T02:00:00", 3, id: "4cXk2J1hB"), to: "mail.log")
        let new = try Self.why(folder, ["4cXk2J1hC"], logs: ["mail.log"])
        #expect(try Self.shown(new) == ["192.0.2.1 <1@x> 4", "none <1@x> 3"])
        let old = try Self.why(folder, ["4cXk2J1hB"], logs: ["mail.log"])
        #expect(try Self.shown(old) == ["192.0.2.1 <1@x> 4", "none <1@x> 3", "192.0.2.3 <3@x> 5"])
    }
}
