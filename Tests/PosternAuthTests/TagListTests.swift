// Tag lists (RFC 6376 §3.2) and base64 (§2.10).

import PosternMail
import TestSupport
import Testing

@testable import PosternAuth

@Suite("tag lists")
struct TagListTests {
    private func render(_ list: DKIMTagList) -> String {
        list.tags.map { "\(String(decoding: $0.name, as: UTF8.self))=\(String(decoding: $0.value, as: UTF8.self))" }
            .joined(separator: "|")
    }

    @Test(
        "RFC 6376 §3.2",
        arguments: [
            ("a=b", "a=b"),
            ("a=b;", "a=b"),
            ("a=b; ", "a=b"),
            (" a = b ;c\t=\td\r\n ;\r\n e=f", "a=b|c=d|e=f"),
            ("a=", "a="),
            ("a= ;b=", "a=|b="),
            ("a=b c\r\n\td", "a=b c\r\n\td"),
            ("a=b=c==", "a=b=c=="),
            ("A=1;a=2", "A=1|a=2"),  // names are case-sensitive
            ("a1_x=1", "a1_x=1"),
            ("a=Grüße", "a=Grüße"),  // RFC 8616 §4
        ])
    func reads(text: String, tags: String) throws {
        #expect(render(try DKIMTagList(Array(text.utf8))) == tags)
    }

    @Test("what breaks the grammar")
    func refuses() {
        let rows: [(String, DKIMTagListError)] = [
            ("", .emptyTag), (" ", .emptyTag), (";", .emptyTag), ("a=b;;", .emptyTag), (";a=b", .emptyTag),
            ("a=b; ;c=d", .emptyTag), ("a", .noEqualsSign), ("a=b;c", .noEqualsSign), ("=b", .badTagName),
            (" =b", .badTagName), ("1a=b", .badTagName), ("_a=b", .badTagName), ("a-b=c", .badTagName),
            ("a b=c", .badTagName), ("ä=c", .badTagName), ("a=b;a=c", .repeatedTag), ("a=b;c=d; a =b", .repeatedTag),
            ("a=\u{0}", .badOctet), ("a=b\u{7F}", .badOctet), ("a=b\u{1}c", .badOctet),
            ("a=" + String(repeating: "x", count: DKIMTagList.maxOctets), .tooLong),
            ((0...DKIMTagList.maxTags).map { "a\($0)=" }.joined(separator: ";"), .tooManyTags),
        ]
        for (text, error) in rows {
            #expect(throws: error, "\(text.prefix(40))") { try DKIMTagList(Array(text.utf8)) }
            #expect(!error.description.isEmpty)
        }
        let longest = "a=\(String(repeating: "x", count: DKIMTagList.maxOctets - 2))"
        let most = (0..<DKIMTagList.maxTags).map { "a\($0)=" }.joined(separator: ";")
        for text in [longest, most] {
            #expect(throws: Never.self) { _ = try DKIMTagList(Array(text.utf8)) }
        }
    }

    @Test("the raw value is all between = and ;")
    func rawValue() throws {
        let text = Array("a=1; b = \r\n x y \r\n ; c=2".utf8)
        let tag = try #require(try DKIMTagList(text).tag("b"))
        #expect(Array(text[tag.rawValue]) == Array(" \r\n x y \r\n ".utf8))
        #expect(Array(tag.value) == Array("x y".utf8))
        let last = Array("a=1; b=xy".utf8)
        #expect(try DKIMTagList(last).tag("b")?.rawValue == 7..<9)
    }

    @Test("damaged lists never trap, and what is read reads the same when written again")
    func mutations() throws {
        let samples = ["v=1; a=rsa-sha256; d=example.com; h=from : to;\r\n\tb=AQID", "a=b;c=d;", "x=1"]
        try Mutations.of(
            samples.map { Array($0.utf8) }, tokens: [[0x3B], [0x3D], [0x0D, 0x0A, 0x20], [0]], count: 20_000, seed: 32
        ) { text in
            guard let list = try? DKIMTagList(text) else { return }  // most are none
            let again = list.tags.map { $0.name + [0x3D] + $0.value }.joined(separator: [0x3B])
            let reread = try DKIMTagList(Array(again))
            #expect(reread.tags.map(\.name.asciiLowercased) == list.tags.map(\.name.asciiLowercased))
            #expect(reread.tags.map { Array($0.value) } == list.tags.map { Array($0.value) })
        }
    }
}

@Suite("base64")
struct Base64Tests {
    @Test("RFC 4648 §10, both ways")
    func vectors() {
        let rows = [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ]
        for (plain, encoded) in rows {
            #expect(Base64.encode(plain.utf8) == Array(encoded.utf8))
            #expect(Base64.decode(encoded.utf8) == Array(plain.utf8))
            // RFC 6376 §2.10: padding is optional, FWS may stand anywhere.
            #expect(Base64.decode(encoded.utf8.filter { $0 != 0x3D }) == Array(plain.utf8))
            #expect(Base64.decode(encoded.utf8.flatMap { [$0, 0x0D, 0x0A, 0x20] }) == Array(plain.utf8))
        }
    }

    @Test(
        "what is none",
        arguments: [
            "A", "AAAAA", "A===", "AA=", "AAA==", "AAAA=", "=", "AA==AA", "A-AA", "AA_A", "Ä", "A\u{0}AA", "AA=A",
            "AAAA====",
        ])
    func refuses(text: String) {
        #expect(Base64.decode(text.utf8) == nil)
    }

    @Test("any octets survive")
    func roundTrip() {
        var random = SeededRandom(seed: 64)
        for count in 0..<200 {
            let octets = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            #expect(Base64.decode(Base64.encode(octets)) == octets)
        }
    }
}
