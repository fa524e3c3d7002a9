// Fields that speak in our name (RFC 8601 §5), in every spelling that some reader would take for ours.

import TestSupport
import Testing

@testable import PosternMail

@Suite("forged results")
struct ForgedResultsTests {
    static let ids = AuthservIDs(["example.com", "mx1.example.net", "*.below.example", "b\u{FC}cher.example", "mx_7"])

    private static func field(_ value: String, name: String = "Authentication-Results") -> HeaderField {
        HeaderField(name: Array(name.utf8), value: Array(" \(value)".utf8))
    }

    @Test(
        "claimed",
        arguments: [
            // The grammar's own spellings: RFC 8601 §2.2.
            "example.com; dkim=pass header.d=evil.org",
            "EXAMPLE.com; none",
            "mx1.example.net; none",
            "mx_7; none",
            "example.com;none",
            "example.com 1; none",
            "example.com\r\n\t1\r\n ; none",
            "\"example.com\"; none",
            "\"exa\\mple\\.com\"; none",
            "(hi) example.com; none",
            "(a (nested \\) one)) (and another)\r\n example.com (x); none",
            "example.com(x); none",
            "example.com (x) 1 (y) ; none",
            "host.below.example; none",
            "a.b.BELOW.example; none",
            "\r\n\texample.com; none",
            // Equal names: RFC 8616 §5, RFC 1034 §3.1.
            "example.com.; none",
            "\"example.com.\"; none",
            "b\u{FC}cher.example; none",
            "B\u{DC}CHER.example; none",
            "bu\u{308}cher.example; none",
            "xn--bcher-kva.example; none",
            "XN--BCHER-KVA.Example.; none",
            "xn--example-.com; none",
            "host.xn--below-.example; none",
            // What UTS 46 maps.
            "example\u{3002}com; none",
            "\u{FF25}xample.com; none",
            "exam\u{200B}ple.com; none",
            "exam\u{AD}ple.com; none",
            "example.com\u{A0}x; none",
            "example.com\u{37E}x; none",
            "example.com\u{2029}; none",
            // No grammar, but some reader's id.
            "example.com",
            "example.com dkim=pass",
            "example.com dkim=pass;",
            "example.com: dkim=pass",
            "example.com, dkim=pass",
            "example.com/1; none",
            "example.com v1; none",
            "example . com; none",
            "example.\r\n com; none",
            "exam\r\n ple.com; none",
            "exam(x)ple.com; none",
            "exam(x(y)ple.com; none",
            "exam(\\)ple.com; none",
            "\"example.com; none",
            "exam\"ple\".com; none",
            "\"example.com;evil.org\"; none",
            "\"example.com evil.org\"; none",
            "\"exam\\\"ple.com\"; none",
            "(example.com; none",
            "evil.org (a; none) example.com",
            "exam\u{0}ple.com; none",
            "example.com\u{0}.evil.org; none",
            "\u{1}example.com; none",
            "example.com\u{7F}; none",
            "example.com\r; none",
            "example.com\n; none",
            "; example.com; none",
            "<example.com>; none",
            "example.com@evil.org; none",
            "evil.org@example.com; none",
            "1 xn--bcher-kva.example 1 dkim=pass",
            "none xn--bcher-kva.exam\r\n ple; none",
            "host.below.example dkim=pass",
            // Encodings.
            "=?utf-8?q?example.com?=; none",
            "=?UTF-8?Q?e=78ample=2Ecom?=; none",
            "=?utf-8?b?ZXhhbXBsZS5jb20=?=; none",
            "=?us-ascii*en?B?ZXhhbXBs?= =?us-ascii?B?ZS5jb20=?=; none",
            "=?utf-8?q?b=C3=BCcher=2Eexample?=; none",
            "=?utf-16be?b?AGUAeABhAG0AcABsAGUALgBjAG8AbQ==?=; none",
            "example%2Ecom; none",
            "%65xample.com; none",
            "\"=?utf-8?q?example=2Ecom?=\"; none",
            // Comments that readers end in different places.
            "(evil.org\\) example.com) evil.org; none",
            "(a(b) example.com) evil.org; none",
            "(example.com;) evil.org; none",
            // No results, so no grammar; and our id is there.
            "evil.org; example.com",
            "evil.org; dkim=pass header.d=example.com header.b=a/b",
            "evil.org\r\nAuthentication-Results: example.com; none",
        ])
    func claimed(_ value: String) {
        #expect(Self.ids.isClaimed(by: Self.field(value)))
    }

