// The value that all sessions share until a reload puts another in its place. Whoever has read it keeps what it read:
// a session judges all of its messages by one configuration.

import PosternMail

public final class Snapshot<Value: Sendable>: Sendable {
    /// In a box: with a policy service of many parts copied under the lock, eight connections spent 40 % of their time
    /// there.
    private let box: ShortLock<Box>

    private final class Box: Sendable {
        let value: Value
        init(_ value: Value) { self.value = value }
    }

    public init(_ value: Value) { box = ShortLock(Box(value)) }

    /// What new sessions begin with.
    public var current: Value { box.withLock { $0 }.value }

    public func replace(by value: Value) {
        let new = Box(value)
        // What goes with the old one goes without the lock.
        _ = box.withLock { box in
            defer { box = new }
            return box
        }
    }
}
