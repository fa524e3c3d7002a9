// Ranges as conditions name them, always `FIRST..LAST`: of numbers and sizes (open where one side is empty), of times
// of day, of days of the week.

internal import PosternAdmission
internal import PosternMail

extension TextType<NumberRange> {
    /// Plain numbers: `"25"`, `"10.."`, `"..3"`, `"-5..-1"`.
    static let numbers = range(
        "a number or a range such as \"4\", \"10..\" or \"..3\"", parse: number, write: { "\($0)" }, takesIntegers: true
    )

    /// Octets: `"10MiB.."`.
    static let sizes = range(
        "a size or a range such as \"10MiB..\" or \"..64KiB\"", parse: { Quantity.octets($0) },
        write: { Quantity.size($0) }, takesIntegers: true)

    private static func number(_ text: String) -> Int? {
        let digits = text.hasPrefix("-") ? text.dropFirst() : Substring(text)
        guard (1...15).contains(digits.utf8.count), digits.utf8.allSatisfy(\.isASCIIDigit) else { return nil }
        return Int(text)
    }

    private static func range(
        _ expectation: String, parse: @escaping @Sendable (String) -> Int?, write: @escaping @Sendable (Int) -> String,
        takesIntegers: Bool
    ) -> TextType {
        TextType(expectation, takesIntegers: takesIntegers) { text throws(Unfit) in
            guard let (first, last) = bounds(text) else {
                guard let number = parse(text) else { throw Unfit(expected: expectation, found: text) }
                return NumberRange(least: number, most: number)
            }
            let least = first.isEmpty ? nil : parse(first)
            let most = last.isEmpty ? nil : parse(last)
            guard (least != nil) == !first.isEmpty, (most != nil) == !last.isEmpty, least != nil || most != nil else {
                throw Unfit(expected: expectation, found: text)
            }
            if let least, let most, least > most {
                throw Unfit(expected: "a range that does not end before it begins", found: text)
            }
            return NumberRange(least: least, most: most)
        } write: { range in
            if let least = range.least, least == range.most { return write(least) }
            return "\(range.least.map(write) ?? "")..\(range.most.map(write) ?? "")"
        }
    }
}

extension TextType<TimeOfDayRange> {
    /// `"08:00..18:00"`, `"22:00..06:00"`.
    static let timesOfDay = TextType("times of day such as \"08:00..18:00\"") { text throws(Unfit) in
        guard let (first, last) = bounds(text), let start = minute(first), start < 1440, let end = minute(last) else {
            throw Unfit(expected: "times of day such as \"08:00..18:00\"", found: text)
        }
        guard start != end else { throw Unfit(expected: "two different times of day", found: text) }
        return TimeOfDayRange(start: start, end: end)
    } write: {
        "\(written($0.start))..\(written($0.end))"
    }

    /// `hh:mm`, up to 24:00.
    private static func minute(_ text: String) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ $0.utf8.count == 2 && $0.utf8.allSatisfy(\.isASCIIDigit) }),
            let hour = parts.first.flatMap({ Int($0) }), let minute = parts.last.flatMap({ Int($0) }), minute < 60,
            hour * 60 + minute <= 1440
        else { return nil }
        return hour * 60 + minute
    }

    private static func written(_ minute: Int) -> String {
        func digits(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(digits(minute / 60)):\(digits(minute % 60))"
    }
}

extension TextType<WeekdayRange> {
    /// `"sun"`, `"mon..fri"`.
    static let weekdays = TextType("days such as \"sun\" or \"mon..fri\"") { text throws(Unfit) in
        let (first, last) = bounds(text) ?? (text, text)
        guard let first = Weekday(rawValue: first), let last = Weekday(rawValue: last) else {
            throw Unfit(expected: "days such as \"sun\" or \"mon..fri\" (mon tue wed thu fri sat sun)", found: text)
        }
        return WeekdayRange(first: first, last: last)
    } write: {
        $0.first == $0.last ? $0.first.rawValue : "\($0.first.rawValue)..\($0.last.rawValue)"
    }
}

/// What stands on both sides of `..`; nil without it.
private func bounds(_ text: String) -> (first: String, last: String)? {
    guard let dots = text.firstRange(of: "..") else { return nil }
    return (String(text[..<dots.lowerBound]), String(text[dots.upperBound...]))
}
