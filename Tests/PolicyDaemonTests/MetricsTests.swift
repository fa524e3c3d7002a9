// postern-policy's metrics and the declarations of them are the same; the door's are tested with it.

import PosternDaemon
import PosternMail
import PosternPolicy
import Testing

@testable import postern_policy

@Suite("postern-policy's metrics") struct PolicyMetricsTests {
    /// The door's.
    private static let others = [
        "answers_total", "repeats_total", "overloaded_total", "unanswered_total", "connections_total",
        "refused_connections_total", "faulty_requests_total", "unspeakable_answers_total", "decision_seconds",
        "records_total",
    ].map { "postern_policy_\($0)" }

    @Test("each counter and histogram is declared, and nothing else")
    func declared() {
        let told = Set(CheckCounter.allCases.map(\.name) + CheckHistogram.allCases.map(\.name))
        let declared = MetricFamily.names(of: "postern-policy", [.counter, .histogram])
        #expect(told == declared.filter { !Self.others.contains($0.metric) })
        #expect(Set(declared.map(\.metric)).isSuperset(of: Self.others))
    }

    @Test("whatever is counted of a request stands in its JSON line")
    func inLog() {
        for counter in CheckCounter.allCases where counter != .listSuspended && counter != .listReturned {
            #expect(MetricFamily.all.contains { $0.name == counter.name.metric && $0.inLog != nil }, "\(counter)")
        }
    }

    @Test("the words of requests: who has decided, by what rule or list; each is declared")
    func words() throws {
        let rig = try PolicyRig(
            configuration: """
                [[rule]]
                name = "no spam"
                helo = ["spam.example"]
                action = "reject 5.7.1 No spam"
                [[dnsbl.list]]
                zone = "bl.example.org"
                scores = { "127.0.0.2" = 4 }
                """,
            zone: "2.0.0.127.bl.example.org. IN A 127.0.0.2\n66.113.0.203.bl.example.org. IN A 127.0.0.2\n")
        rig.proveLists()
        #expect(rig.service.ruleDecisions.readings(PolicyService.ruleDecision).map(\.value) == [0])
        func words(_ recipient: Recipient, _ message: JudgedMessage) throws -> [String] {
            let counted = try #require(message.answer(recipient.request).remark).counted
            for reading in counted {
                let family = MetricFamily.all.first { $0.name == reading.name.metric }
                #expect(family?.inLog != nil && family?.label?.key == reading.name.label?.key, "\(reading)")
            }
            return counted.map { $0.name.description.replacing("postern_policy_", with: "") }
        }
        #expect(
            try words(Recipient(helo: "spam.example"), rig.message()) == [
                #"decisions_total{check="rule"}"#, #"rule_decisions_total{rule="no spam"}"#,
            ])
        let message = rig.message()
        #expect(
            try words(Recipient(client: "203.0.113.66"), message) == [
                #"decisions_total{check="dnsbl"}"#, #"list_answers_total{outcome="listed"}"#,
                #"dnsbl_listings_total{list="bl.example.org"}"#,
            ])
        // Lists are counted once a message, and named for each of its recipients.
        #expect(
            try words(Recipient(client: "203.0.113.66", recipient: "cy@example.org"), message) == [
                #"decisions_total{check="dnsbl"}"#, #"dnsbl_listings_total{list="bl.example.org"}"#,
            ])
        #expect(rig.service.ruleDecisions.readings(PolicyService.ruleDecision).map(\.value) == [1])
        #expect(rig.counted("decisions", "dnsbl") == 2 && rig.counted("list_answers", "listed") == 1)
    }
}
