// Which policy governs an author, what aligns, and which trouble matters (RFC 9989 §4.10.1, §4.10.2, §5.3, §11.5).

import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternAuth

@Suite("DMARC judge")
struct DMARCJudgeTests {
    /// Result, governing tag and policy, what is applied, where the record was found.
    private func summary(_ finding: DMARCFinding) -> String {
        let policy = finding.policy.map { "\(finding.policyTag?.rawValue ?? "?")=\($0)" } ?? "-"
        return "\(finding.result) \(policy) \(finding.applied) \(finding.policyDomain?.description ?? "-")"
    }

    @Test(
        "which record and which tag governs, RFC 9989 §4.10.1",
        arguments: [
            // The author's own record: p, whatever sp and np say.
            (["example.com": "p=reject; sp=none; np=none"], "example.com", "fail p=reject reject example.com"),
            (
                ["a.example.com": "p=quarantine; sp=none", "example.com": "p=reject"], "a.example.com",
                "fail p=quarantine quarantine a.example.com"
            ),
            (["com": "p=none; psd=y", "example.com": "p=reject"], "example.com", "fail p=reject reject example.com"),
            (["example.com": "p=reject; psd=y; sp=none"], "example.com", "fail p=reject reject example.com"),
            // That of the organizational domain: sp, or np for what does not exist.
            (["example.com": "p=reject"], "live.example.com", "fail p=reject reject example.com"),
            (["example.com": "p=reject"], "gone.example.com", "fail p=reject reject example.com"),
            (
                ["example.com": "p=reject; sp=quarantine"], "live.example.com",
                "fail sp=quarantine quarantine example.com"
            ),
            (
                ["example.com": "p=reject; sp=quarantine"], "gone.example.com",
                "fail sp=quarantine quarantine example.com"
            ),
            (["example.com": "p=none; np=reject"], "live.example.com", "fail p=none none example.com"),
            (["example.com": "p=none; np=reject"], "gone.example.com", "fail np=reject reject example.com"),
            (
                ["example.com": "p=none; sp=quarantine; np=reject"], "live.example.com",
                "fail sp=quarantine quarantine example.com"
            ),
            (
                ["example.com": "p=none; sp=quarantine; np=reject"], "a.gone.example.com",
                "fail np=reject reject example.com"
            ),
            // A record between the author and its organizational domain counts for nothing.
            (
                ["example.com": "p=reject", "live.example.com": "p=none"], "a.live.example.com",
                "fail p=reject reject example.com"
            ),
            (
                ["example.com": "p=reject", "live.example.com": "p=none; psd=n; np=quarantine"], "a.live.example.com",
                "fail np=quarantine quarantine live.example.com"
            ),
            // That of the public suffix domain, when the organizational domain has none.
            (
                ["com": "p=none; sp=quarantine; np=reject; psd=y"], "live.example.com",
                "fail sp=quarantine quarantine com"
            ),
            (["com": "p=none; sp=quarantine; np=reject; psd=y"], "gone.example.com", "fail np=reject reject com"),
            (["com": "p=reject; psd=y", "example.com": "p=none"], "gone.example.com", "fail p=none none example.com"),
            (
                ["com": "p=reject; psd=y", "live.example.com": "p=none"], "a.live.example.com",
                "fail p=reject reject com"
            ),
            // psd=u at a top-level domain makes it the organizational domain.
            (["com": "p=reject"], "live.example.com", "fail p=reject reject com"),
            // No record, or none that is usable.
            ([:], "example.com", "none - none -"),
            (["example.net": "p=reject"], "example.com", "none - none -"),
            (["example.com": "sp=reject"], "example.com", "none - none example.com"),
            (["example.com": "p=reject; sp=junk"], "live.example.com", "none - none example.com"),
            (
                ["example.com": "p=reject; sp=junk; rua=mailto:a@example.com"], "live.example.com",
                "fail p=none none example.com"
            ),
            (["example.com": "p=reject", "a.example.com": "psd=u"], "a.example.com", "none - none a.example.com"),
            // t=y: one level below, RFC 9989 §4.7.
            (["example.com": "p=reject; t=y"], "example.com", "fail p=reject quarantine example.com"),
            (["example.com": "p=quarantine; t=y"], "example.com", "fail p=quarantine none example.com"),
            (["example.com": "p=none; t=y"], "example.com", "fail p=none none example.com"),
            (["example.com": "p=none; np=reject; t=y"], "gone.example.com", "fail np=reject quarantine example.com"),
            (["example.com": "p=reject; pct=0"], "example.com", "fail p=reject reject example.com"),
        ])
    func governing(policies: [String: String], author: String, expected: String) throws {
        let zone = try PolicyZone(policies.mapValues { ["v=DMARC1; " + $0] }, existing: ["live.example.com"])
        let finding = try judge(zone, author)
        #expect(summary(finding) == expected)
        #expect(finding.authorDomain?.description == author)
        #expect(zone.batches.count == 1)
    }

