// The names of a walk (RFC 9989 §4.10), what answers say, and organizational domains (§4.10.2).

import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternAuth

@Suite("DMARC tree walk")
struct TreeWalkTests {
    @Test("the names of RFC 9989 §4.10, by count of labels")
    func names() throws {
        let rows: [(String, [String])] = [
            ("com", ["com"]), ("example.com", ["example.com", "com"]),
            ("a.b.c.d.e.f.g", ["a.b.c.d.e.f.g", "b.c.d.e.f.g", "c.d.e.f.g", "d.e.f.g", "e.f.g", "f.g", "g"]),
            (
                "a.b.c.d.e.f.g.h",
                ["a.b.c.d.e.f.g.h", "b.c.d.e.f.g.h", "c.d.e.f.g.h", "d.e.f.g.h", "e.f.g.h", "f.g.h", "g.h", "h"]
            ),
            (
                "x.a.b.c.d.e.f.g.h",
                ["x.a.b.c.d.e.f.g.h", "b.c.d.e.f.g.h", "c.d.e.f.g.h", "d.e.f.g.h", "e.f.g.h", "f.g.h", "g.h", "h"]
            ),
        ]
        for (start, expected) in rows {
            #expect(TreeWalk(from: try DomainName(start)).names.map(\.description) == expected, "\(start)")
        }
        for count in 1...127 {  // a name of 255 octets has no more
            let start = try DomainName((1...count).map { _ in "a" }.joined(separator: "."))
            let walk = TreeWalk(from: start)
            #expect(walk.names.map(\.labelCount) == [count] + (1..<min(count, 8)).reversed(), "\(count) labels")
            #expect(walk.names.allSatisfy { start.isEqualOrBelow($0) })
            // Four octets of the name are free for "_dmarc" at 124 labels only.
            #expect(walk.questions.count == walk.names.count - (count > 123 ? 1 : 0), "\(count) labels")
        }
        #expect(TreeWalk(from: .root).questions.isEmpty)
    }

    @Test("a name that cannot be asked has no record")
    func longNames() throws {
        let label = String(repeating: "x", count: 63)
        let parent = try DomainName("\(label).\(label).\(label).example")  // 200 octets
        let long = try parent.prefixed(String(repeating: "y", count: 47))  // 248: with _dmarc 255, one too many
        #expect(TreeWalk.question(for: long) == nil)
        let zone = try PolicyZone(["example": "v=DMARC1; p=reject; sp=reject"])
        let finding = DMARCJudge().finding(
            author: .one(Mailbox(localPart: [], domain: long)), spf: nil, dkim: [], dns: zone)
        #expect(finding.result == .fail)
        #expect(finding.policyDomain == (try DomainName("example")))
        #expect(zone.batches.flatMap(\.self).count == 5)
    }