    @Test(
        "not claimed",
        arguments: [
            "evil.org; none",
            "evil.org 1; dkim=pass",
            "mx1.example.com.evil.org; none",
            "example.com.au; none",
            "notexample.com; none",
            "example-com; none",
            "example.org; none",
            "mx1.example.com; none",  // only *.below.example is a wildcard
            "below.example; none",  // below, not itself
            ".below.example.org; none",
            "xbelow.example; none",
            "evil.org; dkim=pass header.d=example.com",
            "evil.org; dkim=pass header.d=example.com header.i=@example.com; spf=pass smtp.mailfrom=joe@example.com",
            "evil.org; dkim=pass reason=\"example.com\"",
            "evil.org; dkim=fail (example.com) header.d=example.com",
            "evil.org(example.com); none",
            "evil.org (example.com) 1; none",
            "evil.org 1 (example.com); none",
            "\"evil.org\" (example.com); none",
            "(hello) evil.org; dkim=pass header.d=example.com",
            "xn--bcher-kva.example.org; none",
            "bucher.example; none",
            "evil.org; dkim=pass header.d=evil.org header.b=a/b",  // malformed, but not about us
            "dkim=pass header.d=evil.org",
            "", " ", ";", "(", "\"", "=?utf-8?q?", "=?utf-8?q?evil.org?=; none", "%", "%2", "xn--; none",
        ])
    func notClaimed(_ value: String) {
        #expect(!Self.ids.isClaimed(by: Self.field(value)))
    }

    @Test(
        "names of fields",
        arguments: [
            ("Authentication-Results", true), ("authentication-RESULTS", true), ("Authentication-Results ", true),
            ("Authentication-Results \t", true), ("ARC-Authentication-Results", false),
            ("X-Authentication-Results", false), ("Authentication-Result", false), ("Subject", false), ("", false),
        ])
    func names(_ name: String, _ isClaimed: Bool) {
        #expect(Self.ids.isClaimed(by: Self.field("example.com; none", name: name)) == isClaimed)
    }

    @Test("patterns: a star is everybody, an empty one is nobody")
    func patterns() {
        #expect(AuthservIDs(["*"]).isClaimed(by: Self.field("evil.org; none")))
        #expect(AuthservIDs(["*"]).isClaimed(by: Self.field("")))
        for nobody in [[], [""], ["."], ["*."]] {
            #expect(!AuthservIDs(nobody).isClaimed(by: Self.field("example.com; none")), "\(nobody)")
            #expect(!AuthservIDs(nobody).isClaimed(by: Self.field("\u{0}")), "\(nobody)")
        }
        #expect(AuthservIDs(["xn--bcher-kva.example"]).isClaimed(by: Self.field("b\u{FC}cher.example; none")))
        #expect(AuthservIDs(["EXAMPLE.com."]).isClaimed(by: Self.field("example.com; none")))
        #expect(AuthservIDs(["*.B\u{DC}cher.example"]).isClaimed(by: Self.field("a.xn--bcher-kva.example; none")))
        #expect(AuthservIDs(["our mail"]).isClaimed(by: Self.field("\"Our Mail\"; none")))
    }

    // MARK: Removals

    @Test("removals go from the highest occurrence down, counted over all fields of the name")
    func removals() {
        let header = [
            Self.field("example.com; none"),  // 1
            HeaderField("Subject", "example.com; none"),
            Self.field("evil.org; none", name: "authentication-results"),  // 2
            HeaderField("ARC-Authentication-Results", "i=1; example.com; none"),
            Self.field("\"EXAMPLE.COM\"; none", name: "AUTHENTICATION-RESULTS "),  // 3
        ]
        let forged = ForgedResults(header: header, ids: Self.ids)
        let name = Array("Authentication-Results".utf8)
        #expect(forged.edits == [.remove(name: name, occurrence: 3), .remove(name: name, occurrence: 1)])
        #expect(forged.count == 2)
        #expect(!forged.isTooMany)
        #expect(ForgedResults(header: [], ids: Self.ids).edits.isEmpty)
    }

    @Test("more than fifty are not removed one by one")
    func tooMany() {
        let most = Array(repeating: Self.field("example.com; none"), count: ForgedResults.maxRemovals)
        let full = ForgedResults(header: most, ids: Self.ids)
        #expect(full.edits.count == ForgedResults.maxRemovals)
        #expect(!full.isTooMany)
        let over = ForgedResults(header: most + [Self.field("example.com; none")], ids: Self.ids)
        #expect(over.isTooMany)
        #expect(over.edits.isEmpty)
        let flood = ForgedResults(header: Array(repeating: Self.field("example.com"), count: 10_000), ids: Self.ids)
        #expect(flood.isTooMany)
        #expect(flood.count == ForgedResults.maxRemovals + 1)
    }