    @Test("several records at one name are none, RFC 9989 §4.10 step 2")
    func severalRecords() throws {
        let zone = try PolicyZone([
            "a.example.com": "v=DMARC1; p=none", "a.example.com": "v=DMARC1; p=none",
            "example.com": "v=DMARC1; p=reject; sp=quarantine", "example.com": "v=spf1 -all",
        ])
        #expect(summary(try judge(zone, "a.example.com")) == "fail sp=quarantine quarantine example.com")
    }

    /// Records, author, SPF, DKIM; what aligns, SPF first.
    @Test(
        "alignment, RFC 9989 §4.4, §4.10.2",
        arguments: [
            ("p=none", "example.com", "example.com", [], "spf=example.com"),
            ("p=none", "news.example.com", "foo.example.com", [], "spf=foo.example.com"),  // §4.4 table 1
            ("p=none", "news.example.com", "foo.example.net", ["foo.example.net"], ""),
            ("p=none", "news.example.com", "com", ["com", "net"], ""),
            (
                "p=none", "example.com", "a.b.c.example.com", ["example.com", "x.example.com"],
                "spf=a.b.c.example.com dkim=example.com dkim=x.example.com"
            ),
            ("p=none", "example.com", "notexample.com", ["ample.com"], ""),
            ("p=none; aspf=s", "example.com", "a.example.com", ["a.example.com"], "dkim=a.example.com"),
            ("p=none; adkim=s", "example.com", "a.example.com", ["a.example.com"], "spf=a.example.com"),
            ("p=none; aspf=s; adkim=s", "a.example.com", "example.com", ["example.com", "b.a.example.com"], ""),
            (
                "p=none; aspf=s; adkim=s", "a.example.com", "a.example.com", ["a.example.com"],
                "spf=a.example.com dkim=a.example.com"
            ),
            // Each identifier has its own walk: own.example.com says psd=n, bank.example.com psd=y.
            ("p=none", "example.com", "own.example.com", ["a.own.example.com"], ""),
            ("p=none", "own.example.com", "example.com", ["a.own.example.com"], "dkim=a.own.example.com"),
            ("p=none", "example.com", "a.bank.example.com", ["bank.example.com"], ""),
            (
                "p=none", "x.a.bank.example.com", "a.bank.example.com", ["b.bank.example.com", "y.a.bank.example.com"],
                "spf=a.bank.example.com dkim=y.a.bank.example.com"
            ),
            ("p=none", "bank.example.com", "a.bank.example.com", ["bank.example.com"], "dkim=bank.example.com"),
            // Beyond the shortcut of long names: the record at 9 labels is never asked for.
            ("p=none", "example.com", nil, ["a.b.c.d.e.f.deep.example.com"], "dkim=a.b.c.d.e.f.deep.example.com"),
            (
                "p=none", "EXAMPLE.com", "Example.COM", ["EXAMPLE.COM", "example.com"],
                "spf=example.com dkim=example.com"
            ),
            // The same domain is aligned even where the walk would name another one.
            ("p=none", "bücher.example.com", "xn--bcher-kva.example.com", [], "spf=xn--bcher-kva.example.com"),
        ] as [(String, String, String?, [String], String)])
    func alignment(record: String, author: String, spf: String?, dkim: [String], expected: String) throws {
        let zone = try PolicyZone([
            "example.com": "v=DMARC1; \(record)", "own.example.com": "v=DMARC1; p=none; psd=n",
            "bank.example.com": "v=DMARC1; p=none; psd=y", "b.c.d.e.f.deep.example.com": "v=DMARC1; p=none",
        ])
        let finding = try judge(zone, author, spf: spf, dkim: dkim)
        let aligned = (finding.alignedSPF.map { ["spf=\($0)"] } ?? []) + finding.alignedDKIM.map { "dkim=\($0)" }
        #expect(aligned.joined(separator: " ") == expected)
        #expect(finding.result == (expected.isEmpty ? .fail : .pass))
        #expect(finding.reason == (expected.isEmpty ? .notAligned : .aligned))
        #expect(finding.applied == .none)
    }

