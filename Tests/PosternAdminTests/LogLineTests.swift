// The heads of log lines, their times, and what Postfix and Postern say behind them: one row a form. Strangers' octets
// in a line must not pass for the words around them.

import Foundation
import Glibc
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin
@testable import PosternDaemon

private func octets(_ text: String) -> ArraySlice<UInt8> { Array(text.utf8)[...] }
private func text(_ octets: ArraySlice<UInt8>?) -> String? { octets.map { String(decoding: $0, as: UTF8.self) } }

@Suite("log lines, read") struct LogLineTests {
    /// Local time is two hours ahead of Greenwich.
    static func clock(newest: String) throws -> LogClock {
        var rest = octets(newest)
        return LogClock(newest: try #require(LogStamp.rfc3339(&rest))) { year, month, day, hour in
            CivilDate(year: year, month: month, day: day).dayNumber * 86_400 + Int64(hour - 2) * 3600
        }
    }

    @Test(
        "head: time, program, process, message",
        arguments: [
            // RFC 3164 §4.1.2, in local time
            ("Nov 21 03:52:23 mx1 postfix/smtpd[123]: text", "2026-11-21T01:52:23Z", "postfix/smtpd", "123", "text"),
            ("Nov  1 03:52:23 mx1 postfix/qmgr[1]: a: b", "2026-11-01T01:52:23Z", "postfix/qmgr", "1", "a: b"),
            ("Dec 31 23:59:59 mx1 postfix/qmgr[1]: x", "2025-12-31T21:59:59Z", "postfix/qmgr", "1", "x"),
            // The newest line is of 2026-11-21; a clock may be ahead by a day.
            ("Nov 22 02:00:00 mx1 postfix/qmgr[1]: x", "2026-11-22T00:00:00Z", "postfix/qmgr", "1", "x"),
            ("Nov 23 23:00:00 mx1 postfix/qmgr[1]: x", "2025-11-23T21:00:00Z", "postfix/qmgr", "1", "x"),
            ("Feb 29 12:00:00 mx1 postfix/qmgr[1]: x", "2024-02-29T10:00:00Z", "postfix/qmgr", "1", "x"),
            // RFC 3339 §5.6
            (
                "2026-11-21T01:52:23.004123+01:00 mx1 postfix/submission/smtpd[9]: x", "2026-11-21T00:52:23Z",
                "postfix/submission/smtpd", "9", "x"
            ),
            ("2026-11-21T01:52:23Z mx1 postern-dkim[812]: x", "2026-11-21T01:52:23Z", "postern-dkim", "812", "x"),
            ("2026-11-21T01:52:23.5-0230 mx1 a[1]: x", "2026-11-21T04:22:23Z", "a", "1", "x"),
            ("1969-12-31T23:59:59Z mx1 a: x", "1969-12-31T23:59:59Z", "a", "", "x"),
            // Standard error has no time and no host.
            ("postern-dkim[812]: x", nil, "postern-dkim", "812", "x"),
            ("Nov 21 03:52:23 mx1 kernel: [1.2] x", "2026-11-21T01:52:23Z", "kernel", "", "[1.2] x"),
            ("Nov 21 03:52:23 mx1 {\"a\":1}", "2026-11-21T01:52:23Z", "", "", "{\"a\":1}"),
            ("{\"a\":1}", nil, "", "", "{\"a\":1}"),
        ] as [(String, String?, String, String, String)])
    func head(_ line: String, _ time: String?, _ program: String, _ pid: String, _ message: String) throws {
        let found = try #require(LogLine(octets(line)))
        #expect(text(found.program) == program && text(found.pid) == pid && text(found.message) == message)
        var clock = try Self.clock(newest: "2026-11-21T10:00:00Z")
        let moment = clock.time(of: found.stamp)
        #expect(moment.map { LogTimeText(offset: 0).rfc3339($0) } == time)
    }

