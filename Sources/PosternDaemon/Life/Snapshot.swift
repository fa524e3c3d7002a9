// The value that all sessions share until a reload puts another in its place. Whoever has read it keeps what it read:
// a session judges all of its messages by one configuration.

import Glibc

public final class Snapshot<Value: Sendable>: @unchecked Sendable {
    // Unchecked: `box` is touched under the mutex only, and the pointer is immutable and owns what it points to.
    //
    // Not Synchronization's Mutex: that hands the lock to whoever waits longest, through the kernel. With a policy service
    // of many parts copied under it, eight connections spent 40 % of their time there.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var box: Box

    private final class Box: Sendable {
        let value: Value
        init(_ value: Value) { self.value = value }
    }

    public init(_ value: Value) {
        pthread_mutex_init(mutex, nil)  // cannot fail on Linux: nothing is allocated
        box = Box(value)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// What new sessions begin with.
    public var current: Value {
        pthread_mutex_lock(mutex)
        let box = box
        pthread_mutex_unlock(mutex)
        return box.value
    }

    public func replace(by value: Value) {
        let new = Box(value)
        pthread_mutex_lock(mutex)
        let old = box
        box = new
        pthread_mutex_unlock(mutex)
        withExtendedLifetime(old) {}  // what goes with it goes without the lock
    }
}
