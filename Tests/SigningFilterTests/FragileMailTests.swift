// Mail of ours that relays may alter after we have signed it (RFC 6376 §5.3): what is told of it, and that it is signed all
// the same.

import PosternAuth
import PosternMail
import PosternMilter
import TestSupport
import Testing

@testable import postern_dkim

@Suite("mail that relays may alter") struct FragileMailTests {
    struct Row: CustomTestStringConvertible, Sendable {
        let rule: String
        var fields: [String] = []
        var declares = false
        let body: String
        let found: [Fragility]
        var testDescription: String { rule }

        init(
            _ rule: String, fields: [String] = [], declares: Bool = false, body: String, _ found: [Fragility]
        ) {
            (self.rule, self.fields, self.declares, self.body, self.found) = (rule, fields, declares, body, found)
        }
    }
    private static func octets(_ count: Int) -> String { String(repeating: "x", count: count) }

    static let rows = [
        Row("plain text", body: "Hello\r\n\r\nBye\r\n", []),
        Row("no body", body: "", []),
        Row("a last line without its end", body: "Hello", []),
        Row("8-bit text that nobody declares", body: "Gr\u{FC}\u{DF}e\r\n", [.eightBit]),  // RFC 6152 §3
        Row("BODY=8BITMIME", declares: true, body: "Gr\u{FC}\u{DF}e\r\n", []),
        Row(
            "Content-Transfer-Encoding: 8bit", fields: ["Content-Transfer-Encoding:  8BIT\r\n "],
            body: "Gr\u{FC}\u{DF}e\r\n", []),  // RFC 2045 §6.1
        Row(
            "it says 7bit and is not", fields: ["Content-Transfer-Encoding: 7bit"], body: "Gr\u{FC}\u{DF}e\r\n",
            [.eightBit]),
        Row("a line of 998 octets", body: octets(998) + "\r\n", []),  // RFC 5322 §2.1.1
        Row("a line of 999 octets", body: octets(999) + "\r\n", [.longLine]),
        Row("a last line of 999 octets without its end", body: "a\r\n" + octets(999), [.longLine]),
        Row("many lines of 998 octets", body: (octets(998) + "\r\n" + octets(998) + "\r\n"), []),
        Row("octets count, not characters", declares: true, body: octets(997) + "\u{FC}\r\n", [.longLine]),
        Row("a field of 998 octets", fields: ["Subject: " + octets(989)], body: "", []),
        Row("a field of 999 octets", fields: ["Subject: " + octets(990)], body: "", [.longLine]),
        Row("a folded field", fields: ["Subject: " + octets(900) + "\r\n " + octets(997)], body: "", []),
        Row("a long fold", fields: ["Subject: a\r\n " + octets(998)], body: "", [.longLine]),
        Row("a CR alone", body: "a\rb\r\n", [.bareLineEnd]),  // RFC 5322 §2.3
        Row("an LF alone", body: "a\nb\r\n", [.bareLineEnd]),
        Row("LF at the front", body: "\nb\r\n", [.bareLineEnd]),
        Row("CR CR LF", body: "a\r\r\n", [.bareLineEnd]),
        Row("CR at the end", body: "a\r", [.bareLineEnd]),
        Row("a CR alone in a field", fields: ["Subject: a\rb"], body: "", [.bareLineEnd]),
        Row(
            "all of them", fields: ["Subject: a\rb"], body: "\u{FC}" + octets(2000) + "\r\n",
            [.eightBit, .longLine, .bareLineEnd]),
    ]

    @Test("what is found, however the body is cut", arguments: rows)
    func findings(row: Row) {
        let body = Array(row.body.utf8)
        for size in [1, 2, 3, 7, 8, 9, 64, 997, 65_535] {
            var fragile = FragileText(declaresEightBit: row.declares)
            for field in row.fields {
                let colon = field.firstIndex(of: ":") ?? field.endIndex
                fragile.add(
                    HeaderField(name: Array(field[..<colon].utf8), value: Array(field[colon...].dropFirst().utf8)))
            }
            var rest = body[...]
            while !rest.isEmpty {
                let chunk = Array(rest.prefix(size))
                fragile.update(chunk.span)
                rest = rest.dropFirst(size)
            }
            #expect(fragile.findings == row.found, "in chunks of \(size)")
        }
    }

    @Test("words of eight octets and single octets find the same")
    func words() {
        Mutations.of(
            [Array("Hello there,\r\nhow are you?\r\n".utf8), Array(String(repeating: "y", count: 1000).utf8)],
            tokens: [[0x0D], [0x0A], [0x0D, 0x0A], [0x80], [0xFF], [0x0B], [0x0C], [0x8D], [0x8A]], count: 3000,
            seed: 53
        ) { octets in
            var (whole, single) = (FragileText(declaresEightBit: false), FragileText(declaresEightBit: false))
            whole.update(octets.span)
            for octet in octets { single.update([octet].span) }
            #expect(whole.findings == single.findings)
        }
    }

    @Test("it is signed, told in its line and counted; no mail is refused or altered for it")
    func signed() throws {
        let bench = try FilterBench()
        let filter = bench.session("127.0.0.1", name: "localhost")
        let verdict = filter.send(
            "From: ann@example.org\n\nGr\u{FC}\u{DF}e \(Self.octets(1000))\n", from: "ann@example.org")
        #expect(verdict.disposition == .accept && verdict.edits.count == 2)
        let line = try #require(bench.log.lines.first)
        #expect(
            line.hasSuffix(
                ", fragile: 8-bit text without BODY=8BITMIME and a line over 998 octets; from=<ann@example.org>"),
            "\(line)")
        #expect(bench.service.counters[.fragileEightBit] == 1 && bench.service.counters[.fragileLongLine] == 1)
        #expect(bench.service.counters[.fragileBareLineEnd] == 0 && bench.service.counters[.signed] == 1)
        guard case .outcome(let outcome)? = bench.log.events.first else { return }
        #expect(
            outcome.counted.map(\.name.description) == [
                #"postern_dkim_messages_total{verdict="signed"}"#, #"postern_dkim_fragile_total{reason="eight_bit"}"#,
                #"postern_dkim_fragile_total{reason="long_line"}"#,
            ])
    }

    @Test("a stranger's mail, which we do not sign, is not looked at")
    func stranger() throws {
        let bench = try FilterBench()
        _ = bench.session("192.0.2.7").send(
            "From: ann@example.com\n\nGr\u{FC}\u{DF}e\n", from: "ann@example.com")
        #expect(bench.service.counters[.fragileEightBit] == 0)
        #expect(bench.log.lines.allSatisfy { !$0.contains("fragile") })
    }
}
