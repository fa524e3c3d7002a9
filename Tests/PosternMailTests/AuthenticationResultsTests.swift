// The writer and the reader of Authentication-Results (RFC 8601): the RFC's examples, our own fields word for word,
// and strangers' octets that must not get out of their place.

import TestSupport
import Testing

@testable import PosternMail

@Suite("Authentication-Results")
struct AuthenticationResultsTests {
    // MARK: Reading

    private struct Cases: Decodable {
        struct Case: Decodable {
            var id: String
            var header: String
            var authserv_id: String
            var version: String?
            var results: [Result]
        }
        struct Result: Decodable {
            var method: String
            var result: String
            var method_version: String?
            var reason: String?
            var comment: String?
            var properties: [Property]
        }
        struct Property: Decodable {
            var ptype: String
            var property: String
            var value: String
        }
        var cases: [Case]
    }

    @Test("RFC 8601 Appendix B")
    func examples() throws {
        let cases = try Fixtures.json("rfc-examples/authres/rfc8601-appendix-b.json", as: Cases.self).cases
        #expect(cases.count == 9)
        for example in cases {
            let field = try #require(MessageText(octets: Array("\(example.header)\r\n\r\n".utf8)).header.first)
            #expect(field.isNamed("Authentication-Results"))
            let found = try AuthenticationResultsParser.parse(field.value)
            let expected = AuthenticationResults(
                authservID: example.authserv_id, version: example.version,
                results: example.results.map { result in
                    .init(
                        result.method, result.result, methodVersion: result.method_version, reason: result.reason,
                        comment: result.comment,
                        properties: result.properties.map { .init($0.ptype, $0.property, $0.value) })
                })
            #expect(found == expected, "\(example.id)")
            // What was read can be written, and then says the same.
            #expect(try AuthenticationResultsParser.parse(expected.field().value) == expected, "\(example.id)")
        }
    }

    @Test(
        "what is read",
        arguments: [
            // RFC 8601 §2.2: value = token / quoted-string
            ("\"mx 1\" ; none", "mx 1", []),
            ("mx;none", "mx", []),
            ("mx; NONE ", "mx", []),
            ("(a)(b (c)) mx (d) 1 (e) ; (f) none (g)", "mx", []),
            ("mx; a=b", "mx", ["a=b"]),
            ("mx; none=b", "mx", ["none=b"]),
            ("mx; a=b; c=d", "mx", ["a=b", "c=d"]),
            ("mx; a=b c.d=e", "mx", ["a=b c.d=e"]),
            ("mx; a=b(x)c.d=e", "mx", ["a=b c.d=e"]),
            ("mx; a=b c . d = e f.g=\"h\"i.j=k", "mx", ["a=b c.d=e f.g=h i.j=k"]),
            // RFC 8601 §2.2: pvalue = value / [[local-part] "@"] domain-name
            ("mx; a=b c.d=@e.f", "mx", ["a=b c.d=@e.f"]),
            ("mx; a=b c.d=x=y/z@e.f", "mx", ["a=b c.d=x=y/z@e.f"]),
            ("mx; a=b c.d=\"x y\"@e.f", "mx", ["a=b c.d=x y@e.f"]),
            ("mx; a=b c.d=\"x\\\"y;\"", "mx", ["a=b c.d=x\"y;"]),
            ("mx; a=b\r\n\t\r\n reason=\"x\r\n y\"", "mx", ["a=b reason=x y"]),
            ("mx; a=b reason = c (d) e.f=g", "mx", ["a=b reason=c e.f=g"]),
            ("b\u{FC}cher.example; a=b", "b\u{FC}cher.example", ["a=b"]),  // RFC 8616 §5
        ])
    func reading(_ value: String, _ id: String, _ results: [String]) throws {
        let found = try AuthenticationResultsParser.parse(Array(value.utf8))
        #expect(found.authservID == id)
        let texts = found.results.map { result in
            (["\(result.method)=\(result.result)"] + (result.reason.map { ["reason=\($0)"] } ?? [])
                + result.properties.map { "\($0.ptype).\($0.property)=" + String(decoding: $0.value, as: UTF8.self) })
                .joined(separator: " ")
        }
        #expect(texts == results)
    }

