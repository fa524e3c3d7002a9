// libspf2 on the suite of RFC 7208: where it departs, by name and with the reason. The list may only shrink: a case
// that it suddenly gets right must leave the list, and one more that it gets wrong fails.

import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("SPF by libspf2") struct SecondOpinionTests {
    /// Names of the suite's cases by the reason why libspf2 1.2.10 answers otherwise.
    private static let known: [(reason: String, names: [String])] = [
        (
            "takes octets that are no visible ASCII, RFC 7208 §3.1, §4.6.1",
            ["non-ascii-policy", "control-char-policy"]
        ),
        (
            "does not check a domain-spec's last label, RFC 7208 §7.1",
            [
                "invalid-domain", "a-bad-domain", "a-null", "a-numeric", "a-numeric-toplabel", "a-bad-toplabel",
                "a-only-toplabel", "a-only-toplabel-trailing-dot", "mx-bad-domain", "mx-null", "mx-numeric-top-label",
                "mx-bad-toplab", "exists-cidr", "exp-syntax-error",
            ]
        ),
        (
            "takes an empty domain-spec for none, RFC 7208 §4.6.1",
            [
                "ptr-empty-domain", "a-empty-domain", "mx-empty-domain", "exists-empty-domain", "exp-empty-domain",
                "redirect-empty-domain",
            ]
        ),
        (
            "takes wrong and repeated modifiers, RFC 7208 §6",
            ["redirect-is-modifier", "exp-twice", "redirect-twice", "unknown-modifier-syntax"]
        ),
        (
            "does not know all characters of a modifier's name, RFC 7208 §12",
            ["modifier-charset-good", "redirect-after-mechanisms2"]
        ),
        (
            "takes macros that are none, RFC 7208 §7.1",
            [
                "exp-only-macro-char", "invalid-macro-char", "invalid-embedded-macro-char",
                "invalid-trailing-macro-char",
            ]
        ),
        (
            "refuses the prefix length 0, RFC 7208 §5.6",
            [
                "a-nxdomain", "a-cidr4-0", "a-cidr4-0-ip6", "a-cidr6-0-ip4", "a-cidr6-0-ip4mapped", "a-cidr6-0-ip6",
                "a-cidr6-0-nxdomain", "mx-nxdomain", "mx-cidr4-0", "mx-cidr4-0-ip6", "mx-cidr6-0-ip4",
                "mx-cidr6-0-ip4mapped", "mx-cidr6-0-ip6", "mx-cidr6-0-nxdomain", "cidr4-0", "cidr6-0-ip4",
                "cidr6-ip4", "cidr6-0",
            ]
        ),
        ("takes a prefix length with a leading zero, RFC 7208 §12", ["cidr4-032"]),
        (
            "refuses a redirect to its own domain on sight, RFC 7208 §6.1", ["redirect-after-mechanisms1"]
        ),
        (
            "writes % for a space of an explanation and does not expand what is behind it, RFC 7208 §6.2",
            [
                "redirect-cancels-prior-exp", "dorky-sentinel", "trailing-dot-exp", "exp-txt-macro-char",
                "v-macro-ip4", "v-macro-ip6", "p-macro-ip4-novalid", "p-macro-ip4-valid", "p-macro-ip6-novalid",
                "p-macro-ip6-valid",
            ]
        ),
        ("escapes URLs with small letters, RFC 7208 §7.3", ["upper-macro"]),
        ("does not cut long names on the left, RFC 7208 §7.3", ["domain-name-truncation"]),
        ("does not skip a name of the client that DNS has trouble with, RFC 7208 §5.5", ["ptr-cname-loop"]),
        (
            "counts look-ups for each record, names of PTR as permerror, and void look-ups not at all, RFC 7208 §4.6.4",
            ["ptr-limit", "include-over-limit", "void-over-limit"]
        ),
    ]

    @Test("the suite of RFC 7208 but for known differences") func suite() throws {
        var differing: Set<String> = []
        var count = 0
        for scenario in try SPFScenario.all("spf-rfc7208/rfc7208-tests.yml") {
            for test in scenario.cases {
                count += 1
                let opinion = SecondOpinion(
                    sender: test.sender, client: try #require(IPAddress(test.host)), helo: test.helo, receiver: nil,
                    dns: scenario.dns)
                // Without words of the domain's the library has its own.
                let expected = test.explanation.flatMap { $0 == "DEFAULT" || opinion.result != .fail ? nil : $0 }
                let isExplained = expected == nil || opinion.explanation == expected
                if !test.results.contains(opinion.result.rawValue) || !isExplained { differing.insert(test.name) }
            }
        }
        #expect(count == 203)
        let known = Self.known.flatMap(\.names)
        #expect(Set(known).count == known.count)
        #expect(differing.subtracting(known).sorted() == [], "unknown differences")
        #expect(Set(known).subtracting(differing).sorted() == [], "no differences any more: take them off the list")
    }

    @Test("a null reverse-path is postmaster at the HELO name; trouble is temperror; loopback passes unasked")
    func odd() throws {
        let dns = FunctionDNS { question in
            switch "\(question)" {
            case "h.example.com TXT": .txt("v=spf1 exists:%{l}.example.com -all")
            case "postmaster.example.com A": .a("127.0.0.2")
            case "error.example.com TXT": .temporaryFailure("timeout")
            default: .noSuchName
            }
        }
        func opinion(_ sender: String, _ client: String) throws -> SPFResult {
            SecondOpinion(
                sender: Array(sender.utf8), client: try #require(IPAddress(client)), helo: Array("h.example.com".utf8),
                receiver: nil, dns: dns
            ).result
        }
        #expect(try opinion("", "192.0.2.1") == .pass)
        #expect(try opinion("ann@h.example.com", "192.0.2.1") == .fail)
        #expect(try opinion("ann@error.example.com", "192.0.2.1") == .temperror)
        #expect(try opinion("ann@none.example.com", "2001:db8::1") == .none)
        // Not RFC 7208: "localhost always gets a free ride".
        #expect(try opinion("ann@h.example.com", "127.0.0.1") == .pass)
    }
}
