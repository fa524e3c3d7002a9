// A lock for what many threads do in a microsecond. Not Synchronization's Mutex: that hands the lock to whoever waits
// longest, through the kernel, so that 50 threads which want it were measured at a tenth of one thread's speed. Not for
// what takes longer: nobody's turn is kept. Source: pthread_mutexattr_settype(3), glibc's PTHREAD_MUTEX_ADAPTIVE_NP.

import Glibc

public final class ShortLock<Value>: @unchecked Sendable {
    // Unchecked: the value is touched under the mutex only, and the pointers are immutable and own what they point to.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let value = UnsafeMutablePointer<Value>.allocate(capacity: 1)

    public init(_ value: sending Value) {
        self.value.initialize(to: value)
        var attributes = pthread_mutexattr_t()
        pthread_mutexattr_init(&attributes)
        // Waits a moment before it goes to sleep: who has the lock is most often about to let it go.
        pthread_mutexattr_settype(&attributes, Int32(PTHREAD_MUTEX_ADAPTIVE_NP))
        pthread_mutex_init(mutex, &attributes)  // cannot fail on Linux: nothing is allocated
        pthread_mutexattr_destroy(&attributes)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
        value.deinitialize(count: 1)
        value.deallocate()
    }

    /// - Parameter body: short; it must not ask for the same lock.
    public func withLock<Result: Sendable>(_ body: (inout Value) -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body(&value.pointee)
    }
}
