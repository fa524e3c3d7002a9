// Canonical forms of header and body (RFC 6376 §3.4): tables with the chunks spelled out, and the streaming body forms
// against slow ones that are plainly the RFC's sentences.

import PosternMail
import TestSupport
import Testing

@testable import PosternAuth

/// Collects a canonical form.
private final class Collected: OctetSink {
    var octets: [UInt8] = []
    func write(_ octets: Span<UInt8>) {
        for at in octets.indices { self.octets.append(octets[at]) }
    }
}

/// The canonical form of a body that comes in these chunks.
func canonical(_ form: BodyCanonicalization, _ chunks: [[UInt8]]) -> [UInt8] {
    let sink = Collected()
    switch form {
    case .simple:
        var body = SimpleBody()
        for chunk in chunks { body.update(chunk.span, into: sink) }
        body.finish(into: sink)
    case .relaxed:
        var body = RelaxedBody()
        for chunk in chunks { body.update(chunk.span, into: sink) }
        body.finish(into: sink)
    }
    return sink.octets
}

@Suite("canonicalization")
struct CanonicalizationTests {
    struct Row: Sendable {
        var name: String
        var chunks: [String]
        var simple: String
        var relaxed: String

        init(_ name: String, chunks: [String], simple: String, relaxed: String) {
            (self.name, self.chunks, self.simple, self.relaxed) = (name, chunks, simple, relaxed)
        }
    }

