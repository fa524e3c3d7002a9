// What one message or request counts. It is collected while the message is judged, counted once at the door, and told in
// the outcome's JSON line: so a line and the metrics cannot say different things.

public struct Tally<Counter: CounterSet>: Hashable, Sendable {
    private struct Entry: Hashable, Sendable {
        let counter: Counter
        var amount: Int
    }
    /// A message counts a handful.
    private var entries: [Entry] = []

    public init() {}

    public mutating func count(_ counter: Counter, by amount: Int = 1) {
        guard amount > 0 else { return }
        for index in entries.indices where entries[index].counter == counter {
            entries[index].amount += amount
            return
        }
        entries.append(Entry(counter: counter, amount: amount))
    }

    /// In the order in which they were first counted.
    public var readings: [CounterReading] {
        entries.map { CounterReading($0.counter.name, UInt64(clamping: $0.amount)) }
    }

    fileprivate func forEach(_ body: (Counter, Int) -> Void) {
        for entry in entries { body(entry.counter, entry.amount) }
    }
}

extension CounterSink {
    /// Counts all of it.
    public func count(_ tally: Tally<Counter>) { tally.forEach { count($0, by: $1) } }
}
