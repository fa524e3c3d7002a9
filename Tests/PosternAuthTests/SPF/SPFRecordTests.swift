// The grammar of SPF records (RFC 7208 §4.5, §4.6, §5, §6, §7.1, §12): what is a record, what is wrong in one, and that
// damaged ones never trap.

import PosternMail
import TestSupport
import Testing

@testable import PosternAuth

@Suite("SPF records")
struct SPFRecordTests {
    @Test("selection, RFC 7208 §4.5")
    func selection() {
        let rows = [
            ("v=spf1", true), ("v=spf1 ", true), ("V=SPF1 -all", true), ("v=spf1  a", true), ("v=spf10", false),
            ("v=spf1\t-all", false), (" v=spf1", false), ("v=spf1-all", false), ("v=spf2.0/pra -all", false),
            ("", false), ("v=spf", false), ("\"v=spf1\"", false),
        ]
        for (text, isRecord) in rows {
            #expect(SPFRecord.isRecord(Array(text.utf8)) == isRecord, "\(text)")
            #expect((SPFRecord(Array(text.utf8)) != nil) == isRecord, "\(text)")
        }
    }

    /// One term and the mistake in it; `nil` for none.
    private static let terms: [(term: String, error: SPFSyntaxError?, section: String)] = [
        ("all", nil, "5.1"), ("+ALL", nil, "4.6.1"), ("-all", nil, "4.6.2"), ("~all", nil, "4.6.2"),
        ("?all", nil, "4.6.2"), ("all.", .unknownMechanism, "5.1"), ("all:x.example", .unexpectedArgument, "5.1"),
        ("all/8", .unexpectedArgument, "5.1"), ("--all", .unknownMechanism, "4.6.1"),
        ("!all", .unknownMechanism, "4.6.1"),
        ("-", .unknownMechanism, "4.6.1"), (":", .unknownMechanism, "4.6.1"), ("/", .unknownMechanism, "4.6.1"),
        ("moo", .unknownMechanism, "4.6"), ("include:example.com", nil, "5.2"), ("include", .missingDomain, "5.2"),
        ("include:", .emptyDomain, "5.2"), ("include:example.com/24", .badTopLabel, "5.2"),
        ("include/24", .missingDomain, "5.2"), ("include=example.com", nil, "6: a modifier that nobody knows"),
        ("a", nil, "5.3"), ("a/24", nil, "5.3"), ("a//64", nil, "5.3"), ("a/24//64", nil, "5.3"),
        ("a/0//0", nil, "5.3"),
        ("a/32//128", nil, "5.3"), ("a/33", .badPrefixLength, "5.3"), ("a//129", .badPrefixLength, "5.3"),
        ("a/24/64", .badPrefixLength, "5.3"), ("a/", .badPrefixLength, "5.3"), ("a//", .badPrefixLength, "5.3"),
        ("a///64", .badPrefixLength, "5.3"), ("a/024", .badPrefixLength, "12"), ("a/1234", .badPrefixLength, "12"),
        ("a/99999999999999999999", .badPrefixLength, "12"), ("a/-1", .badPrefixLength, "12"),
        ("a:", .emptyDomain, "5.3"), ("a:example.com/24//64", nil, "5.3"), ("a:x/y.example.com", nil, "7.1"),
        ("a:x:y.example.com", nil, "7.1"), ("a:example.com:8080", .badTopLabel, "7.1"),
        ("a:museum", .singleLabel, "7.1"), ("a:museum.", .singleLabel, "7.1"), ("a:.museum", nil, "7.1"),
        ("a:example.com.", nil, "7.1"), ("a:example.com..", .badTopLabel, "7.1"), ("a:a..b", nil, "7.1"),
        ("a:x.123", .numericTopLabel, "7.1"), ("a:x.1-2", nil, "7.1"), ("a:x.-com", .badTopLabel, "7.1"),
        ("a:x.com-", .badTopLabel, "7.1"), ("a:x.c_m", .badTopLabel, "7.1"), ("a:x.xn--zckzah", nil, "7.1"),
        ("a:192.0.2.1", .addressForDomain, "7.1"), ("a:192.0.2.1/24", .addressForDomain, "7.1"),
        ("a:2001:db8::1", .addressForDomain, "7.1"), ("mx", nil, "5.4"), ("MX/24", nil, "5.4"),
        ("mx:example.com//64", nil, "5.4"), ("mx:", .emptyDomain, "5.4"), ("mx.example.com", .unknownMechanism, "5.4"),
        ("ptr", nil, "5.5"), ("ptr:example.com", nil, "5.5"), ("ptr/24", .badPrefixLength, "5.5"),
        ("ptr:", .emptyDomain, "5.5"), ("ip4:192.0.2.1", nil, "5.6"), ("ip4:192.0.2.1/24", nil, "5.6"),
        ("ip4:192.0.2.0/0", nil, "5.6"), ("ip4", .badIPv4, "5.6"), ("ip4:", .badIPv4, "5.6"),
        ("ip4:192.0.2", .badIPv4, "5.6"), ("ip4:192.0.2.0/33", .badPrefixLength, "5.6"),
        ("ip4:192.0.2.0/", .badPrefixLength, "5.6"), ("ip4:192.0.2.0//24", .badPrefixLength, "5.6"),
        ("ip4:192.0.2.1:25", .badIPv4, "5.6"), ("ip4:192.0.02.1", .badIPv4, "5.6"),
        ("ip4:2001:db8::1", .badIPv4, "5.6"),
        ("ip4:%{i}", .badIPv4, "5.6"), ("ip4=192.0.2.1", nil, "6"), ("ip6:2001:db8::1", nil, "5.6"),
        ("ip6:2001:db8::/32", nil, "5.6"), ("ip6:::1.1.1.1/0", nil, "5.6"), ("ip6:::1/129", .badPrefixLength, "5.6"),
        ("ip6:192.0.2.1", .badIPv6, "5.6"), ("ip6", .badIPv6, "5.6"), ("ip6:fe80::1%eth0", .badIPv6, "5.6"),
        ("exists:%{i}.example.com", nil, "5.7"), ("exists", .missingDomain, "5.7"), ("exists:", .emptyDomain, "5.7"),
        ("exists:example.com/24", .badTopLabel, "5.7"), ("redirect=example.com", nil, "6.1"),
        ("redirect=", .emptyDomain, "6.1"), ("redirect:example.com", .unknownMechanism, "6.1"),
        ("-redirect=example.com", .badModifierName, "4.6.1"), ("exp=e.example.com", nil, "6.2"),
        ("exp=", .emptyDomain, "6.2"), ("EXP=-all", .singleLabel, "6.2"), ("x.y-z_1=", nil, "6"),
        ("moo=%%%_%-", nil, "7.1"), ("moo=%", .badMacro("a % that begins no macro"), "7.1"),
        ("moo=%{", .badMacro("no closing brace"), "7.1"), ("moo=%{}", .badMacro("an unknown macro letter"), "7.1"),
        ("moo=%abc", .badMacro("a % that begins no macro"), "7.1"), ("1up=foo", .badModifierName, "12"),
        ("=all", .badModifierName, "12"), ("a.b/c=d", .unknownMechanism, "4.6.1"),
        ("exists:%{d}", nil, "7.1"), ("exists:%%", nil, "7.1"), ("exists:%{D2R.-+,/_=}", nil, "7.1"),
        ("exists:%{d0}", .badMacro("zero parts"), "7.3"), ("exists:%{d00r}", .badMacro("zero parts"), "7.3"),
        ("exists:%{d99999999999999999999999}", nil, "7.3"), ("exists:%{dr2}", .badMacro("an unknown delimiter"), "7.1"),
        ("exists:%{d;}", .badMacro("an unknown delimiter"), "7.1"),
        ("exists:%{d-r}", .badMacro("an unknown delimiter"), "7.1"),
        ("exists:%{a}", .badMacro("an unknown macro letter"), "7.1"),
        ("exists:%(d)", .badMacro("a % that begins no macro"), "7.1"),
        ("exists:%{c}", .badMacro("a macro letter that only explanations may have"), "7.2"),
        ("exists:%{R}", .badMacro("a macro letter that only explanations may have"), "7.2"),
        ("exp=%{t}.example.com", .badMacro("a macro letter that only explanations may have"), "7.2"),
        ("a:x\u{1}.example.com", .badOctet(1), "3.1"), ("a:x.com\u{0}", .badOctet(0), "3.1"),
        ("a:gr\u{FC}n.example.com", .badOctet(0xC3), "3.1"), ("\t-all", .badOctet(9), "4.6.1"),
        ("a:" + String(repeating: "%%", count: SPFMacroString.maxMacros) + ".com", nil, "cap"),
        ("a:" + String(repeating: "%%", count: SPFMacroString.maxMacros + 1) + ".com", .tooManyMacros, "cap"),
    ]

