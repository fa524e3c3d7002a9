// When a line was written: RFC 3339 as rsyslog and journalctl write it, or the traditional form without year and zone
// (RFC 3164 §4.1.2), whose year follows from the file's last change: no line is younger than that. Local time is the
// system's; it is asked once an hour of log, since asking costs more than all the rest of a line.

internal import Glibc
internal import PosternMail

struct LogClock {
    /// Seconds since 1970 of an hour of local time.
    typealias LocalTime = (_ year: Int, _ month: Int, _ day: Int, _ hour: Int) -> Int64

    /// When the last line was written, at the latest.
    let newest: UnixTime
    private let local: LocalTime
    /// The hour that was asked last.
    private var known: (month: Int, day: Int, hour: Int, seconds: Int64)?

    /// Clocks of machines and file systems differ.
    static let tolerance = Duration.seconds(86_400)

    init(newest: UnixTime, local: @escaping LocalTime = Self.ofThisSystem) {
        self.newest = newest
        self.local = local
    }

    /// Source: mktime(3).
    static func ofThisSystem(_ year: Int, _ month: Int, _ day: Int, _ hour: Int) -> Int64 {
        var fields = tm()
        fields.tm_year = Int32(clamping: year - 1900)
        fields.tm_mon = Int32(clamping: month - 1)
        fields.tm_mday = Int32(clamping: day)
        fields.tm_hour = Int32(clamping: hour)
        fields.tm_isdst = -1
        return Int64(mktime(&fields))
    }

    /// The time that a line begins with.
    mutating func time(of stamp: LogStamp) -> UnixTime? {
        switch stamp {
        case .absolute(let time): return time
        case .none: return nil
        case .yearless(let month, let day, let hour, let rest):
            if let known, known.month == month, known.day == day, known.hour == hour {
                return UnixTime(seconds: known.seconds + Int64(rest))
            }
            let seconds = hourOfLastYear(month, day, hour)
            known = (month, day, hour, seconds)
            return UnixTime(seconds: seconds + Int64(rest))
        }
    }

    /// Of the years that fit, the last one.
    private func hourOfLastYear(_ month: Int, _ day: Int, _ hour: Int) -> Int64 {
        let year = CivilDate(day: newest.seconds.dividedDown(by: 86_400)).year
        let latest = (newest + Self.tolerance).seconds
        // The new year may have begun there already; 29 February is in every fourth year, or eighth (1896, 1904).
        for year in stride(from: year + 1, through: year - 8, by: -1) {
            if month == 2, day == 29, !CivilDate.isLeap(year) { continue }
            let seconds = local(year, month, day, hour)
            if seconds <= latest { return seconds }
        }
        return latest
    }
}

/// What stands at the head of a line.
enum LogStamp: Equatable {
    case absolute(UnixTime)
    /// Local time; `rest` are the seconds in the hour.
    case yearless(month: Int, day: Int, hour: Int, rest: Int)
    /// The line has none.
    case none

    /// Takes the timestamp and the space behind it from the front of a line; what is none stays.
    init(taking line: inout ArraySlice<UInt8>) {
        self = .none
        guard let first = line.first else { return }
        var rest = line
        if first.isASCIIDigit, let time = Self.rfc3339(&rest) {
            self = .absolute(time)
        } else if first.isASCIILetter, let stamp = Self.traditional(&rest) {
            self = stamp
        } else {
            return
        }
        guard rest.take(" ") else {
            self = .none
            return
        }
        line = rest
    }

    /// `2026-11-21T01:52:23.004123+01:00`; journalctl writes no colon in the zone.
    /// - Source: RFC 3339 §5.6.
    static func rfc3339(_ rest: inout ArraySlice<UInt8>) -> UnixTime? {
        guard let year = rest.takeNumber(digits: 4), rest.take("-"), let month = rest.takeNumber(digits: 2),
            rest.take("-"), let day = rest.takeNumber(digits: 2), (1...12).contains(month), (1...31).contains(day),
            rest.take("T") || rest.take(" "), let time = clockTime(&rest)
        else { return nil }
        var nanoseconds = 0
        if rest.take(".") || rest.take(",") {
            var scale = 100_000_000
            while let digit = rest.first, digit.isASCIIDigit {
                nanoseconds += Int(digit & 15) * scale
                scale /= 10
                rest = rest.dropFirst()
            }
        }
        guard let zone = zone(&rest) else { return nil }
        let days = CivilDate(year: year, month: month, day: day).dayNumber
        let seconds = days * 86_400 + Int64(time - zone)
        return UnixTime(seconds: seconds) + .nanoseconds(nanoseconds)
    }

