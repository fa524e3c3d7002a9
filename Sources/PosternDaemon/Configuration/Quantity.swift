// Durations and sizes as the configuration spells them: one number, one unit, no space, no fraction.

internal import PosternMail

public enum Quantity {
    private static let durationUnits: [(name: String, milliseconds: Int64)] = [
        ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1),
    ]
    private static let sizeUnits: [(name: String, octets: Int)] = [
        ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1),
    ]
    /// Most digits of a number, so that none overflows before it is multiplied.
    private static let maxDigits = 15

    /// - Returns: nil for no duration, or one too long to count in milliseconds.
    public static func duration(_ text: String) -> Duration? {
        guard let (number, unit) = split(text), let scale = durationUnits.first(where: { $0.name == unit }) else {
            return nil
        }
        let (milliseconds, overflow) = Int64(number).multipliedReportingOverflow(by: scale.milliseconds)
        return overflow ? nil : .milliseconds(milliseconds)
    }

    /// The duration in its largest whole unit.
    public static func duration(_ value: Duration) -> String {
        let (seconds, attoseconds) = value.components
        let milliseconds = seconds &* 1000 &+ attoseconds / 1_000_000_000_000_000
        guard milliseconds != 0 else { return "0s" }
        for unit in durationUnits where milliseconds % unit.milliseconds == 0 {
            return "\(milliseconds / unit.milliseconds)\(unit.name)"
        }
        return "\(milliseconds)ms"
    }

    /// - Returns: nil for no size, or one that no machine has.
    static func octets(_ text: String) -> Int? {
        guard let (number, unit) = split(text), let scale = sizeUnits.first(where: { $0.name == unit }) else {
            return nil
        }
        let (octets, overflow) = number.multipliedReportingOverflow(by: scale.octets)
        return overflow ? nil : octets
    }

    /// The size in its largest whole unit.
    static func size(_ octets: Int) -> String {
        for unit in sizeUnits where octets != 0 && octets % unit.octets == 0 {
            return "\(octets / unit.octets)\(unit.name)"
        }
        return "\(octets)"
    }

    private static func split(_ text: String) -> (number: Int, unit: String)? {
        let digits = text.utf8.prefix(while: \.isASCIIDigit)
        guard (1...maxDigits).contains(digits.count), let number = Int(Substring(digits)) else { return nil }
        return (number, String(text.utf8.dropFirst(digits.count)) ?? "")
    }
}
