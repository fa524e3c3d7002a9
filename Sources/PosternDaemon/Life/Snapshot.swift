// The value that all sessions share until a reload puts another in its place. Whoever has read it keeps what it read:
// a session judges all of its messages by one configuration.

import Synchronization

public final class Snapshot<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    public init(_ value: Value) { self.value = Mutex(value) }

    /// What new sessions begin with.
    public var current: Value { value.withLock { $0 } }

    public func replace(by value: Value) { self.value.withLock { $0 = value } }
}
