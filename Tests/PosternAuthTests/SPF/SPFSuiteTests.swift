// The openspf suite for RFC 7208, unmodified, and the examples of the RFC's Appendix A and §7.4.

import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternAuth

@Suite("SPF suites")
struct SPFSuiteTests {
    /// Runs all cases of a file; returns how many there were.
    private func run(_ path: String) throws -> Int {
        var count = 0
        for scenario in try SPFScenario.all(path) {
            for test in scenario.cases {
                count += 1
                let finding = SPFJudge.checkMailFrom(
                    test.sender, client: try #require(IPAddress(test.host), "\(test.name)"), helo: test.helo,
                    receiver: nil, dns: scenario.dns, now: UnixTime(seconds: 0))
                let about = "\(scenario.title): \(test.name), RFC 7208 §\(test.spec): \(finding)"
                #expect(test.results.contains(finding.result.rawValue), "\(about)")
                if let explanation = test.explanation, finding.result == .fail {
                    #expect(finding.explanation == (explanation == "DEFAULT" ? nil : explanation), "\(about)")
                }
            }
        }
        return count
    }

    @Test("openspf's suite: 203 of 203")
    func openspf() throws {
        #expect(try run("spf-rfc7208/rfc7208-tests.yml") == 203)
    }

    @Test("openspf's edition of 2015: 200 of 200")
    func openspf2015() throws {
        #expect(try run("spf-rfc7208/rfc7208-tests-openspf-2015.yml") == 200)
    }

    @Test("RFC 7208 Appendix A")
    func appendixA() throws {
        #expect(try run("rfc-examples/spf/rfc7208-appendix-a.yml") == 24)
    }

    private struct Macros: Decodable {
        struct Case: Decodable {
            var ref: String
            var ip: String
            var macro: String
            var expansion: String
            var sender: String
            var helo: String
        }
        var cases: [Case]
    }

    @Test("macros of RFC 7208 §7.4, as explanations and as target names")
    func macros() throws {
        let cases = try Fixtures.json("rfc-examples/spf/rfc7208-macros.json", as: Macros.self).cases
        #expect(cases.count == 20)
        for row in cases {
            let dns = FunctionDNS([
                "email.example.com TXT": .txt("v=spf1 -exists:\(row.macro).x.example.net -all exp=e.example.com"),
                "e.example.com TXT": .txt(row.macro),
            ])
            let finding = try judgeSPF(row.sender, client: row.ip, helo: row.helo, dns: dns)
            #expect(finding.explanation?.lowercased() == row.expansion, "\(row.macro)")
            if !row.expansion.contains("@") {
                #expect(dns.batches.contains(["\(row.expansion).x.example.net A"]), "\(row.macro): \(dns.batches)")
            }
        }
    }
}
