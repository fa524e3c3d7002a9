// Author, zone and identifiers to the policy that governs and to alignment, each row by hand from the text of RFC 9989
// §4.7, §4.10 and §5.3: nothing here was computed by the code that it tests.

import PosternMail
import Testing

@testable import PosternAuth

@Suite("DMARC walks, by hand") struct WalkTableTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var rule: String
        var author: String
        /// Records by domain.
        var zone: [String: String]
        var existing: [String] = []
        var spf: String?
        var dkim: [String] = []
        /// Organizational domain, policy domain, tag=policy, result; `-` for none.
        var expected: String
        var testDescription: String { rule }
    }

    private static let deep = "a.b.c.d.e.f.g.h.i.j.mail.example.com"

    static let rows = [
        Row(
            rule: "§4.10.1: the author's own record", author: "example.com", zone: ["example.com": "p=reject"],
            expected: "example.com example.com p=reject fail"),
        Row(
            rule: "§4.10.1: else the organizational domain's, sp for a subdomain that exists",
            author: "m.example.com", zone: ["example.com": "p=reject; sp=none; np=quarantine"],
            existing: ["m.example.com"], expected: "example.com example.com sp=none fail"),
        Row(
            rule: "§4.7, np: for one that does not", author: "m.example.com",
            zone: ["example.com": "p=reject; sp=none; np=quarantine"],
            expected: "example.com example.com np=quarantine fail"),
        Row(
            rule: "§4.7, np: without it sp", author: "m.example.com", zone: ["example.com": "p=reject; sp=none"],
            expected: "example.com example.com sp=none fail"),
        Row(
            rule: "§4.7, sp: without it p", author: "m.example.com", zone: ["example.com": "p=reject"],
            expected: "example.com example.com p=reject fail"),
        Row(
            rule: "§4.7: sp and np of the author's own record are for those below", author: "m.example.com",
            zone: ["m.example.com": "p=quarantine; sp=none; np=none", "example.com": "p=reject"],
            expected: "example.com m.example.com p=quarantine fail"),
        Row(
            rule: "§4.10.1: a record between the author's and the organizational domain does not govern",
            author: "a.b.example.com", zone: ["b.example.com": "p=none", "example.com": "p=reject"],
            existing: ["a.b.example.com"], expected: "example.com example.com p=reject fail"),
        Row(
            rule: "§4.10.2 step 1: psd=n there makes it the organizational domain", author: "a.b.example.com",
            zone: ["b.example.com": "p=none; psd=n", "example.com": "p=reject"], existing: ["a.b.example.com"],
            expected: "b.example.com b.example.com p=none fail"),
        Row(
            rule: "§4.10.2 step 2: one label below psd=y", author: "a.b.example.com",
            zone: ["b.example.com": "p=none", "com": "p=reject; psd=y; sp=quarantine"], existing: ["a.b.example.com"],
            expected: "example.com com sp=quarantine fail"),
        Row(
            rule: "§4.10.1: the organizational domain before its public suffix", author: "b.example.com",
            zone: ["example.com": "p=none", "com": "p=reject; psd=y"], existing: ["b.example.com"],
            expected: "example.com example.com p=none fail"),
        Row(
            rule: "§4.10.2 step 3: the fewest labels, a top-level domain without psd=y too", author: "b.example.com",
            zone: ["b.example.com": "p=quarantine", "com": "p=none"],
            expected: "com b.example.com p=quarantine fail"),
        Row(
            rule: "§4.10.2: no record at all", author: "b.example.com", zone: [:],
            expected: "b.example.com - - none"),
        Row(
            rule: "§4.10 step 4: from 8 labels on the walk goes on at 7", author: deep,
            zone: ["example.com": "p=reject"], existing: [deep], expected: "example.com example.com p=reject fail"),
        Row(
            rule: "§4.10 step 4: what lies between is not asked", author: deep,
            zone: ["b.c.d.e.f.g.h.i.j.mail.example.com": "p=reject; psd=n", "e.f.g.h.i.j.mail.example.com": "p=none"],
            expected: "\(deep) - - none"),
        Row(
            rule: "§4.10 step 4: the seventh is", author: deep,
            zone: ["g.h.i.j.mail.example.com": "p=reject; psd=n", "f.g.h.i.j.mail.example.com": "p=none; psd=n"],
            existing: [deep], expected: "g.h.i.j.mail.example.com g.h.i.j.mail.example.com p=reject fail"),
        Row(
            rule: "§5.3.5: SPF of the author's domain", author: "example.com", zone: ["example.com": "p=reject"],
            spf: "example.com", expected: "example.com example.com p=reject pass"),
        Row(
            rule: "§4.10.2: a subdomain aligns, relaxed", author: "example.com", zone: ["example.com": "p=reject"],
            spf: "bounce.example.com", expected: "example.com example.com p=reject pass"),
        Row(
            rule: "§4.10.2: a sister too", author: "a.example.com", zone: ["example.com": "p=reject"],
            existing: ["a.example.com"], dkim: ["b.example.com"], expected: "example.com example.com p=reject pass"),
        Row(
            rule: "§4.7, aspf: strict", author: "example.com", zone: ["example.com": "p=reject; aspf=s"],
            spf: "bounce.example.com", expected: "example.com example.com p=reject fail"),
        Row(
            rule: "§4.7, adkim: strict is not for SPF", author: "example.com",
            zone: ["example.com": "p=reject; adkim=s"], spf: "bounce.example.com", dkim: ["m.example.com"],
            expected: "example.com example.com p=reject pass"),
        Row(
            rule: "§4.10.2: psd=n parts an identifier from its parent", author: "example.com",
            zone: ["example.com": "p=reject", "shop.example.com": "p=none; psd=n"], dkim: ["m.shop.example.com"],
            expected: "example.com example.com p=reject fail"),
        Row(
            rule: "§4.10.2: and an author from its parent", author: "shop.example.com",
            zone: ["example.com": "p=reject", "shop.example.com": "p=none; psd=n"], dkim: ["example.com"],
            expected: "shop.example.com shop.example.com p=none fail"),
        Row(
            rule: "§4.10.2: two domains below one public suffix do not align", author: "one.bank",
            zone: ["bank": "p=reject; psd=y"], existing: ["one.bank"], dkim: ["two.bank"],
            expected: "one.bank bank p=reject fail"),
        Row(
            rule: "§4.10.2: nor does the public suffix", author: "one.bank", zone: ["bank": "p=reject; psd=y"],
            existing: ["one.bank"], spf: "bank", expected: "one.bank bank p=reject fail"),
        Row(
            rule: "§4.7, psd: u is as without it", author: "m.example.com",
            zone: ["example.com": "p=reject; psd=u", "com": "p=none; psd=y"], existing: ["m.example.com"],
            spf: "example.com", expected: "example.com example.com p=reject pass"),
        Row(
            rule: "§4.7, v: another version is no record", author: "example.com",
            zone: ["example.com": "v=DMARC2; p=reject"], expected: "example.com - - none"),
    ]

    @Test("the policy that governs, and alignment", arguments: rows) func governs(row: Row) throws {
        var policies: [String: [String]] = [:]
        for (domain, text) in row.zone { policies[domain] = [text.hasPrefix("v=") ? text : "v=DMARC1; " + text] }
        let zone = try PolicyZone(policies, existing: row.existing)
        let finding = try judge(zone, row.author, spf: row.spf, dkim: row.dkim)
        let policy = finding.policy.flatMap { policy in finding.policyTag.map { "\($0.rawValue)=\(policy.rawValue)" } }
        let words = [
            finding.organizationalDomain.map { "\($0)" }, finding.policyDomain.map { "\($0)" }, policy,
            finding.result.rawValue,
        ]
        #expect(words.map { $0 ?? "-" }.joined(separator: " ") == row.expected)
    }
}
