// What limits have counted, for people.

internal import PosternDaemon

enum LimitText {
    static let head = ["STATE", "LIMIT", "KEY", "USED", "RESERVED", "CLIENTS"]

    static func row(_ entry: ControlDocument) -> [String] {
        [
            state(entry), entry.word("limit"), entry.word("key"), uses(entry), "\(entry.count("reserved"))",
            entry.words("clients").joined(separator: ","),
        ]
    }

    private static func state(_ entry: ControlDocument) -> String {
        let seconds = entry.count("blocked_seconds")
        if seconds > 0 { return "\(entry.holds("blocked_by_admin") ? "stopped" : "blocked") \(seconds)s" }
        return entry.holds("over") ? "over" : "free"
    }

    private static func uses(_ entry: ControlDocument) -> String {
        (entry["uses"]?.elements ?? []).map { use in
            "\(use.count("used"))/\(use.count("allowed")) in \(use.count("seconds"))s"
        }.joined(separator: "; ") + " \(entry.word("count"))"
    }
}
