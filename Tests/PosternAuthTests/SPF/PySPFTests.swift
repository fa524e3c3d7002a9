// Our SPF judge beside pyspf, which nobody here wrote: fresh cases with what the RFC's text says of them, and random
// records. Each difference has its rule here, with the section that decides; a rule that explains nothing must go.

import PosternDNS
import PosternMail
import PostfixHarness
import TestSupport
import Testing

@testable import PosternAuth

@Suite("SPF against pyspf") struct PySPFTests {
    /// Why pyspf 2.0.14 says something else.
    struct Difference: Sendable {
        var name: String
        /// - Parameter hasFailingName: one of the client's names in the reverse zone never answers.
        var explains: @Sendable (_ ours: SPFFinding, _ peer: PySPF.Answer, _ hasFailingName: Bool) -> Bool
    }

    static let known = [
        Difference(name: "RFC 7208 §7.3: a number of parts must not be zero; pyspf takes %{d0}") { ours, peer, _ in
            ours.result == .permerror && "\(ours.reason)".contains("zero parts")
        },
        Difference(name: "RFC 7208 §12, delimiter: @ is none; pyspf takes %{s2r@}") { ours, peer, _ in
            ours.result == .permerror && "\(ours.reason)".contains("an unknown delimiter")
        },
        Difference(
            name: "RFC 7208 §5.2: an include counts when it is reached; pyspf refuses one of its own domain on sight"
        ) { ours, peer, _ in
            peer.reason.hasPrefix("include has trivial recursion")
        },
        Difference(
            name: "RFC 7208 §6: only redirect and exp must not stand twice; pyspf says so of every modifier"
        ) { ours, peer, _ in
            let word = peer.reason.prefix { $0 != "=" }
            return peer.reason.contains("= MUST appear at most once") && word != "redirect" && word != "exp"
        },
        Difference(
            name: "RFC 7208 §4.6.4: void are terms; pyspf counts each host of an mx and each name of a ptr"
        ) { ours, peer, _ in
            peer.reason.hasPrefix("Void lookup limit") && ours.voidLookups <= 2
        },
        Difference(
            name: "RFC 7208 §5.5: a name of the client that DNS has trouble with is skipped; pyspf ends in temperror"
        ) { ours, peer, hasFailingName in
            peer.result == "temperror" && hasFailingName
        },
    ]

    private static func hasFailingName(_ order: PySPF.Order, _ client: String) -> Bool {
        let reverse = IPAddress(client).flatMap { DomainName(reverseOf: $0) }.map { "\($0)" } ?? ""
        return order.zone[reverse]?["PTR"]?.contains(where: order.failing.contains) ?? false
    }

