// Which SPF passes make a domain an identity for greylisting: those that name few addresses (RFC 7208 §5, §7.2).

import PosternMail
import Testing

@testable import PosternAdmission

@Suite("identity by narrow SPF")
struct GreylistIdentityTests {
    private func identity(
        _ terms: [String], client: String = "192.0.2.7", result: SPFResult = .pass, score: Int = 0
    ) throws -> GreylistRequest.Identity {
        let domain = try DomainName("example.org")
        let finding = SPFFinding(
            result: result, reason: .matched,
            identity: .mailFrom(MailFromIdentity(sender: Array("ann@example.org".utf8), helo: HELOIdentity([]))),
            mechanism: terms.first, chain: terms.map { SPFStep(domain: domain, term: $0) })
        return GreylistIdentity.of(finding, client: try #require(IPAddress(client)), score: score)
    }

    @Test(
        "terms",
        arguments: [
            // RFC 7208 §5.3, §5.4: by default the hosts themselves.
            ("a", true), ("+a", true), ("A", true), ("mx", true), ("a:mail.example.net", true),
            ("MX:example.net", true),
            ("a/24", true), ("a/16", true), ("a/15", false), ("a/0", false), ("mx:example.net/8", false),
            ("a/24//0", true), ("a//0", true), ("a:mail.example.net/16//32", true), ("a/8//64", false),
            // RFC 7208 §5.6.
            ("ip4:192.0.2.7", true), ("ip4:192.0.2.0/24", true), ("ip4:192.0.0.0/16", true), ("IP4:192.0.2.9/16", true),
            ("ip4:192.0.0.0/15", false), ("ip4:0.0.0.0/0", false), ("ip4:192.0.2.0/", false), ("ip4:x", false),
            // RFC 7208 §5.1, §5.5, §5.7: they can name everybody.
            ("all", false), ("+all", false), ("exists:%{i}.example.org", false), ("exists:example.org", false),
            ("ptr", false), ("ptr:example.org", false), ("", false), ("any", false), ("ab", false), ("mxx", false),
            // RFC 7208 §7.2: a name made of the client's address is `exists` in another form.
            ("a:%{i}.example.org", false), ("a:%{ir}.example.org", false), ("a:%{I}.example.org", false),
            ("mx:%{l}.example.org", false), ("a:%{h}", false), ("a:%{p}", false), ("a:%{c}.example.org", false),
            ("a:%{s}.example.org", false), ("a:%{v}.example.org", false), ("a:x%-x.example.org", false),
            ("a:%{d}", true), ("a:mail.%{d2}", true), ("a:%{o}/24", true), ("a:%{o}/8", false), ("a:%{d2r/}x", false),
            ("a:%", false), ("a:%{", false), ("a:%{d", true), ("a:%{d}.%{i}.example.org", false),
        ])
    func terms(_ term: String, _ isNarrow: Bool) throws {
        let expected: GreylistRequest.Identity = isNarrow ? .domain(try DomainName("example.org")) : .none
        #expect(try identity([term]) == expected)
        // What an included or redirected record decides counts as much and as little.
        #expect(try identity(["include:spf.example.net", term]) == expected)
        #expect(try identity(["redirect=spf.example.net", "include:x.example.net", term]) == expected)
    }

    @Test(
        "IPv6",
        arguments: [
            ("ip6:2001:db8::7", true), ("ip6:2001:db8::/32", true), ("ip6:2001:db8::/31", false), ("ip6:::/0", false),
            ("a//64", true), ("a//32", true), ("a//31", false), ("a//0", false), ("a/0", true), ("a", true),
            ("mx:example.net/0//64", true), ("a/24//16", false), ("ip6:x", false), ("a//", false), ("a//1234", false),
        ])
    func ipv6(_ term: String, _ isNarrow: Bool) throws {
        #expect(try identity([term], client: "2001:db8::7") == (isNarrow ? .domain(DomainName("example.org")) : .none))
    }

    @Test("ways to the deciding term that are the client's making")
    func ways() throws {
        for step in ["include:%{i}._spf.example.org", "redirect=%{l}.example.org", "include:%{ir}.%{v}.example.org"] {
            #expect(try identity([step, "ip4:192.0.2.7"]) == .none)
        }
        #expect(try identity(["include:_spf.%{d}", "ip4:192.0.2.7"]) != .none)
        #expect(try identity(["exists:x.example.org", "a"]) == .none)
        #expect(try identity([]) == .none)
    }

    @Test("only a pass, of whom no list counts against")
    func conditions() throws {
        for result in SPFResult.allCases {
            #expect(try (identity(["a"], result: result) == .none) == (result != .pass))
        }
        #expect(try identity(["a"], score: 1) == .none)
        #expect(try identity(["a"], score: -3) != .none)
        #expect(GreylistIdentity.of(nil, client: .v4(0), score: 0) == .none)
    }

    @Test("an IPv4-mapped client is an IPv4 client")
    func mapped() throws {
        #expect(try identity(["a/8//64"], client: "::ffff:192.0.2.7") == .none)
        #expect(try identity(["a/24//0"], client: "::ffff:192.0.2.7") != .none)
    }
}
