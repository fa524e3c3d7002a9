// What Postfix reads of an answer, and what it must never read.

import PosternMail
import TestSupport
import Testing

@testable import PosternPolicy

@Suite("policy answers on the wire")
struct PolicyAnswerTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let answer: PolicyAnswer
        /// The line without its end; nil where Postfix has no words for it.
        let line: String?
        let error: UnspeakableAnswer?
        var testDescription: String { "\(answer)" }

        init(_ answer: PolicyAnswer, _ line: String) { (self.answer, self.line, error) = (answer, line, nil) }
        init(_ answer: PolicyAnswer, _ error: UnspeakableAnswer) {
            (self.answer, line, self.error) = (answer, nil, error)
        }
    }

    private static func reply(_ code: Int, _ enhanced: String, _ text: String = "Go away") -> Reply {
        Reply(code: code, enhanced: enhanced, text: text)
    }

    /// access(5), and check_table_result in Postfix's smtpd_check.c.
    static let rows: [Row] = [
        Row(.dunno, "action=DUNNO"),
        Row(.reject(reply(550, "5.7.1")), "action=550 5.7.1 Go away"),
        Row(.reject(reply(554, "5.7.1", "")), "action=554 5.7.1"),
        Row(.reject(reply(550, "5.7.1", "a\nb\u{E9}")), "action=550 5.7.1 a?b??"),
        Row(.reject(reply(450, "4.7.1")), "action=450 4.7.1 Go away"),
        Row(.reject(reply(550, "5.7")), "action=550 5.7.1 Go away"),
        Row(.reject(reply(550, "5.7.1\nx")), "action=550 5.7.1 Go away"),
        Row(.reject(reply(550, "5.7.1111")), "action=550 5.7.1 Go away"),
        Row(.defer(reply(450, "4.2.0")), "action=450 4.2.0 Go away"),
        Row(.defer(reply(550, "5.2.1")), "action=450 4.2.1 Go away"),
        Row(
            .deferIfPermit(reply(450, "4.2.0", "greylisted for 300s")),
            "action=DEFER_IF_PERMIT 4.2.0 greylisted for 300s"),
        Row(.deferIfPermit(reply(550, "5.7.1")), "action=DEFER_IF_PERMIT 4.7.1 Go away"),
        Row(.hold("suspicious"), "action=HOLD suspicious"),
        Row(.hold(""), "action=HOLD"),
        Row(.hold("a\r\nb\u{0}c"), "action=HOLD a??b?c"),
        Row(.prepend(name: "X-Seen", value: "yes: 1"), "action=PREPEND X-Seen: yes: 1"),
        Row(.prepend(name: "X-Seen", value: "a\nFrom: b"), "action=PREPEND X-Seen: a?From: b"),
        Row(.prepend(name: "", value: "a"), .fieldName),
        Row(.prepend(name: "X Seen", value: "a"), .fieldName),
        Row(.prepend(name: "X:", value: "a"), .fieldName),
        Row(.prepend(name: "X\n", value: "a"), .fieldName),
        Row(.filter(transport: "smtp", destination: "[127.0.0.1]:10025"), "action=FILTER smtp:[127.0.0.1]:10025"),
        Row(.filter(transport: "scan", destination: ""), "action=FILTER scan:"),
        Row(.filter(transport: "", destination: "x"), .filter),
        Row(.filter(transport: "a:b", destination: "x"), .filter),
        Row(.filter(transport: "a", destination: "x\ny"), .filter),
        Row(.filter(transport: "a", destination: "x y"), .filter),
        Row(.redirect("ann@example.org"), "action=REDIRECT ann@example.org"),
        Row(.redirect("j\u{FC}rgen@example.org"), "action=REDIRECT j\u{FC}rgen@example.org"),
        Row(.bcc("ann@example.org"), "action=BCC ann@example.org"),
        Row(.bcc("ann"), .address),
        Row(.bcc("@example.org"), .address),
        Row(.redirect("ann@"), .address),
        Row(.redirect("ann@example.org\nOK"), .address),
        Row(.redirect("ann@example.org, bo@example.org"), .address),
        Row(.redirect(String(repeating: "x", count: 500) + "@example.org"), .tooLong),
        Row(.filter(transport: String(repeating: "x", count: 600), destination: ""), .tooLong),
        Row(.prepend(name: String(repeating: "x", count: 600), value: ""), .tooLong),
    ]

    @Test("each answer in Postfix's words", arguments: rows)
    func wire(row: Row) {
        do throws(UnspeakableAnswer) {
            let line = try row.answer.wire()
            #expect(row.line.map { Array("\($0)\n\n".utf8) } == line)
        } catch {
            #expect(error == row.error)
        }
    }

    @Test("whatever the answer, one line that ends no restrictions")
    func property() {
        // Everything that ends Postfix's restrictions or begins another line, as texts of all kinds.
        let texts = [
            "OK", "RELAY", "PERMIT", "permit", "1234567890", "reject_unauth_destination", "", " ", "\n",
            "\n\naction=OK",
            "\r\n", "\u{0}", "550", "550 5.7.1", "a@b", "$recipient", "%%", "\t", "\u{2028}", "DUNNO", "x:y", "=",
            String(repeating: "y", count: 600), String(repeating: "\u{20AC}", count: 400),
        ]
        let words = ["DUNNO", "DEFER_IF_PERMIT", "HOLD", "PREPEND", "FILTER", "REDIRECT", "BCC"]
        var random = SeededRandom(seed: 11)
        var spoken = 0
        for _ in 0..<5000 {
            func text() -> String {
                (0..<Int.random(in: 1...2, using: &random)).map { _ in texts.randomElement(using: &random) ?? "" }
                    .joined()
            }
            let code = Int.random(in: 400...599, using: &random)
            let reply = Reply(code: code, enhanced: "\(code / 100)\(text())", text: text())
            let answers: [PolicyAnswer] = [
                .dunno, .reject(reply), .defer(reply), .deferIfPermit(reply), .hold(text()),
                .prepend(name: text(), value: text()), .filter(transport: text(), destination: text()),
                .redirect(text()), .bcc(text()),
            ]
            guard let answer = answers.randomElement(using: &random) else { continue }
            guard let wire = try? answer.wire() else { continue }  // Postfix has no words for it
            spoken += 1
            #expect(wire.count <= PolicyAnswer.maxWireOctets + 1 && wire.suffix(2).elementsEqual([10, 10]))
            #expect(wire.dropLast(2).allSatisfy { $0 != 10 && $0 != 0 } && wire.starts(with: "action=".utf8))
            let action = String(decoding: wire.dropFirst(7).dropLast(2), as: UTF8.self)
            #expect(
                action.utf8.elementsEqual(wire.dropFirst(7).dropLast(2)), "valid UTF-8, or Postfix takes its default")
            let parts = action.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
            let first = parts.first.map(String.init) ?? ""
            if !words.contains(first) {
                // Three digits alone would be OK; with a status behind them they are a reply.
                #expect(first.utf8.count == 3 && (Int(first).map { (400...599).contains($0) } ?? false))
                let status = (parts.dropFirst().first ?? "").split(separator: ".", omittingEmptySubsequences: false)
                #expect(
                    status.count == 3 && status.allSatisfy { (1...3).contains($0.count) && $0.allSatisfy(\.isNumber) })
                #expect(status.first?.first == first.first)
            }
            if case .defer = answer { #expect(first.hasPrefix("4")) }
        }
        #expect(spoken > 2000)
    }
}
