// The examples of RFC 9989, Appendix B and §4.10, as data: only the fields that a case names are asserted.

import PosternMail
import TestSupport
import Testing

@testable import PosternAuth

@Suite("DMARC RFC examples")
struct DMARCExampleTests {
    struct File: Decodable {
        var cases: [Case]
    }
    struct Identifier: Decodable {
        var result: String
        var domain: String
    }
    struct Case: Decodable {
        var id: String
        var zone: [String: [String]]
        var from: String
        var spf: Identifier?
        var dkim: [Identifier]
        var expect: Expected
    }
    struct Expected: Decodable {
        var result: String?
        var fromOrganization: String?
        var spfOrganization: String?
        var dkimOrganization: String?
        var spfAligned: Bool?
        var dkimAligned: Bool?
        var policyDomain: String?
        var authorQueries: [String]?
        enum CodingKeys: String, CodingKey {
            case result
            case fromOrganization = "from_org"
            case spfOrganization = "spf_org"
            case dkimOrganization = "dkim_org"
            case spfAligned = "spf_aligned"
            case dkimAligned = "dkim_aligned"
            case policyDomain = "policy_domain"
            case authorQueries = "author_queries"
        }
    }

    /// The organizational domain of an identifier, by a walk of its own.
    private func organization(_ domain: String, _ zone: PolicyZone) throws -> String? {
        let walk = TreeWalk(from: try DomainName(domain))
        var answers = DMARCAnswers()
        answers.ask(walk.names, dns: zone)
        return OrganizationalDomain(walk) { answers.policy(at: $0) }.domain?.description
    }

    @Test("RFC 9989 §B.1, §B.4, §4.10")
    func examples() throws {
        let file = try Fixtures.json("rfc-examples/dmarc/rfc9989-appendix-b.json", as: File.self)
        #expect(file.cases.count == 17)
        for example in file.cases {
            let records = Dictionary(uniqueKeysWithValues: example.zone.map { (String($0.key.dropFirst(7)), $0.value) })
            let zone = try PolicyZone(records)
            let passed = example.dkim.filter { $0.result == "pass" }.map(\.domain)
            let finding = try judge(
                zone, example.from, spf: example.spf.flatMap { $0.result == "pass" ? $0.domain : nil }, dkim: passed)
            let id = example.id
            let expect = example.expect
            if let result = expect.result { #expect(finding.result.rawValue == result, "\(id)") }
            if let domain = expect.fromOrganization {
                #expect(finding.organizationalDomain?.description == domain, "\(id)")
            }
            if let domain = expect.policyDomain { #expect(finding.policyDomain?.description == domain, "\(id)") }
            if let aligned = expect.spfAligned { #expect((finding.alignedSPF != nil) == aligned, "\(id)") }
            if let aligned = expect.dkimAligned { #expect(finding.alignedDKIM.isEmpty != aligned, "\(id)") }
            if let names = expect.authorQueries {
                #expect(zone.batches.first?.filter { !$0.hasSuffix(" A") }.map { "_dmarc.\($0)" } == names, "\(id)")
            }
            if let domain = expect.spfOrganization, let spf = example.spf {
                #expect(try organization(spf.domain, zone) == domain, "\(id)")
            }
            if let domain = expect.dkimOrganization, let dkim = example.dkim.first {
                #expect(try organization(dkim.domain, zone) == domain, "\(id)")
            }
        }
    }
}
