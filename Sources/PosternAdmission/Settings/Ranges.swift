// Ranges as conditions name them: of numbers, of times of day, of days of the week.

/// Numbers from `least` to `most`, both counted in; nil for no bound.
public struct NumberRange: Hashable, Sendable {
    public let least: Int?
    public let most: Int?

    public init(least: Int? = nil, most: Int? = nil) {
        self.least = least
        self.most = most
    }

    public func contains(_ number: Int) -> Bool { least ?? number <= number && number <= most ?? number }
}

/// A part of the day in minutes after midnight, local time; it ends before `end`. One whose end is not after its start
/// goes on past midnight.
public struct TimeOfDayRange: Hashable, Sendable {
    public let start: Int
    public let end: Int

    public init(start: Int, end: Int) {
        self.start = start
        self.end = end
    }

    /// - Parameter minute: 0..<1440.
    public func contains(minute: Int) -> Bool {
        start < end ? (start..<end).contains(minute) : minute >= start || minute < end
    }
}

/// A day of the week. Source: ISO 8601, Monday first.
public enum Weekday: String, Hashable, Sendable, CaseIterable {
    case mon, tue, wed, thu, fri, sat, sun
}

/// Days from one to another; one whose last is before its first goes on past Sunday.
public struct WeekdayRange: Hashable, Sendable {
    public let first: Weekday
    public let last: Weekday

    public init(first: Weekday, last: Weekday) {
        self.first = first
        self.last = last
    }

    public var days: Set<Weekday> {
        let all = Weekday.allCases
        guard let from = all.firstIndex(of: first), let to = all.firstIndex(of: last) else { return [] }
        return Set(from <= to ? Array(all[from...to]) : Array(all[from...]) + Array(all[...to]))
    }
}