    @Test(
        "what is no line of a program",
        arguments: [
            "", " ", "Nov 21", "Nov 21 01:02:03", "Nov 21 01:02:03 mx1", "-- Boot 3f --", "    indented: text",
            "last message repeated 3 times", "Nov 21 01:02:03 mx1 postfix/smtpd[1]:", "[1]: x", "a b[1]: x",
        ])
    func none(_ line: String) { #expect(LogLine(octets(line)) == nil || LogLine(octets(line))?.stamp == LogStamp.none) }

    @Test("days and dates agree, over leap years and centuries")
    func civil() {
        for day in stride(from: Int64(-200_000), through: 200_000, by: 97) {
            let date = CivilDate(day: day)
            #expect(date.dayNumber == day && (1...12).contains(date.month) && (1...31).contains(date.day))
        }
        #expect(CivilDate(day: 0) == CivilDate(year: 1970, month: 1, day: 1))
        #expect(CivilDate(year: 2000, month: 2, day: 29).dayNumber == 11_016)
    }

    @Test(
        "queue ids",
        arguments: [
            ("72E90F7815D", true), ("4cXk2J1hz", true), ("4ZQkzy0dnfz1Bw", true), ("0A1B2C", true), ("NOQUEUE", false),
            ("warning", false), ("statistics", false), ("fatal", false), ("abc", false), ("4cXk2J1hz!", false),
            ("A1B2C", false), ("", false), (String(repeating: "B", count: 33), false),
        ])
    func queueID(_ word: String, _ isOne: Bool) { #expect(QueueID.isOne(octets(word)) == isOne) }

    @Test(
        "what is in angle brackets",
        arguments: [
            ("<a@b.example>, relay", "a@b.example"), ("<>, x", ""), ("<a", nil), ("a>", nil),
            // RFC 5321 §4.1.2: a quoted local part may hold anything
            (#"<"a>, relay=x"@b.example>, relay=y"#, #""a>, relay=x"@b.example"#),
            (#"<"a\">b"@c.example>"#, #""a\">b"@c.example"#), (#"<"a>, relay=y"#, #""a"#),
        ] as [(String, String?)])
    func brackets(_ line: String, _ inner: String?) { #expect(text(octets(line).inAngleBrackets) == inner) }

    // MARK: Postfix

    static func postfix(_ program: String, _ message: String) throws -> PostfixLine {
        let line = try #require(LogLine(octets("Nov 21 01:02:03 mx1 \(program)[1]: \(message)")))
        return try #require(PostfixLine(line))
    }

    @Test(
        "a delivery",
        arguments: [
            (
                "4cXk2J1hz: to=<bo@example.org>, relay=virtual, delay=0.3, delays=0.2/0/0/0.1, dsn=2.0.0, "
                    + "status=sent (delivered to maildir)",
                "bo@example.org|virtual|0.3|sent|delivered to maildir"
            ),
            (
                "4cXk2J1hz: to=<bo@example.org>, orig_to=<info@example.org>, relay=mx.example.net[192.0.2.7]:25, "
                    + "delay=1, delays=0.2/0/0/0.1, dsn=4.2.0, status=deferred (host said: 450 status=sent (no))",
                "bo@example.org|mx.example.net[192.0.2.7]:25|1|deferred|host said: 450 status=sent (no)"
            ),
            (
                #"4cXk2J1hz: to=<"x>, relay=none, delay=1, dsn=2.0.0, status=sent"@b.example>, relay=none, delay=2, "#
                    + "delays=1/1/0/0, dsn=5.1.1, status=bounced (no such user)",
                #""x>, relay=none, delay=1, dsn=2.0.0, status=sent"@b.example|none|2|bounced|no such user"#
            ),
            ("NOQUEUE: to=<a@b.example>, relay=x, status=sent (y)", nil), ("4cXk2J1hz: to=<a@b.example>", nil),
        ] as [(String, String?)])
    func delivery(_ message: String, _ expected: String?) throws {
        let found = Delivery(try Self.postfix("postfix/smtp", message))
        let told = found.map { [$0.recipient, $0.relay, $0.delay, $0.status, $0.reason].compactMap { text($0) } }
        #expect(told?.joined(separator: "|") == expected)
    }

    @Test(
        "a refusal",
        arguments: [
            (
                "postfix/smtpd",
                "NOQUEUE: reject: RCPT from mx.example.net[192.0.2.7]: 554 5.7.1 <bo@x.example>: Relay access denied; "
                    + "from=<ann@example.net> to=<bo@x.example> proto=ESMTP helo=<mx.example.net>",
                "reject|RCPT|192.0.2.7|554|5.7.1|<bo@x.example>: Relay access denied|ann@example.net|bo@x.example|"
                    + "mx.example.net|good"
            ),
            (
                "postfix/smtpd",
                "4cXk2J1hz: milter-reject: END-OF-MESSAGE from unknown[2001:db8::7]: 4.7.1 Later; from=<> "
                    + "to=<bo@x.example> proto=ESMTP helo=<a>",
                "milter-reject|END-OF-MESSAGE|2001:db8::7|nil|4.7.1|Later||bo@x.example|a|now"
            ),
            (
                "postfix/smtpd",
                "NOQUEUE: reject: CONNECT from unknown[192.0.2.7]: 421 4.7.0 no; proto=SMTP",
                "reject|CONNECT|192.0.2.7|421|4.7.0|no; proto=SMTP|nil|nil|nil|now"
            ),
            (
                "postfix/cleanup",
                "4cXk2J1hz: milter-reject: END-OF-MESSAGE from mx.example.net[192.0.2.7]: 5.7.26 no; from=<a@b.example> "
                    + "to=<c@d.example> proto=ESMTP helo=<mx.example.net>",
                "milter-reject|END-OF-MESSAGE|192.0.2.7|nil|5.7.26|no|a@b.example|c@d.example|mx.example.net|good"
            ),
            // A HELO name that looks like another client's line: the client stands before it.
            (
                "postfix/smtpd",
                "NOQUEUE: reject: HELO from mx.example.net[192.0.2.7]: 504 5.5.2 <x from y[203.0.113.9]: 554>: Helo "
                    + "command rejected; proto=SMTP helo=<x from y[203.0.113.9]: 554>",
                "reject|HELO|192.0.2.7|504|5.5.2|<x from y[203.0.113.9]: 554>: Helo command rejected; proto=SMTP "
                    + "helo=<x from y[203.0.113.9]: 554>|nil|nil|nil|good"
            ),
        ])
    func refusal(_ program: String, _ message: String, _ expected: String) throws {
        let line = try Self.postfix(program, message)
        let found = try #require(PostfixRefusal(line))
        let code = found.code.map { "\($0)" } ?? "nil"
        var told = [found.action, found.stage, found.client.address].compactMap { text($0) } + [code]
        told += [found.enhanced, found.reason].compactMap { text($0) }
        told += [found.sender, found.recipient, found.helo].map { text($0) ?? "nil" }
        #expect((told + [found.isForNow ? "now" : "good"]).joined(separator: "|") == expected)
    }

    @Test(
        "queue ids of messages that came of one",
        arguments: [
            ("postfix/bounce", "4cXk2J1hz: sender non-delivery notification: 72E90F7815D", "72E90F7815D"),
            ("postfix/smtpd", "4cXk2J1hz: client=localhost[127.0.0.1], orig_queue_id=72E90F7815D, x=y", "72E90F7815D"),
            (
                "postfix/smtp",
                "4cXk2J1hz: to=<a@b.example>, relay=127.0.0.1[127.0.0.1]:10024, delay=1, dsn=2.0.0, status=sent (250 2.0.0 "
                    + "Ok: queued as 72E90F7815D)", "72E90F7815D"
            ),
            // Another host's queue id is nothing to us.
            (
                "postfix/smtp",
                "4cXk2J1hz: to=<a@b.example>, relay=mx.b.example[192.0.2.7]:25, delay=1, dsn=2.0.0, status=sent (250 2.0.0 "
                    + "Ok: queued as 72E90F7815D)", nil
            ),
        ] as [(String, String, String?)])
    func related(_ program: String, _ message: String, _ id: String?) throws {
        #expect(text(try Self.postfix(program, message).related) == id)
    }

    @Test(
        "a reason without what differs from message to message",
        arguments: [
            (
                "<bo@x.example>: Recipient address rejected: Greylisted, try again in 300 seconds",
                "Recipient address rejected: Greylisted, try again in N seconds"
            ),
            (
                "Client host [192.0.2.7] blocked using zen.example; see <x>",
                "Client host [] blocked using zen.example; see <>"
            ),
            ("<unclosed", "<>"), ("12ab34", "NabN"), ("", ""),
        ])
    func plain(_ reason: String, _ expected: String) {
        #expect(String(decoding: PlainReason.of(octets(reason)), as: UTF8.self) == expected)
    }

    // MARK: Postern

    static let counted = [
        CounterReading(CounterName("answers_total", "action", "reject"), 1),
        CounterReading(CounterName("postern_policy_dnsbl_listings_total", "list", "a\"]}\\.example"), 1),
        CounterReading(CounterName("postern_policy_dnsbl_listings_total", "list", "b.example"), 1),
    ]

    @Test(
        "an object's own members; what is nested in it is passed over, and must end",
        arguments: [
            (#"{"a":{"b":["c","d"]},"e":1}"#, "a:nested e:1"),
            (#"{"a":[],"b":{},"c":null}"#, "a:nested b:nested c:null"),
            (#"{"a":{"text":"}]\"{"},"text":"x"}"#, "a:nested text:x"), (#"{"a":[1}"#, nil), (#"{"a":{"b":1"#, nil),
            (#"{"a":{"b}"#, nil),
            ("{\"a\":" + String(repeating: "[", count: 9) + String(repeating: "]", count: 9) + "}", nil),
            ("{\"a\":" + String(repeating: "[", count: 8) + String(repeating: "]", count: 8) + "}", "a:nested"),
            (#"{"a":[1]]}"#, nil),
        ] as [(String, String?)])
    func nested(_ json: String, _ expected: String?) {
        var told: [String] = []
        let isObject = FlatObject.read(octets(json)) { key, value in
            switch value {
            case .text(let value), .word(let value): told.append("\(text(key) ?? ""):\(text(value) ?? "")")
            case .null: told.append("\(text(key) ?? ""):null")
            case .nested: told.append("\(text(key) ?? ""):nested")
            }
        }
        #expect((isObject ? told.joined(separator: " ") : nil) == expected)
    }

    static let hostile: [[UInt8]] = [
        Array("ann@example.org".utf8), [], Array("x>; from=<y> to=<z> proto=ESMTP helo=<a>".utf8),
        Array("a; from=<b@c.example>".utf8), Array("\"\\\r\n\u{7}\u{E9}\u{2028}{}".utf8), [0xFF, 0xFE, 0x00],
        Array("mx[192.0.2.9]: 550".utf8), Array("NOQUEUE: reject: RCPT from a[b]: ".utf8),
    ]

    @Test(
        "an outcome of ours says the same as text and as JSON, whatever strangers wrote", arguments: LogFormat.allCases)
    func outcome(_ format: LogFormat) throws {
        let rendering = LogRendering(program: "postern-policy", pid: 815, format: format)
        let now = UnixTime(nanoseconds: 1_795_225_943_004_000_000)
        for (number, first) in Self.hostile.enumerated() {
            for second in Self.hostile {
                let sent = OutcomeLine(
                    queueID: number % 2 == 0 ? nil : "4cXk2J1hz", action: "reject", stage: "RCPT",
                    client: SMTPClient(name: second, address: IPAddress("192.0.2.7")),
                    text: "550 5.7.1 no; from=<x> (rule a; to=<y>)", mailFrom: first, recipient: second,
                    proto: "ESMTP", helo: first, counted: Self.counted)
                let message = rendering.message(of: .outcome(sent), at: now)
                let line = "Nov 21 01:52:23 mx1 postern-policy[815]: \(message)"
                let whole = try #require(LogLine(octets(line)), "\(line)")
                let found = try #require(PosternLine(whole), "\(line)")
                let outcome = try #require(found.outcome, "\(line)")
                #expect(found.daemon == .policy && text(found.pid) == "815" && found.trouble == nil)
                #expect(text(outcome.queueID) == sent.queueID)
                #expect(text(outcome.action) == "reject" && text(outcome.stage) == "RCPT")
                #expect(text(outcome.clientAddress) == "192.0.2.7")
                #expect(text(found.text) == sent.text)
                #expect(text(outcome.sender) == LogText.escaped(first), "\(line)")
                #expect(text(outcome.recipient) == LogText.escaped(second), "\(line)")
                #expect(text(outcome.helo) == LogText.escaped(first), "\(line)")
                #expect(found.time == (format == .json ? now : nil))
            }
        }
    }

    @Test(
        "an outcome without a tail, and notes",
        arguments: [
            ("4cXk2J1hz: sign: END-OF-MESSAGE from a[192.0.2.7]: d=x s=y a=z", "sign|d=x s=y a=z|nil"),
            ("4cXk2J1hz: sign: END-OF-MESSAGE from a[192.0.2.7]: x; from=<b>", "sign|x|b"),
            ("4cXk2J1hz: sign: END-OF-MESSAGE from a[192.0.2.7]: explains helo=<x>", "sign|explains helo=<x>|nil"),
            ("4cXk2J1hz: sign: END-OF-MESSAGE from a[192.0.2.7]: x; from=<b>c>", "sign|x; from=<b>c>|nil"),
            ("warning: upstream 192.0.2.53: no reply", "warning|upstream 192.0.2.53: no reply"),
            ("error: x", "error|x"), ("critical: x", "critical|x"), ("ready", "nil|ready"),
            ("NOQUEUE: not an outcome", "nil|NOQUEUE: not an outcome"),
        ])
    func notes(_ message: String, _ expected: String) throws {
        let whole = try #require(LogLine(octets("postern-dkim[1]: \(message)")))
        let line = try #require(PosternLine(whole))
        guard let outcome = line.outcome else {
            #expect("\(line.trouble.map { "\($0)" } ?? "nil")|\(text(line.text) ?? "")" == expected)
            return
        }
        #expect("\(text(outcome.action) ?? "")|\(text(line.text) ?? "")|\(text(outcome.sender) ?? "nil")" == expected)
    }

    @Test(
        "what is no JSON object is no line of ours",
        arguments: [
            "{", "{}", "{\"program\":\"postern-dkim\"", "{\"program\":\"postern-dkim\",}", "{\"program\":\"cron\"}",
            "{\"program\":\"postern-dkim\",\"x\":{}", "{\"program\":\"postern-dkim\"} x", "{\"program\":\"\\x\"}",
        ])
    func noObject(_ message: String) throws {
        let line = try #require(LogLine(octets("postern-dkim[1]: \(message)")))
        #expect(PosternLine(line) == nil)
    }

    @Test("no octets trap a reader, and a line is read as one of one program")
    func mutations() {
        let samples = [
            "Nov 21 03:52:23 mx1 postfix/smtpd[1]: NOQUEUE: reject: RCPT from a.example[192.0.2.7]: 554 5.7.1 <b@c.example>: "
                + "Relay access denied; from=<\"a>b\"@d.example> to=<b@c.example> proto=ESMTP helo=<e>",
            "2026-11-21T01:52:23.004+01:00 mx1 postfix/smtp[2]: 4cXk2J1hz: to=<a@b.example>, orig_to=<c>, relay=x[1]:25, "
                + "delay=1, delays=1/1/1/1, dsn=2.0.0, status=sent (250 ok: queued as 72E90F7815D)",
            "postern-policy[3]: NOQUEUE: defer: RCPT from a[192.0.2.7]: 450 4.2.0 later (dnsbl: score 4 (zen.example 4)); "
                + "shadow: would reject: 550 x (rule y) (greylist: first try of x); from=<a> to=<b> proto=ESMTP helo=<c>",
            "mx1 postern-dmarc[4]: 4cXk2J1hz: reject: END-OF-MESSAGE from a[192.0.2.7]: 550 5.7.26 no; dmarc=fail (x) "
                + "author=a p=reject, would hold: x, spf=pass (a) mailfrom=b, dkim=none; from=<a> helo=<b>",
            "postern-dkim[5]: 4cXk2J1hz: sign: END-OF-MESSAGE from a[192.0.2.7]: d=x s=y a=z, d=x s=q a=w; from=<a>",
            "postern-rate[6]: warning: repeated 3 times: limit a over: b: 3 of 3 recipients in 3600s; account=<c> clients=d",
            "Nov 21 01:02:03 mx1 postern-dkim[7]: {\"time\":\"2026-11-21T01:52:23.004Z\",\"program\":\"postern-dkim\","
                + "\"pid\":8,\"level\":\"info\",\"queue_id\":\"4cXk2J1hz\",\"action\":\"verify\",\"stage\":\"RCPT\","
                + "\"text\":\"dkim=pass \\\"\\u00e9\\\\ \",\"to\":null}",
            "Nov 21 03:52:23 mx1 postfix/qmgr[1]: 4cXk2J1hz: from=<a@b.example>, size=123, nrcpt=1 (queue active)",
        ].map { Array($0.utf8) }
        var counts = ReportCounts(offset: 0)
        var clock = LogClock(newest: UnixTime(seconds: 1_795_000_000))
        var lines = 0
        Mutations.of(
            samples,
            tokens: ["<", ">", "\"", "; from=<", "]: ", ": ", "=", " from ", "{", "\\"].map { Array($0.utf8) },
            count: 20_000, seed: 8
        ) { octets in
            guard let line = LogLine(octets[...]) else { return }
            lines += 1
            #expect(
                PosternLine(line) == nil || PostfixLine(line) == nil
                    || line.program.contains(UInt8(ascii: "/")) == false)
            counts.take(line, time: { clock.time(of: line.stamp) }, wants: { _ in true })
            _ = PostfixLine(line).map { ($0.related, $0.size, $0.login) }
        }
        #expect(lines > 5000 && counts.postfixLines + counts.posternLines > 2000)
        let report = Report(
            counts: counts, since: nil, until: nil, made: UnixTime(seconds: 1_795_000_000), reading: .init(),
            time: LogTimeText(offset: 0))
        #expect(!report.text.unicodeScalars.contains { $0.value < 0x20 && $0 != "\n" })
        #expect(report.json.description.utf8.count > 100)
    }
}
