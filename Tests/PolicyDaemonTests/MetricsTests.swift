// postern-policy's metrics and the declarations of them are the same; the door's are tested with it.

import PosternDaemon
import PosternMail
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
}
