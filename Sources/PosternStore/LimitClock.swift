// A clock for limits that nobody sets: the wall clock when it was made, and what has passed since, sleep of the machine
// included. Source: clock_gettime(2), CLOCK_BOOTTIME.

import Glibc
public import PosternMail

public struct LimitClock: Sendable {
    private let start: UnixTime
    private let booted: Int64

    public init(wall: UnixTime) {
        start = wall
        booted = Self.sinceBoot()
    }

    public func now() -> UnixTime { start + .nanoseconds(Self.sinceBoot() - booted) }

    private static func sinceBoot() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)  // cannot fail: Linux has it since 2.6.39
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
