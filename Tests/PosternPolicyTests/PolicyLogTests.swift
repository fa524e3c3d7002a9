// The door's log lines: Postfix's grammar, and strangers' texts in it that cannot write another line.

import PosternMail
import PosternSocket
import TestSupport
import Testing

@testable import PosternPolicy

@Suite("the policy door's log and counters")
struct PolicyLogTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let rule: String
        let query: PolicyQuery
        var outcome = PolicyOutcome.logged(.reject(Reply(code: 550, enhanced: "5.7.1", text: "no")))
        let line: String
        var testDescription: String { rule }
    }
    private static let greylisted = PolicyAnswer.deferIfPermit(
        Reply(code: 450, enhanced: "4.2.0", text: "greylisted for 300s"))

    static let rows = [
        Row(
            rule: "a first recipient has no queue id", query: PolicyQuery(name: "mx.example.net", sender: ""),
            outcome: .logged(greylisted),
            line: "NOQUEUE: defer: RCPT from mx.example.net[192.0.2.7]: 450 4.2.0 greylisted for 300s; from=<> "
                + "to=<bo@example.org> proto=ESMTP helo=<mx.example.net>"),
        Row(
            rule: "a second one has", query: PolicyQuery(client: "2001:db8::7").with("queue_id", "4cXk2J1hz"),
            line: "4cXk2J1hz: reject: RCPT from mx.example.net[2001:db8::7]: 550 5.7.1 no; from=<ann@example.net> "
                + "to=<bo@example.org> proto=ESMTP helo=<mx.example.net>"),
        Row(
            rule: "before MAIL there is no sender", query: PolicyQuery(state: "EHLO", sender: "", recipient: ""),
            line: "NOQUEUE: reject: EHLO from mx.example.net[192.0.2.7]: 550 5.7.1 no; "
                + "proto=ESMTP helo=<mx.example.net>"),
        Row(
            rule: "at END-OF-MESSAGE there may be no recipient",
            query: PolicyQuery(state: "END-OF-MESSAGE", recipient: ""),
            line: "NOQUEUE: reject: END-OF-MESSAGE from mx.example.net[192.0.2.7]: 550 5.7.1 no; "
                + "from=<ann@example.net> proto=ESMTP helo=<mx.example.net>"),
        Row(
            rule: "a client without name or address", query: PolicyQuery(client: "unknown", name: "unknown"),
            line: "NOQUEUE: reject: RCPT from unknown[unknown]: 550 5.7.1 no; from=<ann@example.net> "
                + "to=<bo@example.org> proto=ESMTP helo=<unknown>"),
        Row(
            rule: "words of the service's own", query: PolicyQuery().with("helo_name", ""),
            outcome: .logged(.dunno, as: "warn", text: "would reject: listed"),
            line: "NOQUEUE: warn: RCPT from mx.example.net[192.0.2.7]: would reject: listed; from=<ann@example.net> "
                + "to=<bo@example.org> proto=ESMTP"),
        Row(
            rule: "log injection through HELO, sender and recipient",
            query: PolicyQuery(sender: "a>: b\r@\u{1B}[2J", recipient: "<x>\\").with("helo_name", "h> to=<v@x\u{E9}"),
            line: "NOQUEUE: reject: RCPT from mx.example.net[192.0.2.7]: 550 5.7.1 no; "
                + "from=<a\\x3E: b\\x0D@\\x1B[2J> to=<\\x3Cx\\x3E\\x5C> proto=ESMTP helo=<h\\x3E to=\\x3Cv@x\\xC3\\xA9>"
        ),
        Row(
            rule: "log injection through a client's name, a queue id and a protocol",
            query: PolicyQuery(name: "a[1.2.3.4]: x").with("queue_id", "1: reject").with("protocol_name", "X helo=<y>")
                .with("helo_name", "h"),
            line: "NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 550 5.7.1 no; from=<ann@example.net> "
                + "to=<bo@example.org> helo=<h>"),
        Row(
            rule: "a long HELO is cut", query: PolicyQuery().with("helo_name", String(repeating: "x", count: 2000)),
            line: "NOQUEUE: reject: RCPT from mx.example.net[192.0.2.7]: 550 5.7.1 no; from=<ann@example.net> "
                + "to=<bo@example.org> proto=ESMTP helo=<\(String(repeating: "x", count: 256))...>"),
    ]

    @Test("one line an outcome", arguments: rows)
    func lines(row: Row) throws {
        let outcome = row.outcome
        let door = try TestDoor(Script { _ in outcome })
        _ = try door.client().ask(row.query)
        #expect(door.log.lines == [row.line])
    }

    @Test("what the log says of each answer, where the service says nothing else")
    func words() {
        let reply = Reply(code: 450, enhanced: "4.7.1", text: "later")
        let rows: [(PolicyAnswer, String, String)] = [
            (.dunno, "pass", "no objection"), (.reject(reply), "reject", "450 4.7.1 later"),
            (.defer(reply), "defer", "450 4.7.1 later"), (.deferIfPermit(reply), "defer", "450 4.7.1 later"),
            (.hold("odd"), "hold", "odd"), (.prepend(name: "X", value: "y"), "prepend", "X: y"),
            (.filter(transport: "smtp", destination: "x"), "filter", "smtp:x"),
            (.redirect("a@b.example"), "redirect", "a@b.example"), (.bcc("a@b.example"), "bcc", "a@b.example"),
        ]
        for (answer, action, text) in rows {
            #expect(PolicyOutcome.logged(answer).remark == PolicyRemark(action: action, text: text))
            #expect(PolicyOutcome.silent(answer).remark == nil)
        }
    }

    @Test("counters bear the daemon's name")
    func counters() throws {
        let door = try TestDoor()
        _ = try door.client().ask(PolicyQuery())
        let readings = door.server.counters(of: "rate")
        #expect(readings.count == PolicyCounter.allCases.count)
        #expect(Set(readings.map(\.name)).count == readings.count)
        #expect(readings.allSatisfy { $0.name.metric.hasPrefix("postern_rate_") && $0.name.metric.hasSuffix("_total") })
        #expect(readings.first.map { "\($0.name) \($0.value)" } == "postern_rate_answers_total{action=\"dunno\"} 1")
    }
}
