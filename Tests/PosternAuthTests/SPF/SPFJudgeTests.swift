// What the suites leave out of the SPF judge: identities, findings, which questions go out together, and limits.

import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternAuth

@Suite("SPF judge")
struct SPFJudgeTests {
    // MARK: Identities

    @Test("senders that have no domain to ask for are none, RFC 7208 §4.3")
    func noDomain() throws {
        let dns = FunctionDNS { _ in .txt("v=spf1 +all") }
        let label = String(repeating: "x", count: 64)
        let name = Array(repeating: String(repeating: "y", count: 63), count: 4).joined(separator: ".")
        for sender in [
            "foo", "@", "foo@", "foo@example", "foo@a@", "a@b...c", "foo@.example.com", "foo@[192.0.2.1]",
            "foo@192.0.2.1",
            "foo@\(label).example.com", "foo@\(name)", "foo@exa mple.com", "foo@[IPv6:2001:db8::1]", " ",
            "foo@\u{3002}.com",
        ] {
            let finding = try judgeSPF(sender, dns: dns)
            #expect(finding.result == .none, "\(sender)")
            #expect(finding.domain == nil && !finding.reason.description.isEmpty, "\(sender)")
            #expect(finding.lookups == 0)
        }
        #expect(dns.batches.isEmpty)
    }

    @Test("local-parts, quoted or none, and the domain after the last @")
    func localParts() throws {
        let dns = FunctionDNS([
            "example.com TXT": .txt("v=spf1 -all exp=e.example.net"), "e.example.net TXT": .txt("%{l}|%{o}"),
        ])
        let rows = [
            ("Foo@EXAMPLE.com", "Foo|example.com"), ("@example.com", "postmaster|example.com"),  // RFC 7208 §4.3
            ("\"a@b\"@example.com", "\"a@b\"|example.com"), ("foo@example.com.", "foo|example.com"),
            ("a b@example.com", "a b|example.com"), ("\u{E4}\r\n\u{0}@example.com", "?????|example.com"),
        ]
        for (sender, explanation) in rows {
            #expect(try judgeSPF(sender, dns: dns).explanation == explanation, "\(sender)")
        }
    }

    @Test("the null reverse-path is postmaster at the HELO name, and a MAIL FROM identity, RFC 7208 §2.4")
    func nullReversePath() throws {
        let dns = FunctionDNS([
            "mail.example.net TXT": .txt("v=spf1 exists:%{l}.%{o}.%{h}.x.example -all"),
            "postmaster.mail.example.net.mail.example.net.x.example A": .a("127.0.0.2"),
        ])
        let finding = try judgeSPF("", dns: dns)
        #expect(finding.result == .pass)
        #expect(DMARCIdentifier(finding) == DMARCIdentifier(try DomainName("mail.example.net")))
        guard case .mailFrom(let identity) = finding.identity else {
            Issue.record("\(finding)")
            return
        }
        #expect(identity.isNullReversePath)
        #expect(try judgeSPF("", helo: "[192.0.2.3]", dns: dns).result == .none)
    }

    @Test("a pass of HELO authenticates no envelope sender, CVE-2019-20790")
    func helo() throws {
        let dns = FunctionDNS(["mail.example.net TXT": .txt("v=spf1 +all")])
        let finding = SPFJudge.checkHELO(
            Array("Mail.Example.Net".utf8), client: .v4(1), receiver: nil, dns: dns, now: UnixTime(seconds: 0))
        #expect(finding.result == .pass)
        #expect(finding.domain == (try DomainName("mail.example.net")))
        #expect(DMARCIdentifier(finding) == nil)
        for name in ["", "localhost", "a b.c", "[127.0.0.1]", "192.0.2.1", "a..b"] {
            let finding = SPFJudge.checkHELO(
                Array(name.utf8), client: .v4(1), receiver: nil, dns: dns, now: UnixTime(seconds: 0))
            #expect(finding.result == .none, "\(name)")
        }
    }

