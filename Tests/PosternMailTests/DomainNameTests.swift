import Testing

@testable import PosternMail

@Suite("domain names")
struct DomainNameTests {
    @Test(
        "text and back",
        arguments: [
            ("Example.COM", "example.com"), ("example.com.", "example.com"), ("a_b.example", "a_b.example"),
            ("b\u{FC}cher.example", "xn--bcher-kva.example"), ("B\u{DC}CHER.example", "xn--bcher-kva.example"),
            (
                "\u{4ED6}\u{4EEC}\u{4E3A}\u{4EC0}\u{4E48}\u{4E0D}\u{8BF4}\u{4E2D}\u{6587}",
                "xn--ihqwcrb4cv8a8dqg056pqjye"
            ),  // RFC 3492 §7.1 (B)
            ("a;b.example", "a\\;b.example"),
            ("stra\u{DF}e.example", "xn--strae-oqa.example"),  // RFC 5892 §2.6
        ])
    func text(_ input: String, _ output: String) throws {
        #expect(try DomainName(input).description == output)
    }

    @Test(
        "what is no name",
        arguments: [
            ("", DomainNameError.emptyLabel), (".", .emptyLabel), ("a..b", .emptyLabel), (".a", .emptyLabel),
            ("a b", .badOctet),
            // RFC 5892 §2.2: UTS 46 readers take these for example.com
            ("\u{FF45}xample.com", .badULabel), ("example\u{3002}com", .badULabel), ("exam\u{AD}ple.com", .badULabel),
            ("exam\u{200B}ple.com", .badULabel),
            (String(repeating: "a", count: 64), .labelTooLong),
            (Array(repeating: String(repeating: "a", count: 63), count: 4).joined(separator: "."), .nameTooLong),
        ])
    func wrong(_ input: String, _ error: DomainNameError) {
        #expect(throws: error) { try DomainName(input) }
    }

    @Test("255 octets is the longest name")  // RFC 1035 §2.3.4
    func longest() throws {
        let name = try DomainName(
            ([String](repeating: String(repeating: "a", count: 63), count: 3) + [String(repeating: "b", count: 61)])
                .joined(separator: "."))
        #expect(name.wire.count + 1 == 255)
        #expect(throws: DomainNameError.nameTooLong) { try name.prefixed("x") }
    }

    @Test(
        "below is by whole labels",
        arguments: [
            ("a.example.com", "example.com", true), ("example.com", "example.com", true),
            ("badexample.com", "example.com", false),
            ("com", "example.com", false), ("example.com", "com", true),
        ])
    func below(_ name: String, _ other: String, _ expected: Bool) throws {
        #expect(try DomainName(name).isEqualOrBelow(DomainName(other)) == expected)
    }

    @Test("suffix and parent")
    func suffix() throws {
        let name = try DomainName("a.b.c.d")
        #expect(name.suffix(labels: 2) == (try DomainName("c.d")))
        #expect(name.suffix(labels: 9) == name)
        #expect(name.suffix(labels: 0) == .root)
        #expect(name.parent == (try DomainName("b.c.d")))
        #expect(DomainName.root.parent == nil)
    }

    @Test("punycode comes back", arguments: ["b\u{FC}cher", "\u{10D}esky", "pr\u{F8}ve-8", "\u{3072}\u{3068}\u{3064}"])
    func punycode(_ text: String) throws {
        let scalars = text.unicodeScalars.map(\.value)
        let encoded = try #require(Punycode.encode(scalars))
        #expect(Punycode.decode(encoded) == scalars)
    }
}

@Suite("addresses and networks")
struct AddressTests {
    @Test(
        "RFC 5952 text",
        arguments: [
            ("192.0.2.1", "192.0.2.1"), ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"), ("::", "::"), ("::1", "::1"),
            ("1::", "1::"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
        ])
    func text(_ input: String, _ output: String) throws {
        #expect(try #require(IPAddress(input)).description == output)
    }

    @Test(
        "what is no address",
        arguments: [
            "", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "1.2.3.4 ", ":", ":::", "1::2::3", "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "12345::", "::g", "1:2:3:4:5:6:7:8::", "::1.2.3", "::+1", ":1::", "1:", "fe80::1%eth0",
        ])
    func wrong(_ input: String) { #expect(IPAddress(input) == nil) }

    @Test(
        "networks",
        arguments: [
            ("127.0.0.0/8", "127.9.9.9", true), ("127.0.0.0/8", "128.0.0.1", false),
            ("127.0.0.0/8", "::ffff:127.0.0.1", true),
            ("0.0.0.0/0", "203.0.113.9", true), ("0.0.0.0/0", "::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false), ("::1", "::1", true),
            ("2001:db8::80/121", "2001:db8::ff", true),
            ("2001:db8::80/121", "2001:db8::7f", false), ("::/0", "2001:db8::1", true),
        ])
    func networks(_ network: String, _ address: String, _ expected: Bool) throws {
        #expect(try Network(network).contains(#require(IPAddress(address))) == expected)
    }

    @Test(
        "what is no network",
        arguments: ["127.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "example.com", "::1/129"])
    func noNetwork(_ text: String) { #expect(throws: NetworkError.self) { try Network(text) } }
}