    @Test("2,000 transactions with random records") func random() throws {
        var generator = SPFGenerator(seed: 7208)
        let orders = (0..<400).map { _ in generator.order(cases: 5) }
        var used: Set<String> = []
        var results: Set<SPFResult> = []
        for (order, answers) in zip(orders, try PySPF.judge(orders)) {
            let dns = FunctionDNS(order.zone, failing: order.failing)
            #expect(answers.count == order.cases.count)
            for (test, peer) in zip(order.cases, answers) {
                let ours = try judgeSPF(test.sender, client: test.client, helo: test.helo, receiver: nil, dns: dns)
                results.insert(ours.result)
                guard ours.result.rawValue != peer.result else { continue }
                let failing = Self.hasFailingName(order, test.client)
                let rule = Self.known.first { $0.explains(ours, peer, failing) }
                if let rule { used.insert(rule.name) }
                #expect(
                    rule != nil,
                    "pyspf \(peer.result) \(peer.reason), ours \(ours.result) \(ours.reason): \(test), \(order.zone)")
            }
        }
        #expect(results == Set(SPFResult.allCases))
        #expect(Self.known.map(\.name).filter { !used.contains($0) } == [], "explain nothing: take them off the list")
    }

    /// A transaction and what the RFC says of it; `peer` where pyspf says something else, with the reason.
    struct Row: Sendable, CustomTestStringConvertible {
        var rule: String
        /// Of example.com.
        var record: String
        var zone: PeerZone = [:]
        var client = "192.0.2.1"
        var sender = "ann@example.com"
        var helo = "mx.example.net"
        var expected: SPFResult
        var peer: (result: String, reason: String)?
        var testDescription: String { rule }
    }

    private static let names: PeerZone = [
        "a.example.com": ["A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]],
        "b.example.com": ["A": ["192.0.2.2"], "MX": ["a.example.com"]],
        "pass.example.com": ["TXT": ["v=spf1 +all"]], "soft.example.com": ["TXT": ["v=spf1 ~all"]],
        "none.example.com": ["A": ["192.0.2.9"]], "two.example.com": ["TXT": ["v=spf1 -all", "v=spf1 ~all"]],
        "1.2.0.192.in-addr.arpa": ["PTR": ["a.example.com", "other.example.net"]],
        "ann.example.com": ["A": ["127.0.0.2"]],
    ]

    private static let rows = [
        Row(rule: "§4.6.2: no qualifier is +", record: "v=spf1 ip4:192.0.2.1", expected: .pass),
        Row(rule: "§4.7: nothing matches", record: "v=spf1 ip4:192.0.2.9", expected: .neutral),
        Row(rule: "§4.5: v=spf10 is none", record: "v=spf10 -all", expected: .none),
        Row(rule: "§4.5: the version in any case", record: "V=SPF1 -all", expected: .fail),
        Row(rule: "§4.6.1: several spaces", record: "v=spf1  ip4:192.0.2.1  -all ", expected: .pass),
        Row(rule: "§5.1: nothing behind all", record: "v=spf1 ~all ip4:192.0.2.1", expected: .softfail),
        Row(rule: "§5.2: pass is a match", record: "v=spf1 ?include:pass.example.com -all", expected: .neutral),
        Row(rule: "§5.2: softfail is none", record: "v=spf1 include:soft.example.com -all", expected: .fail),
        Row(rule: "§5.2: no record", record: "v=spf1 include:none.example.com -all", expected: .permerror),
        Row(rule: "§5.2: several records", record: "v=spf1 include:two.example.com -all", expected: .permerror),
        Row(rule: "§5.3: a", record: "v=spf1 a:a.example.com -all", expected: .pass),
        Row(rule: "§5.3: a/24", record: "v=spf1 a:b.example.com/24 -all", expected: .pass),
        Row(
            rule: "§5.3: AAAA for IPv6", record: "v=spf1 a:a.example.com//64 -all", client: "2001:db8::2",
            expected: .pass),
        Row(rule: "§5.4: mx", record: "v=spf1 mx:b.example.com -all", expected: .pass),
        Row(rule: "§5.5: ptr, validated", record: "v=spf1 ptr:example.com -all", expected: .pass),
        Row(rule: "§5.5: ptr, not validated", record: "v=spf1 ptr:example.net -all", expected: .fail),
        Row(rule: "§5.6: /31", record: "v=spf1 ip4:192.0.2.0/31 -all", expected: .pass),
        Row(rule: "§5.6: /0", record: "v=spf1 -ip4:0.0.0.0/0 +all", expected: .fail),
        Row(rule: "§5.6: /33", record: "v=spf1 ip4:192.0.2.0/33 -all", expected: .permerror),
        Row(
            rule: "§5.6: IPv6 does not match ip4", record: "v=spf1 ip4:0.0.0.0/0 -all", client: "2001:db8::1",
            expected: .fail),
        Row(
            rule: "§5: an IPv4-mapped client is IPv4", record: "v=spf1 ip4:192.0.2.1 -all", client: "::ffff:192.0.2.1",
            expected: .pass),
        Row(rule: "§5.7: exists by local-part", record: "v=spf1 exists:%{l}.example.com -all", expected: .pass),
        Row(
            rule: "§5.7: exists asks A for IPv6 clients", record: "v=spf1 exists:b.example.com -all",
            client: "2001:db8::9", expected: .pass),
        Row(rule: "§6.1: redirect", record: "v=spf1 redirect=soft.example.com", expected: .softfail),
        Row(rule: "§6.1: all before it", record: "v=spf1 -all redirect=soft.example.com", expected: .fail),
        Row(rule: "§6.1: no record", record: "v=spf1 redirect=none.example.com", expected: .permerror),
        Row(rule: "§6: unknown modifiers", record: "v=spf1 x=%{d} ip4:192.0.2.1 -all", expected: .pass),
        Row(rule: "§6: redirect twice", record: "v=spf1 redirect=a.example redirect=b.example", expected: .permerror),
        Row(rule: "§4.6: a mistake behind the match", record: "v=spf1 ip4:192.0.2.1 ipv4:1 -all", expected: .permerror),
        Row(rule: "§7.3: reversed address", record: "v=spf1 exists:%{ir}.x.example.com -all", expected: .fail),
        Row(
            rule: "§7.3: rightmost parts", record: "v=spf1 exists:%{l}.%{d2} -all", expected: .pass),
        Row(
            rule: "§7.4: %{c} only in explanations", record: "v=spf1 exists:%{c}.example.com -all", expected: .permerror
        ),
        Row(
            rule: "§2.4: the null reverse-path", record: "v=spf1 -all", sender: "", helo: "example.com", expected: .fail
        ),
        Row(
            rule: "§4.3: no local-part", record: "v=spf1 exists:%{l}.example.com -all", sender: "@example.com",
            expected: .fail),
        Row(
            rule: "§4.6.4: ten look-ups",
            record: "v=spf1 " + String(repeating: "a:b.example.com ", count: 10) + "-all", expected: .fail),
        Row(
            rule: "§4.6.4: eleven", record: "v=spf1 " + String(repeating: "a:b.example.com ", count: 11) + "-all",
            expected: .permerror),
        Row(rule: "§4.6.4: two voids", record: "v=spf1 a:x.example.com a:y.example.com -all", expected: .fail),
        Row(
            rule: "§4.6.4: three voids", record: "v=spf1 a:x.example.com a:y.example.com a:z.example.com -all",
            expected: .permerror),
        Row(
            rule: "§7.3: zero parts", record: "v=spf1 exists:%{d0}.example.com -all", expected: .permerror,
            peer: ("fail", "takes it for no number")),
    ]

    @Test("fresh cases, RFC 7208") func fresh() throws {
        let orders = Self.rows.map { row in
            PySPF.Order(
                zone: Self.names.merging(row.zone) { $1 }.merging(["example.com": ["TXT": [row.record]]]) { $1 },
                cases: [PySPF.Case(client: row.client, helo: row.helo, sender: row.sender)])
        }
        for (row, (order, answers)) in zip(Self.rows, zip(orders, try PySPF.judge(orders))) {
            let dns = FunctionDNS(order.zone)
            let ours = try judgeSPF(row.sender, client: row.client, helo: row.helo, receiver: nil, dns: dns)
            #expect(ours.result == row.expected, "\(row.rule): \(ours)")
            let peer = try #require(answers.first)
            #expect(
                peer.result == row.peer?.result ?? row.expected.rawValue, "\(row.rule): pyspf \(peer)")
        }
    }
}
