// Counts by names of the configuration, such as a limit's: known when the daemon runs and not when it is built. Never by a
// stranger's word.

public final class NamedCounts: Sendable {
    private let counts = ShortLock<[String: UInt64]>([:])

    /// Most names that are counted, those of older configurations too; a configuration has a few dozen.
    public static let maxNames = 1024

    public init() {}

    /// Names that are to be told also while they count nothing: those of the configuration.
    public func prepare(_ names: [String]) {
        counts.withLock { counts in
            for name in names where counts.count < Self.maxNames { counts[name, default: 0] &+= 0 }
        }
    }

    public func count(_ name: String) {
        counts.withLock { counts in
            guard counts[name] != nil || counts.count < Self.maxNames else { return }
            counts[name, default: 0] &+= 1
        }
    }

    /// By name, in its order.
    /// - Parameter name: the counter of a name.
    public func readings(_ name: (String) -> CounterName) -> [CounterReading] {
        counts.withLock { $0 }.sorted { $0.key < $1.key }.map { CounterReading(name($0.key), $0.value) }
    }
}
