// The one place that reads the wall clock; everything below the line takes `now` as a parameter.

import Glibc
public import PosternMail

public enum WallClock {
    /// Source: clock_gettime(2), CLOCK_REALTIME.
    public static func now() -> UnixTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UnixTime(seconds: Int64(time.tv_sec)) + .nanoseconds(Int64(time.tv_nsec))
    }
}
