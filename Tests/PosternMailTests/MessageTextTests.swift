// A file split into header and body as Postfix would split it: line ends, folds, and lines that are no fields.

import TestSupport
import Testing

@testable import PosternMail

@Suite("message text")
struct MessageTextTests {
    @Test(
        "header and body",
        arguments: [
            // Line ends: LF is taken as CRLF, a bare CR stays (RFC 6376 §5.3).
            ("A: b\r\nC: d\r\n\r\nbody\r\n", ["A| b", "C| d"], "body\r\n"),
            ("A: b\nC: d\n\nbody\nmore\n", ["A| b", "C| d"], "body\r\nmore\r\n"),
            ("A: b\r\nC: d\n\r\nx", ["A| b", "C| d"], "x"),
            ("A: b\rc\r\n\r\nx\ry\r\n", ["A| b\rc"], "x\ry\r\n"),
            ("A: b\r\r\n\r\n", ["A| b\r"], ""),
            // The end of the header.
            ("A: b\r\n\r\n", ["A| b"], ""),
            ("A: b\r\n", ["A| b"], ""),
            ("A: b", ["A| b"], ""),
            ("", [], ""),
            ("\r\n", [], ""),
            ("\r\nA: b\r\n", [], "A: b\r\n"),
            ("A: b\r\n\r\n\r\nx", ["A| b"], "\r\nx"),
            ("A: b\r\nno field\r\n\r\nx", ["A| b"], "no field\r\n\r\nx"),
            ("A: b\r\n: c\r\n", ["A| b"], ": c\r\n"),
            ("A: b\r\nHello world: c\r\n", ["A| b"], "Hello world: c\r\n"),  // RFC 5322 §3.6.8: no SP in a name
            ("A: b\r\nH\u{E9}: c\r\n", ["A| b"], "H\u{E9}: c\r\n"),
            ("A: b\r\nH\u{0}: c\r\n", ["A| b"], "H\u{0}: c\r\n"),
            // Folds (RFC 5322 §2.2.3), as they stand.
            ("A: b\r\n c\r\n\td\r\nE: f\r\n\r\n", ["A| b\r\n c\r\n\td", "E| f"], ""),
            ("A: b\n c\n\nx", ["A| b\r\n c"], "x"),
            ("A:\r\n \r\n b\r\n\r\n", ["A|\r\n \r\n b"], ""),
            ("A: b\r\n c", ["A| b\r\n c"], ""),
            (" c\r\nA: b\r\n", [], " c\r\nA: b\r\n"),
            // Names and values, octet for octet.
            ("A :b\r\nC:\r\n\r\n", ["A |b", "C|"], ""),
            ("A: b: c\r\n\r\n", ["A| b: c"], ""),
            // mbox separators, and From fields that only look like one (RFC 5322 Appendix A.6.3).
            ("From ann@example.org Thu Nov 12 10:00:00 2026\nA: b\n\nx", ["A| b"], "x"),
            ("From ann@example.org", [], ""),
            (
                "From  : John Doe <jdoe@machine(comment).  example>\r\nA: b\r\n\r\n",
                ["From  | John Doe <jdoe@machine(comment).  example>", "A| b"], ""
            ),
            ("From : a@b.example\r\n\r\nx", ["From | a@b.example"], "x"),
            ("From: a@b.example\r\n\r\nx", ["From| a@b.example"], "x"),
        ])
    func split(_ text: String, _ header: [String], _ body: String) {
        let message = MessageText(octets: Array(text.utf8))
        #expect(
            message.header.map { String(decoding: $0.name + [0x7C] + $0.value, as: UTF8.self) } == header)
        #expect(String(decoding: message.body, as: UTF8.self) == body)
    }

    @Test("every octet of a message with CRLF line ends is in a field or in the body")
    func mutations() {
        let samples = ["A: b\r\n c\r\nFrom: x\r\n\r\nbody\r\n", "From x\nA: b\n\nbody", "A:b\r\n"].map {
            Array($0.utf8)
        }
        let tokens = ["\r\n", "\n", "\r", ":", " ", "\r\n\r\n", "From "].map { Array($0.utf8) }
        Mutations.of(samples, tokens: tokens, count: 20_000, seed: 822) { octets in
            let message = MessageText(octets: octets)
            var joined: [UInt8] = []
            for field in message.header { joined += field.name + [0x3A] + field.value + [0x0D, 0x0A] }
            let text = MessageText.withCRLF(octets)
            #expect(message.header.allSatisfy { !$0.name.isEmpty && $0.name.first?.isWSP == false })
            // Between them stands the empty line, or the line end that the last field lacks, or nothing.
            let rest = text.count - joined.count - message.body.count
            #expect(text.starts(with: Array("From ".utf8)) || rest == 2 || rest == 0 || rest == -2)
            #expect(text.suffix(message.body.count).elementsEqual(message.body))
        }
    }

    @Test("10,000 fields, and one of 1 MiB")
    func large() {
        let many = String(repeating: "A: b\r\n", count: 10_000) + "\r\nx"
        #expect(MessageText(octets: Array(many.utf8)).header.count == 10_000)
        let folded = "A:" + String(repeating: " b\r\n", count: 1 << 18) + "\r\nx"
        let message = MessageText(octets: Array(folded.utf8))
        #expect(message.header.map(\.value.count) == [(1 << 20) - 2])
        #expect(message.body == [0x78])
    }
}
