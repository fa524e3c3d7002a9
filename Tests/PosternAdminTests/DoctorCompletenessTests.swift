// No finding of the doctor's without its proof: each word has a fixture that triggers it and one that does not, and is
// either mended by a line, which EndToEndTests/DoctorTests.swift runs on a real Postfix, or is in the list of those that no
// line mends, which both tests read. A new word fails here until it has all of that.

import Foundation
import PosternDNS
import PosternDaemon
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("doctor: completeness") struct DoctorCompletenessTests {
    /// Findings that are not in the tables of rows: what is found where something is wrong, and where it is not.
    private static func others() throws -> [DoctorFinding.ID: (wrong: [DoctorFinding], right: [DoctorFinding])] {
        func version(_ text: String) throws -> [DoctorFinding] {
            var fixture = DoctorFixture()
            fixture.main["mail_version"] = text
            return try fixture.findings()
        }
        func silence(failing: Set<DomainName>) throws -> [DoctorFinding] {
            let dns = try ZoneResolver(zone: DoctorDNSTests.zone, failing: failing)
            let subject = try DoctorDNSTests.fixture().subject()
            return DNSFindings(subject: subject, dns: { dns }).silence().map { [$0] } ?? []
        }
        return [
            .configuration: (
                try DoctorCommandTests.fileFindings(isSensible: false), try DoctorCommandTests.fileFindings()
            ),
            .keyFile: (try DoctorCommandTests.fileFindings(mode: 0o644), try DoctorCommandTests.fileFindings()),
            .dkimKey: (try DoctorDNSTests.keyFindings("mismatch"), try DoctorDNSTests.keyFindings("ok")),
            .postfixVersion: (try version("2.11.3"), try version("3.12.0")),
            .dnsSilent: (
                try silence(failing: [try DomainName("example.org"), try DomainName("mx1.example.org")]),
                try silence(failing: [])
            ),
        ]
    }

    /// All that the fixtures trigger.
    private static func triggered() throws -> [DoctorFinding] {
        var found: [DoctorFinding] = []
        for row in DoctorWiringTests.rows {
            var fixture = DoctorFixture()
            row.change(&fixture)
            found += try fixture.findings().filter { $0.id != .postfixVersion }
        }
        for row in DoctorDNSTests.rows { found += try DoctorDNSTests.findings(row) }
        for (id, other) in try others() { found += other.wrong.filter { $0.id == id } }
        return found
    }

    @Test("every word has a fixture that triggers it, and one that does not") func fixtures() throws {
        #expect(Set(try Self.triggered().map(\.id)) == Set(DoctorFinding.ID.allCases))
        // What the tables begin with triggers nothing, so that it is the fixture for all of their words.
        #expect(try DoctorFixture().findings().allSatisfy { $0.id == .postfixVersion })
        let right = try #require(DoctorDNSTests.rows.first)
        #expect(try DoctorDNSTests.findings(right) == [])
        for (id, other) in try Self.others() { #expect(!other.right.contains { $0.id == id }, "\(id)") }
    }

    @Test("the list of those that no line mends is what the fixtures show") func withoutLine() throws {
        let withLine = try Self.triggered().filter { finding in
            finding.mends.contains { if case .advice = $0 { false } else { true } }
        }
        let mended = Set(withLine.map(\.id))
        let expected = DoctorFinding.ID.allCases.filter { !mended.contains($0) }.map(\.rawValue)
        #expect(DoctorWords.withoutLine == Set(expected))
    }
}