    @Test("what an answer says, RFC 9989 §4.10 step 2")
    func answers() throws {
        let record = try #require(DMARCRecord(Array("v=DMARC1; p=none".utf8)))
        let rows: [(Answer, WalkAnswer)] = [
            (.noData, .none), (.noSuchName, .none), (.temporaryFailure("x"), .unknown("x")),
            (.txt("v=DMARC1; p=none"), .record(record)), (.txt("v=spf1 -all"), .none),
            (.txt("v=spf1 -all", "v=DMARC1; p=none", "v=DMARC2"), .record(record)),
            (.txt("v=DMARC1; p=none", "v=DMARC1; p=reject"), .several),
            (.txt("v=DMARC1; p=none", "v=DMARC1; p=none", "v=DMARC1"), .several),
            (.records([], ttl: 1), .none), (.records([.cname(try DomainName("a.example"))], ttl: 1), .none),
        ]
        for (answer, expected) in rows { #expect(WalkAnswer(answer) == expected, "\(answer)") }
    }

    /// One walk: what stands at which name, and the candidates that follow; one when the domain is known.
    struct Row: Sendable {
        var start: String
        /// u, n or y for a record with that psd, ! for trouble, 2 for two records.
        var found: [String: Character]
        var expected: [String]
        var publicSuffix: String?
    }

    @Test(
        "organizational domains, RFC 9989 §4.10.2",
        arguments: [
            Row(start: "a.mail.example.com", found: [:], expected: ["a.mail.example.com"]),
            // The RFC's three examples.
            Row(
                start: "a.mail.example.com", found: ["mail.example.com": "u", "example.com": "u"],
                expected: ["example.com"]),
            Row(start: "a.mail.example.com", found: ["mail.example.com": "n"], expected: ["mail.example.com"]),
            Row(start: "a.mail.example.com", found: ["com": "y"], expected: ["example.com"], publicSuffix: "com"),
            // Step 1: psd=n ends it, whatever is above.
            Row(
                start: "a.mail.example.com", found: ["mail.example.com": "n", "example.com": "n", "com": "y"],
                expected: ["mail.example.com"]),
            Row(
                start: "a.mail.example.com", found: ["a.mail.example.com": "n", "example.com": "u"],
                expected: ["a.mail.example.com"]),
            // Step 2: psd=y, but not where the walk starts.
            Row(
                start: "a.mail.example.com", found: ["mail.example.com": "u", "example.com": "y"],
                expected: ["mail.example.com"], publicSuffix: "example.com"),
            Row(start: "example.com", found: ["example.com": "y"], expected: ["example.com"]),
            Row(start: "example.com", found: ["example.com": "y", "com": "u"], expected: ["example.com"]),
            Row(
                start: "a.b.c.d.e.f.g.h.i.j", found: ["d.e.f.g.h.i.j": "y"], expected: ["c.d.e.f.g.h.i.j"],
                publicSuffix: "d.e.f.g.h.i.j"),
            // Step 3: the fewest labels.
            Row(start: "a.mail.example.com", found: ["a.mail.example.com": "u"], expected: ["a.mail.example.com"]),
            Row(start: "a.mail.example.com", found: ["a.mail.example.com": "u", "com": "u"], expected: ["com"]),
            Row(start: "a.b.c.d.e.f.g.h.i.j", found: ["b.c.d.e.f.g.h.i.j": "n"], expected: ["a.b.c.d.e.f.g.h.i.j"]),
            // Several records are none.
            Row(start: "a.example.com", found: ["example.com": "u", "com": "2"], expected: ["example.com"]),
            // Trouble: every domain that it may be; above the walk's end it does not matter.
            Row(start: "a.example.com", found: ["example.com": "n", "com": "!"], expected: ["example.com"]),
            Row(
                start: "a.example.com", found: ["a.example.com": "n", "example.com": "!", "com": "!"],
                expected: ["a.example.com"]),
            Row(start: "a.example.com", found: ["example.com": "u", "com": "!"], expected: ["com", "example.com"]),
            Row(
                start: "a.example.com", found: ["a.example.com": "!", "example.com": "u"],
                expected: ["a.example.com", "example.com"]),
            Row(
                start: "a.b.example.com", found: ["b.example.com": "!", "com": "y"],
                expected: ["b.example.com", "a.b.example.com", "example.com"], publicSuffix: "com"),
            Row(start: "com", found: ["com": "!"], expected: ["com"]),
        ])
    func organizationalDomains(row: Row) throws {
        func policyAnswer(_ domain: DomainName) -> WalkAnswer {
            switch row.found["\(domain)"] {
            case nil: .none
            case "!": .unknown("timeout")
            case "2": .several
            case let psd?: DMARCRecord(Array("v=DMARC1; p=none; psd=\(psd)".utf8)).map { .record($0) } ?? .none
            }
        }
        let found = OrganizationalDomain(TreeWalk(from: try DomainName(row.start)), answer: policyAnswer)
        #expect(found.candidates.map(\.description) == row.expected)
        #expect(found.publicSuffix?.description == row.publicSuffix)
        #expect(found.domain == (row.expected.count == 1 ? found.candidates.first : nil))
    }
}
