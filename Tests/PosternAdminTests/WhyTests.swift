// `postern why`: a message's lines and those behind it, and none of another message.

import Foundation
import PosternMail
import Testing

@testable import PosternAdmin

@Suite("why") struct WhyTests {
    static let log = """
        2026-11-21T01:00:00Z mx1 postfix/smtpd[1]: connect from mx.example.net[192.0.2.7]
        2026-11-21T01:00:01Z mx1 postern-policy[3]: NOQUEUE: defer: RCPT from mx.example.net[192.0.2.7]: 450 4.2.0 \
        Greylisted (greylist: first try of 192.0.2.0/24; 300 s left); from=<ann@example.net> to=<bo@example.org> \
        proto=ESMTP helo=<mx.example.net>
        2026-11-21T01:00:01Z mx1 postfix/smtpd[1]: NOQUEUE: reject: RCPT from mx.example.net[192.0.2.7]: 450 4.2.0 \
        <bo@example.org>: Recipient address rejected: Greylisted; from=<ann@example.net> to=<bo@example.org> \
        proto=ESMTP helo=<mx.example.net>
        2026-11-21T01:00:02Z mx1 postfix/smtpd[1]: disconnect from mx.example.net[192.0.2.7] ehlo=1 mail=1 rcpt=0/1 \
        quit=1
        2026-11-21T01:05:00Z mx1 postern-policy[3]: NOQUEUE: reject: RCPT from mx.example.net[192.0.2.7]: 550 5.7.1 \
        no (rule a); from=<other@example.net> to=<bo@example.org> proto=ESMTP helo=<mx.example.net>
        2026-11-21T01:10:00Z mx1 postfix/smtpd[1]: connect from mx.example.net[192.0.2.7]
        2026-11-21T01:10:00Z mx1 postfix/smtpd[2]: connect from mx2.example.net[192.0.2.8]
        2026-11-21T01:10:01Z mx1 postern-policy[3]: NOQUEUE: pass: RCPT from mx.example.net[192.0.2.7]: no objection \
        (greylist: come back); from=<ann@example.net> to=<bo@example.org> proto=ESMTP helo=<mx.example.net>
        2026-11-21T01:10:01Z mx1 postfix/smtpd[2]: NOQUEUE: reject: RCPT from mx2.example.net[192.0.2.8]: 554 5.7.1 \
        <x@y.example>: Relay access denied; from=<q@example.net> to=<x@y.example> proto=ESMTP helo=<a>
        2026-11-21T01:10:01Z mx1 postfix/smtpd[1]: 4cXk2J1hz: client=mx.example.net[192.0.2.7]
        2026-11-21T01:10:02Z mx1 postfix/cleanup[2]: 4cXk2J1hz: message-id=<1@example.net>
        2026-11-21T01:10:02Z mx1 postern-dkim[5]: 4cXk2J1hz: verify: END-OF-MESSAGE from mx.example.net[192.0.2.7]: \
        dkim=pass d=example.net s=s a=rsa-sha256; from=<ann@example.net>
        2026-11-21T01:10:02Z mx1 postern-dmarc[4]: \
        {"time":"2026-11-21T01:10:02.000Z","program":"postern-dmarc","pid":4,"level":"info","queue_id":"4cXk2J1hz","ac\
        tion":"judge","stage":"END-OF-MESSAGE","client_name":"mx.example.net","client_address":"192.0.2.7","text":"dma\
        rc=pass author=example.net p=reject","from":"ann@example.net","to":null,"proto":null,"helo":"mx.example.net"}
        2026-11-21T01:10:02Z mx1 postern-dmarc[4]: warning: 4cXk2J1hz: fact could not be written
        2026-11-21T01:10:02Z mx1 postfix/qmgr[5]: 4cXk2J1hz: from=<ann@example.net>, size=2000, nrcpt=1 (queue active)
        2026-11-21T01:10:03Z mx1 postfix/smtp[6]: 4cXk2J1hz: to=<bo@example.org>, relay=none, delay=1, \
        delays=0/0/0/0, dsn=4.4.1, status=deferred (later)
        2026-11-21T01:20:03Z mx1 postfix/smtp[6]: 4cXk2J1hz: to=<bo@example.org>, relay=none, delay=1, \
        delays=0/0/0/0, dsn=5.4.1, status=bounced (no)
        2026-11-21T01:20:03Z mx1 postfix/cleanup[2]: 72E90F7815D: message-id=<2@mx1>
        2026-11-21T01:20:03Z mx1 postfix/bounce[7]: 4cXk2J1hz: sender non-delivery notification: 72E90F7815D
        2026-11-21T01:20:03Z mx1 postfix/qmgr[5]: 72E90F7815D: from=<>, size=4000, nrcpt=1 (queue active)
        2026-11-21T01:20:03Z mx1 postfix/qmgr[5]: 4cXk2J1hz: removed
        2026-11-21T01:20:04Z mx1 postfix/smtp[6]: 72E90F7815D: to=<ann@example.net>, \
        relay=mx.example.net[192.0.2.7]:25, delay=1, delays=0/0/0/0, dsn=2.0.0, status=sent (250 ok)
        2026-11-21T01:20:04Z mx1 postfix/qmgr[5]: 72E90F7815D: removed
        2026-11-21T02:00:00Z mx1 postfix/smtpd[1]: 4cXk2J1hz: client=again.example[203.0.113.9]
        2026-11-21T02:00:00Z mx1 postfix/qmgr[5]: 4cXk2J1hz: from=<again@example.net>, size=1, nrcpt=1 (queue active)

        """