    @Test("only a passing signature is an identifier, RFC 9989 §4.4.1")
    func results() throws {
        let zone = try PolicyZone(["example.com": "v=DMARC1; p=reject"])
        for result in DKIMResult.allCases {
            let finding = DMARCJudge().finding(
                author: try author("example.com"), spf: nil, dkim: [try signature("example.com", result)], dns: zone)
            let expected: DMARCResult = result == .pass ? .pass : result == .temperror ? .temperror : .fail
            #expect(finding.result == expected, "\(result)")
        }
        let nameless = DKIMFinding(result: .permerror, reason: .tooManySignatures)
        let finding = DMARCJudge().finding(
            author: try author("example.com"), spf: nil, dkim: [nameless], dns: zone)
        #expect(finding.reason == .noIdentifier)
        #expect(finding.result == .fail)
    }

    @Test("only a passing MAIL FROM identity is one, RFC 9989 §3.2.4, §4.4.2; trouble is told")
    func spfFindings() throws {
        let helo = HELOIdentity(Array("mx.example.com".utf8))
        let identities: [(SPFFinding.Identity, String?)] = [
            (.mailFrom(MailFromIdentity(sender: Array("a@example.org".utf8), helo: helo)), "example.org"),
            (.mailFrom(MailFromIdentity(sender: [], helo: helo)), "mx.example.com"),  // RFC 7208 §2.4
            (.mailFrom(MailFromIdentity(sender: Array("a@b@[192.0.2.1]".utf8), helo: helo)), nil), (.helo(helo), nil),
        ]
        for (identity, domain) in identities {
            let expected = try domain.map { try DomainName($0) }
            for result in [.none, .neutral, .pass, .fail, .softfail, .temperror, .permerror] as [SPFResult] {
                let found = DMARCIdentifier(SPFFinding(result: result, reason: .matched, identity: identity))
                switch result {
                case .pass: #expect(found == expected.map { DMARCIdentifier($0) })
                case .temperror: #expect(found?.domain == expected && (found == nil) == (found?.trouble == nil))
                default: #expect(found == nil)
                }
            }
        }
    }

    /// Records beside example.com, author, names that fail, identifiers, the result.
    struct Trouble: Sendable {
        var rule: String
        var record = "p=reject; np=none"
        var author = "example.com"
        var failing: [String]
        var spf: String?
        var dkim: [String] = []
        var result: DMARCResult
    }

