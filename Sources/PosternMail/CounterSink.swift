// Where doors count. A daemon declares its counters as one enum: what can be counted, and under which label, is closed
// at compile time, so that no stranger's word ever becomes a label. Reading and showing them is the daemon's.

import Synchronization

/// The counters of one daemon: an enum whose cases are numbered from 0 (`enum DKIMCounter: Int, CounterSet`).
public protocol CounterSet: CaseIterable, Hashable, Sendable, RawRepresentable where RawValue == Int {
    var name: CounterName { get }
}

/// What a counter is called where it is shown: `postern_dkim_messages_total{verdict="signed"}`.
public struct CounterName: Hashable, Sendable, CustomStringConvertible {
    /// Counters end in `_total`; what goes up and down does not.
    public let metric: String
    /// One of a closed set of values; `nil` where the metric is a single number.
    public let label: Label?

    public struct Label: Hashable, Sendable {
        public let key: String
        public let value: String
    }

    public init(_ metric: String) { (self.metric, label) = (metric, nil) }

    /// - Parameter value: one of a few that the program knows, never a stranger's text.
    public init(_ metric: String, _ key: String, _ value: String) {
        self.metric = metric
        label = Label(key: key, value: value)
    }

    public var description: String { label.map { "\(metric){\($0.key)=\"\($0.value)\"}" } ?? metric }
}

/// What a counter stood at.
public struct CounterReading: Hashable, Sendable {
    public let name: CounterName
    public let value: UInt64

    public init(_ name: CounterName, _ value: UInt64) {
        self.name = name
        self.value = value
    }
}

/// Counts from any thread, and makes none of them wait.
public final class CounterSink<Counter: CounterSet>: Sendable {
    /// Atomic, since a lock that many threads want is dear (a door's throughput fell to a quarter).
    private let values: InlineArray<64, Atomic<UInt64>>
    /// More counters than a daemon has.
    private static var maxCounters: Int { 64 }

    public init() {
        let cases = Counter.allCases
        precondition(cases.map(\.rawValue) == Array(0..<cases.count), "a counter's raw value is its place")
        precondition(cases.count <= Self.maxCounters, "there is room for every counter")
        values = InlineArray { _ in Atomic(0) }
    }

    public func count(_ counter: Counter, by amount: Int = 1) {
        values[counter.rawValue].wrappingAdd(UInt64(clamping: amount), ordering: .relaxed)
    }

    public subscript(_ counter: Counter) -> UInt64 { values[counter.rawValue].load(ordering: .relaxed) }

    /// All counters, in the order of their declaration; those at 0 too. What is counted meanwhile may be in it or not.
    public var readings: [CounterReading] { Counter.allCases.map { CounterReading($0.name, self[$0]) } }
}
