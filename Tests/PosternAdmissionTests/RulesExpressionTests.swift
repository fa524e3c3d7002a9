// Expressions of the configuration: what they match, what is refused, and that they agree with regexec(3) wherever both
// read an expression alike.

import Glibc
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmission

@Suite("expressions")
struct RulesExpressionTests {
    struct Row: CustomTestStringConvertible, Sendable {
        let rule: String
        let expression: String
        let matches: [String]
        let misses: [String]

        init(_ rule: String, _ expression: String, matches: [String], misses: [String]) {
            (self.rule, self.expression, self.matches, self.misses) = (rule, expression, matches, misses)
        }
        var testDescription: String { rule }
    }

    @Test(
        "rows",
        arguments: [
            Row("found anywhere", "dsl", matches: ["dsl", "a.dsl.b", "xdslx"], misses: ["", "ds", "dxsl"]),
            Row("letters in both cases", "DsL", matches: ["dsl", "DSL"], misses: ["dsk"]),
            Row("the empty expression matches all", "", matches: ["", "a"], misses: []),
            Row("the start", "^ab", matches: ["ab", "abc"], misses: ["", "cab"]),
            Row("the end", "ab$", matches: ["ab", "cab"], misses: ["", "abc"]),
            Row("both", "^ab$", matches: ["ab", "AB"], misses: ["aab", "abb", ""]),
            Row("the empty text", "^$", matches: [""], misses: ["a", " "]),
            Row("the end alone", "$", matches: ["", "a"], misses: []),
            Row(
                "an end in one alternative", "(^|\\.)example$", matches: ["example", "a.example"], misses: ["aexample"]),
            Row("alternatives of the whole", "^a|b$", matches: ["ax", "xb"], misses: ["xa", "bx"]),
            Row("an empty alternative", "^(a|)b$", matches: ["ab", "b"], misses: ["aab", ""]),
            Row("any number", "^ab*c$", matches: ["ac", "abc", "abbbc"], misses: ["abxc"]),
            Row("one or more", "^ab+c$", matches: ["abc", "abbc"], misses: ["ac"]),
            Row("one or none", "^ab?c$", matches: ["ac", "abc"], misses: ["abbc"]),
            Row("exactly", "^a{3}$", matches: ["aaa"], misses: ["aa", "aaaa"]),
            Row("at least", "^a{2,}$", matches: ["aa", "aaaaaa"], misses: ["a", ""]),
            Row("from to", "^a{1,3}$", matches: ["a", "aaa"], misses: ["", "aaaa"]),
            Row("none", "^a{0}b$", matches: ["b"], misses: ["ab"]),
            Row("few rather than many is the same", "^a+?b??$", matches: ["aa", "ab"], misses: ["b"]),
            Row("a repeated group", "^(ab|c){2}$", matches: ["abab", "abc", "cc"], misses: ["ab", "ccc"]),
            Row("a loop in a loop", "^(a*)*b$", matches: ["b", "aaab"], misses: ["aaa", "ac"]),
            Row("a group of Perl's", "^(?:ab)+$", matches: ["ab", "abab"], misses: ["aba"]),
            Row("a dot takes one octet", "^a.c$", matches: ["abc", "a.c", "a\nc"], misses: ["ac", "aüc"]),
            Row("a dot itself", "a\\.c", matches: ["a.c"], misses: ["abc"]),
            Row("a slash as configured", "a\\/b", matches: ["a/b"], misses: ["ab"]),
            Row("brackets", "^[a-c-]x$", matches: ["ax", "Cx", "-x"], misses: ["dx", "x"]),
            Row("brackets, negated", "^[^a-c]$", matches: ["d", "-", "\u{1}"], misses: ["a", "B", ""]),
            Row("a bracket in brackets", "^[]a]+$", matches: ["]", "a]"], misses: ["["]),
            Row("escapes in brackets", "^[\\d\\]\\-\\x41]+$", matches: ["0]-a"], misses: ["b", "\\"]),
            Row("classes of POSIX", "^[[:digit:][:space:]_]+$", matches: ["1 _"], misses: ["a", "."]),
            Row("digits", "^\\d{1,3}$", matches: ["1", "255"], misses: ["", "d", "1000", "ddd"]),
            Row("not digits", "^\\D$", matches: ["a"], misses: ["1"]),
            Row("word signs", "^\\w+$", matches: ["aZ_9"], misses: ["-", "é"]),
            Row("white space", "a\\sb", matches: ["a b", "a\tb"], misses: ["ab", "asb"]),
            Row("not white space", "^\\S+$", matches: ["a-b"], misses: ["a b"]),
            Row("an octet by number", "^\\x2E$", matches: ["."], misses: ["a"]),
            Row("a character of two octets", "^ü+$", matches: ["ü", "üü"], misses: ["u", "\u{FC}\u{E4}"]),
            Row(
                "a tail of networks", "(^|[.-])(dsl|dyn|pool)[0-9.-]", matches: ["dyn-1-2.x", "a.pool9"],
                misses: ["dyna"]),
            Row(
                "more than a word of positions", "^[a-f]{70}g$", matches: [String(repeating: "a", count: 70) + "g"],
                misses: [String(repeating: "a", count: 69) + "g", String(repeating: "a", count: 71) + "g"]),
        ])
    func rows(row: Row) throws {
        let expression = try TextExpression(row.expression)
        for text in row.matches { #expect(expression.matches(Array(text.utf8)[...]), "\(text)") }
        for text in row.misses { #expect(!expression.matches(Array(text.utf8)[...]), "\(text)") }
    }

    @Test(
        "what is refused",
        arguments: [
            ("(a)\\1", "back-references"), ("a(?=b)", "look-around"), ("(?i)a", "options"), ("a\\b", "\\b"),
            ("(a", "\")\""), ("a)", "\"(\""), ("[a", "\"]\""), ("[]", "\"]\""), ("*a", "repeats"), ("a|+", "repeats"),
            ("a**", "second"), ("a++", "second"), ("a{2}{3}", "second"), ("a{", "{n}"), ("a{2", "{n}"),
            ("a{3,2}", "{n}"), ("a{,3}", "{n}"), ("a{256}", "{n}"), ("a{99999999999999999999}", "{n}"),
            ("[b-a]", "range"), ("[a-\\d]", "range"), ("[[:foo:]]", "[:NAME:]"), ("[ü]", "ASCII"), ("a\\", "sign"),
            ("\\xg0", "hexadecimal"), ("\\ü", "ASCII"), ("a^b", "^"), ("a$b", "$"), ("(^)*", "^"), ("^^a", "^"),
            ("a$$", "$"), ("(a{200}){200}", "512"), (String(repeating: "(", count: 40), "32"),
            (String(repeating: "a", count: 2000), "1024"),
        ])
    func refused(text: String, word: String) {
        let error = #expect(throws: ExpressionError.self) { try TextExpression(text) }
        #expect(error?.description.contains(word) == true, "\(String(describing: error))")
    }

    @Test("empty groups in each other are no work")
    func emptyGroups() throws {
        let deep = (0..<30).reduce("()") { text, _ in "(\(text){255})" }
        #expect(try TextExpression(deep).matches([]))
    }

    // MARK: Against regexec(3)

    /// An expression that both read alike, over few letters so that matches are frequent.
    private func expression(_ depth: Int, _ random: inout SeededRandom) -> String {
        func atom(_ random: inout SeededRandom) -> String {
            switch Int.random(in: 0..<9, using: &random) {
            case 0: return "."
            case 1: return ["[ab]", "[^a]", "[b-c]", "[[:digit:]]"].randomElement(using: &random) ?? "a"
            case 2 where depth > 0: return "(\(expression(depth - 1, &random)))"
            case 3 where depth > 0: return "(\(expression(depth - 1, &random))|\(expression(depth - 1, &random)))"
            default: return ["a", "b", "c", "A", "1", "\\."].randomElement(using: &random) ?? "a"
            }
        }
        return (0..<Int.random(in: 1...4, using: &random)).map { _ in
            let repeats = ["", "", "", "*", "+", "?", "{2}", "{1,2}", "{0,3}", "{2,}"]
            return atom(&random) + (repeats.randomElement(using: &random) ?? "")
        }.joined()
    }

    @Test("random expressions and texts match as regexec(3) says")
    func regexec() throws {
        var random = SeededRandom(seed: 6)
        var matches = 0
        for _ in 0..<2_000 {
            var text = expression(2, &random)
            if Int.random(in: 0..<3, using: &random) == 0 { text = "^" + text }
            if Int.random(in: 0..<3, using: &random) == 0 { text += "$" }
            guard let ours = try? TextExpression(text) else { continue }  // too many positions
            var theirs = regex_t()
            try #require(regcomp(&theirs, text, REG_EXTENDED | REG_NOSUB | REG_ICASE) == 0, "\(text)")
            defer { regfree(&theirs) }
            for _ in 0..<12 {
                let subject = String(
                    (0..<Int.random(in: 0...12, using: &random)).map { _ in
                        "abcB1.x".randomElement(using: &random) ?? "a"
                    })
                let expected = Glibc.regexec(&theirs, subject, 0, nil, 0) == 0
                if expected { matches += 1 }
                #expect(ours.matches(Array(subject.utf8)[...]) == expected, "/\(text)/ on \(subject)")
            }
        }
        #expect(matches > 5_000)
    }

    @Test("damaged expressions are refused or compiled, and match without trapping")
    func mutations() {
        let samples = [
            "^(dsl|dyn)[0-9.-]{1,3}\\.example\\.(com|net)$", "[^[:alnum:]]+(a|b|)?c{2,5}", "\\d\\w\\s\\x41[\\]a-z]",
            "ü*.",
        ]
        let tokens = ["(", ")", "[", "]", "{", "}", "{9,}", "\\", "^", "$", "|", "*", "?", "[:", ":]", "ü"]
        let text = Array("dsl-1-2.example.com ü ()[]{}".utf8)
        var compiled = 0
        Mutations.of(samples.map { Array($0.utf8) }, tokens: tokens.map { Array($0.utf8) }, count: 5_000, seed: 7) {
            octets in
            guard let expression = try? TextExpression(String(decoding: octets, as: UTF8.self)) else { return }
            compiled += 1
            _ = expression.matches(text[...])
            _ = expression.matches(octets[...])
        }
        #expect(compiled > 500)
    }
}
