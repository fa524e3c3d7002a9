// Wakes one waiting thread, at once or after a time. Source: pthread_cond_init(3), with the clock that nobody sets.

import Glibc

/// Raised by any thread, waited for by one. A raise that comes before the wait is not lost; several count once.
final class Signal: @unchecked Sendable {
    // Unchecked: the pointers are immutable, own what they point to, and `isRaised` is used under the mutex.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var isRaised = false

    init() {
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_mutex_init(mutex, nil)  // these cannot fail on Linux: nothing is allocated
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func raise() {
        pthread_mutex_lock(mutex)
        isRaised = true
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    /// Waits until it is raised, which it then is no more.
    /// - Parameter timeout: nil for ever.
    func wait(atMost timeout: Duration?) {
        var deadline = timespec()
        if let timeout {
            clock_gettime(CLOCK_MONOTONIC, &deadline)
            let nanoseconds = Int64(deadline.tv_nsec) + max(0, timeout.components.attoseconds / 1_000_000_000)
            deadline.tv_sec += Int(clamping: max(0, timeout.components.seconds)) + Int(nanoseconds / 1_000_000_000)
            deadline.tv_nsec = Int(nanoseconds % 1_000_000_000)
        }
        pthread_mutex_lock(mutex)
        while !isRaised {
            guard timeout != nil else {
                pthread_cond_wait(condition, mutex)
                continue
            }
            if pthread_cond_timedwait(condition, mutex, &deadline) == ETIMEDOUT { break }
        }
        isRaised = false
        pthread_mutex_unlock(mutex)
    }
}
