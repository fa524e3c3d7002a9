// contrib/events/postern-events-mail, which mails what `postern events --follow` tells: run as it is, with a sendmail of
// its own.

import Foundation
import Testing

@testable import PosternAdmin

@Suite("contrib/events") struct EventsMailTests {
    private static let script = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "contrib/events/postern-events-mail").path

    /// An event of 2026-11-21, so many minutes after two.
    private static func event(
        _ account: String, minute: Int, kind: String = "over", key: String = "ann", clients: String = "[]"
    ) -> String {
        let time = String(format: "2026-11-21T%02d:%02d:00.000Z", 2 + minute / 60, minute % 60)
        return """
            {"event":"\(kind)","time":"\(time)","run":"1","number":1,"limit":"per account","count":"recipients",\
            "key":"\(key)","uses":[{"used":200,"allowed":200,"seconds":3600}],"reserved":0,"blocked_seconds":60,\
            "refuses":true,"account":\(account),"clients":\(clients)}

            """
    }

    /// - Returns: the mails with the words that sendmail got above each, and what was complained of.
    private func mails(_ input: String, _ options: String...) throws -> (mails: [String], complaints: String) {
        let folder = try Folder()
        let sendmail = try folder.write(
            "#!/bin/sh\n{ echo \"--MAIL $*\"; cat; } >> \(folder.file("sent"))\n", to: "sendmail")
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: sendmail)
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/python3")
        process.arguments = [Self.script, "--to", "postmaster", "--sendmail", sendmail] + options
        process.standardInput = try FileHandle(forReadingFrom: URL(filePath: try folder.write(input, to: "events")))
        process.standardError = try FileHandle(forWritingTo: URL(filePath: try folder.write("", to: "complaints")))
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        let complaints = String(decoding: try folder.read("complaints"), as: UTF8.self)
        guard try folder.names.contains("sent") else { return ([], complaints) }
        let sent = String(decoding: try folder.read("sent"), as: UTF8.self)
        return (sent.split(separator: "--MAIL ").map(String.init), complaints)
    }

    private func subjects(_ mails: [String]) -> [String] {
        mails.compactMap { mail in mail.split(separator: "\n").first { $0.hasPrefix("Subject: ") }.map(String.init) }
    }

    @Test("what the mail says, to whom, and that no bounce comes of it")
    func mail() throws {
        let (mails, complaints) = try mails(Self.event("\"ann\"", minute: 0, clients: #"["192.0.2.7"]"#))
        let mail = try #require(mails.first)
        #expect(mails.count == 1 && complaints.isEmpty)
        #expect(mail.hasPrefix("-i -f  -- postmaster\n"))
        for line in [
            "Subject: postern: ann is over its limit", "To: postmaster", "Auto-Submitted: auto-generated",
            "limit    per account", "used     200 of 200 recipients in 3600s", "blocked  for 60s", "client   192.0.2.7",
        ] {
            #expect(mail.contains("\n\(line)\n"), "\(line)")
        }
    }

    @Test("once in an hour about an account; what came meanwhile is counted")
    func cap() throws {
        let minutes = [0, 1, 30, 59, 60, 61, 130]
        let input = minutes.map { Self.event("\"ann\"", minute: $0) }.joined() + Self.event("\"bo\"", minute: 131)
        let (mails, _) = try mails(input)
        #expect(
            subjects(mails)
                == ["ann", "ann", "ann", "bo"].map { "Subject: postern: \($0) is over its limit" })
        #expect(mails.map { $0.contains("3 more of its events were not mailed") } == [false, true, false, false])
        #expect(mails[2].contains("1 more of its events"))
    }

    @Test("a flood of keys is no flood of mail")
    func most() throws {
        let input = (0..<100).map { Self.event("null", minute: 0, key: "192.0.2.\($0)") }.joined()
        let later = Self.event("null", minute: 61, key: "192.0.2.99")
        let (mails, _) = try mails(input + later, "--most", "5")
        #expect(mails.count == 6 && subjects(mails).last == "Subject: postern: 192.0.2.99 is over its limit")
        #expect(mails.last?.contains("1 more of its events") == true)
    }

    @Test("other events where they are wanted; what is no event is told and passed over; strangers write no header")
    func others() throws {
        let input =
            "nonsense\n[]\n{\"event\":\"over\"}\n" + String(repeating: "[", count: 50_000) + "\n"
            + Self.event("\"a\\nBcc: x@example.net\\u001b\"", minute: 0)
            + Self.event("null", minute: 0, kind: "blocked", key: "it's") + Self.event("7", minute: 1, kind: "nearing")
        let (mails, complaints) = try mails(
            input, "--event", "over", "--event", "blocked", "--from", "rate@example.org")
        #expect(
            subjects(mails) == [
                "Subject: postern: a?Bcc: x@example.net? is over its limit",
                "Subject: postern: it's blocked by the admin",
            ])
        #expect(
            !mails.contains { $0.contains("\nBcc:") } && mails.allSatisfy { $0.contains("From: rate@example.org\n") })
        #expect(mails.last?.contains(#"postern limit show 'it'"'"'s'"#) == true)
        #expect(complaints == String(repeating: "expected an event, found something else\n", count: 4))
    }
}
