// `dkim verify` on the examples of RFC 6376 Appendix A and RFC 8463 Appendix A, as an admin would have them in files.

import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("dkim verify on the RFCs' examples") struct RFCExampleTests {
    private struct Cases: Decodable {
        struct Records: Decodable { let TXT: String }
        struct Case: Decodable {
            let id: String
            let message: String
            let expect: [String]
        }
        let dns: [String: Records]
        let cases: [Case]
    }

    @Test("results and exit statuses, by CRLF and LF, text and JSON") func examples() throws {
        let cases = try Fixtures.json("rfc-examples/dkim/cases.json", as: Cases.self)
        var zone = ""
        for (name, records) in cases.dns { zone += ZoneText.record(try DomainName(name), txt: Array(records.TXT.utf8)) }
        #expect(cases.cases.count == 6)
        for each in cases.cases {
            let octets = MessageText.withCRLF(try Fixtures.octets("rfc-examples/dkim/" + each.message))
            for input in [octets, octets.filter { $0 != 0x0D }] {
                let postern = Postern(zone: zone, input: input)
                let json = try postern("dkim", "verify", "-", "--json")
                let signatures = try #require(try json.json()["signatures"] as? [[String: Any]])
                #expect(signatures.compactMap { $0["result"] as? String } == each.expect, "\(each.id)")
                #expect(
                    signatures.allSatisfy {
                        Set($0.keys) == ["result", "domain", "selector", "auid", "algorithm", "key_bits", "reason"]
                    })
                #expect(json.status == (each.expect.contains("pass") ? 0 : 1), "\(each.id)")
                let lines = try postern("dkim", "verify", "-").text.split(separator: "\n")
                #expect(
                    lines.map { $0.prefix { $0 != " " } }
                        == (each.expect.isEmpty ? ["none"] : each.expect.map { $0[...] }))
            }
        }
    }
}
