// postern-dkim's metrics and the declarations of them are the same.

import PosternDaemon
import PosternMail
import Testing

@testable import postern_dkim

@Suite("postern-dkim's metrics") struct DKIMMetricsTests {
    @Test("each counter and histogram is declared, and nothing else but gauges")
    func declared() {
        let told = Set(DKIMCounter.allCases.map(\.name) + DKIMHistogram.allCases.map(\.name))
        #expect(told == MetricFamily.names(of: "postern-dkim", [.counter, .histogram]))
    }

    @Test("whatever is counted of a message stands in its JSON line")
    func inLog() {
        for counter in DKIMCounter.allCases {
            #expect(MetricFamily.all.contains { $0.name == counter.name.metric && $0.inLog != nil }, "\(counter)")
        }
    }
}
