// The moment until which one call to a shared store may take, all that belongs to it together: connecting, TLS, logging
// in, and the command. Source: clock_gettime(2), CLOCK_MONOTONIC: nobody sets it.

internal import Glibc

struct StoreDeadline: Comparable {
    /// Of the monotonic clock.
    let nanoseconds: Int64

    init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    static func now() -> StoreDeadline {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)  // cannot fail: the clock is known and the pointer valid
        return StoreDeadline(nanoseconds: Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec))
    }

    static func after(_ duration: Duration) -> StoreDeadline {
        let (seconds, attoseconds) = duration.components
        let amount = Int64(clamping: seconds).multipliedReportingOverflow(by: 1_000_000_000).partialValue
        return StoreDeadline(nanoseconds: now().nanoseconds &+ amount &+ attoseconds / 1_000_000_000)
    }

    static func < (left: StoreDeadline, right: StoreDeadline) -> Bool { left.nanoseconds < right.nanoseconds }

    /// What is left; not negative.
    var remaining: Int64 { max(0, nanoseconds &- Self.now().nanoseconds) }

    /// What is left, as poll(2) takes it: rounded up, so that nobody wakes too early.
    var pollMilliseconds: Int32 { Int32(clamping: (remaining &+ 999_999) / 1_000_000) }

    /// As pthread_cond_timedwait(3) takes the moment itself.
    var moment: timespec {
        timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    }
}