    @Test(
        "which trouble matters, RFC 9989 §5.3.6",
        arguments: [
            Trouble(rule: "the author's record", failing: ["example.com"], spf: "example.com", result: .temperror),
            Trouble(
                rule: "one on the way to the record", author: "a.b.example.com", failing: ["b.example.com"],
                result: .temperror),
            Trouble(
                rule: "above a psd=n record: no", record: "p=reject; psd=n", author: "a.example.com",
                failing: ["com"], result: .fail),
            Trouble(
                rule: "above a psd=u record it might be the organizational domain's", author: "a.example.com",
                failing: ["com"], result: .temperror),
            Trouble(rule: "above the author's own record, nothing passed: no", failing: ["com"], result: .fail),
            Trouble(
                rule: "the same, and the same domain passed: no", failing: ["com"], spf: "example.com",
                result: .pass),
            Trouble(
                rule: "the same, and what passed is elsewhere: no", failing: ["com"], spf: "example.net",
                result: .fail),
            Trouble(
                rule: "the same, and a subdomain passed", failing: ["com"], dkim: ["a.example.com"],
                result: .temperror),
            Trouble(
                rule: "strict: no", record: "p=reject; aspf=s; adkim=s", failing: ["com"], spf: "a.example.com",
                dkim: ["a.example.com"], result: .fail),
            Trouble(
                rule: "an identifier's own walk", record: "p=reject; psd=n", failing: ["b.example.com"],
                dkim: ["a.b.example.com"], result: .temperror),
            Trouble(
                rule: "another one is aligned", record: "p=reject; psd=n", failing: ["b.example.com"],
                spf: "example.com", dkim: ["a.b.example.com"], result: .pass),
            Trouble(
                rule: "a stranger's walk: never asked", failing: ["example.net", "a.example.net", "net"],
                spf: "example.net", dkim: ["a.example.net"], result: .fail),
            Trouble(
                rule: "existence, where np is another policy", author: "a.example.com",
                failing: ["exists:a.example.com"], result: .temperror),
            Trouble(
                rule: "existence, but it passes", author: "a.example.com", failing: ["exists:a.example.com"],
                dkim: ["example.com"], result: .pass),
            Trouble(
                rule: "existence, without np", record: "p=reject", author: "a.example.com",
                failing: ["exists:a.example.com"], result: .fail),
            Trouble(
                rule: "existence, np the same", record: "p=none; sp=reject; np=reject", author: "a.example.com",
                failing: ["exists:a.example.com"], result: .fail),
            Trouble(rule: "existence of the domain with the record", failing: ["exists:example.com"], result: .fail),
            Trouble(
                rule: "SPF of the author's domain", failing: [], spf: "temperror:example.com",
                result: .temperror),
            Trouble(rule: "SPF of a subdomain", failing: [], spf: "temperror:a.example.com", result: .temperror),
            Trouble(rule: "SPF of a stranger: no", failing: [], spf: "temperror:example.net", result: .fail),
            Trouble(
                rule: "SPF of a subdomain, strict: no", record: "p=reject; aspf=s", failing: [],
                spf: "temperror:a.example.com", result: .fail),
            Trouble(
                rule: "a key of the author's domain", failing: [], dkim: ["temperror:example.com"],
                result: .temperror),
            Trouble(
                rule: "keys of strangers: no", failing: ["example.net"], spf: "example.org",
                dkim: ["temperror:example.net", "temperror:a.example.net"], result: .fail),
            Trouble(
                rule: "a key, but SPF is aligned", failing: [], spf: "example.com",
                dkim: ["temperror:example.com"], result: .pass),
            Trouble(
                rule: "a key, but another of its domain passes", failing: [],
                dkim: ["temperror:example.com", "example.com"], result: .pass),
            Trouble(rule: "no record at all, and trouble", record: "", failing: ["com"], result: .temperror),
        ])
    func trouble(row: Trouble) throws {
        let zone = try PolicyZone(
            row.record.isEmpty ? [:] : ["example.com": ["v=DMARC1; \(row.record)"]], existing: ["a.example.com"],
            failing: row.failing)
        let finding = try judge(zone, row.author, spf: row.spf, dkim: row.dkim)
        #expect(finding.result == row.result, "\(row.rule): \(finding.reason)")
        #expect(finding.applied == (row.result == .fail ? finding.policy : DMARCPolicy.none), "\(row.rule)")
        #expect(!finding.reason.publicDescription.contains("timeout"))
        if finding.result == .temperror {
            #expect(finding.reason.description.hasSuffix("timeout") || finding.policyTag != nil)
        }
    }

