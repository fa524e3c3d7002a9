// `postern report`: counts against lines that are written here, the page, the lists' bounded memory.

import Foundation
import PosternMail
import PosternSocket
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("report") struct ReportTests {
    /// A log with something of everything.
    static let log = """
        2026-11-21T01:00:00Z mx1 postfix/smtpd[1]: connect from mx.example.net[192.0.2.7]
        2026-11-21T01:00:01Z mx1 postern-policy[3]: NOQUEUE: defer: RCPT from mx.example.net[192.0.2.7]: 450 4.2.0 \
        Greylisted, try again in 300 seconds (greylist: first try of 192.0.2.0/24; 300 s left); \
        from=<ann@example.net> to=<bo@example.org> proto=ESMTP helo=<mx.example.net>
        2026-11-21T01:00:01Z mx1 postfix/smtpd[1]: NOQUEUE: reject: RCPT from mx.example.net[192.0.2.7]: 450 4.2.0 \
        <bo@example.org>: Recipient address rejected: Greylisted, try again in 300 seconds; from=<ann@example.net> \
        to=<bo@example.org> proto=ESMTP helo=<mx.example.net>
        2026-11-21T01:00:02Z mx1 postfix/smtpd[1]: disconnect from mx.example.net[192.0.2.7] ehlo=1 mail=1 rcpt=0/1 \
        quit=1
        2026-11-21T01:10:00Z mx1 postfix/smtpd[1]: connect from mx.example.net[192.0.2.7]
        2026-11-21T01:10:01Z mx1 postern-policy[3]: NOQUEUE: pass: RCPT from mx.example.net[192.0.2.7]: no objection \
        (greylist: this client has come back with this sender and recipient, after 601 s); from=<ann@example.net> \
        to=<bo@example.org> proto=ESMTP helo=<mx.example.net>
        2026-11-21T01:10:01Z mx1 postfix/smtpd[1]: 4cXk2J1hz: client=mx.example.net[192.0.2.7]
        2026-11-21T01:10:02Z mx1 postfix/cleanup[2]: 4cXk2J1hz: message-id=<1@example.net>
        2026-11-21T01:10:02Z mx1 postern-dmarc[4]: \
        {"time":"2026-11-21T01:10:02.000Z","program":"postern-dmarc","pid":4,"level":"info","queue_id":"4cXk2J1hz","ac\
        tion":"quarantine","stage":"END-OF-MESSAGE","client_name":"mx.example.net","client_address":"192.0.2.7","text"\
        :"dmarc=fail (nothing that passed is aligned, dkim=pass) author=example.net p=quarantine, would reject: 550 \
        5.7.23 no, spf=fail (-all) mailfrom=example.net, spf=pass (a) helo=mx.example.net, \
        dkim=none","from":"ann@example.net","to":null,"proto":null,"helo":"mx.example.net"}
        2026-11-21T01:10:02Z mx1 postfix/qmgr[5]: 4cXk2J1hz: from=<ann@example.net>, size=2000, nrcpt=2 (queue active)
        2026-11-21T01:10:03Z mx1 postfix/virtual[6]: 4cXk2J1hz: to=<bo@example.org>, relay=virtual, delay=0.1, \
        delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)
        2026-11-21T01:10:03Z mx1 postfix/smtp[6]: 4cXk2J1hz: to=<cy@example.org>, relay=none, delay=1, \
        delays=0/0/0/0, dsn=4.4.1, status=deferred (connect to x.example[203.0.113.5]:25: Connection timed out)
        2026-11-21T01:20:02Z mx1 postfix/qmgr[5]: 4cXk2J1hz: from=<ann@example.net>, size=2000, nrcpt=2 (queue active)
        2026-11-21T01:20:03Z mx1 postfix/smtp[6]: 4cXk2J1hz: to=<cy@example.org>, relay=none, delay=1, \
        delays=0/0/0/0, dsn=5.4.1, status=bounced (no)
        2026-11-21T01:20:03Z mx1 postfix/qmgr[5]: 4cXk2J1hz: removed
        2026-11-21T01:30:00Z mx1 postfix/submission/smtpd[7]: connect from laptop.example[198.51.100.9]
        2026-11-21T01:30:01Z mx1 postfix/submission/smtpd[7]: 4cXk2J1hB: client=laptop.example[198.51.100.9], \
        sasl_method=PLAIN, sasl_username=ann
        2026-11-21T01:30:01Z mx1 postfix/cleanup[2]: 4cXk2J1hB: message-id=<2@example.org>
        2026-11-21T01:30:01Z mx1 postern-dkim[8]: 4cXk2J1hB: sign: END-OF-MESSAGE from laptop.example[198.51.100.9]: \
        d=example.org s=2026q4 a=rsa-sha256, d=example.org s=2026q4e a=ed25519-sha256, fragile: a line \
        over 998 octets, 1 forged \
        Authentication-Results removed; from=<ann@example.org>
        2026-11-21T01:40:00Z mx1 postern-policy[3]: NOQUEUE: reject: RCPT from bad.example[203.0.113.66]: 554 5.7.1 \
        Service unavailable; client [203.0.113.66] is listed by zen.spamhaus.org: see (x; shadow: (dnsbl: score 9 \
        (zen.spamhaus.org 4, b.example 5, list.dnswl.org -1, rules 1)); from=<x@bad.example> to=<bo@example.org> \
        proto=ESMTP helo=<b>
        2026-11-21T01:40:00Z mx1 postfix/smtpd[1]: NOQUEUE: reject: RCPT from bad.example[203.0.113.66]: 554 5.7.1 \
        <bo@example.org>: Recipient address rejected: Service unavailable; client [203.0.113.66] is listed; \
        from=<"<script>alert(1)</script>"@bad.example> to=<bo@example.org> proto=ESMTP helo=<b>
        2026-11-21T01:41:00Z mx1 postfix/smtpd[1]: NOQUEUE: reject: RCPT from <img>[203.0.113.67]: 554 5.7.1 \
        <a@b.example>: Relay access denied; from=<x@bad.example> to=<a@b.example> proto=ESMTP helo=<b>
        2026-11-21T01:42:00Z mx1 postern-policy[3]: NOQUEUE: pass: RCPT from ok.example[203.0.113.70]: no objection; \
        shadow: would reject: 550 5.7.1 No spam (rule no spam); from=<x@ok.example> to=<bo@example.org> proto=ESMTP \
        helo=<b>
        2026-11-21T01:43:00Z mx1 postern-rate[9]: warning: limit per account over: ann: 200 of 200 recipients in \
        3600s; blocked for 3600s; account=<ann> clients=198.51.100.9
        2026-11-21T01:43:01Z mx1 postern-rate[9]: NOQUEUE: defer: RCPT from laptop.example[198.51.100.9]: 450 4.7.1 \
        Slow down (limit per account: ann: blocked, free in 3600s); from=<ann@example.org> to=<bo@example.org> \
        proto=ESMTP helo=<l>
        2026-11-21T01:44:00Z mx1 postfix/smtpd[1]: warning: hostname <b>x</b> does not resolve
        2026-11-21T01:45:00Z mx1 cron[1]: postfix/smtpd[1]: connect from nobody[192.0.2.99]
        2026-11-20T01:45:00Z mx1 postfix/smtpd[1]: connect from old.example[192.0.2.99]

        """

    static func report(_ arguments: String...) throws -> Postern.Result {
        let folder = try Folder()
        let path = try folder.write(log, to: "mail.log")
        return try Postern().run(["report", "--config", "\(folder.path)/none.toml", "--log", path] + arguments)
    }

    @Test("counts") func counts() throws {
        let result = try Self.report("--since", "2026-11-21T00:00:00Z", "--json")
        #expect(result.status == 0 && result.output.notes.isEmpty, "\(result.notes)")
        let report = try result.json()
        let postfix = try #require(report["postfix"] as? [String: Any])
        let expected = [
            "connections": 3, "messages": 2, "messages_from_clients": 2, "messages_from_this_host": 0, "octets": 2000,
            "recipients_sent": 1, "recipients_bounced": 1, "tries_deferred": 1, "messages_expired": 0,
            "refused_for_good": 2, "refused_for_now": 1, "held_or_discarded": 0,
        ]
        for (key, count) in expected {
            #expect(postfix[key] as? Int == count, "\(key): \(String(describing: postfix[key]))")
        }
        #expect(Self.rows(postfix["clients_refused_for_good"], "client") == ["203.0.113.66 1", "203.0.113.67 1"])
        #expect(Self.rows(postfix["clients_refused_for_now"], "client") == ["192.0.2.7 1"])
        #expect(Self.rows(postfix["logins"], "login") == ["ann 1"])
        #expect(
            Self.rows(postfix["undelivered"], "status", "reason") == [
                "bounced no 1", "deferred connect to x.example[]:N: Connection timed out 1",
            ])
        let postern = try #require(report["postern"] as? [String: Any])
        #expect(
            Self.rows(postern["verdicts"], "daemon", "action", "reason") == [
                "postern-dkim sign fragile: a line over 998 octets 1", "postern-dmarc quarantine dmarc=fail 1",
                "postern-dmarc would reject dmarc=fail 1",
                "postern-policy defer greylist 1", "postern-policy pass  1", "postern-policy pass greylist 1",
                "postern-policy reject dnsbl 1", "postern-policy would reject rule no spam 1",
                "postern-rate defer limit per account 1",
            ])
        #expect(
            Self.rows(postern["results"], "method", "result") == ["dkim none 1", "dmarc fail 1", "spf fail 1"])
        #expect(Self.rows(postern["lists"], "zone") == ["b.example 1", "zen.spamhaus.org 1"])
        #expect(Self.rows(postern["limits_over"], "limit", "key") == ["per account ann 1"])
        #expect(
            Self.rows(postern["keys"], "domain", "selector", "algorithm") == [
                "example.org 2026q4 rsa-sha256 1", "example.org 2026q4e ed25519-sha256 1",
            ])
        let greylist = try #require(postern["greylist"] as? [String: Any])
        #expect(greylist["first_tries"] as? Int == 1 && greylist["came_back"] as? Int == 1)
        #expect(greylist["seconds_waited"] as? Int == 601)
        let delays = (greylist["delays"] as? [[String: Any]] ?? []).compactMap { $0["count"] as? Int }
        #expect(delays == [0, 1, 0, 0, 0, 0])
        #expect(Self.rows(report["troubles"], "program", "text").count == 2)
    }

    /// `words count`, in order.
    static func rows(_ list: Any?, _ keys: String...) -> [String] {
        (list as? [[String: Any]] ?? []).map { row in
            (keys.map { row[$0] as? String ?? "?" } + ["\(row["count"] as? Int ?? -1)"]).joined(separator: " ")
        }.sorted()
    }

    @Test("a named log is read whole where no time is named; text has the same tables") func text() throws {
        let all = try Self.report()
        #expect(all.text.contains("4  connections") && all.text.hasPrefix("Mail from 2026-11-2"), "\(all.text)")
        #expect(all.text.contains("postern-policy  would reject  rule no spam"))
        #expect(!all.text.contains("Nothing happened"))
        let none = try Self.report("--until", "2026-01-01")
        #expect(none.status == 0 && none.text.contains("Nothing happened."))
        // It may be that nobody looked in the right place.
        #expect(none.notes.hasPrefix("warning: no line of Postfix or Postern of that time is in "), "\(none.notes)")
    }

    @Test("the page: strangers' words are text, nothing runs and nothing is loaded") func page() throws {
        let folder = try Folder()
        let page = folder.file("mail.html")
        let printed = try Self.report("--html", page)
        #expect(printed.status == 0 && printed.text.contains("connections"))
        let html = String(decoding: try folder.read("mail.html"), as: UTF8.self)
        #expect(try folder.names == ["mail.html"])
        #expect(html.contains("&quot;&lt;script&gt;alert(1)&lt;/script&gt;&quot;@bad.example"))
        for word in ["<script", "<img", "<b>", "http:", "https:", "url(", "@import", " src=", "onload"] {
            #expect(!html.contains(word), "\(word)")
        }
        #expect(html.contains("default-src 'none'"))
        #expect(try Self.report("--html", "-").text.hasPrefix("<!DOCTYPE html>"))
        // Well-formed but for the elements that HTML never closes.
        let xml = html.replacing("<!DOCTYPE html>", with: "").replacing(#/<meta([^>]*)>/#) { "<meta\($0.output.1)/>" }
        let parser = XMLChecker(xml)
        #expect(parser.isWellFormed, "\(parser.trouble)")
        let unwritten = try Self.report("--html", "/nonexistent/x.html")
        #expect(unwritten.status == 69)
        #expect(unwritten.notes == "error: cannot write /nonexistent/x.html: No such file or directory")
    }

    @Test("gzip files, several of them, and one that breaks off") func compressed() throws {
        let folder = try Folder()
        let path = try folder.write(Self.log, to: "mail.log.1")
        let gzip = Process()
        gzip.executableURL = URL(filePath: "/usr/bin/gzip")
        gzip.arguments = ["-k", path]
        try gzip.run()
        gzip.waitUntilExit()
        let arguments = ["report", "--config", "\(folder.path)/none.toml", "--json", "--log"]
        let both = try Postern().run(arguments + [path, "\(path).gz"]).json()
        #expect((both["postfix"] as? [String: Any])?["connections"] as? Int == 8)
        let packed = try folder.read("mail.log.1.gz")
        try folder.write(Array(packed.prefix(packed.count - 100)), to: "cut.gz")
        let cut = try Postern().run(arguments + [folder.file("cut.gz")])
        #expect(cut.status == 0 && cut.notes.contains("cut.gz: "), "\(cut.notes)")
        #expect(try Postern().run(arguments + [folder.file("nothing")]).status == 69)
        let directory = try Postern().run(arguments + [folder.path])
        #expect(directory.status == 69 && directory.notes == "error: cannot read \(folder.path): Is a directory")
        try folder.write([0x1F, 0x8B, 8] + Array("no header".utf8), to: "bad.gz")
        let bad = try Postern().run(arguments + [folder.file("bad.gz")])
        #expect(bad.notes.hasPrefix("warning: \(folder.file("bad.gz")): unknown header flags set; "), "\(bad.notes)")
    }

    @Test("rotated names") func rotated() throws {
        let folder = try Folder()
        for name in [
            "mail.log", "mail.log.1", "mail.log.2.gz", "mail.log-20261121", "mail.log.3.xz", "mail.err", "mail.logs",
        ] {
            try folder.write("", to: name)
        }
        #expect(
            Set(LogSource.rotated(in: folder.path).map(\.name).map { String($0.dropFirst(folder.path.count + 1)) })
                == ["mail.log", "mail.log.1", "mail.log.2.gz", "mail.log-20261121"])
    }

    @Test("the journal is read through journalctl") func journal() throws {
        let folder = try Folder()
        let script = try folder.write(
            "#!/bin/sh\necho \"$@\" >\(folder.file("words"))\ncat \(folder.file("log"))\n", to: "journalctl")
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: script)
        try folder.write(Self.log.replacing("Z mx1", with: "+0000 mx1"), to: "log")
        let since = UnixTime(seconds: 1_795_000_000)
        let reader = LogReader(sources: [.journal], since: since, journal: script, now: since)
        var programs = 0
        let reading = try reader.read { line, _ in if PostfixLine(line) != nil { programs += 1 } }
        #expect(programs > 10 && reading.notes.isEmpty)
        #expect(
            String(decoding: try folder.read("words"), as: UTF8.self)
                == "--quiet --no-pager --all --output=short-iso-precise --facility=mail --since=@1795000000\n")
        try folder.write("#!/bin/sh\nexit 3\n", to: "journalctl")
        #expect(try reader.read { _, _ in }.notes == ["warning: \(script) ended with status 3"])
        let absent = LogReader(sources: [.journal], journal: "/nonexistent/journalctl", now: since)
        #expect(throws: CommandFailure.self) { try absent.read { _, _ in } }
    }

    @Test("lines: long ones are cut, the last one needs no end, progress is told") func reading() throws {
        let folder = try Folder()
        let long = String(repeating: "x", count: 3 << 20)
        let path = try folder.write("a[1]: 1\nb[1]: \(long)\nc[1]: 3\n\nd[1]: 4", to: "log")
        var told: [String] = []
        var found: [String] = []
        var moment: Int64 = 0
        var reader = LogReader(sources: [try LogSource.named(path)], now: UnixTime(seconds: 0))
        reader.tell = { told.append($0) }
        reader.clock = {
            moment += 6_000_000_000
            return .init(nanoseconds: moment)
        }
        let reading = try reader.read { line, _ in
            found.append("\(String(decoding: line.program, as: UTF8.self)) \(line.message.count)")
        }
        #expect(found == ["a 1", "b 65530", "c 1", "d 1"])
        #expect(reading.lines == 5)
        #expect(told.last?.hasPrefix("reading: 3 MiB of 3 MiB (100 %), ") == true, "\(told)")
    }

    @Test(
        "points in time",
        arguments: [
            ("24h", 1_794_913_600), ("90s", 1_794_999_910), ("2026-11-18T13:33:20Z", 1_795_008_800),
            ("2026-11-18", 1_794_960_000), ("2026-11-18 11:06", 1_794_999_960), ("2026-11-18T11:06:41", 1_795_000_001),
        ])
    func moments(_ text: String, _ seconds: Int64) throws {
        let moment = try LogMoment(text) { year, month, day, hour in
            CivilDate(year: year, month: month, day: day).dayNumber * 86_400 + Int64(hour) * 3600
        }
        #expect(moment.time(now: UnixTime(seconds: 1_795_000_000)).seconds == seconds)
    }
}

