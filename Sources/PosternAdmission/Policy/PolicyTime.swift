// When a request is judged. Nothing below the line reads a clock or knows the local time zone.

public import PosternMail

/// One moment, as judges need it.
public struct PolicyTime: Hashable, Sendable {
    public let now: UnixTime
    /// Minutes after midnight, local time; 0..<1440.
    public let minute: Int
    /// The local day.
    public let weekday: Weekday

    public init(now: UnixTime, minute: Int, weekday: Weekday) {
        self.now = now
        self.minute = minute
        self.weekday = weekday
    }
}
