// The words of metrics in JSON lines: which stand there, in which form, and that a line keeps them and stays whole.

import Foundation
import PosternMail
import TestSupport
import Testing

@testable import PosternDaemon

@Suite("words of the metrics in JSON lines") struct CountedWordsTests {
    private static func line(
        _ counted: [CounterReading], text: String = "x", stranger: [UInt8] = [], program: String = "postern-dmarc"
    ) -> String {
        LogRendering(program: program, pid: 812, format: .json).message(
            of: .outcome(
                OutcomeLine(
                    queueID: "4cXk2J1hz", action: "reject", stage: "END-OF-MESSAGE",
                    client: SMTPClient(name: Array("mx.example.net".utf8), address: IPAddress("192.0.2.7")), text: text,
                    mailFrom: stranger, recipient: stranger, proto: "ESMTP", helo: stranger, counted: counted)),
            at: LifeLogTests.moment)
    }

    private static func object(_ line: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
    }

    private static func reading(_ name: String, _ key: String? = nil, _ value: String = "", _ amount: UInt64 = 1)
        -> CounterReading
    {
        CounterReading(key.map { CounterName(name, $0, value) } ?? CounterName(name), amount)
    }

    @Test("contrib/doc/log.md tells of each member that a line has of its own, and of no other")
    func documented() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "contrib/doc/log.md")
        let text = try String(contentsOf: file, encoding: .utf8)
        let told = text.matches(of: #/(?m)^\| `([a-z_]+)` \| /#).map { String($0.1) }
        #expect(told.sorted() == Self.own.sorted())
    }

    /// What an outcome's line has beside the words of metrics.
    static let own = [
        "time", "program", "pid", "level", "queue_id", "action", "stage", "client_name", "client_address", "text",
        "from", "to", "proto", "helo",
    ]

    @Test("one value, several, a number; in the order in which they were counted")
    func forms() {
        let line = Self.line([
            Self.reading("postern_dmarc_messages_total", "verdict", "rejected"),
            Self.reading("postern_dmarc_spf_total", "result", "fail"),
            Self.reading("postern_dmarc_signatures_total", "result", "pass"),
            Self.reading("postern_dmarc_signatures_total", "result", "fail", 3),
            Self.reading("postern_dmarc_results_fields_removed_total", nil, "", 2),
        ])
        #expect(
            line.hasSuffix(
                #","helo":"","messages":{"verdict":"rejected"},"spf":{"result":"fail"},"#
                    + #""signatures":{"result":["pass","fail"]},"results_fields_removed":2}"#), "\(line)")
    }

    @Test("a door's metrics get their daemon's name; several values are a list also where there is one")
    func door() throws {
        let line = Self.line(
            [
                Self.reading("answers_total", "action", "reject"),
                Self.reading("postern_policy_dnsbl_listings_total", "list", "zen.spamhaus.org"),
            ], program: "postern-policy")
        #expect(
            line.hasSuffix(#","answers":{"action":"reject"},"dnsbl_listings":{"list":["zen.spamhaus.org"]}}"#),
            "\(line)")
    }

    @Test(
        "what metrics do not know stands in no line",
        arguments: [
            reading("postern_dmarc_secrets_total"), reading("postern_dmarc_spf_total"),
            reading("postern_dmarc_spf_total", "zone", "x"), reading("postern_dmarc_facts_waiting"),
            reading("postern_dmarc_overloaded_total", nil, "", 0),
            reading("postern_log_messages_total", "level", "error"),
        ])
    func unknown(_ reading: CounterReading) throws {
        #expect(Set(try Self.object(Self.line([reading])).keys) == Set(Self.own))
    }

    @Test("no metric of a daemon is called as a line's own members, or as another")
    func names() {
        for daemon in ["postern-dns", "postern-dkim", "postern-dmarc", "postern-policy", "postern-rate"] {
            let nouns = MetricFamily.all.filter { $0.daemon == daemon && $0.inLog != nil }.map(\.noun)
            #expect(Set(nouns).count == nouns.count && Set(nouns).isDisjoint(with: Self.own), "\(nouns)")
            #expect(nouns.allSatisfy { !$0.hasPrefix("postern") && !$0.hasSuffix("_total") }, "\(nouns)")
        }
        #expect(MetricFamily.all.allSatisfy { $0.inLog == nil || $0.kind == .counter })
    }

    @Test(
        "however long everything is, the object is whole, in one piece for a pipe, and keeps what was decided",
        arguments: ["\"", "\\", "\u{1}", "x", "\u{20AC}"])
    func long(_ filler: String) throws {
        let long = String(repeating: filler, count: 10_000)
        var counted = MetricFamily.all.filter { $0.daemon == "postern-policy" && $0.inLog != nil }.map { family in
            Self.reading(family.name, family.label?.key, "defer_if_permit")
        }
        counted += (0..<100).map { Self.reading("postern_policy_dnsbl_listings_total", "list", "\($0)\(long)") }
        let line = Self.line(counted, text: long, stranger: Array(long.utf8), program: "postern-policy")
        #expect(line.utf8.count < LogRendering.maxLineOctets)
        let object = try Self.object(line)
        #expect(object["queue_id"] as? String == "4cXk2J1hz" && object["action"] as? String == "reject")
        #expect((object["answers"] as? [String: String])?["action"] == "defer_if_permit")
        let text = try #require(object["text"] as? String)
        #expect(text.hasSuffix("...") && text.utf8.count > 100)
    }

    @Test("a text of ours has all of its room in a line of usual length")
    func room() throws {
        let text = String(repeating: "spf=fail (-all) ", count: OutcomeLine.maxTextOctets / 16)
        let stranger = Array(repeating: UInt8(ascii: "a"), count: 1000)
        let all = MetricFamily.all.filter { $0.daemon == "postern-dmarc" && $0.inLog != nil }.map { family in
            Self.reading(family.name, family.label?.key, "trusted_forwarder")
        }
        #expect(try Self.object(Self.line(all, text: text, stranger: stranger))["text"] as? String == text)
    }

    @Test("a note's text is cut to a whole object as well")
    func note() throws {
        let rendering = LogRendering(program: "postern-dns", pid: 1, format: .json)
        let line = rendering.message(
            of: .note(.warning, String(repeating: "\"", count: 10_000)), at: LifeLogTests.moment)
        #expect(line.utf8.count < LogRendering.maxLineOctets && line.utf8.count > LogRendering.maxLineOctets - 8)
        #expect(try Self.object(line)["level"] as? String == "warning")
    }
}
