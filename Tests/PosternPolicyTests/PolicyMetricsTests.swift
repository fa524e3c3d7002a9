// What the door measures: judgements, under the daemon's name. Repeats are not judged.

import PosternMail
import TestSupport
import Testing

@testable import PosternPolicy

@Suite("the door's histograms") struct PolicyMetricsTests {
    @Test("each judgement is measured once, a repeat is not")
    func decisions() throws {
        let door = try TestDoor()
        let client = try door.client()
        for recipient in ["ann@example.org", "ann@example.org", "bo@example.org"] {
            _ = try client.ask(PolicyQuery(recipient: recipient, instance: "7.1"))
        }
        door.stop()
        for daemon in ["policy", "rate"] {
            let readings = door.server.histograms(of: daemon)
            #expect(readings.map(\.name) == [CounterName("postern_\(daemon)_decision_seconds")])
            #expect(readings.first?.buckets.reduce(0, +) == 2 && readings.first?.sum ?? 0 > 0)
        }
        #expect(door.counted("repeats") == 1)
    }
}
