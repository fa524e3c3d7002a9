// postern-dns's metrics and the declarations of them are the same; what only it measures.

import Foundation
import PosternDaemon
import PosternForwarder
import PosternMail
import TestSupport
import Testing

@testable import PosternDNS
@testable import postern_dns

@Suite("postern-dns's metrics") struct DNSMetricsTests {
    @Test("each is declared, and nothing else")
    func declared() throws {
        let rig = try DNSCommandsTests.Rig()
        // A question that is asked of the upstream, which refuses it.
        _ = try rig.ask("dns trace", ["name": "a.example", "type": "A"])
        let lookups = rig.server.counters.lookups.reading(CounterName("lookups"))
        #expect(lookups.buckets.reduce(0, +) == 1)
        let statistics = rig.server.statistics
        let told = rig.server.counters.readings + statistics.readings + statistics.gauges
        let names = Set(told.map { $0.name.metric.replacing("_microseconds", with: "_seconds") })
        let families = MetricFamily.all.filter { $0.daemon == "postern-dns" && $0.kind != .histogram }
        #expect(names == Set(families.map(\.name)))
        for reading in told {
            let family = families.first { $0.name == reading.name.metric.replacing("_microseconds", with: "_seconds") }
            #expect(family?.label?.key == reading.name.label?.key, "\(reading.name)")
            guard case .closed(let values)? = family?.label?.values, let value = reading.name.label?.value else {
                continue
            }
            #expect(values.contains(value), "\(reading.name)")
        }
    }

    @Test("the snapshot: whether it can be written, its size, and when it was")
    func snapshot() throws {
        let rig = try SnapshotKeeperTests.Rig()
        func told(_ keeper: SnapshotKeeper) -> [String: UInt64] {
            Dictionary(uniqueKeysWithValues: keeper.gauges.map { ($0.name.metric, $0.value) })
        }
        let keeper = try rig.keeper(now: 1_795_000_000)
        #expect(told(keeper) == ["postern_store_working": 1])
        keeper.save()
        let saved = told(keeper)
        #expect(saved["postern_store_working"] == 1 && saved["postern_store_octets"] ?? 0 > 0)
        #expect(saved["postern_store_saved_timestamp_seconds"] == 1_795_000_000)
        try FileManager.default.removeItem(atPath: rig.folder)
        keeper.save()
        #expect(
            told(keeper) == ["postern_store_working": 0, "postern_store_saved_timestamp_seconds": 1_795_000_000])
    }
}
