// postern-rate's metrics and the declarations of them are the same; the door's are tested with it.

import PosternAdmission
import PosternDaemon
import PosternMail
import Testing

@testable import postern_rate

@Suite("postern-rate's metrics") struct RateMetricsTests {
    @Test("each counter is declared")
    func declared() {
        let told = LimitCounter.allCases.map(\.name) + LedgerReadings.of(LimitMemory()).map(\.name)
        let declared = MetricFamily.names(of: "postern-rate", [.counter, .gauge])
        #expect(Set(told).count == told.count && declared.isSuperset(of: told))
    }
}