    @Test(
        "what is not read",
        arguments: [
            "", " ", ";", "; none", "mx", "mx;", "mx; none;", "mx; none x", "mx a; none", "mx; a", "mx; a=", "mx; =b",
            "mx; a=b c", "mx; a=b c.", "mx; a=b c.d", "mx; a=b c.d=", "mx; a=b;", "mx; a=b;; c=d", "mx, a=b",
            "mx; a=b reason=\"x\"c.d=e", "mx; a=b c.d=e reason=x", "mx; a=b c.d=x/y", "mx; a=b c.d=x=", "mx; a-=b",
            "mx; a=b c.d=x@", "mx; a=b c.d=x@y", "mx; a=b c.d=x@y..z", "mx; a=b c.d=.x@y.z", "mx; a_b=c",
            "mx; a=b c.d=\"x", "mx; a=b (c", "mx; a=b c)", "mx;\r\na=b", "mx;\n a=b", "mx;\r a=b", "mx\u{0}; a=b",
            "mx; a=b (c\u{1})", "mx; a=b (c\\\u{0})", "mx; a=b c.d=\"\\\r\n x\"", "mx; a=b\r\n",
            "dkim=pass header.d=a.b",
            "mx/1; none", "mx; a/=b", "mx; a/x=b", "mx; a=b/1",
        ])
    func notRead(_ value: String) {
        #expect(throws: AuthenticationResultsError.self) { try AuthenticationResultsParser.parse(Array(value.utf8)) }
    }

