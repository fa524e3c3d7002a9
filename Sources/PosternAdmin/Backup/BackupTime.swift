// Moments as archives name and show them: UTC, so that names sort by time and mean the same on every machine.

internal import Glibc
internal import PosternMail

enum BackupTime {
    /// `2026-11-21T11:04:40Z` (RFC 3339 §5.6).
    static func text(_ time: UnixTime) -> String { formatted(time, "%Y-%m-%dT%H:%M:%SZ", gmtime_r) }

    /// `20261121T110440Z`, for file names.
    static func stamp(_ time: UnixTime) -> String { formatted(time, "%Y%m%dT%H%M%SZ", gmtime_r) }

    /// - Returns: nil for what `stamp` does not write.
    static func time(stamp: some StringProtocol) -> UnixTime? {
        let text = Array(stamp.utf8)
        guard text.count == 16 else { return nil }
        func number(_ range: Range<Int>) -> Int32 { Int32(String(decoding: text[range], as: UTF8.self)) ?? -1 }
        var parts = tm()
        parts.tm_year = number(0..<4) - 1900
        parts.tm_mon = number(4..<6) - 1
        parts.tm_mday = number(6..<8)
        parts.tm_hour = number(9..<11)
        parts.tm_min = number(11..<13)
        parts.tm_sec = number(13..<15)
        let time = UnixTime(seconds: Int64(timegm(&parts)))
        return self.stamp(time) == stamp ? time : nil  // so 31 June is none, nor are signs
    }

    /// Takes a moment apart: gmtime_r(3) or localtime_r(3).
    typealias Calendar = (UnsafePointer<time_t>, UnsafeMutablePointer<tm>) -> UnsafeMutablePointer<tm>?

    /// - Parameter format: strftime(3)'s, of numbers only.
    static func formatted(_ time: UnixTime, _ format: String, _ calendar: Calendar) -> String {
        var seconds = time_t(time.seconds)
        var parts = tm()
        guard calendar(&seconds, &parts) != nil else { return "\(time.seconds)" }
        var buffer = [CChar](repeating: 0, count: 64)
        let count = strftime(&buffer, buffer.count, format, &parts)
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// `postern-mx1.example.com-20261121T110440Z.tar.zst`: an archive's name, by which list and prune know it.
struct BackupName: Hashable, Sendable {
    var host: String
    var created: UnixTime

    static let suffix = ".tar.zst"
    private static let prefix = "postern-"

    var text: String { "\(Self.prefix)\(host)-\(BackupTime.stamp(created))\(Self.suffix)" }

    init(host: String, created: UnixTime) {
        self.host = host
        self.created = UnixTime(seconds: created.seconds)
    }

    /// - Returns: nil for a name that is not ours.
    init?(_ name: String) {
        guard name.hasPrefix(Self.prefix), name.hasSuffix(Self.suffix) else { return nil }
        let middle = name.dropFirst(Self.prefix.count).dropLast(Self.suffix.count)
        guard let dash = middle.lastIndex(of: "-"),
            let time = BackupTime.time(stamp: middle[middle.index(after: dash)...])
        else { return nil }
        let host = String(middle[..<dash])
        guard !host.isEmpty, host.utf8.allSatisfy(Self.isOfHost) else { return nil }
        self.init(host: host, created: time)
    }

    private static func isOfHost(_ octet: UInt8) -> Bool {
        switch octet {
        case 0x30...0x39, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
        default: false
        }
    }
}
