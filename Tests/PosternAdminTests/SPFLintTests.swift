// `spf --lint`: each mistake that is named, with its term; what counts, include by include; and the exit statuses.
// And `spf --engine libspf2` as a command; how far it agrees is tested with the suites.

import Foundation
import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("spf --lint") struct SPFLintTests {
    /// A zone whose `x.example` is looked at, and the problems that this must bring, all of them.
    struct Row: CustomTestStringConvertible {
        var name: String
        var record: String
        var zone = ""
        var problems: [String]
        var status: Int32 = 0
        var testDescription: String { name }
    }

    private static let rows = [
        Row(name: "nothing", record: "v=spf1 ip4:192.0.2.0/24 -all", problems: []),
        Row(
            name: "every mistake with its term, RFC 7208 §12",
            record: "v=spf1 ipv4:192.0.2.1 a:192.0.2.1 ip4:1.2.3 -all",
            problems: [
                "error: \"ipv4:192.0.2.1\": no such mechanism",
                "error: \"a:192.0.2.1\": an address where a domain is expected; is ip4: or ip6: meant?",
                "error: \"ip4:1.2.3\": expected an IPv4 address, or a network as 192.0.2.0/24",
            ], status: 1),
        Row(
            name: "several records, RFC 7208 §4.5", record: "v=spf1 -all", zone: "x.example. TXT \"v=spf1 ~all\"\n",
            problems: ["error: 2 SPF records, one is allowed (RFC 7208 §4.5)"], status: 1),
        Row(
            name: "what stands behind all, RFC 7208 §5.1, §6.1", record: "v=spf1 -all ip4:192.0.2.1 redirect=y.example",
            problems: [
                "warning: \"ip4:192.0.2.1\": never reached behind all (RFC 7208 §5.1)",
                "warning: \"redirect=y.example\": ignored beside all (RFC 7208 §6.1)",
            ]),
        Row(
            name: "ptr, RFC 7208 §5.5", record: "v=spf1 ptr -all",
            problems: ["warning: \"ptr\": ptr must not be published (RFC 7208 §5.5)"]),
        Row(name: "+all", record: "v=spf1 +all", problems: ["warning: \"+all\": lets everybody send"]),
        Row(
            name: "?all", record: "v=spf1 ?all",
            problems: ["warning: \"?all\": says nothing about who is not listed"]),
        Row(
            name: "no end", record: "v=spf1 ip4:192.0.2.1",
            problems: ["warning: neither all nor redirect at its end: who is not listed is neutral (RFC 7208 §4.7)"]),
        Row(
            name: "wide networks", record: "v=spf1 ip4:10.0.0.0/8 ip6:2000::/3 -ip4:0.0.0.0/0 a/8 -all",
            zone: "x.example. A 192.0.2.1\nx.example. AAAA 2001:db8::1\n",
            problems: [
                "warning: \"ip4:10.0.0.0/8\": a network as wide as /8",
                "warning: \"ip6:2000::/3\": a network as wide as /3", "warning: \"a/8\": a network as wide as /8",
            ]),
        Row(
            name: "include of a domain without record, RFC 7208 §5.2", record: "v=spf1 include:none.example -all",
            problems: ["error: no SPF record"], status: 1),
        Row(
            name: "an include that leads back", record: "v=spf1 include:y.example -all",
            zone: "y.example. TXT \"v=spf1 include:x.example -all\"\n",
            problems: ["error: \"include:x.example\": leads back to x.example"], status: 1),
        Row(
            name: "an unknown modifier, RFC 7208 §6", record: "v=spf1 moo=1 -all",
            problems: ["warning: \"moo=1\": a modifier that nobody knows, ignored (RFC 7208 §6)"]),
        Row(
            name: "modifiers given twice, RFC 7208 §6", record: "v=spf1 exp=a.example exp=b.example -all",
            problems: ["error: \"exp=b.example\": this modifier may stand only once"], status: 1),
        Row(
            name: "a long record, RFC 7208 §3.4",
            record: "v=spf1 " + (1...30).map { "ip4:198.51.100.\($0)" }.joined(separator: " ") + " -all",
            problems: [
                "warning: its TXT records have 542 octets: more than 512 need TCP (RFC 7208 §3.4)",
                "warning: more than 255 octets: its strings are joined without a space between (RFC 7208 §3.3)",
            ]),
        Row(
            name: "the record type that is gone, RFC 7208 §3.1", record: "v=spf1 -all",
            zone: "x.example. TYPE99 \\# 12 0b763d73706631202d616c6c\n",
            problems: ["warning: a record of type SPF (99) is published, which nobody reads (RFC 7208 §3.1)"]),
        Row(
            name: "capitals", record: "v=spf1 IP4:192.0.2.1 -ALL",
            problems: [
                "warning: \"IP4:192.0.2.1\": capitals, which some readers do not take",
                "warning: \"-ALL\": capitals, which some readers do not take",
            ]),
        Row(
            name: "macros", record: "v=spf1 exists:%{i}.%{p}.x.example -all",
            problems: [
                "warning: \"exists:%{i}.%{p}.x.example\": %{p} is discouraged, slow and not reliable (RFC 7208 §7.2)",
                "warning: \"exists:%{i}.%{p}.x.example\": depends on the message: counted, not followed",
            ]),
        Row(
            name: "eleven MX hosts, RFC 7208 §4.6.4", record: "v=spf1 mx -all",
            zone: (1...11).map { "x.example. MX 10 m\($0).example.\n" }.joined(),
            problems: ["error: \"mx\": 11 MX hosts, 10 are allowed (RFC 7208 §4.6.4)"], status: 1),
        Row(
            name: "no SPF record, but something like it", record: "v=spf1;-all",
            problems: [
                "warning: \"v=spf1;-all\" is no SPF record: expected \"v=spf1\" and a space", "warning: no SPF record",
            ],
            status: 1),
        Row(
            name: "three look-ups without an answer, RFC 7208 §4.6.4", record: "v=spf1 a:a.x a:b.x exists:c.x -all",
            problems: [
                "warning: \"a:a.x\": a.x has no address", "warning: \"a:b.x\": b.x has no address",
                "warning: \"exists:c.x\": c.x has no address: never matches",
                "error: 3 look-ups without an answer for IPv4 clients, 2 are allowed (RFC 7208 §4.6.4)",
                "error: 3 look-ups without an answer for IPv6 clients, 2 are allowed (RFC 7208 §4.6.4)",
            ], status: 1),
        Row(
            name: "a name that does not answer", record: "v=spf1 include:down.example -all",
            problems: ["warning: DNS does not answer: SERVFAIL; not followed"], status: 69),
    ]

    private static func zone(_ row: Row) -> String {
        "x.example. TXT \(ZoneText.strings(Array(row.record.utf8)).map { ZoneText.quoted($0) }.joined(separator: " "))\n"
            + row.zone
    }

    @Test("what is wrong", arguments: rows) func problems(row: Row) throws {
        let postern = Postern(zone: Self.zone(row), failing: [try DomainName("down.example")])
        let result = try postern("spf", "--lint", "x.example")
        let found = result.text.split(separator: "\n").map { String($0.drop { $0 == " " }) }
            .filter { $0.hasPrefix("error: ") || $0.hasPrefix("warning: ") }
        #expect(found == row.problems)
        #expect(result.status == row.status)
        let json = try postern("spf", "--lint", "x.example", "--json").json()
        #expect(json["permerror"] as? Bool == row.problems.contains { $0.hasPrefix("error") })
    }

    private static let deep = """
        x.example. TXT "v=spf1 include:y.example a mx redirect=z.example"
        x.example. A 192.0.2.1
        x.example. AAAA 2001:db8::1
        x.example. MX 10 x.example.
        y.example. TXT "v=spf1 include:w.example include:w.example a -all"
        y.example. A 192.0.2.1
        w.example. TXT "v=spf1 ip4:192.0.2.1 exists:%{i}.w.example ~all"
        z.example. TXT "v=spf1 a:x.example -all"

        """

    @Test("look-ups are counted include by include, RFC 7208 §4.6.4") func counts() throws {
        let result = try Postern(zone: Self.deep)("spf", "--lint", "x.example")
        #expect(
            result.text.split(separator: "\n").filter { !$0.contains("warning") }.joined(separator: "\n") == """
                x.example: "v=spf1 include:y.example a mx redirect=z.example" (look-ups: 10)
                  include:y.example -> y.example: "v=spf1 include:w.example include:w.example a -all" (look-ups: 5)
                    include:w.example -> w.example: "v=spf1 ip4:192.0.2.1 exists:%{i}.w.example ~all" (look-ups: 1)
                    include:w.example -> w.example: "v=spf1 ip4:192.0.2.1 exists:%{i}.w.example ~all" (look-ups: 1)
                  redirect=z.example -> z.example: "v=spf1 a:x.example -all" (look-ups: 1)
                look-ups: 10 of at most 10; without an answer: 0 for IPv4, 1 for IPv6 clients, of at most 2
                """)
        #expect(result.status == 0)
        let more = try Postern(
            zone: Self.deep.replacingOccurrences(of: "a:x.example -all", with: "a:x.example mx:x.example -all"))(
                "spf", "--lint", "x.example")
        #expect(more.text.contains("\n  error: 11 look-ups, 10 are allowed (RFC 7208 §4.6.4)\n"))
        #expect(more.status == 1)
    }

    @Test("JSON: every member, the records with their problems") func json() throws {
        let result = try Postern(
            zone: "x.example. TXT \"v=spf1 include:y.example +all\"\ny.example. TXT \"v=spf1 -all\"\n")(
                "spf", "--lint", "x.example", "--json")
        #expect(
            result.text == #"{"domain":"x.example","permerror":false,"complete":true,"lookups":1,"#
                + #""void_lookups":{"ipv4":0,"ipv6":0},"records":[{"domain":"x.example","via":null,"depth":0,"#
                + #""record":"v=spf1 include:y.example +all","lookups":1,"problems":[{"severity":"warning","#
                + #""term":"+all","text":"lets everybody send"}]},{"domain":"y.example","via":"include:y.example","#
                + #""depth":1,"record":"v=spf1 -all","lookups":0,"problems":[]}],"problems":[]}"# + "\n")
    }

    @Test("a record that includes without end stays inside the caps") func bounded() throws {
        var zone = ""
        for number in 0..<60 {
            let terms = (number + 1..<number + 12).map { "include:d\($0).example" }.joined(separator: " ")
            let strings = ZoneText.strings(Array("v=spf1 \(terms) -all".utf8)).map { ZoneText.quoted($0) }
            zone += "d\(number).example. TXT \(strings.joined(separator: " "))\n"
        }
        let result = try Postern(zone: zone)("spf", "--lint", "d0.example", "--json")
        #expect((try result.json()["records"] as? [Any])?.count == SPFLint.maxRecords)
        #expect(result.questions.count <= 2 * 12 * SPFLint.maxRecords)
        #expect(result.status == 1)
    }

    @Test("whatever is published, it never traps and writes no line of ours") func hostile() throws {
        let samples = Self.rows.map { Array($0.record.utf8) }
        var count = 0
        Mutations.of(samples, tokens: [[0x20], [0x25, 0x7B], [0x1B], [0xFF]], count: 2000, seed: 5) { text in
            let dns = OneText(text)
            guard let domain = try? DomainName("x.example") else { return }  // always a name
            let lint = SPFLint(of: domain, dns: dns)
            count += lint.visits.count
            let isClean = "\(lint.lines)\(lint.json)".unicodeScalars.allSatisfy {
                ($0.value >= 0x20 || $0.value == 0x0A) && $0.value != 0x7F
            }
            #expect(isClean, "\(text)")
        }
        #expect(count > 2000)
    }

    /// The same text for every name.
    private struct OneText: DNSAnswering {
        let text: [UInt8]
        init(_ text: [UInt8]) { self.text = text }
        func answers(to questions: [Question]) -> [Answer] {
            questions.map { $0.type == .txt ? .records([.txt(text)], ttl: 1) : .noSuchName }
        }
        func prefetch(_ questions: [Question]) {}
    }

    @Test("a second opinion, with what the library does not tell as null") func secondOpinion() throws {
        let zone = "x.example. TXT \"v=spf1 mx -all\"\nx.example. MX 10 m.x.example.\nm.x.example. A 192.0.2.1\n"
        for (client, status, result) in [("192.0.2.1", Int32(0), "pass"), ("2001:db8::1", 1, "fail")] {
            let words = [
                "spf", "--engine", "libspf2", "--client", client, "--helo", "h.example", "--sender", "ann@x.example",
            ]
            let answer = try Postern(zone: zone).run(words + ["--json"])
            let json = try answer.json()
            #expect(json["result"] as? String == result)
            #expect(json["mechanism"] is NSNull && json["lookups"] is NSNull)
            #expect(json["reason"] as? String == "mechanism")
            #expect(Set(json.keys) == ["result", "explanation", "mechanism", "lookups", "reason"])
            #expect(answer.status == status)
            let text = try Postern(zone: zone).run(words)
            #expect(text.text.hasPrefix("\(result) (mechanism)") && text.status == status)
        }
    }
}
