// The syntax of policy records (RFC 9989 §4.7, §4.8, §4.10.1).

import PosternMail
import TestSupport
import Testing

@testable import PosternAuth

@Suite("DMARC policy records")
struct DMARCRecordTests {
    /// The record in the grammar's own words, all tags but those that are at their defaults.
    static func render(_ record: DMARCRecord) -> String {
        let published = record.published
        var tags = ["p=\(published.policy)"]
        if let policy = published.subdomainPolicy { tags.append("sp=\(policy)") }
        if let policy = published.nonexistentPolicy { tags.append("np=\(policy)") }
        if published.dkimAlignment == .strict { tags.append("adkim=s") }
        if published.spfAlignment == .strict { tags.append("aspf=s") }
        if published.publicSuffix != .unknown { tags.append("psd=\(published.publicSuffix.rawValue)") }
        if published.isTesting { tags.append("t=y") }
        if let text = published.aggregateReports { tags.append("rua=\(text)") }
        if let text = published.failureReports { tags.append("ruf=\(text)") }
        if let text = published.failureOptions { tags.append("fo=\(text)") }
        return tags.joined(separator: ";") + (record.isUsable ? "" : " unusable")
    }

    private static func parsed(_ text: String) -> String? { DMARCRecord(Array(text.utf8)).map(render) }

