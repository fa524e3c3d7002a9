// Text forms: JSON, zone files, resolvers, reverse names.

import Foundation
import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("text forms") struct TextTests {
    @Test(
        "JSON, RFC 8259 §7: members in their order, escapes, UTF-8",
        arguments: [
            (JSONValue.null, "null"), (.number(-5), "-5"), (.boolean(true), "true"), (.list([]), "[]"),
            (["b": .number(1), "a": .list([.text("x"), .null])], #"{"b":1,"a":["x",null]}"#),
            (.text("\"\\/\n\r\t\u{0}\u{1F}\u{7F}\u{2028}é😀"), #""\"\\/\n\r\t\u0000\u001f\u007f\u2028é😀""#),
            (.octets([0x61, 0xFF, 0xC3, 0xA9]), "\"a\u{FFFD}é\""),  // RFC 8259 §8.1
            (["a\"b": .null], #"{"a\"b":null}"#),
        ] as [(JSONValue, String)])
    func json(value: JSONValue, expected: String) {
        #expect("\(value)" == expected)
    }

    @Test("JSON of any octets is JSON") func anyOctetsAreJSON() throws {
        try Mutations.of([Array("a\"\\\u{2029}\u{85}é".utf8)], count: 2000, seed: 1) { octets in
            let text = "\(["v": JSONValue.octets(octets)] as JSONValue)"
            let read = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: String]
            #expect(read?["v"] == String(decoding: octets, as: UTF8.self))
            #expect(!text.contains("\n"))
        }
    }

    @Test("TXT strings hold 255 octets, joined they are the text", arguments: [0, 1, 255, 256, 510, 511, 3000])
    func strings(count: Int) {
        let text = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
        let strings = ZoneText.strings(text)
        #expect(strings.allSatisfy { $0.count <= 255 })
        #expect(Array(strings.joined()) == text)
        #expect(strings.count == max(1, (count + 254) / 255))
    }

    @Test("a printed TXT record reads back octet for octet") func zoneRoundTrip() throws {
        let name = try DomainName("2026q4._domainkey.example.com")
        var random = SeededRandom(seed: 7)
        for count in [0, 1, 254, 255, 256, 1000] {
            for _ in 0..<20 {
                let text = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
                let zone =
                    ZoneText.comment("one\n\ntwo \"; (") + ZoneText.record(name, txt: text) + ZoneText.comment("")
                let answer = try ZoneResolver(zone: zone).answer(to: Question(name, .txt))
                guard case .records(let records, _) = answer else {
                    Issue.record("\(answer) for \(zone)")
                    return
                }
                #expect(records == [.txt(text)])
            }
        }
    }

    @Test(
        "resolvers",
        arguments: [
            ("192.0.2.53", .server(.v4(0xC000_0235), port: 53)),
            ("127.0.0.1:5300", .server(.v4(0x7F00_0001), port: 5300)),
            ("::1", .server(.v6(0, 1), port: 53)), ("[::1]:5300", .server(.v6(0, 1), port: 5300)),
            ("localhost", .server(.v4(0x7F00_0001), port: 53)),
            ("localhost:5300", .server(.v4(0x7F00_0001), port: 5300)),
            ("udp:127.0.0.1:5300", .server(.v4(0x7F00_0001), port: 5300)),
            ("tcp:127.0.0.1:5300", .daemon(.tcp(host: "127.0.0.1", port: 5300))),
            ("unix:/run/postern/dns.sock", .daemon(.unix(path: "/run/postern/dns.sock"))),
            ("unix:dns.sock", .daemon(.unix(path: "dns.sock"))),
        ] as [(String, Resolver)])
    func resolver(text: String, expected: Resolver) throws {
        #expect(try Resolver(text) == expected)
    }

    @Test(
        "no resolvers",
        arguments: [
            "", "dns.example.com", "dns.example.com:53", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:+5",
            "unix:",
            "unix:" + String(repeating: "x", count: 200), "::1:", "[::1]", "tcp:host:1", "192.0.2.1:53:53", "tcp:",
            "1.2.3:53",
        ])
    func noResolver(text: String) {
        #expect(throws: ResolverError(found: text)) { try Resolver(text) }
    }

    @Test("reading resolvers never traps") func resolverMutations() {
        let samples = ["[::1]:5300", "unix:/run/postern/dns.sock", "127.0.0.1:5300", "tcp:127.0.0.1:53"].map {
            Array($0.utf8)
        }
        Mutations.of(samples, tokens: [Array("udp:".utf8), Array("@".utf8)], count: 5000, seed: 3) { octets in
            let text = String(decoding: octets, as: UTF8.self)
            if let resolver = try? Resolver(text), case .server(_, let port) = resolver { #expect(port > 0) }
        }
    }

    @Test(
        "reverse names, RFC 1035 §3.5, RFC 3596 §2.5",
        arguments: [
            ("192.0.2.1", "1.2.0.192.in-addr.arpa"), ("::ffff:192.0.2.1", "1.2.0.192.in-addr.arpa"),
            ("2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
        ])
    func reverse(address: String, name: String) throws {
        #expect(try #require(IPAddress(address)).reverseName == DomainName(name))
    }
}