    @Test("the author is asked for in one batch, then those identifiers that may align and no others")
    func batches() throws {
        let zone = try PolicyZone(["example.com": "v=DMARC1; p=reject"])
        let finding = try judge(
            zone, "b.example.com", spf: "a.c.example.com",
            dkim: ["c.example.com", "b.example.com", "stranger.com", "example.com", "a.c.example.com", "d.net"])
        #expect(finding.result == .pass)
        #expect(
            zone.batches == [
                ["b.example.com", "example.com", "com", "b.example.com A"], ["a.c.example.com", "c.example.com"],
            ])
        let questions = DMARCJudge().questions(for: try author("b.example.com")).map(\.description)
        #expect(
            questions == [
                "_dmarc.b.example.com TXT", "_dmarc.example.com TXT", "_dmarc.com TXT", "b.example.com A",
            ])
        let none = try PolicyZone([:] as [String: [String]])
        _ = try judge(none, "example.com", spf: "a.example.com", dkim: ["example.net"])
        #expect(none.batches.count == 1)  // where no policy governs, nothing needs to align
    }

    @Test("only so many identifiers are walked; the rest does not align")
    func manyIdentifiers() throws {
        let zone = try PolicyZone(["example.com": "v=DMARC1; p=reject"])
        let dkim = (0..<100).map { "s\($0).example.com" } + ["example.com"]
        let finding = try judge(zone, "example.com", dkim: dkim)
        #expect(finding.alignedDKIM.count == DMARCJudge.maxIdentifiers + 1)
        #expect(zone.batches.map(\.count) == [3, DMARCJudge.maxIdentifiers])
    }

    @Test("no usable author is permerror, and nothing is asked")
    func unusableAuthors() throws {
        let six = try author("a.example", "b.example", "c.example", "d.example", "e.example", "f.example")
        let rows: [(AuthorFinding, DMARCReason)] = [
            (.missing, .noAuthor), (.repeated, .repeatedAuthor), (.invalid("x"), .invalidAuthor("x")),
            (six, .invalidAuthor("more than 5 authors")), (.several([]), .noAuthor),
        ]
        for (author, reason) in rows {
            let zone = try PolicyZone([:] as [String: [String]])
            let finding = DMARCJudge().finding(
                author: author, spf: try identifier("a.example"), dkim: [try signature("a.example")], dns: zone)
            #expect(finding == DMARCFinding(result: .permerror, reason: reason))
            #expect(zone.batches.isEmpty)
            #expect(DMARCJudge().questions(for: author).isEmpty)
        }
    }

    @Test(
        "several authors: each is judged, the strictest failing policy governs, RFC 9989 §11.5",
        arguments: [
            (["reject.example", "none.example"], nil, "fail reject.example"),
            (["none.example", "quarantine.example", "reject.example"], nil, "fail reject.example"),
            (["reject.example", "quarantine.example"], "reject.example", "fail quarantine.example"),
            (["test.example", "quarantine.example"], nil, "fail test.example"),  // reject with t=y is quarantine
            (["none.example", "unknown.example"], nil, "temperror unknown.example"),
            (["reject.example", "unknown.example"], nil, "fail reject.example"),
            (["reject.example", "nothing.example"], "reject.example", "none nothing.example"),
            (["none.example", "nothing.example"], nil, "fail none.example"),
            (["reject.example", "reject.example"], "reject.example", "pass reject.example"),
            (["a.reject.example", "reject.example"], "reject.example", "pass a.reject.example"),
        ] as [([String], String?, String)])
    func severalAuthors(domains: [String], spf: String?, expected: String) throws {
        let zone = try PolicyZone(
            [
                "reject.example": "v=DMARC1; p=reject", "quarantine.example": "v=DMARC1; p=quarantine",
                "none.example": "v=DMARC1; p=none", "test.example": "v=DMARC1; p=reject; t=y",
            ], failing: ["unknown.example"])
        let authors = try domains.map { Mailbox(localPart: [0x61], domain: try DomainName($0)) }
        let finding = DMARCJudge().finding(
            author: .several(authors), spf: try spf.map(identifier), dkim: [], dns: zone)
        #expect("\(finding.result) \(finding.authorDomain?.description ?? "-")" == expected)
        let policies = DMARCJudge().policies(for: .several(authors), dns: zone)
        #expect(
            DMARCJudge().findings(policies, spf: nil, dkim: [], dns: zone).map { $0.authorDomain?.description ?? "" }
                == policies.domains.map(\.description))
        #expect(Set(policies.domains).count == policies.domains.count)
    }

    @Test("a resolver that gives too few answers is one that does not answer")
    func brokenResolver() throws {
        struct Silent: DNSAnswering {
            func answers(to questions: [Question]) -> [Answer] { [] }
            func prefetch(_ questions: [Question]) {}
        }
        let finding = DMARCJudge().finding(author: try author("example.com"), spf: nil, dkim: [], dns: Silent())
        #expect(finding.result == .temperror)
    }

    @Test("what is published is told for reports")
    func published() throws {
        let zone = try PolicyZone([
            "example.com":
                "v=DMARC1; p=reject; sp=none; adkim=s; rua=mailto:a@example.com; t=y; ruf=mailto:b@example.com; fo=1"
        ])
        let finding = try judge(zone, "example.com")
        #expect(
            finding.published
                == DMARCPublishedPolicy(
                    policy: .reject, subdomainPolicy: DMARCPolicy.none, dkimAlignment: .strict, isTesting: true,
                    aggregateReports: "mailto:a@example.com", failureReports: "mailto:b@example.com",
                    failureOptions: "1"))
        #expect(finding.isTesting)
        #expect(DMARCPolicy.none < .quarantine && DMARCPolicy.quarantine < .reject)
    }
}