    @Test(
        "body, RFC 6376 §3.4.3 (simple) and §3.4.4 (relaxed)",
        arguments: [
            Row("the empty body", chunks: [], simple: "\r\n", relaxed: ""),
            Row("an empty chunk", chunks: [""], simple: "\r\n", relaxed: ""),
            Row("one empty line", chunks: ["\r\n"], simple: "\r\n", relaxed: ""),
            Row("empty lines only, cut", chunks: ["\r", "\n\r", "\n", "\r\n"], simple: "\r\n", relaxed: ""),
            Row("a line of white space only", chunks: [" \t\r\n"], simple: " \t\r\n", relaxed: ""),
            Row("white space without a line end", chunks: ["  "], simple: "  \r\n", relaxed: ""),
            Row("one line", chunks: ["Hey\r\n"], simple: "Hey\r\n", relaxed: "Hey\r\n"),
            Row("no CRLF at the end", chunks: ["Hey"], simple: "Hey\r\n", relaxed: "Hey\r\n"),
            Row("no CRLF after a second line", chunks: ["a\r\nb"], simple: "a\r\nb\r\n", relaxed: "a\r\nb\r\n"),
            Row("empty lines at the end go", chunks: ["Hey\r\n\r\n\r\n"], simple: "Hey\r\n", relaxed: "Hey\r\n"),
            Row(
                "empty lines inside stay", chunks: ["a\r\n\r\n\r\nb\r\n"],
                simple: "a\r\n\r\n\r\nb\r\n", relaxed: "a\r\n\r\n\r\nb\r\n"),
            Row(
                "empty lines at the start stay", chunks: ["\r\n\r\na\r\n"], simple: "\r\n\r\na\r\n",
                relaxed: "\r\n\r\na\r\n"),
            Row("CRLF cut between two chunks", chunks: ["Hey \r", "\n\r\n"], simple: "Hey \r\n", relaxed: "Hey\r\n"),
            Row(
                "empty lines cut from their text", chunks: ["a\r\n", "\r\n", "\r\n", "b"],
                simple: "a\r\n\r\n\r\nb\r\n", relaxed: "a\r\n\r\n\r\nb\r\n"),
            Row("runs of WSP", chunks: ["a \t b\tc  d\r\n"], simple: "a \t b\tc  d\r\n", relaxed: "a b c d\r\n"),
            Row("WSP cut", chunks: ["a ", "\t", " b"], simple: "a \t b\r\n", relaxed: "a b\r\n"),
            Row(
                "WSP at the start of a line", chunks: ["  a\r\n\tb\r\n"], simple: "  a\r\n\tb\r\n",
                relaxed: " a\r\n b\r\n"),
            Row(
                "WSP at the end of a line", chunks: ["a \t \r\nb\t\r\n"], simple: "a \t \r\nb\t\r\n",
                relaxed: "a\r\nb\r\n"),
            Row(
                "WSP in lines before text", chunks: ["a\r\n \r\n\t\r\nb\r\n"],
                simple: "a\r\n \r\n\t\r\nb\r\n", relaxed: "a\r\n\r\n\r\nb\r\n"),
            Row("WSP in lines at the end", chunks: ["a\r\n \r\n\t\r\n"], simple: "a\r\n \r\n\t\r\n", relaxed: "a\r\n"),
            Row("a CR alone is text", chunks: ["a\rb \r c\r\n"], simple: "a\rb \r c\r\n", relaxed: "a\rb \r c\r\n"),
            Row("a CR before CRLF is text", chunks: ["a\r\r\n"], simple: "a\r\r\n", relaxed: "a\r\r\n"),
            Row("a CR at the end is text", chunks: ["a\r\n\r"], simple: "a\r\n\r\r\n", relaxed: "a\r\n\r\r\n"),
            Row("a CR cut from text", chunks: ["\r\n\r", "a"], simple: "\r\n\ra\r\n", relaxed: "\r\n\ra\r\n"),
            Row("a LF alone is text", chunks: ["a \nb\n\n"], simple: "a \nb\n\n\r\n", relaxed: "a \nb\n\n\r\n"),
            Row("a LF first", chunks: ["\n", "\r\n"], simple: "\n\r\n", relaxed: "\n\r\n"),
            Row(
                "controls are text", chunks: ["\u{0}\u{B}\u{7F}\r\n"], simple: "\u{0}\u{B}\u{7F}\r\n",
                relaxed: "\u{0}\u{B}\u{7F}\r\n"),
            Row(
                "octets over 0x7F", chunks: ["Grüße  an\u{A0} alle\r\n"],
                simple: "Grüße  an\u{A0} alle\r\n", relaxed: "Grüße an\u{A0} alle\r\n"),
            Row(
                "single SPs at each place of a word", chunks: ["a bc def ghij klmno pqrstu vwxyz12 3456789  0\r\n"],
                simple: "a bc def ghij klmno pqrstu vwxyz12 3456789  0\r\n",
                relaxed: "a bc def ghij klmno pqrstu vwxyz12 3456789 0\r\n"),
        ])
    func body(row: Row) {
        let whole = row.chunks.joined()
        let octets = Array(whole.utf8)
        let wanted: [(BodyCanonicalization, String)] = [(.simple, row.simple), (.relaxed, row.relaxed)]
        for (form, text) in wanted {
            let splits = [row.chunks.map { Array($0.utf8) }, [octets], octets.map { [$0] }]
            for chunks in splits {
                #expect(
                    String(decoding: canonical(form, chunks), as: UTF8.self) == text, "\(row.name), \(form), \(chunks)")
            }
        }
    }

    /// RFC 6376 §3.4.3 and §3.4.4, sentence by sentence, on whole bodies.
    private func slow(_ form: BodyCanonicalization, _ body: [UInt8]) -> [UInt8] {
        var lines: [[UInt8]] = [[]]
        var at = 0
        while at < body.count {
            if body[at] == 0x0D, at + 1 < body.count, body[at + 1] == 0x0A {
                lines.append([])
                at += 2
            } else {
                lines[lines.count - 1].append(body[at])
                at += 1
            }
        }
        if form == .relaxed {
            lines = lines.map { line in
                var line = line
                while line.last?.isWSP == true { line.removeLast() }
                var reduced: [UInt8] = []
                for octet in line {
                    if !octet.isWSP { reduced.append(octet) } else if reduced.last != 0x20 { reduced.append(0x20) }
                }
                return reduced
            }
        }
        while lines.last?.isEmpty == true { lines.removeLast() }
        if lines.isEmpty, form == .simple { return [0x0D, 0x0A] }
        return lines.flatMap { $0 + [0x0D, 0x0A] }
    }

    @Test("random bodies in random chunks, against the RFC's sentences")
    func differential() {
        var random = SeededRandom(seed: 6376)
        let alphabets: [[UInt8]] = [
            Array(" \t\r\na".utf8), Array("\r\n".utf8) + [0x20, 0x41, 0x42, 0x43], Array(0...255),
            Array("aaaaaaaaaaaaaaaaaa bcdefghijklmno\n\r".utf8), Array("\r\n ".utf8),
        ]
        let pieces = [Array("\r\n".utf8), Array(" \r\n".utf8), Array("word ".utf8), Array("0123456789abcdef".utf8)]
        for round in 0..<3000 {
            let alphabet = alphabets[round % alphabets.count]
            var body: [UInt8] = []
            for _ in 0..<Int.random(in: 0...60, using: &random) {
                if Bool.random(using: &random) {
                    body.append(alphabet.randomElement(using: &random) ?? 0)
                } else {
                    body += pieces.randomElement(using: &random) ?? []
                }
            }
            var chunks: [[UInt8]] = []
            inChunks(body, sizes: 1...Int.random(in: 1...40, using: &random), seed: UInt64(round)) { span in
                chunks.append(span.indices.map { span[$0] })
            }
            for form in BodyCanonicalization.allCases {
                let (got, wanted) = (canonical(form, chunks), slow(form, body))
                #expect(got == wanted, "round \(round), \(form): \(body) in \(chunks)")
                if got != wanted { return }
            }
        }
    }

    @Test("bodies larger than the buffer, with line ends enough to fill it")
    func largeBodies() {
        var random = SeededRandom(seed: 3)
        for lineEnds in [1, 4000, 8190, 8191, 8192, 8193, 20_000] {
            for lead in [0, 1, 16_383, 16_384, 9000] {
                var body = [UInt8](repeating: 0x61, count: lead)
                for _ in 0..<lineEnds { body += [0x20, 0x0D, 0x0A] }
                body += [0x20, 0x62]
                for form in BodyCanonicalization.allCases {
                    let wanted = slow(form, body)
                    var chunks: [[UInt8]] = []
                    let size = Int.random(in: 1...70_000, using: &random)
                    inChunks(body, sizes: size...size) { span in chunks.append(span.indices.map { span[$0] }) }
                    let matches = canonical(form, chunks) == wanted
                    #expect(matches, "\(lineEnds) line ends after \(lead), \(form), chunks of \(size)")
                }
            }
        }
    }

    @Test(
        "header, RFC 6376 §3.4.1 (simple) and §3.4.2 (relaxed)",
        arguments: [
            ("A", " X", "A: X", "a:X"),
            ("B ", " Y\t\r\n\tZ  ", "B : Y\t\r\n\tZ  ", "b:Y Z"),
            ("Subject", "", "Subject:", "subject:"),
            ("SUBJECT", " \t ", "SUBJECT: \t ", "subject:"),
            ("X-a", "\r\n b \r\n\tc", "X-a:\r\n b \r\n\tc", "x-a:b c"),
            ("X", " a\r\n \r\n b", "X: a\r\n \r\n b", "x:a b"),
            ("X", "a:b", "X:a:b", "x:a:b"),
            ("X", " a\rb\nc ", "X: a\rb\nc ", "x:a\rb\nc"),
            ("X\t", " Grüße  Äh", "X\t: Grüße  Äh", "x:Grüße Äh"),
        ])
    func header(name: String, value: String, simple: String, relaxed: String) {
        let field = HeaderField(name: Array(name.utf8), value: Array(value.utf8))
        var octets: [UInt8] = []
        HeaderCanonicalization.simple.append(field, to: &octets)
        #expect(String(decoding: octets, as: UTF8.self) == simple)
        octets = []
        HeaderCanonicalization.relaxed.append(field, to: &octets)
        #expect(String(decoding: octets, as: UTF8.self) == relaxed)
    }
}
