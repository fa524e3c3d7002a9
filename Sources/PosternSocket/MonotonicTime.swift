// The clock that deadlines are made of. It never goes back and does not know what day it is (that is UnixTime).

import Glibc
import PosternMail

/// A point on the machine's monotonic clock. Source: clock_gettime(2), CLOCK_MONOTONIC.
public struct MonotonicTime: Hashable, Comparable, Sendable {
    /// Nanoseconds since some moment before the process began.
    public let nanoseconds: Int64

    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// A deadline that never comes.
    public static let never = MonotonicTime(nanoseconds: .max)

    public static func now() -> MonotonicTime {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)  // cannot fail: the clock is known and the pointer valid
        return MonotonicTime(nanoseconds: Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec))
    }

    /// The moment `duration` from now; `never` where it does not fit.
    public static func after(_ duration: Duration) -> MonotonicTime { now() + duration }

    public static func < (left: MonotonicTime, right: MonotonicTime) -> Bool { left.nanoseconds < right.nanoseconds }

    /// The time `duration` later; clamped, so that a huge budget is `never`.
    public static func + (time: MonotonicTime, duration: Duration) -> MonotonicTime {
        let (sum, overflow) = time.nanoseconds.addingReportingOverflow(duration.nanoseconds)
        return MonotonicTime(nanoseconds: overflow ? (duration < .zero ? .min : .max) : sum)
    }

    /// How much later `left` is than `right`.
    public static func - (left: MonotonicTime, right: MonotonicTime) -> Duration {
        let (difference, overflow) = left.nanoseconds.subtractingReportingOverflow(right.nanoseconds)
        return .nanoseconds(overflow ? (left < right ? .min : .max) : difference)
    }

    /// Whether the moment has come.
    public var isPast: Bool { self != .never && MonotonicTime.now() >= self }

    /// What is left until this moment, never negative.
    public var remaining: Duration { max(.zero, self - MonotonicTime.now()) }

    /// What is left, as poll(2) wants it: milliseconds, rounded up so that nobody wakes too early; -1 for `never`.
    var pollMilliseconds: Int32 {
        guard self != .never else { return -1 }
        let milliseconds = (remaining.nanoseconds &+ 999_999) / 1_000_000
        return Int32(clamping: max(0, milliseconds))
    }
}
