// postern-rate's metrics and the declarations of them are the same; the door's are tested with it.

import PosternAdmission
import PosternDaemon
import PosternMail
import PosternPolicy
import Testing

@testable import postern_rate

@Suite("postern-rate's metrics") struct RateMetricsTests {
    @Test("each counter is declared")
    func declared() {
        let told = LimitCounter.allCases.map(\.name) + LedgerReadings.of(LimitMemory()).map(\.name)
        let declared = MetricFamily.names(of: "postern-rate", [.counter, .gauge])
        #expect(Set(told).count == told.count && declared.isSuperset(of: told))
    }

    @Test("whatever is counted of a request stands in its JSON line, the limits' names too; each is declared")
    func inLog() throws {
        for counter in LimitCounter.allCases where counter != .followerDropped {
            #expect(MetricFamily.all.contains { $0.name == counter.name.metric && $0.inLog != nil }, "\(counter)")
        }
        let rig = try RateRig(
            """
            [[limit]]
            name = "per account"
            per = ["sasl_username"]
            count = "recipients"
            allow = ["1/1h"]
            action = "defer 4.7.1 Slow down"
            """)
        #expect(rig.rcpt(1).remark == nil)
        let counted = try #require(rig.rcpt(2).remark).counted
        #expect(
            counted.map { $0.name.description.replacing("postern_rate_", with: "") } == [
                #"over_total{mode="live"}"#, #"events_total{kind="over"}"#, #"limit_over_total{limit="per account"}"#,
            ])
        #expect(rig.service.limitsOver.readings(LimitVerdict.limitOver).map(\.value) == [1])
        let names = Set(counted.map(\.name.metric))
        #expect(names.isSubset(of: MetricFamily.all.filter { $0.inLog != nil }.map(\.name)))
    }
}