    @Test("terms")
    func terms() throws {
        for (term, error, section) in Self.terms {
            let record = try #require(SPFRecord(Array("v=spf1 \(term)".utf8)))
            #expect(record.mistakes.first?.error == error, "\(term), RFC 7208 §\(section)")
            #expect(record.mistakes.allSatisfy { !$0.description.isEmpty })
        }
    }

    @Test("what a record says")
    func values() throws {
        let text =
            "v=spf1  ~A:%{d}/24//64 IP4:192.0.2.77/24  include:x.example.com "
            + "redirect=y.example.com ra=me exp=%{D1}.z.org "
        let record = try #require(SPFRecord(Array(text.utf8)))
        #expect(record.mistakes.isEmpty)
        #expect(record.directives.map(\.qualifier) == [.softfail, .pass, .pass])
        #expect(record.directives.map(\.text) == ["~A:%{d}/24//64", "IP4:192.0.2.77/24", "include:x.example.com"])
        #expect(record.directives.map(\.causesLookup) == [true, false, true])
        guard case .a(let target, let lengths) = record.directives.first?.mechanism else {
            Issue.record("no a")
            return
        }
        #expect(target?.description == "%{d}")
        #expect(lengths.v4 == 24 && lengths.v6 == 64)
        #expect(record.directives.dropFirst().first?.mechanism == .ip4(try Network("192.0.2.0/24")))
        #expect(record.redirect?.description == "y.example.com")
        #expect(record.explanation?.description == "%{D1}.z.org")
    }

