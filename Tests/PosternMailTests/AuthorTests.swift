// RFC5322.From: the RFC's examples, the obsolete forms with one reading, and what must never yield an author.

import TestSupport
import Testing

@testable import PosternMail

@Suite("author")
struct AuthorTests {
    private static func finding(_ value: String) -> AuthorFinding {
        AuthorFinding.author(of: [HeaderField(name: Array("From".utf8), value: Array(value.utf8))])
    }
    private static func text(_ mailbox: Mailbox) -> String {
        String(decoding: mailbox.localPart, as: UTF8.self) + "@" + mailbox.domain.description
    }

    @Test(
        "one author",
        arguments: [
            // RFC 5322 Appendix A
            (" John Doe <jdoe@machine.example>", "jdoe@machine.example"),  // A.1.1
            (" \"Joe Q. Public\" <john.q.public@example.com>", "john.q.public@example.com"),  // A.1.2
            (" Pete <pete@silly.example>", "pete@silly.example"),  // A.1.3
            (" Mary Smith <mary@example.net>", "mary@example.net"),  // A.2
            (" Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "pete@silly.test"),  // A.5
            (" Joe Q. Public <john.q.public@example.com>", "john.q.public@example.com"),  // A.6.1
            (" John Doe <jdoe@machine(comment).  example>", "jdoe@machine.example"),  // A.6.3
            // §3.4 name-addr and addr-spec
            ("jdoe@example.com", "jdoe@example.com"),
            ("<jdoe@example.com>", "jdoe@example.com"),
            ("Joe<jdoe@example.com>", "jdoe@example.com"),
            ("\r\n\tJoe\r\n\t<jdoe@example.com>\r\n ", "jdoe@example.com"),
            ("Joe \r\n \r\n Doe <jdoe@example.com>", "jdoe@example.com"),  // §4.2 obs-FWS
            (" jdoe@EXAMPLE.com", "jdoe@example.com"),
            ("JDoe@example.com", "JDoe@example.com"),
            ("jdoe@example.com (Joe Doe)", "jdoe@example.com"),
            ("(x) jdoe (y) @ (z) example.com (a (b))", "jdoe@example.com"),
            ("\"Joe\" \"Doe\" <jdoe@example.com>", "jdoe@example.com"),
            ("\"\" <jdoe@example.com>", "jdoe@example.com"),
            ("\"mary@evil.example\" <jdoe@example.com>", "jdoe@example.com"),
            ("\"a\\\"b <x@evil.example>\" <jdoe@example.com>", "jdoe@example.com"),
            ("Joe (jdoe@example.org) <jdoe@example.com>", "jdoe@example.com"),
            ("a+b/c=d!#$%&'*-^_`{|}~@example.com", "a+b/c=d!#$%&'*-^_`{|}~@example.com"),
            ("root@localhost", "root@localhost"),
            ("x@a_b.example", "x@a_b.example"),
            ("=?utf-8?q?a=40b=2Eexample?= <jdoe@example.com>", "jdoe@example.com"),  // RFC 2047: left alone
            // §3.2.4, §3.4.1: quoted local-parts
            ("\"joe doe\"@example.com", "joe doe@example.com"),
            ("<\"joe..doe\"@example.com>", "joe..doe@example.com"),
            ("\"jd\\oe\"@example.com", "jdoe@example.com"),
            ("\"joe\".doe@example.com", "joe.doe@example.com"),
            // §4.4
            ("jdoe@test   . example", "jdoe@test.example"),
            (", ,jdoe@example.com,,", "jdoe@example.com"),
            ("J. D. <jdoe@example.com>", "jdoe@example.com"),
            // RFC 6854 §2.1: groups
            ("Managers: jdoe@example.com;", "jdoe@example.com"),
            ("\"A: B\" : Joe <jdoe@example.com> ; (x)", "jdoe@example.com"),
            // RFC 6532: UTF-8
            ("J\u{F6}e <jd\u{F6}e@b\u{FC}cher.example>", "jd\u{F6}e@xn--bcher-kva.example"),
            ("(\u{F6}) \"\u{F6}\" <jdoe@xn--bcher-kva.example>", "jdoe@xn--bcher-kva.example"),
            // Everyday mail: the same address twice has one reading.
            ("jdoe@example.com <jdoe@example.com>", "jdoe@example.com"),
            ("jdoe@EXAMPLE.com (x) <jdoe@example.com>", "jdoe@example.com"),
        ])
    func one(_ value: String, _ address: String) {
        guard case .one(let mailbox) = Self.finding(value) else {
            Issue.record("\(value): \(Self.finding(value))")
            return
        }
        #expect(Self.text(mailbox) == address)
    }

    @Test("display names in other charsets do not matter")
    func latin1() {
        let value = [0x4A, 0xF6, 0x65, 0x20] + Array("<jdoe@example.com>".utf8)
        #expect(AuthorFinding.author(of: [HeaderField(name: Array("From".utf8), value: value)]).mailboxes.count == 1)
        let local = Array("<jd".utf8) + [0xF6] + Array("e@example.com>".utf8)
        #expect(AuthorFinding.author(of: [HeaderField(name: Array("From".utf8), value: local)]).mailboxes.isEmpty)
    }

    @Test(
        "several authors",
        arguments: [
            ("a@b.example, c@d.example", ["a@b.example", "c@d.example"]),  // RFC 5322 §3.6.2
            ("Joe <a@b.example>,\r\n \"Doe, J\" <c@d.example>", ["a@b.example", "c@d.example"]),
            ("Managers: a@b.example, <c@d.example>;", ["a@b.example", "c@d.example"]),  // RFC 6854
            ("A: a@b.example;, B: c@d.example;, e@f.example", ["a@b.example", "c@d.example", "e@f.example"]),
            ("a@b.example, a@b.example", ["a@b.example", "a@b.example"]),
        ])
    func several(_ value: String, _ addresses: [String]) {
        guard case .several(let mailboxes) = Self.finding(value) else {
            Issue.record("\(value): \(Self.finding(value))")
            return
        }
        #expect(mailboxes.map(Self.text) == addresses)
    }

    @Test(
        "no author",
        arguments: [
            // Nothing there
            ("", "no address"), (" ", "no address"), ("()", "no address"), (",,", "no address"), ("Joe", "no address"),
            ("<>", "no address"), ("Joe <>", "no address"), ("Joe <joe>", "no address"),
            ("\"joe@example.com\"", "no address"),
            ("=?utf-8?q?joe=40example=2Ecom?=", "no address"),
            // Two readings
            ("a@b.example <c@d.example>", "two different addresses for one mailbox"),
            ("a@b.example <A@b.example>", "two different addresses for one mailbox"),
            ("<a@b.example> <c@d.example>", "an unexpected \"<\""),
            ("<a@b.example>c@d.example", "an unexpected \"c\""),
            ("a@b.example c@d.example", "an unexpected \"c\""),
            ("a@b.example, c@d.example <a@b.example>", "two different addresses for one mailbox"),
            ("<a@b.example, c@d.example>", "an unexpected \",\""),
            ("<a@b.example> x", "an unexpected \"x\""),
            ("a@b.example;", "an unexpected \";\""),
            ("a@b@c.example", "an unexpected \"@\""),
            ("<<a@b.example>>", "an unexpected \"<\""),
            ("<a@b.example>>", "an unexpected \">\""),
            ("Doe, Joe <joe@example.com>", "an unexpected \",\""),
            ("Joe [x] <joe@example.com>", "an unexpected \"[\""),
            ("<@a.example:b@c.example>", "a source route"),
            ("<@a.example,@d.example:b@c.example>", "a source route"),
            ("<,@a.example:b@c.example>", "a source route"),
            ("\"a@b.example\"@c.example", "a local-part that could be read as an address"),
            ("\"<a\"@c.example", "a local-part that could be read as an address"),
            ("\"a\\\"b\"@c.example", "a local-part that could be read as an address"),
            ("=?utf-8?q?a?=@c.example", "a local-part that could be read as an address"),
            ("=?x<y?q?a?=z@c.example>", "a local-part that could be read as an address"),
            ("a@b.example .evil.example", "a gap in the domain"),
            ("<a@b.example(x).evil.example>", "a gap in the domain"),
            ("joe . doe@example.com", "what stands before @ is no local-part"),
            ("joe(x).doe@example.com", "what stands before @ is no local-part"),
            ("a@b.example (<c@d.example>)", "an angle bracket in a comment"),
            ("(\\<c@d.example\\>) a@b.example", "an angle bracket in a comment"),
            // Not closed
            ("\"Joe <a@b.example>", "a quoted string that does not end"),
            ("Joe\" <a@b.example>", "a quoted string that does not end"),
            ("(Joe <a@b.example>", "a comment that does not end"),
            ("Joe) <a@b.example>", "an unexpected \")\""),
            ("<a@b.example", "an angle bracket that does not close"),
            ("<a", "an angle bracket that does not close"),
            ("a@b.example>", "an unexpected \">\""),
            ("A: a@b.example", "a group that does not end"),
            ("A: a@b.example, B: c@d.example;", "an unexpected \":\""),
            ("A:;", "an empty group"), ("A: , ;", "an empty group"), ("a@b.example, A:;", "an empty group"),
            (": a@b.example;", "an unexpected \":\""),
            // Local-parts and domains
            ("@example.com", "what stands before @ is no local-part"),
            ("joe doe@example.com", "what stands before @ is no local-part"),
            ("joe..doe@example.com", "what stands before @ is no local-part"),
            ("joe.@example.com", "what stands before @ is no local-part"),
            (".joe@example.com", "an unexpected \".\""),
            ("joe@", "what stands after @ is no domain"), ("<joe@>", "what stands after @ is no domain"),
            ("joe@.example.com", "what stands after @ is no domain"),
            ("joe@example.com.", "what stands after @ is no domain"),
            ("joe@example..com", "what stands after @ is no domain"),
            ("joe@-a.example", "what stands after @ is no domain"),
            ("joe@a%b.example", "what stands after @ is no domain"),
            ("joe@\u{FF45}xample.com", "what stands after @ is no domain"),
            ("joe@[192.0.2.1]", "an address literal instead of a domain"),
            ("joe@\"example.com\"", "what stands after @ is no domain"),
            // Octets
            ("Joe\r\n<a@b.example>", "a CR or LF that is no fold"),
            ("Joe\n <a@b.example>", "a CR or LF that is no fold"),
            ("Joe\r <a@b.example>", "a CR or LF that is no fold"), ("a@b.example\r\n", "a CR or LF that is no fold"),
            ("a@b.example\u{0}", "an unexpected octet 0"), ("a\u{0}@b.example", "an unexpected octet 0"),
            ("\"a\u{0}\" <a@b.example>", "a control character"), ("(\\\u{0}) a@b.example", "a control character"),
            ("\u{1B}$B <a@b.example>", "an unexpected octet 27"), ("a@b\u{7F}.example", "an unexpected octet 127"),
        ])
    func invalid(_ value: String, _ reason: String) {
        #expect(Self.finding(value) == .invalid(reason))
    }

    @Test("no field, several fields, names in any case")
    func fields() {
        let from = HeaderField("From", "a@b.example")
        #expect(AuthorFinding.author(of: []) == .missing)
        #expect(
            AuthorFinding.author(of: [HeaderField("Sender", "a@b.example"), HeaderField("From2", "x")]) == .missing)
        #expect(AuthorFinding.author(of: [from, from]) == .repeated)
        #expect(AuthorFinding.author(of: [from, HeaderField("FROM ", "")]) == .repeated)
        #expect(
            AuthorFinding.author(of: [HeaderField("X", ""), HeaderField("from\t", "a@b.example")]).mailboxes.count == 1)
        #expect(AuthorFinding.author(of: Array(repeating: from, count: 10_000)) == .repeated)
        #expect(AuthorFinding.author(of: [HeaderField("From", ""), from]) == .repeated)
    }

    @Test("caps: octets, mailboxes, nesting")
    func caps() {
        let most = Array(repeating: "a@b.example", count: AuthorFinding.maxMailboxes).joined(separator: ",")
        #expect(Self.finding(most).mailboxes.count == AuthorFinding.maxMailboxes)
        #expect(Self.finding(most + ",a@b.example") == .invalid("more than 5 mailboxes"))

        let pad = String(repeating: " ", count: AuthorFinding.maxFromOctets - 11)
        #expect(Self.finding("a@b.example" + pad).mailboxes.count == 1)
        #expect(Self.finding("a@b.example " + pad) == .invalid("longer than 16384 octets"))
        let huge = String(repeating: "(", count: 1 << 20)
        #expect(Self.finding(huge) == .invalid("longer than 16384 octets"))

        func nested(_ depth: Int) -> String {
            "a@b.example " + String(repeating: "(", count: depth) + String(repeating: ")", count: depth)
        }
        #expect(Self.finding(nested(StructuredText.maxCommentDepth)).mailboxes.count == 1)
        #expect(Self.finding(nested(StructuredText.maxCommentDepth + 1)) == .invalid("comments nested too deeply"))
        #expect(Self.finding(nested(8_000)) == .invalid("comments nested too deeply"))
        for bomb in ["\"", "<", ",", ":", "a ", "a.", "\"\"", "()", "\\", "a@b,", "A:"] {
            let value = String(repeating: bomb, count: AuthorFinding.maxFromOctets / bomb.utf8.count)
            #expect(Self.finding(value).mailboxes.isEmpty, "\(bomb)")
        }
    }

    @Test("mutations: never a trap, and what is read as an author reads the same when it is written plainly")
    func mutations() {
        let samples = [
            "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
            "\"Joe Q. Public\" <john.q.public@example.com>",
            "A Group: Ed Jones <joe@where.test>,\r\n john@one.test;", "John Doe <jdoe@machine(comment).  example>",
            "J\u{F6}e <jd\u{F6}e@b\u{FC}cher.example>", "\"joe doe\"@example.com, a@b.example",
        ].map { Array($0.utf8) }
        let tokens = ["(", ")", "\"", "\\", "<", ">", "@", ",", ":", ";", ".", "\r\n ", " ", "\0", "a@b.example"]
        var read = 0
        Mutations.of(samples, tokens: tokens.map { Array($0.utf8) }, count: 30_000, seed: 5322) { octets in
            let found = AuthorFinding.author(of: [HeaderField(name: Array("From".utf8), value: octets)])
            if case .invalid(let reason) = found {
                #expect(reason.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F } && reason.utf8.count < 80)
            }
            guard !found.mailboxes.isEmpty else { return }
            read += 1
            let plain = found.mailboxes.map { mailbox -> [UInt8] in
                [0x22] + mailbox.localPart + Array("\"@\(mailbox.domain)".utf8)
            }
            let value = Array(plain.joined(separator: [0x2C]))
            #expect(
                AuthorFinding.author(of: [HeaderField(name: Array("From".utf8), value: value)]).mailboxes
                    == found.mailboxes)
        }
        #expect(read > 1_000)
    }
}
