// The local time of day and day of the week, which rules may ask for. The zone is the machine's; a change of it is
// noticed at a reload.

import Glibc
public import PosternAdmission
public import PosternMail

extension PolicyTime {
    /// Source: localtime_r(3), which reads no file once the zone is known.
    public static func local(_ now: UnixTime) -> PolicyTime {
        var seconds = time_t(now.seconds)
        var parts = tm()
        // Fails only for years beyond an Int32: then it is UTC's midnight, for want of anything better.
        guard localtime_r(&seconds, &parts) != nil else { return PolicyTime(now: now, minute: 0, weekday: .mon) }
        let days = Weekday.allCases  // from Monday; tm_wday counts from Sunday
        let weekday = days.dropFirst((Int(parts.tm_wday) + days.count - 1) % days.count).first ?? .mon
        return PolicyTime(now: now, minute: Int(parts.tm_hour) * 60 + Int(parts.tm_min), weekday: weekday)
    }

    /// Looks again what zone the machine is in. Source: tzset(3).
    public static func refreshZone() { tzset() }
}
