import Foundation
import Testing

@testable import PosternMail

@Suite("histograms")
struct HistogramSinkTests {
    enum Wait: Int, HistogramSet {
        case short, long
        var name: CounterName { CounterName("wait_seconds", "kind", "\(self)") }
    }

    @Test("a bound belongs to the bucket that it ends; what is longer than all is in the last")
    func bounds() {
        let bounds = HistogramBounds.microseconds
        #expect(bounds == bounds.sorted() && Set(bounds).count == bounds.count)
        for (place, bound) in bounds.enumerated() {
            #expect(HistogramBounds.bucket(ofNanoseconds: bound * 1000) == place)
            #expect(HistogramBounds.bucket(ofNanoseconds: bound * 1000 + 1) == place + 1)
        }
        #expect(HistogramBounds.bucket(ofNanoseconds: 0) == 0)
        #expect(HistogramBounds.bucket(ofNanoseconds: .max) == bounds.count)
    }

    @Test("times and their sum; one that is negative counts as none")
    func observe() {
        let sink = HistogramSink<Wait>()
        sink.observe(.short, .microseconds(7))
        sink.observe(.short, nanoseconds: 1500)
        sink.observe(.short, .seconds(-3))
        sink.observe(.long, .seconds(100))
        let readings = sink.readings
        #expect(readings.map(\.name) == [Wait.short.name, Wait.long.name])
        #expect(readings.map { $0.buckets.reduce(0, +) } == [3, 1])
        #expect(readings.map(\.sum) == [8500, 100_000_000_000])
        #expect(readings.first?.buckets.first == 3 && readings.last?.buckets.last == 1)
    }

    @Test("one thread's histogram counts the same")
    func counts() {
        let sink = HistogramSink<Wait>()
        var counts = HistogramCounts()
        var time: Int64 = 1
        while time < 100_000_000_000 {
            sink.observe(.short, nanoseconds: time)
            counts.observe(.nanoseconds(time))
            time = time * 3 / 2 + 1
        }
        #expect(counts.reading(Wait.short.name) == sink.readings.first)
    }

    @Test("no time is lost between threads")
    func threads() {
        let sink = HistogramSink<Wait>()
        let all = DispatchGroup()
        for _ in 0..<8 {
            all.enter()
            Thread.detachNewThread {
                for _ in 0..<1000 { sink.observe(.long, nanoseconds: 10_000) }
                all.leave()
            }
        }
        all.wait()
        #expect(
            sink.readings.last
                == HistogramReading(
                    Wait.long.name, buckets: [8000] + [UInt64](repeating: 0, count: 18), sum: 80_000_000))
    }
}