    @Test("octets that are no UTF-8 are not read")
    func notUTF8() {
        #expect(throws: AuthenticationResultsError.self) {
            try AuthenticationResultsParser.parse([0x61, 0xFF] + Array("; none".utf8))
        }
    }

    @Test("caps: octets, results, properties, comments")
    func caps() throws {
        func parse(_ text: String) throws(AuthenticationResultsError) -> AuthenticationResults {
            try AuthenticationResultsParser.parse(Array(text.utf8))
        }
        let most = "mx" + String(repeating: "; a=b", count: AuthenticationResultsParser.maxResults)
        #expect(try parse(most).results.count == AuthenticationResultsParser.maxResults)
        #expect(throws: AuthenticationResultsError.tooMany) { try parse(most + "; a=b") }

        let properties = "mx; a=b" + String(repeating: " c.d=e", count: AuthenticationResultsParser.maxProperties)
        #expect(try parse(properties).results.first?.properties.count == AuthenticationResultsParser.maxProperties)
        #expect(throws: AuthenticationResultsError.tooMany) { try parse(properties + " c.d=e") }

        let pad = String(repeating: " ", count: AuthenticationResultsParser.maxFieldOctets - 8)
        #expect(try parse("mx; none" + pad).results.isEmpty)
        #expect(throws: AuthenticationResultsError.tooLong) { try parse("mx; none " + pad) }

        func nested(_ depth: Int) -> String {
            String(repeating: "(", count: depth) + String(repeating: ")", count: depth) + "mx; none"
        }
        #expect(try parse(nested(StructuredText.maxCommentDepth)).authservID == "mx")
        #expect(throws: AuthenticationResultsError.syntax("comments nested too deeply")) {
            try parse(nested(StructuredText.maxCommentDepth + 1))
        }
    }

    // MARK: Writing

    private static func field(_ results: AuthenticationResults) -> String {
        let field = results.field()
        return String(decoding: field.name + [0x3A] + field.value, as: UTF8.self)
    }

    @Test("our field for DKIM, word for word")
    func dkim() throws {
        let domain = try DomainName("example.com")
        let selector = try DomainName("sel")
        let pass = DKIMFinding(
            result: .pass, reason: .none, domain: domain, selector: selector, auid: nil, algorithm: .rsaSHA256,
            keyBits: 2048, signaturePrefix: "abcdefgh")
        #expect(
            Self.field(AuthenticationResults(authservID: "mx.example.org", dkim: [pass])) == """
                Authentication-Results: mx.example.org;\r
                \tdkim=pass (2048-bit key) header.d=example.com header.s=sel\r
                \theader.a=rsa-sha256 header.b=abcdefgh
                """)
        let fail = DKIMFinding(
            result: .fail, reason: .bodyHashMismatch, domain: domain, selector: selector,
            auid: Array("@a.example.com".utf8),
            algorithm: .ed25519SHA256, signaturePrefix: "ab/d+fg=", isTesting: true)
        let broken = DKIMFinding(result: .permerror, reason: .missingTag("d"))
        #expect(
            Self.field(AuthenticationResults(authservID: "mx.example.org", dkim: [fail, broken])) == """
                Authentication-Results: mx.example.org;\r
                \tdkim=fail (testing) reason="body hash did not verify"\r
                \theader.d=example.com header.i=@a.example.com header.s=sel\r
                \theader.a=ed25519-sha256 header.b="ab/d+fg=";\r
                \tdkim=permerror reason="signature without d="
                """)
        #expect(
            Self.field(AuthenticationResults(authservID: "mx.example.org", dkim: []))
                == "Authentication-Results: mx.example.org;\r\n\tdkim=none")
        #expect(  // RFC 8601 §2.2, no-result
            Self.field(AuthenticationResults(authservID: "mx.example.org"))
                == "Authentication-Results: mx.example.org; none")
        let many = AuthenticationResults(authservID: "mx", dkim: Array(repeating: pass, count: 1_000))
        #expect(many.results.count == AuthenticationResults.maxDKIMResults)
    }

    @Test(
        "how a value is written",
        arguments: [
            ("example.com", "example.com"), ("a+b", "a+b"), ("", "\"\""), ("a b", "\"a b\""), ("a/b=", "\"a/b=\""),
            ("joe@example.com", "joe@example.com"), ("@example.com", "@example.com"),
            ("a=b/c?@example.com", "a=b/c?@example.com"), ("joe@example", "\"joe@example\""),
            ("joe@exa_mple.com", "\"joe@exa_mple.com\""), ("joe@-a.com", "\"joe@-a.com\""), ("a@b@c.d", "\"a@b@c.d\""),
            (".joe@example.com", "\".joe@example.com\""), ("joe@example.com.", "\"joe@example.com.\""),
            ("a b@c.d", "\"a b@c.d\""),
            // No octet of a stranger gets out of its quotes, nor looks like another result.
            ("a\"b", "a?b"), ("a\\", "a?"), ("x; dmarc=pass", "\"x? dmarc=pass\""),
            ("a\r\nSubject: b", "\"a??Subject: b\""),
            ("a\u{0}b", "a?b"), ("a(b)c", "a?b?c"), ("b\u{FC}cher", "b??cher"), ("a\tb\u{7F}", "a?b?"),
        ])
    func word(_ value: String, _ written: String) {
        // `?` is no token octet: what holds one is quoted, or an address.
        let expected =
            written.contains("?") && !written.contains("\"") && !written.contains("@")
            ? "\"\(written)\"" : written
        #expect(String(decoding: AuthenticationResults.word(Array(value.utf8)), as: UTF8.self) == expected)
    }

    @Test(
        "how a reason and a comment are written",
        arguments: [
            ("no key", "no key"), ("", ""), ("it's", "it's"),
            // Our own words hold a record's in quotes: they stay readable, whatever a reader makes of quoted-pairs.
            ("\"ip4:1.2\": expected an address", "'ip4:1.2': expected an address"), ("\"", "'"), ("\"\"", "''"),
            // Nothing of a record ends the quotes or the comment, nor begins another result.
            ("\\\"", "?'"), ("a\"; dmarc=pass", "a'? dmarc=pass"), ("a) b (c", "a? b ?c"), ("a\r\n b", "a?? b"),
            ("\u{FC}\u{0}", "???"),
        ])
    func remark(_ text: String, _ written: String) throws {
        let results = AuthenticationResults(
            authservID: "e", results: [.init("spf", "permerror", reason: text, comment: text)])
        let field = String(decoding: results.field().value, as: UTF8.self)
        let unfolded = field.replacing("\r\n\t", with: " ")
        #expect(unfolded == " e; spf=permerror (\(written)) reason=\"\(written)\"")
        #expect(try AuthenticationResultsParser.parse(results.field().value).results.first?.reason == written)
    }

    @Test("a long value keeps its end, which says whose it is")
    func longValue() throws {
        let value = Array(String(repeating: "x", count: 5_000).utf8) + Array("@evil.example".utf8)
        let word = AuthenticationResults.word(value)
        #expect(word.count == AuthenticationResults.maxValueOctets + 2)
        #expect(String(decoding: word, as: UTF8.self).hasPrefix("\"...xxx"))
        #expect(String(decoding: word, as: UTF8.self).hasSuffix("@evil.example\""))
    }

    @Test("words of ours that are no Keyword are made one")
    func keywords() {
        let field = AuthenticationResults(
            authservID: "mx", version: "x1;",
            results: [.init("dk;im\r\n", "", methodVersion: "", properties: [.init("h-\"", "d=", "v")])])
        #expect(Self.field(field) == "Authentication-Results: mx 1;\r\n\tdkim/1=x h.d=v")
    }

    @Test("a Keyword that begins with a hyphen stays itself")  // RFC 5321 §4.1.1.1, Ldh-str
    func hyphens() throws {
        let read = try AuthenticationResultsParser.parse(Array("mx; -a=-pass -b.--c=d".utf8))
        #expect(read.results.map(\.result) == ["-pass"])
        #expect(try AuthenticationResultsParser.parse(read.field().value) == read)
    }

    /// What stands behind whatever a field holds: folds are the only line ends, and lines are short where they can be.
    private static func checkLines(_ value: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(value.first == 0x20, sourceLocation: sourceLocation)
        #expect(value.allSatisfy { ($0 >= 0x20 && $0 < 0x7F) || $0 == 0x0D || $0 == 0x0A || $0 == 0x09 })
        var isFirst = true
        for line in String(decoding: value, as: UTF8.self).components("\r\n") {
            #expect(!line.utf8.contains { $0 == 0x0D || $0 == 0x0A }, sourceLocation: sourceLocation)
            #expect(isFirst || line.utf8.first?.isWSP == true, sourceLocation: sourceLocation)
            #expect(line.utf8.contains { !$0.isWSP }, "a line of white space", sourceLocation: sourceLocation)
            let columns = line.utf8.count + (isFirst ? 23 : line.utf8.first == 0x09 ? 7 : 0)
            let breaks = line.utf8.dropFirst().count { $0 == 0x20 }
            #expect(columns <= 78 || breaks == 0 || line.contains("  "), "\(line)", sourceLocation: sourceLocation)
            #expect(columns < 998, sourceLocation: sourceLocation)
            isFirst = false
        }
    }

    @Test("folds stand where they change nothing")
    func folding() throws {
        let reason = Array(repeating: "words", count: 30).joined(separator: " ")
        let results = AuthenticationResults(
            authservID: String(repeating: "long.", count: 20) + "example",
            results: [
                .init("dkim", "fail", reason: reason, comment: reason),
                .init("spf", "pass", properties: [.init("smtp", "mailfrom", String(repeating: "a", count: 200))]),
            ])
        let field = results.field()
        Self.checkLines(field.value)
        #expect(try AuthenticationResultsParser.parse(field.value) == results)
    }

    @Test("strangers' octets: written, they are read back, and no line is theirs")
    func nastyValues() throws {
        var random = SeededRandom(seed: 8601)
        let spices: [[UInt8]] = [
            "\r\n", "\r\nSubject: x", "\"", "\\", "\\\"", ";", "; dkim=pass", "(", ")", " ", "  ", "@", "@example.com",
            ".",
            "=", "example.com", "\0", "\u{7F}", "\u{FC}", "\t", "header.d=", "=?utf-8?q?", "?=", "\n\n", "\r",
        ].map { Array($0.utf8) }
        for _ in 0..<3_000 {
            var octets: () -> [UInt8] {
                {
                    (0..<Int.random(in: 0...12, using: &random)).flatMap { _ in
                        Bool.random(using: &random)
                            ? spices.randomElement(using: &random) ?? [] : [UInt8.random(in: 0...255, using: &random)]
                    }
                }
            }
            let values = (0..<Int.random(in: 1...4, using: &random)).map { _ in octets() }
            let reason = String(decoding: octets(), as: UTF8.self)
            let comment = String(decoding: octets(), as: UTF8.self)
            let id = String(decoding: octets(), as: UTF8.self)
            let written = AuthenticationResults(
                authservID: id,
                results: values.map {
                    .init("dkim", "fail", reason: reason, comment: comment, properties: [.init("header", "i", $0)])
                })
            let field = written.field()
            Self.checkLines(field.value)
            func remark(_ text: String) -> String {
                String(decoding: AuthenticationResults.remark(text), as: UTF8.self)
            }
            let expected = AuthenticationResults(
                authservID: String(decoding: AuthenticationResults.safe(Array(id.utf8)), as: UTF8.self),
                results: values.map {
                    .init(
                        "dkim", "fail", reason: remark(reason), comment: remark(comment),
                        properties: [.init("header", "i", AuthenticationResults.safe($0))])
                })
            #expect(try AuthenticationResultsParser.parse(field.value) == expected)
            // A reader who splits at every semicolon, quoted or not, sees no more results than there are.
            #expect(field.value.count { $0 == 0x3B } == values.count)
        }
    }

    @Test("mutations: what is read can be written and read again")
    func mutations() throws {
        let samples = [
            "foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n policy"
                + " (A dot can go here) . (like that) expired\r\n (this) = (as I wasn't) 1362471462",
            "example.com;\r\n dkim=pass reason=\"good signature\" header.i=@a.example.net;\r\n spf=fail smtp.mailfrom=x@y.z",
            "\"a b\"; none",
        ].map { Array($0.utf8) }
        let tokens = ["(", ")", "\"", "\\", ";", "=", ".", "@", "\r\n", " ", "none", "reason=", "/1", "\0"]
        var read = 0
        Mutations.of(samples, tokens: tokens.map { Array($0.utf8) }, count: 30_000, seed: 601) { octets in
            // Most mutations are malformed; that they throw and do not trap is what is tested.
            guard let found = try? AuthenticationResultsParser.parse(octets) else { return }
            read += 1
            let again = try? AuthenticationResultsParser.parse(found.field().value)  // nil fails below
            #expect(again?.results.count == found.results.count)
            #expect(again?.results.map(\.method) == found.results.map(\.method))
        }
        #expect(read > 1_000)
    }
}

extension String {
    /// The parts between separators; CRLF is one Character, so this works on it too.
    func components(_ separator: Character) -> [Substring] {
        split(separator: separator, omittingEmptySubsequences: false)
    }
}