    @Test("every mistake is listed, RFC 7208 §4.6: anywhere in the record")
    func allMistakes() throws {
        let text = "v=spf1 foo a:museum +all exp=a.example.com exp=b.example.com ip4:1.2.3"
        let record = try #require(SPFRecord(Array(text.utf8)))
        #expect(record.mistakes.map(\.error) == [.unknownMechanism, .singleLabel, .repeatedModifier, .badIPv4])
        #expect(record.mistakes.map(\.term) == ["foo", "a:museum", "exp=b.example.com", "ip4:1.2.3"])
        let twice = try #require(SPFRecord(Array("v=spf1 redirect=a.example redirect=a.example".utf8)))
        #expect(twice.mistakes.map(\.error) == [.repeatedModifier])  // RFC 7208 §6
    }

    @Test("caps")
    func caps() throws {
        func mistakes(_ text: String) throws -> [SPFSyntaxError] {
            try #require(SPFRecord(Array(text.utf8))).mistakes.map(\.error)
        }
        let octets = SPFRecord.maxOctets
        #expect(try mistakes("v=spf1" + String(repeating: " ", count: octets - 6)) == [])
        #expect(try mistakes("v=spf1" + String(repeating: " ", count: octets - 5)) == [.tooLong])
        #expect(try mistakes("v=spf1 " + String(repeating: "a", count: 64 * 1024)) == [.tooLong])
        #expect(try mistakes("v=spf1" + String(repeating: " all", count: SPFRecord.maxTerms)) == [])
        #expect(try mistakes("v=spf1" + String(repeating: " all", count: SPFRecord.maxTerms + 1)) == [.tooManyTerms])
        #expect(try mistakes("v=spf1" + String(repeating: " b", count: 1000)).count == SPFRecord.maxMistakes)
        let long = try #require(SPFRecord(Array("v=spf1 \(String(repeating: "b", count: 999))".utf8))).mistakes.first
        #expect(long?.term.count == SPFTerm.maxPrintedOctets + 3)
    }

    @Test("damaged records never trap, and macro-strings that are read are written as they were")
    func mutations() throws {
        let samples = Self.terms.filter { $0.error == nil && $0.term.count < 100 }.map { "v=spf1 \($0.term) -all" }
        let tokens = ["%{", "}", "%", "%%", "/", "//", ":", "=", " ", "redirect=", "exp=", "%{ir}", "\u{0}", "v=spf1 "]
        Mutations.of(
            samples.map { Array($0.utf8) }, tokens: tokens.map { Array($0.utf8) }, count: 20_000, seed: 7208
        ) { text in
            guard let record = SPFRecord(text) else { return }
            let specs = record.directives.compactMap { directive -> SPFMacroString? in
                switch directive.mechanism {
                case .include(let spec), .exists(let spec), .a(let spec?, _), .mx(let spec?, _), .ptr(let spec?): spec
                default: nil
                }
            }
            for spec in specs + [record.redirect, record.explanation].compactMap(\.self) {
                let again = try? SPFMacroString(Array(spec.description.utf8), in: .domainSpec)  // nil fails below
                #expect(again == spec, "\(spec)")
            }
            #expect(record.mistakes.allSatisfy { $0.description.utf8.allSatisfy { (0x20...0x7E).contains($0) } })
        }
    }
}
