// Which archives are kept: of each of the last so many days that have one the newest, and likewise of weeks and months,
// in this host's local time; as restic and borg do it. The newest of all is among them, whatever the numbers are.

internal import Glibc
internal import PosternMail

struct PruneRule: Hashable, Sendable {
    var daily: Int
    var weekly: Int
    var monthly: Int

    /// Why an archive is kept.
    enum Reason: String, Hashable, Sendable, CaseIterable {
        case daily, weekly, monthly
    }

    /// - Parameter times: of archives, newest first.
    /// - Returns: why each is kept; nothing for one that may go.
    func reasons(_ times: [UnixTime]) -> [Set<Reason>] {
        var kept = times.map { _ in Set<Reason>() }
        for (reason, count) in [(Reason.daily, daily), (.weekly, weekly), (.monthly, monthly)] {
            var last: String?
            var left = count
            for (index, time) in times.enumerated() where left > 0 {
                let period = Self.period(reason, of: time)
                guard period != last else { continue }
                last = period
                left -= 1
                kept[index].insert(reason)
            }
        }
        return kept
    }

    /// The day, week (ISO 8601: from Monday) or month in which a moment lies.
    static func period(_ reason: Reason, of time: UnixTime) -> String {
        let format =
            switch reason {
            case .daily: "%Y-%m-%d"
            case .weekly: "%G-%V"
            case .monthly: "%Y-%m"
            }
        return BackupTime.formatted(time, format, localtime_r)
    }
}
