// The public suffix list, by publicsuffix.org's own checks and a list of a fixed day.

import PosternMail
import TestSupport
import Testing

@testable import PosternAuth

@Suite("public suffix list")
struct PublicSuffixListTests {
    @Test("all checks of test_psl.txt hold")
    func checks() throws {
        let list = PublicSuffixList(text: try Fixtures.octets("psl/public_suffix_list-20230209.dat"))
        #expect(list.unreadableLines == 0)
        #expect(list.count > 9_000)
        var count = 0
        let text = String(decoding: try Fixtures.octets("psl/test_psl.txt"), as: UTF8.self)
        for line in text.split(separator: "\n") where line.hasPrefix("checkPublicSuffix(") {
            let parts = line.split(separator: "'", omittingEmptySubsequences: false).map(String.init)
            count += 1
            // 'a', 'b' gives 5 parts; 'a', null gives 3; null, null gives 1.
            guard parts.count >= 3 else { continue }
            let expected = parts.count >= 5 ? try DomainName(parts[3]) : nil
            // `try?`: a name with an empty label is none, so it has no suffix.
            let found = (try? DomainName(parts[1])).flatMap { list.registrableDomain(of: $0) }
            #expect(found == expected, "\(line)")
        }
        #expect(count == 78)
    }

    @Test("rules, wildcards, exceptions, comments")
    func rules() throws {
        let list = PublicSuffixList(
            text: Array("// c\r\ncom\r\n*.ck\n!www.ck\nx.www.ck\n\n  \n公司.cn trailing words\na..b\n".utf8))
        #expect(list.count == 5)
        #expect(list.unreadableLines == 1)
        let rows: [(String, String?)] = [
            ("com", nil), ("a.com", "a.com"), ("b.a.com", "a.com"), ("ck", nil), ("a.ck", nil), ("b.a.ck", "b.a.ck"),
            ("www.ck", "www.ck"), ("a.www.ck", "www.ck"), ("a.x.www.ck", "www.ck"), ("unlisted", nil),
            ("a.unlisted", "a.unlisted"), ("xn--55qx5d.cn", nil), ("a.xn--55qx5d.cn", "a.xn--55qx5d.cn"),
        ]
        for (name, expected) in rows {
            #expect(
                list.registrableDomain(of: try DomainName(name)) == (try expected.map { try DomainName($0) }), "\(name)"
            )
        }
    }

    @Test("the judge compares by it, RFC 7489 §3.2")
    func judging() throws {
        let list = PublicSuffixList(text: Array("com\nuk\nco.uk\n".utf8))
        let byList = DMARCJudge(discovery: .publicSuffixList(list))
        let zone = try PolicyZone([
            "example.co.uk": "v=DMARC1; p=reject; sp=quarantine", "co.uk": "v=DMARC1; p=reject",
            "b.example.co.uk": "v=DMARC1; p=none; psd=n",
        ])
        let finding = try judge(zone, "a.b.example.co.uk", spf: "c.example.co.uk", by: byList)
        #expect(finding.result == .pass)
        #expect(finding.organizationalDomain == (try DomainName("example.co.uk")))
        #expect(finding.policyDomain == finding.organizationalDomain)
        #expect(finding.policy == .quarantine)
        #expect(zone.batches == [["a.b.example.co.uk", "example.co.uk", "a.b.example.co.uk A"]])
        #expect(try judge(zone, "a.b.example.co.uk", spf: "other.co.uk", by: byList).result == .fail)
        #expect(try judge(zone, "co.uk", spf: "co.uk", by: byList).result == .pass)
        #expect(try judge(zone, "other.co.uk", by: byList).result == .none)
    }
}
