// Where doors count how long things take: how many of them were within each of a few bounds, which are the same for all
// histograms, and the sum. What can be measured, and under which label, is closed at compile time as it is for counters.
// No quantiles: whoever reads the buckets computes those, over as many hosts as it likes.

import Synchronization

/// The histograms of one daemon: an enum whose cases are numbered from 0 (`enum DKIMHistogram: Int, HistogramSet`).
public protocol HistogramSet: CaseIterable, Hashable, Sendable, RawRepresentable where RawValue == Int {
    /// Ends in `_seconds`.
    var name: CounterName { get }
}

/// The bounds of all histograms: from what a limit's decision takes (some 20 us) to the longest time that a message may
/// wait for its verdict (20 s, DESIGN §2).
public enum HistogramBounds {
    /// In microseconds, rising; what is longer than the last is in a bucket of its own.
    public static let microseconds: [UInt64] = [
        50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
        5_000_000, 10_000_000, 20_000_000,
    ]

    /// Which bucket a time is in; a bound belongs to the bucket that it ends.
    @inline(__always)
    static func bucket(ofNanoseconds nanoseconds: UInt64) -> Int {
        let time = nanoseconds / 1000 + (nanoseconds % 1000 == 0 ? 0 : 1)
        // Written out, since a look at an array costs more than all of these comparisons; most times are short.
        if time <= 1000 { return time <= 50 ? 0 : time <= 100 ? 1 : time <= 250 ? 2 : time <= 500 ? 3 : 4 }
        if time <= 50_000 { return time <= 2500 ? 5 : time <= 5000 ? 6 : time <= 10_000 ? 7 : time <= 25_000 ? 8 : 9 }
        if time <= 1_000_000 { return time <= 100_000 ? 10 : time <= 250_000 ? 11 : time <= 500_000 ? 12 : 13 }
        return time <= 2_500_000
            ? 14 : time <= 5_000_000 ? 15 : time <= 10_000_000 ? 16 : time <= 20_000_000 ? 17 : 18
    }
}

/// What a histogram stood at.
public struct HistogramReading: Hashable, Sendable {
    public let name: CounterName
    /// One for each of `HistogramBounds`, and one for what is longer; not summed up.
    public let buckets: [UInt64]
    /// Of all times, in nanoseconds.
    public let sum: UInt64

    public init(_ name: CounterName, buckets: [UInt64], sum: UInt64) {
        self.name = name
        self.buckets = buckets
        self.sum = sum
    }
}

/// Measures from any thread, and makes none of them wait: two additions a time.
public final class HistogramSink<Histogram: HistogramSet>: Sendable {
    /// For each histogram its buckets and its sum, in one piece: an array's count of references would cost more than
    /// what is done here.
    private let cells: InlineArray<160, Atomic<UInt64>>
    /// Of one histogram: the buckets, and the sum in the last.
    private static var stride: Int { 20 }
    /// More than a daemon has.
    private static var maxHistograms: Int { 8 }

    public init() {
        let cases = Histogram.allCases
        precondition(cases.map(\.rawValue) == Array(0..<cases.count), "a histogram's raw value is its place")
        precondition(cases.count <= Self.maxHistograms, "there is room for every histogram")
        precondition(HistogramBounds.microseconds.count + 2 == Self.stride, "and for every bucket")
        cells = InlineArray { _ in Atomic(0) }
    }

    /// - Parameter time: a negative one, of a clock that went back, counts as none.
    public func observe(_ histogram: Histogram, _ time: Duration) { observe(histogram, nanoseconds: time.nanoseconds) }

    public func observe(_ histogram: Histogram, nanoseconds: Int64) {
        let time = UInt64(clamping: nanoseconds)
        let first = histogram.rawValue * Self.stride
        cells[first + HistogramBounds.bucket(ofNanoseconds: time)].wrappingAdd(1, ordering: .relaxed)
        cells[first + Self.stride - 1].wrappingAdd(time, ordering: .relaxed)
    }

    /// All histograms, in the order of their declaration. What is measured meanwhile may be in it or not, and in the sum
    /// before it is in a bucket.
    public var readings: [HistogramReading] {
        Histogram.allCases.map { histogram in
            let first = histogram.rawValue * Self.stride
            let last = first + Self.stride - 1
            return HistogramReading(
                histogram.name, buckets: (first..<last).map { cells[$0].load(ordering: .relaxed) },
                sum: cells[last].load(ordering: .relaxed))
        }
    }
}

/// One histogram that is used by one thread alone, such as an event loop.
public struct HistogramCounts: Hashable, Sendable {
    private var buckets = [UInt64](repeating: 0, count: HistogramBounds.microseconds.count + 1)
    private var sum: UInt64 = 0

    public init() {}

    public mutating func observe(_ time: Duration) {
        let nanoseconds = UInt64(clamping: time.nanoseconds)
        buckets[HistogramBounds.bucket(ofNanoseconds: nanoseconds)] &+= 1
        sum &+= nanoseconds
    }

    public func reading(_ name: CounterName) -> HistogramReading {
        HistogramReading(name, buckets: buckets, sum: sum)
    }
}