    @Test("the last of 10,000 fields is looked at")
    func lastField() {
        var collector = ForgedResultsCollector(ids: Self.ids)
        for _ in 0..<9_999 { collector.add(Self.field("evil.org; none")) }
        #expect(collector.forged.count == 0)
        collector.add(Self.field("example.com; none"))
        #expect(
            collector.forged.edits == [.remove(name: Array("Authentication-Results".utf8), occurrence: 10_000)])
    }

    // MARK: Hostile sizes

    @Test("a field that is too long to be read is claimed, whatever it holds")
    func tooLong() {
        let name = Array("Authentication-Results".utf8)
        let most = AuthenticationResultsParser.maxFieldOctets
        for count in [most + 1, 1 << 20] {
            let value = Array("evil.org; none".utf8) + Array(repeating: 0x20, count: count - 14)
            #expect(Self.ids.isClaimed(by: HeaderField(name: name, value: value)))
            #expect(!AuthservIDs([]).isClaimed(by: HeaderField(name: name, value: value)))
            #expect(!Self.ids.isClaimed(by: HeaderField(name: name, value: Array(value.prefix(most)))))
        }
    }

    @Test("fields after the most octets that are looked through are forged")
    func maxOctets() {
        let value = Array("evil.org; none".utf8) + Array(repeating: 0x20, count: 65_536 - 14)
        let field = HeaderField(name: Array("Authentication-Results".utf8), value: value)
        var collector = ForgedResultsCollector(ids: Self.ids)
        for _ in 0..<4 { collector.add(field) }
        #expect(collector.forged.count == 0)
        for _ in 0..<2 { collector.add(field) }
        #expect(
            collector.forged.edits.map { edit in
                if case .remove(_, let occurrence) = edit { occurrence } else { 0 }
            } == [6, 5])
        // Malformed fields are dearer: of 1,024 short ones all are looked through, of 1,100 not.
        let malformed = HeaderField(name: field.name, value: [0x28])
        func count(_ fields: Int) -> Int {
            ForgedResults(header: Array(repeating: malformed, count: fields), ids: Self.ids).count
        }
        #expect(count(1_000) == 0)
        #expect(count(1_100) == ForgedResults.maxRemovals + 1)
        let nobody = Array(repeating: field, count: 9)
        #expect(ForgedResults(header: nobody, ids: AuthservIDs([])).count == 0)
    }

    @Test(
        "a field of 64 KiB, our id at its end",
        arguments: [
            "a", " ", "(", ")", "()", "\"", "\\", "\r\n ", "\u{0}", "example.co", "e", "=?", "=?u?q?", "%", "xn--a",
            "\u{FC}", "\u{308}", "\u{FF41}", "\u{FC} xn--bcher-kva ",
        ])
    func large(_ filler: String) {
        let octets = Array(String(repeating: filler, count: 65_000 / filler.utf8.count).utf8)
        let claim = HeaderField(
            name: Array("Authentication-Results".utf8), value: octets + Array(" example.com; none".utf8))
        #expect(Self.ids.isClaimed(by: claim))
        #expect(!Self.ids.isClaimed(by: HeaderField(name: claim.name, value: octets + Array(" evil.org; none".utf8))))
    }

    @Test("mutations: never a trap; a name of ours that is left whole in a malformed field is found")
    func mutations() {
        let samples = [
            "example.com; dkim=pass header.d=evil.org", "(x (y\\)) z) \"example.com\" 1; none",
            "evil.org; dkim=pass header.d=example.com", "=?utf-8?q?b=C3=BCcher=2Eexample?=; none",
            "xn--bcher-kva.example; spf=pass (b\u{FC}cher) smtp.mailfrom=a@b.c", "host.below.example\r\n\t1; none",
        ].map { Array($0.utf8) }
        let tokens = ["(", ")", "\"", "\\", ";", "=?utf-8?b?", "?=", "%2e", "\r\n ", "xn--", ".", "\u{3002}", "\0"]
        var claims = 0
        Mutations.of(samples, tokens: tokens.map { Array($0.utf8) }, count: 8_000, seed: 55) { octets in
            let field = HeaderField(name: Array("Authentication-Results".utf8), value: octets)
            let isClaimed = Self.ids.isClaimed(by: field)
            if isClaimed { claims += 1 }
            let isMalformed = (try? AuthenticationResultsParser.parse(octets)) == nil  // that is the question
            if isMalformed, octets.firstOccurrence(of: Array("example.com".utf8)) != nil { #expect(isClaimed) }
        }
        #expect(claims > 1_000 && claims < 8_000)
    }
}