    @Test("U-labels are asked as A-labels; terms with such a local-part match nothing, RFC 8616 §4")
    func internationalized() throws {
        let dns = FunctionDNS([
            "xn--bcher-kva.example TXT": .txt(
                "v=spf1 exists:%{d}.d.example include:%{s}.i.example exists:%{l}.l.example "
                    + "a:%{L}.u.example a:%{l1}.p.example -all")  // even where the expansion would be ASCII
        ])
        let finding = try judgeSPF("gr\u{FC}n.abc@b\u{FC}cher.example", dns: dns)
        #expect(finding.result == .fail)
        #expect(finding.lookups == 5)
        #expect(dns.batches == [["xn--bcher-kva.example TXT"], ["xn--bcher-kva.example.d.example A"]])
        let helo = FunctionDNS([
            "example.com TXT": .txt("v=spf1 exists:%{h}.h.example -all"),
            "xn--bcher-kva.example.h.example A": .a("127.0.0.2"),
        ])
        #expect(try judgeSPF(helo: "b\u{FC}cher.example", dns: helo).result == .pass)
    }

    // MARK: Findings

    @Test("a finding tells the term, the way to it and the look-ups")
    func finding() throws {
        let dns = FunctionDNS([
            "example.com TXT": .txt("v=spf1 a redirect=r.example.com"),
            "r.example.com TXT": .txt("v=spf1 include:no.example.com ~include:yes.example.com -all"),
            "no.example.com TXT": .txt("v=spf1 ip4:198.51.100.1 -all"),
            "yes.example.com TXT": .txt("v=spf1 ip4:192.0.2.0/24"),
        ])
        let finding = try judgeSPF(dns: dns)
        #expect(finding.result == .softfail && finding.reason == .matched)
        #expect(finding.mechanism == "~include:yes.example.com")
        #expect(
            finding.chain.map(\.description) == [
                "example.com redirect=r.example.com", "r.example.com ~include:yes.example.com",
                "yes.example.com ip4:192.0.2.0/24",
            ])
        #expect(finding.lookups == 4 && finding.voidLookups == 1)
        #expect(finding.explanation == nil && DMARCIdentifier(finding) == nil)
    }

    @Test("results, reasons and where errors were")
    func results() throws {
        let name = try DomainName("b.example.com")
        let rows: [(String, String?, SPFResult, SPFReason, [String])] = [
            ("v=spf1", nil, .neutral, .noMatch, []),
            ("v=spf1 include:b.example.com", nil, .permerror, .noIncludedRecord, ["include:b.example.com"]),  // §5.2
            ("v=spf1 redirect=b.example.com", nil, .permerror, .noRedirectedRecord, ["redirect=b.example.com"]),
            ("v=spf1 redirect=b.example.com", "v=spf1", .neutral, .noMatch, ["redirect=b.example.com"]),
            ("v=spf1 redirect=b.example.com +all", "v=spf1 -all", .pass, .matched, ["+all"]),  // §6.1
            ("v=spf1 include:b.example.com", "v=spf1 -all", .neutral, .noMatch, []),  // §5.2
            (
                "v=spf1 include:b.example.com", "v=spf1 oops", .permerror,
                .syntax(name, "\"oops\": no such mechanism"), ["include:b.example.com"]
            ),
            (
                "v=spf1 +all oops", nil, .permerror,
                .syntax(try DomainName("example.com"), "\"oops\": no such mechanism"), []
            ),
        ]
        for (record, other, result, reason, terms) in rows {
            let dns = FunctionDNS([
                "example.com TXT": .txt(record), "b.example.com TXT": other.map { .txt($0) } ?? .noData,
            ])
            let finding = try judgeSPF(dns: dns)
            #expect(finding.result == result && finding.reason == reason, "\(record): \(finding)")
            #expect(finding.chain.map(\.term) == terms, "\(record)")
        }
    }

    @Test("trouble with DNS is temperror wherever it decides, RFC 7208 §4.4, §5")
    func temperror() throws {
        let rows: [(String, SPFResult)] = [
            ("v=spf1 a:bad.example -all", .temperror), ("v=spf1 mx:bad.example -all", .temperror),
            ("v=spf1 mx:half.example -all", .temperror), ("v=spf1 exists:bad.example -all", .temperror),
            ("v=spf1 include:bad.example -all", .temperror), ("v=spf1 redirect=bad.example", .temperror),
            ("v=spf1 mx:good.example -all", .pass),  // one host matches, another is in trouble
            ("v=spf1 ptr:bad.example -all", .fail),  // §5.5: no match
            ("v=spf1 -all exp=bad.example", .fail),  // §6.2: no explanation
            ("v=spf1 ip4:192.0.2.3 a:bad.example", .pass),  // never asked
        ]
        for (record, result) in rows {
            let zone: [String: Answer] = [
                "example.com TXT": .txt(record), "half.example MX": try .mx("ok.example", "bad.example"),
                "good.example MX": try .mx("bad.example", "mine.example"), "ok.example A": .a("198.51.100.1"),
                "mine.example A": .a("192.0.2.3"),
            ]
            let dns = FunctionDNS { question in
                let isBad = question.type == .ptr || question.name.description == "bad.example"
                return isBad ? .temporaryFailure("SERVFAIL from 192.0.2.53") : zone["\(question)"] ?? .noSuchName
            }
            let finding = try judgeSPF(dns: dns)
            #expect(finding.result == result, "\(record): \(finding)")
            #expect(!finding.reason.publicDescription.contains("192.0.2.53"))
        }
        let down = FunctionDNS { _ in .temporaryFailure("timeout") }
        #expect(try judgeSPF(dns: down).result == .temperror)
    }

    @Test("independent questions of a term go out together")
    func batches() throws {
        let dns = FunctionDNS([
            "example.com TXT": .txt("v=spf1 mx ptr exists:%{p}.x.example -all"),
            "example.com MX": try .mx("m1.example.com", "m2.example.com", "m1.example.com"),
            "m1.example.com AAAA": .aaaa("2001:db8::1"), "p2.example.net AAAA": .aaaa("2001:db8::2"),
            "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR":
                try .ptr("p1.example.net", "p2.example.net"),
        ])
        let finding = try judgeSPF(client: "2001:db8::2", dns: dns)
        #expect(finding.result == .fail && finding.lookups == 3 && finding.voidLookups == 1)
        #expect(
            dns.batches == [
                ["example.com TXT"], ["example.com MX"], ["m1.example.com AAAA", "m2.example.com AAAA"],
                ["2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR"],
                ["p1.example.net AAAA", "p2.example.net AAAA"], ["p2.example.net.x.example A"],
            ])
    }

    @Test("%{p}: the domain, else a name below it, else any, else unknown, RFC 7208 §7.3")
    func validatedNames() throws {
        let rows: [([String], String)] = [
            (["z.other.org", "m.example.com", "example.com"], "example.com"),
            (["z.other.org", "m.example.com"], "m.example.com"), (["z.other.org", "y.other.org"], "z.other.org"),
            (["forged.other.org"], "unknown"), ([], "unknown"),
        ]
        for (names, expected) in rows {
            let pointers = Answer.records(try names.map { .ptr(try DomainName($0)) }, ttl: 300)
            let dns = FunctionDNS { question in
                switch "\(question)" {
                case "example.com TXT": .txt("v=spf1 -all exp=e.example.net")
                case "e.example.net TXT": .txt("%{p}")
                case "3.2.0.192.in-addr.arpa PTR": names.isEmpty ? .noSuchName : pointers
                case "forged.other.org A": .a("198.51.100.1")
                case let text where text.hasSuffix(" A"): .a("198.51.100.1", "192.0.2.3")
                default: .noData
                }
            }
            #expect(try judgeSPF(dns: dns).explanation == expected, "\(names)")
        }
    }

    @Test("macros of explanations, RFC 7208 §7.2, and what makes none of them, §6.2")
    func explanations() throws {
        let rows: [(Answer, String?)] = [
            (
                .txt("%{c} %{r} %{t} %{h} %{v} %{i}"),
                "192.0.2.3 mx.example.org 1800000000 mail.example.net in-addr 192.0.2.3"
            ),
            (.txt("See http://x.example/%{S}"), "See http://x.example/foo%40example.com"),
            (.txt("100%%%_ok%-"), "100% ok%20"),
            (.txt("100%"), nil), (.txt("tab\t"), nil), (.txt("gr\u{FC}n"), nil), (.txt(""), nil), (.txt("a", "b"), nil),
            (.noData, nil), (.noSuchName, nil), (.temporaryFailure("SERVFAIL"), nil),
            (.txt(String(repeating: "x", count: 5000)), String(repeating: "x", count: 512)),
        ]
        for (answer, expected) in rows {
            let dns = FunctionDNS(["example.com TXT": .txt("v=spf1 -all exp=e.%{d}"), "e.example.com TXT": answer])
            let finding = try judgeSPF(dns: dns)
            #expect(finding.result == .fail && finding.explanation == expected, "\(answer)")
            #expect(finding.lookups == 0 && finding.voidLookups == 0)
        }
        let dns = FunctionDNS(["example.com TXT": .txt("v=spf1 -all exp=e.%{d}"), "e.example.com TXT": .txt("%{r}")])
        #expect(try judgeSPF(receiver: nil, dns: dns).explanation == "unknown")
    }
}
