// postern-dmarc's metrics and the declarations of them are the same.

import PosternDaemon
import PosternMail
import Testing

@testable import postern_dmarc

@Suite("postern-dmarc's metrics") struct DMARCMetricsTests {
    @Test("each counter and histogram is declared, and nothing else but those of facts")
    func declared() {
        let told = Set(DMARCCounter.allCases.map(\.name) + DMARCHistogram.allCases.map(\.name))
        let declared = MetricFamily.names(of: "postern-dmarc", [.counter, .histogram])
        #expect(told == declared.filter { $0.metric != "postern_dmarc_facts_total" })
    }

    @Test("whatever is counted of a message stands in its JSON line")
    func inLog() {
        for counter in DMARCCounter.allCases {
            #expect(MetricFamily.all.contains { $0.name == counter.name.metric && $0.inLog != nil }, "\(counter)")
        }
    }
}
