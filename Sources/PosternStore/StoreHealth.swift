// How a store's file is, for metrics: looked up without the store's locks, so that a disk that hangs is told too.

internal import Glibc
public import PosternMail

public struct StoreHealth: Hashable, Sendable {
    /// Whether the file can be read and written, as far as the last use of it has shown.
    public let isWorking: Bool
    /// Of the file and its companions; nil where there is none.
    public let octets: UInt64?
    /// When all that is to be kept was last on the disk; nil when it never was, or where nobody tells.
    public let saved: UnixTime?

    public init(isWorking: Bool, octets: UInt64?, saved: UnixTime? = nil) {
        self.isWorking = isWorking
        self.octets = octets
        self.saved = saved
    }

    /// Source: stat(2).
    public static func octets(of paths: [String]) -> UInt64? {
        let sizes = paths.compactMap { path -> UInt64? in
            var status = stat()
            return lstat(path, &status) == 0 ? UInt64(clamping: status.st_size) : nil
        }
        return sizes.isEmpty ? nil : sizes.reduce(0, &+)
    }

    /// - Parameter store: its name among the metrics' labels.
    public func readings(of store: String) -> [CounterReading] {
        func reading(_ metric: String, _ value: UInt64?) -> CounterReading? {
            value.map { CounterReading(CounterName("postern_store_\(metric)", "store", store), $0) }
        }
        return [
            reading("working", isWorking ? 1 : 0), reading("octets", octets),
            reading("saved_timestamp_seconds", saved.map { UInt64(clamping: $0.seconds) }),
        ].compactMap(\.self)
    }
}
