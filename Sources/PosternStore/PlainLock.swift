// A lock for what is done in a microsecond by many threads. Not Synchronization's Mutex: that hands the lock to whoever
// waits longest, through the kernel, and threads that meet at it often were measured to take several times the
// processor's time of the work itself. Where fairness matters more, as at a file, the Mutex is right.
// Source: pthread_mutex_lock(3).

import Glibc

final class PlainLock<Value>: @unchecked Sendable {
    // Unchecked: the value is touched under the mutex only; the pointers are immutable and own what they point to.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let value = UnsafeMutablePointer<Value>.allocate(capacity: 1)

    init(_ value: sending Value) {
        pthread_mutex_init(mutex, nil)  // cannot fail on Linux: nothing is allocated
        self.value.initialize(to: value)
    }

    deinit {
        value.deinitialize(count: 1)
        value.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    func withLock<Result, Failure: Error>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&value.pointee)
    }
}