@Suite("bounded counts") struct ReportListTests {
    @Test("exact until there are more keys than places; the frequent are never lost") func topList() {
        var list = TopList(capacity: 50)
        var random = SeededRandom(seed: 3)
        var exact: [String: Int] = [:]
        for step in 0..<30_000 {
            // Twenty frequent keys among very many that come once.
            let key = step % 3 == 0 ? "often\(Int.random(in: 0..<20, using: &random))" : "once\(step)"
            exact[key, default: 0] += 1
            list.add(Array(key.utf8)[...], at: UnixTime(seconds: Int64(step)))
            if step == 30 { #expect(list.isExact) }
        }
        #expect(list.total == 30_000 && !list.isExact && list.distinct == 50)
        for entry in list.top(50) {
            let true_ = exact[String(decoding: entry.key, as: UTF8.self)] ?? 0
            // Metwally et al., lemma 3: the count is too high by at most the error, never too low.
            #expect(entry.count >= true_ && entry.count - entry.error <= true_)
        }
        // Theorem 2: whoever has more than total / capacity is in the list.
        let found = Set(list.top(50).map { String(decoding: $0.key, as: UTF8.self) })
        for (key, count) in exact where count > 30_000 / 50 { #expect(found.contains(key), "\(key) \(count)") }
        #expect(list.top(3).count == 3 && list.top(0).isEmpty)
    }

    @Test("bars grow wider, and no count is lost") func series() {
        var series = TimeSeries(offset: 3600)
        for hour in 0..<1000 {
            series.add(.queued, at: UnixTime(seconds: 1_795_000_000 + Int64(hour) * 3600))
            if hour % 10 == 0 { series.add(.refused, at: UnixTime(seconds: 1_795_000_000 + Int64(hour) * 3600)) }
        }
        let bars = series.all
        #expect(bars.count <= TimeSeries.maxBars && series.width == 86_400)
        #expect(bars.reduce(0) { $0 + $1.count(.queued) } == 1000 && bars.reduce(0) { $0 + $1.count(.refused) } == 100)
        #expect(bars.allSatisfy { ($0.start.seconds + 3600) % 86_400 == 0 })
        // A clock that was wrong once: two bars, and everything between them.
        series.add(.queued, at: UnixTime(seconds: 0))
        #expect(series.all.count <= TimeSeries.maxBars + 1 && series.all.reduce(0) { $0 + $1.count(.queued) } == 1001)
    }

    @Test("ids are remembered once, the oldest is forgotten") func ids() {
        var ids = RecentIDs()
        func id(_ number: Int) -> ArraySlice<UInt8> { Array("\(number)".utf8)[...] }
        for number in 0...RecentIDs.capacity { ids.insert(id(number)) }
        #expect(!ids.remove(id(0)) && ids.remove(id(1)) && !ids.remove(id(1)) && ids.remove(id(RecentIDs.capacity)))
    }

    @Test(
        "numbers",
        arguments: [
            (ReportNumber.octets(1023), "1023 octets"), (ReportNumber.octets(1536), "1.5 KiB"),
            (ReportNumber.duration(45), "45 s"), (ReportNumber.duration(600), "10 min"),
            (ReportNumber.duration(5400), "1.5 h"), (ReportNumber.grouped(1_234_567), "1 234 567"),
            (ReportNumber.grouped(-12), "-12"), (ReportNumber.grouped(123), "123"),
        ])
    func numbers(_ found: String, _ expected: String) { #expect(found == expected) }
}