    static func why(_ arguments: String..., log text: String = log) throws -> Postern.Result {
        let folder = try Folder()
        let path = try folder.write(text, to: "mail.log")
        return try Postern().run(["why"] + arguments + ["--config", "\(folder.path)/none.toml", "--log", path])
    }

    static func messages(_ result: Postern.Result) throws -> [[String: Any]] {
        let object = try result.json()
        return try #require(object["messages"] as? [[String: Any]])
    }

    static func events(_ message: [String: Any]?, _ part: String) -> [String] {
        (message?["events"] as? [[String: Any]] ?? []).filter { $0["part"] as? String == part }.map { event in
            "\(event["program"] as? String ?? "?") \((event["text"] as? String ?? "?").prefix(30))"
        }
    }

    @Test("a message, the checks behind it, earlier tries, its notification, and the id used twice")
    func story() throws {
        let result = try Self.why("4cXk2J1hz", "--json")
        #expect(result.status == 0)
        #expect(result.notes == "note: 2 messages had this queue id, one after another; the oldest is shown first")
        let messages = try Self.messages(result)
        #expect(messages.compactMap { $0["queue_id"] as? String } == ["4cXk2J1hz", "72E90F7815D", "4cXk2J1hz"])
        let first = messages.first
        #expect(first?["from"] as? String == "ann@example.net" && first?["octets"] as? Int == 2000)
        #expect(
            first?["client_address"] as? String == "192.0.2.7" && first?["message_id"] as? String == "<1@example.net>")
        let recipients = try #require(first?["recipients"] as? [[String: Any]])
        #expect(recipients.count == 1 && recipients.first?["status"] as? String == "bounced")
        #expect(recipients.first?["tries"] as? Int == 2)
        #expect(
            Self.events(first, "earlier")
                == [
                    "postern-policy defer: RCPT from mx.example.ne", "postfix/smtpd NOQUEUE: reject: RCPT from mx.",
                ].map { $0.replacing("NOQUEUE: reject: RCPT from mx.", with: "reject: RCPT from mx.example.n") })
        #expect(
            Self.events(first, "before") == [
                "postfix/smtpd connect from mx.example.net[19", "postern-policy pass: RCPT from mx.example.net",
            ])
        #expect(
            Self.events(first, "message") == [
                "postfix/smtpd client=mx.example.net[192.0.2.", "postfix/cleanup message-id=<1@example.net>",
                "postern-dkim verify: END-OF-MESSAGE from mx", "postern-dmarc judge: END-OF-MESSAGE from mx.",
                "postern-dmarc warning: 4cXk2J1hz: fact could", "postfix/qmgr from=<ann@example.net>, size=2",
                "postfix/smtp to=<bo@example.org>, relay=non", "postfix/smtp to=<bo@example.org>, relay=non",
                "postfix/bounce sender non-delivery notificati", "postfix/qmgr removed",
            ])
        #expect(messages.last?["client_address"] as? String == "203.0.113.9")
    }

    @Test("by message id, with brackets or without, as text")
    func messageID() throws {
        for id in ["1@example.net", "<1@example.net>"] {
            let result = try Self.why("--message-id", id)
            #expect(result.status == 0 && result.text.contains("before it had a queue id"), "\(result.notes)")
            #expect(result.text.hasPrefix("4cXk2J1hz, from <ann@example.net>, client mx.example.net[192.0.2.7], "))
            #expect(result.text.contains("  to <bo@example.org>: bounced after 2 tries by none: no\n"))
        }
    }

    @Test("what never had a queue id")
    func tries() throws {
        let result = try Self.why("--client", "192.0.2.8")
        #expect(result.status == 0 && result.text.contains("554 5.7.1 <x@y.example>: Relay access denied"))
        #expect(!result.text.contains("192.0.2.7"))
        let both = try Self.why("--sender", "ANN@example.net", "--recipient", "bo@example.org", "--json")
        let object = try both.json()
        let events = try #require(object["events"] as? [[String: Any]])
        #expect(events.count == 3, "\(events)")
        #expect(try Self.why("--client", "mx2.example.net").status == 0)
    }

    @Test("nothing found is 1, and says where was looked")
    func nothing() throws {
        let result = try Self.why("4cXk2J1hy")
        #expect(result.status == 1 && result.text.isEmpty && result.notes.contains("no line is about it in "))
        #expect(try Self.why("--message-id", "nobody@example.net", "--json").json()["messages"] as? [Int] == [])
        #expect(try Self.why("--recipient", "nobody@example.net").status == 1)
        #expect(try Self.why("4cXk2J1hz", "--since", "2026-11-22").status == 1)
        #expect(try Postern().run(["why", "4cXk2J1hz", "--log", "/dev/null"]).status == 69)
    }

    @Test("a queue id however it was copied")
    func copied() throws {
        for id in ["4cXk2J1hz:", "72e90f7815d", "72e90f7815d:", "72E90F7815D"] {
            #expect(try Self.why(id).status == 0, "\(id)")
        }
        for id in ["nonsense", "", ":", "4cXk 2J1hz", "72E90F78 15D"] {
            #expect(try Self.why(id).status == 64, "\(id)")
        }
    }

    @Test("what cannot be meant is told")
    func wrong() throws {
        let folder = try Folder()
        let path = try folder.write(Self.log, to: "mail.log")
        let last = try Postern().run(["why", "--log", path, "4cXk2J1hz"])
        #expect(last.status == 64 && last.notes.contains("so it stands last"), "\(last.notes)")
        for option in ["--message-id", "--client", "--recipient"] {
            let empty = try Self.why(option, "")
            #expect(empty.status == 64 && empty.notes.contains("expected a value for \(option), found nothing"))
        }
        // The null reverse-path is a sender (RFC 5321 §4.5.5).
        #expect(try Self.why("--sender", "").status == 1)
        let turned = try Self.why("4cXk2J1hz", "--since", "2026-11-22", "--until", "2026-11-20")
        #expect(turned.status == 64 && turned.notes == "error: expected --since before --until, found it after")
    }

    @Test("two messages in one session: each has its own checks")
    func session() throws {
        let log = """
            2026-11-21T01:10:00Z mx1 postfix/smtpd[1]: connect from mx.example.net[192.0.2.7]
            2026-11-21T01:10:10Z mx1 postern-policy[3]: NOQUEUE: pass: RCPT from mx.example.net[192.0.2.7]: first; \
            from=<a@b.example> to=<bo@example.org> proto=ESMTP helo=<x>
            2026-11-21T01:10:10Z mx1 postfix/smtpd[1]: 4cXk2J1hB: client=mx.example.net[192.0.2.7]
            2026-11-21T01:10:11Z mx1 postfix/qmgr[5]: 4cXk2J1hB: from=<a@b.example>, size=1, nrcpt=1 (queue active)
            2026-11-21T01:10:11Z mx1 postfix/smtp[6]: 4cXk2J1hB: to=<bo@example.org>, relay=x, delay=1, \
            delays=0/0/0/0, dsn=2.0.0, status=sent (ok)
            2026-11-21T01:10:20Z mx1 postern-policy[3]: NOQUEUE: pass: RCPT from mx.example.net[192.0.2.7]: second; \
            from=<a@b.example> to=<bo@example.org> proto=ESMTP helo=<x>
            2026-11-21T01:10:20Z mx1 postfix/smtpd[1]: 4cXk2J1hC: client=mx.example.net[192.0.2.7]
            2026-11-21T01:10:21Z mx1 postfix/qmgr[5]: 4cXk2J1hC: from=<a@b.example>, size=1, nrcpt=1 (queue active)
            2026-11-21T01:10:21Z mx1 postfix/smtp[6]: 4cXk2J1hC: to=<bo@example.org>, relay=x, delay=1, \
            delays=0/0/0/0, dsn=2.0.0, status=sent (ok)

            """
        let first = try Self.why("4cXk2J1hB", log: log).text
        #expect(first.contains(": first;") && !first.contains(": second;") && first.contains("connect from"))
        let second = try Self.why("4cXk2J1hC", log: log).text
        #expect(second.contains(": second;") && !second.contains(": first;") && second.contains("connect from"))
    }

    @Test("an alias, a refused recipient beside it, a message that still waits, and mail of the same sender afterwards")
    func recipients() throws {
        let log = """
            2026-11-21T01:10:00Z mx1 postfix/smtpd[1]: connect from mx.example.net[192.0.2.7]
            2026-11-21T01:10:10Z mx1 postern-policy[3]: NOQUEUE: reject: RCPT from mx.example.net[192.0.2.7]: refused; \
            from=<a@b.example> to=<no@example.org> proto=ESMTP helo=<x>
            2026-11-21T01:10:10Z mx1 postern-policy[3]: NOQUEUE: pass: RCPT from mx.example.net[192.0.2.7]: first; \
            from=<a@b.example> to=<Info@example.org> proto=ESMTP helo=<x>
            2026-11-21T01:10:10Z mx1 postfix/smtpd[1]: 4cXk2J1hB: client=mx.example.net[192.0.2.7]
            2026-11-21T01:10:11Z mx1 postfix/qmgr[5]: 4cXk2J1hB: from=<a@b.example>, size=1, nrcpt=1 (queue active)

            """
        let waiting = try Self.why("4cXk2J1hB", log: log).text
        #expect(waiting.contains(": first;") && waiting.contains(": refused;"), "\(waiting)")
        let later = """
            2026-11-21T01:20:11Z mx1 postern-policy[3]: NOQUEUE: pass: RCPT from mx.example.net[192.0.2.7]: second; \
            from=<a@b.example> to=<info@example.org> proto=ESMTP helo=<x>
            2026-11-21T01:30:11Z mx1 postfix/smtp[6]: 4cXk2J1hB: to=<bo@example.org>, orig_to=<info@example.org>, \
            relay=x, delay=1, delays=0/0/0/0, dsn=2.0.0, status=sent (ok)

            """
        let early = """
            2026-11-21T00:10:10Z mx1 postern-policy[3]: NOQUEUE: defer: RCPT from mx9.example.net[192.0.2.9]: later; \
            from=<a@b.example> to=<info@example.org> proto=ESMTP helo=<x>
            2026-11-21T00:10:10Z mx1 postern-policy[3]: NOQUEUE: defer: RCPT from mx9.example.net[192.0.2.9]: else; \
            from=<a@b.example> to=<else@example.org> proto=ESMTP helo=<x>

            """
        let sent = try Self.why("4cXk2J1hB", log: early + log + later).text
        #expect(sent.contains(": first;") && sent.contains(": later;"), "\(sent)")
        #expect(!sent.contains(": second;") && !sent.contains(": else;"), "\(sent)")
    }

    @Test("escape sequences in a log do not reach the terminal")
    func printable() throws {
        let log =
            "2026-11-21T01:10:00Z mx1 postfix/qmgr[1]: 4cXk2J1hB: from=<\u{1B}[2J\u{202E}@b.example>, size=1, nrcpt=1\n"
        let text = try Self.why("4cXk2J1hB", log: log).text
        #expect(text.contains("from=<?[2J?@b.example>") && !text.unicodeScalars.contains("\u{1B}"))
    }
}