    @Test("what is a record, RFC 9989 §4.7 v, §4.8")
    func version() {
        let records = [
            "v=DMARC1", "v=DMARC1;", "v=DMARC1 ;", "v = DMARC1;p=none", "v\t=\tDMARC1\t; p=none", "V=DMARC1; p=none",
            "v=DMARC1;p=none;", "v=DMARC1; p=none; ", "v=DMARC1;;p=none", "v=DMARC1; p=none; v=DMARC2",
        ]
        for text in records { #expect(DMARCRecord(Array(text.utf8)) != nil, "\(text)") }
        let others = [
            "", " ", ";", "v", "v=", "v=dmarc1; p=none", "v=Dmarc1", "v=DMARC2; p=none", "v=DMARC1.1; p=none",
            "v=DMARC11;p=none", "v=DMARC1 p=none", "p=none; v=DMARC1", ";v=DMARC1; p=none", " v=DMARC1; p=none",
            "\tv=DMARC1", "v=DMARC1\r\n; p=none", "\"v=DMARC1; p=none\"", "v==DMARC1", "v=spf1 -all", "vv=DMARC1",
            "DMARC1; p=none", "v=DMARC1," + "p=none",
            "v=DMARC1;" + String(repeating: "x", count: DMARCRecord.maxOctets),
        ]
        for text in others { #expect(DMARCRecord(Array(text.utf8)) == nil, "\(text.prefix(40))") }
    }

    @Test(
        "tags",
        arguments: [
            ("p=none", "p=none"), ("p=quarantine", "p=quarantine"), ("p=reject", "p=reject"),
            ("p=Reject", "p=reject"), ("P=reject", "p=reject"), ("p = reject ", "p=reject"),
            ("sp=none;np=quarantine;p=reject", "p=reject;sp=none;np=quarantine"),  // in any order
            ("p=none;adkim=s;aspf=s", "p=none;adkim=s;aspf=s"), ("p=none;adkim=r;aspf=R", "p=none"),
            ("p=none;adkim=x;aspf=ss", "p=none"), ("p=none;adkim=S", "p=none;adkim=s"),
            ("p=none;psd=y", "p=none;psd=y"), ("p=none;psd=n", "p=none;psd=n"), ("p=none;psd=u", "p=none"),
            ("p=none;psd=x", "p=none"), ("p=none;t=y", "p=none;t=y"), ("p=none;t=n", "p=none"),
            ("p=none;t=yes", "p=none"), ("p=none;t=y:s", "p=none"),
            ("p=none;pct=0;rf=afrf;ri=86400", "p=none"),  // RFC 9989 §C.5.2
            ("p=reject;pct=0", "p=reject"), ("p=none;x=1;unknown=2", "p=none"),
            ("p=none;p=reject", "p=none"), ("p=none;;sp=reject", "p=none;sp=reject"),
            ("p=none;junk;sp=reject", "p=none;sp=reject"), ("p=none;=x", "p=none"), ("p=none;s p=reject", "p=none"),
            ("p=none;t=\u{1}y", "p=none"), ("p=none;adkim=", "p=none"),
            // Report addresses, RFC 9989 §4.8.
            ("p=none;rua=mailto:a@example.com", "p=none;rua=mailto:a@example.com"),
            (
                "p=none;rua=mailto:a@example.com , mailto:b@example.com!10m",
                "p=none;rua=mailto:a@example.com,mailto:b@example.com"
            ),
            ("p=none;rua=mailto:a@example.com!10x,https://example.com/r", "p=none;rua=https://example.com/r"),
            ("p=none;rua=mailto:a@example.com!", "p=none"), ("p=none;rua=mailto:a", "p=none"),
            ("p=none;rua=mailto:@example.com", "p=none"), ("p=none;rua=mailto:a@", "p=none"),
            ("p=none;rua=mailto:a@-example.com", "p=none"), ("p=none;rua=a@example.com", "p=none"),
            ("p=none;rua=mailto:a%2Cb@example.com", "p=none;rua=mailto:a%2Cb@example.com"),
            ("p=none;rua=mailto:a%2@example.com", "p=none"), ("p=none;rua=mailto:a b@example.com", "p=none"),
            ("p=none;rua=mailto:a@example.com?subject=x", "p=none;rua=mailto:a@example.com?subject=x"),
            ("p=none;rua=,mailto:a@example.com,", "p=none;rua=mailto:a@example.com"), ("p=none;rua=", "p=none"),
            ("p=none;rua=https:", "p=none"), ("p=none;rua=1x:y", "p=none"),
            // fo counts only beside ruf, RFC 9989 §4.7.
            ("p=none;fo=1", "p=none"), ("p=none;fo=1;ruf=junk", "p=none"),
            ("p=none;fo=1;ruf=mailto:a@example.com", "p=none;ruf=mailto:a@example.com;fo=1"),
            ("p=none;ruf=mailto:a@example.com;fo=D:s:0", "p=none;ruf=mailto:a@example.com;fo=d:s:0"),
            ("p=none;ruf=mailto:a@example.com;fo=0:1", "p=none;ruf=mailto:a@example.com"),
            ("p=none;ruf=mailto:a@example.com;fo=d:d", "p=none;ruf=mailto:a@example.com"),
            ("p=none;ruf=mailto:a@example.com;fo=", "p=none;ruf=mailto:a@example.com"),
            ("p=none;ruf=mailto:a@example.com;fo=0:d:s:d:s", "p=none;ruf=mailto:a@example.com"),
        ])
    func tags(text: String, expected: String) {
        #expect(Self.parsed("v=DMARC1;" + text) == expected)
    }

    @Test(
        "a policy that is missing or bad, RFC 9989 §4.10.1",
        arguments: [
            ("", "p=none unusable"), ("p=", "p=none unusable"), ("p=junk", "p=none unusable"),
            ("p=rejected", "p=none unusable"), ("sp=reject", "p=none unusable"), ("psd=n", "p=none;psd=n unusable"),
            ("p=reject;sp=junk", "p=none unusable"), ("p=reject;np=", "p=none unusable"),
            ("rua=mailto:a@example.com", "p=none;rua=mailto:a@example.com"),
            ("p=junk;rua=mailto:a@example.com", "p=none;rua=mailto:a@example.com"),
            ("p=reject;sp=junk;np=reject;rua=mailto:a@example.com", "p=none;rua=mailto:a@example.com"),
            ("p=reject;np=junk;sp=reject;rua=mailto:a@example.com", "p=none;rua=mailto:a@example.com"),
            ("sp=reject;rua=mailto:a@example.com", "p=none;rua=mailto:a@example.com"),
            ("p=junk;rua=junk", "p=none unusable"),
            (
                "p=junk;ruf=mailto:a@example.com",
                "p=none;ruf=mailto:a@example.com unusable"
            ),
            ("p=reject;adkim=junk;t=junk;psd=junk;fo=junk;rua=junk", "p=reject"),  // these have defaults
        ])
    func badPolicy(text: String, expected: String) {
        #expect(Self.parsed("v=DMARC1;" + text) == expected)
    }

    @Test("mistakes are told, in their order")
    func mistakes() throws {
        let rows: [(String, [DMARCRecordMistake])] = [
            ("p=none; rua=mailto:a@example.com; ", []),
            ("", [.noPolicy]), (";p=none", [.emptyTag]), ("p=none;junk", [.notATag]),
            ("P=none", [.capitalsInName("p")]), ("p=none;p=none", [.repeatedTag("p")]), ("p=x", [.badValue("p")]),
            ("p=none;pct=1;rf=x;ri=1", [.obsoleteTag("pct"), .obsoleteTag("rf"), .obsoleteTag("ri")]),
            ("p=none;foo=1", [.unknownTag("foo")]),
            ("p=none;abcdefghijklmnopqrstuvwxyz=1", [.unknownTag("abcdefghijklmnopqrst")]),
            ("p=none;rua=junk", [.badURI("rua"), .badValue("rua")]),
            ("p=none;ruf=mailto:a@example.com!1", [.obsoleteSize("ruf")]),
            ("p=none;fo=1", [.failureOptionsWithoutAddress]),
        ]
        for (text, expected) in rows {
            let record = try #require(DMARCRecord(Array("v=DMARC1;\(text)".utf8)))
            #expect(record.mistakes == expected, "\(text)")
            #expect(record.mistakes.allSatisfy { !$0.description.isEmpty })
        }
    }

    @Test("caps")
    func caps() throws {
        let address = "mailto:a@example.com"
        let many = Array(repeating: address, count: DMARCRecordReader.maxURIs + 1).joined(separator: ",")
        let record = try #require(DMARCRecord(Array("v=DMARC1;p=none;rua=\(many)".utf8)))
        #expect(record.mistakes == [.tooManyURIs("rua")])
        #expect(record.published.aggregateReports == String(many.dropLast(address.count + 1)))
        let long = "mailto:" + String(repeating: "a", count: DMARCRecordReader.maxURIOctets) + "@example.com"
        #expect(Self.parsed("v=DMARC1;p=none;rua=\(long),\(address)") == "p=none;rua=\(address)")
        // What stands behind many tags still counts: the owner's policy is not lost.
        let junk = String(repeating: "x=1;", count: 10_000)
        let full = try #require(DMARCRecord(Array("v=DMARC1;\(junk)p=reject".utf8)))
        #expect(full.published.policy == .reject)
        #expect(full.mistakes.count == DMARCRecord.maxMistakes)
    }

    @Test("damaged records never trap, and what was read is read again from its own words")
    func mutations() {
        let samples = [
            "v=DMARC1; p=reject; sp=quarantine; np=none; adkim=s; aspf=r; psd=y; t=y; fo=0:d:s; "
                + "rua=mailto:a@example.com!10m,https://example.com/x?y; ruf=mailto:b%21@example.net",
            "v=DMARC1;p=none;rua=mailto:dmarc@example.org", "v=DMARC1; psd=n", "v = DMARC1 ; p = quarantine ; pct=50",
        ].map { Array($0.utf8) }
        let tokens = ["v=DMARC1", ";", "=", "p=", "reject", "rua=", "mailto:", "!", ",", "%", ":", "sp=", "\u{0}"]
            .map { Array($0.utf8) }
        var count = 0
        Mutations.of(samples, tokens: tokens, count: 20_000, seed: 9989) { text in
            guard let record = DMARCRecord(text) else { return }
            count += 1
            let rendered = Self.render(record)
            #expect(rendered.utf8.allSatisfy { $0 >= 0x20 && $0 <= 0x7E })
            guard record.isUsable else { return }
            let again = DMARCRecord(Array("v=DMARC1;\(rendered)".utf8))
            #expect(again?.published == record.published, "\(rendered)")
            #expect(again?.mistakes == [], "\(rendered)")
        }
        #expect(count > 2_000)
    }
}