    /// Seconds east of Greenwich.
    private static func zone(_ rest: inout ArraySlice<UInt8>) -> Int? {
        if rest.take("Z") || rest.take("z") { return 0 }
        let isWest = rest.take("-")
        guard isWest || rest.take("+"), rest.count >= 4, let hours = number(rest.prefix(2)) else { return nil }
        rest = rest.dropFirst(2)
        _ = rest.take(":")
        guard rest.count >= 2, let minutes = number(rest.prefix(2)) else { return nil }
        rest = rest.dropFirst(2)
        return (hours * 3600 + minutes * 60) * (isWest ? -1 : 1)
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
        var digits = digits
        let number = digits.takeNumber(digits: 2)
        return digits.isEmpty ? number : nil
    }

    /// Seconds since midnight.
    private static func clockTime(_ rest: inout ArraySlice<UInt8>) -> Int? {
        guard let hour = rest.takeNumber(digits: 2), rest.take(":"), let minute = rest.takeNumber(digits: 2),
            rest.take(":"), let second = rest.takeNumber(digits: 2), hour < 24, minute < 60, second < 61
        else { return nil }
        return hour * 3600 + minute * 60 + second
    }

    /// `Nov  1 02:03:04`. Source: RFC 3164 §4.1.2.
    private static func traditional(_ rest: inout ArraySlice<UInt8>) -> LogStamp? {
        guard let month = month(rest.prefix(3)) else { return nil }
        rest = rest.dropFirst(3)
        guard rest.take(" ") else { return nil }
        _ = rest.take(" ")
        guard let day = rest.takeNumber(digits: 2), (1...31).contains(day), rest.take(" "), let time = clockTime(&rest)
        else { return nil }
        return .yearless(month: month, day: day, hour: time / 3600, rest: time % 3600)
    }

    private static func month(_ name: ArraySlice<UInt8>) -> Int? {
        switch name.reduce(UInt32(0), { $0 << 8 | UInt32($1) }) {
        case 0x4A61_6E: 1
        case 0x4665_62: 2
        case 0x4D61_72: 3
        case 0x4170_72: 4
        case 0x4D61_79: 5
        case 0x4A75_6E: 6
        case 0x4A75_6C: 7
        case 0x4175_67: 8
        case 0x5365_70: 9
        case 0x4F63_74: 10
        case 0x4E6F_76: 11
        case 0x4465_63: 12
        default: nil
        }
    }
}

/// A day of the Gregorian calendar.
struct CivilDate: Equatable {
    var year: Int
    var month: Int
    var day: Int

    init(year: Int, month: Int, day: Int) { (self.year, self.month, self.day) = (year, month, day) }

    static func isLeap(_ year: Int) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

    /// Days since 1970-01-01. A year that begins in March ends with its leap day: months have 153 days in five then.
    var dayNumber: Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return Int64(era * 146_097 + dayOfEra - 719_468)
    }

    /// - Parameter day: days since 1970-01-01.
    init(day number: Int64) {
        let shifted = Int(number) + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthIndex = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * monthIndex + 2) / 5 + 1
        month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }
}

extension Int64 {
    /// The quotient rounded down, for times before 1970 too.
    func dividedDown(by divisor: Int64) -> Int64 {
        let quotient = self / divisor
        return self % divisor < 0 ? quotient - 1 : quotient
    }
}

/// A time as reports write it: local, with the zone told once and not on every line.
struct LogTimeText {
    /// Seconds east of Greenwich.
    let offset: Int64

    /// The zone that this system is in at that time. Source: localtime_r(3).
    static func ofThisSystem(at time: UnixTime) -> LogTimeText {
        var seconds = time_t(time.seconds)
        var fields = tm()
        localtime_r(&seconds, &fields)
        return LogTimeText(offset: Int64(fields.tm_gmtoff))
    }

    private func two(_ number: some BinaryInteger) -> String { number < 10 ? "0\(number)" : "\(number)" }

    /// `2026-11-21`.
    func day(_ time: UnixTime) -> String {
        let date = CivilDate(day: (time.seconds + offset).dividedDown(by: 86_400))
        return "\(date.year)-\(two(date.month))-\(two(date.day))"
    }

    /// `01:52:23`.
    func clock(_ time: UnixTime) -> String {
        let seconds = time.seconds + offset
        let second = seconds - seconds.dividedDown(by: 86_400) * 86_400
        return "\(two(second / 3600)):\(two(second / 60 % 60)):\(two(second % 60))"
    }

    /// `2026-11-21 01:52:23`.
    func minute(_ time: UnixTime) -> String { "\(day(time)) \(clock(time).prefix(5))" }
    func second(_ time: UnixTime) -> String { "\(day(time)) \(clock(time))" }

    /// `2026-11-21T01:52:23+01:00`. Source: RFC 3339 §5.6.
    func rfc3339(_ time: UnixTime) -> String { "\(day(time))T\(clock(time))\(zone)" }

    /// `+01:00`; `Z` at Greenwich.
    var zone: String {
        guard offset != 0 else { return "Z" }
        let minutes = abs(offset) / 60
        return "\(offset < 0 ? "-" : "+")\(two(minutes / 60)):\(two(minutes % 60))"
    }
}
