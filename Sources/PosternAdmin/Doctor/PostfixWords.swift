// The small grammar that values of main.cf have in common: words between commas and white space, groups in braces that
// keep theirs together, times with a unit. Source: postconf(5), "check_policy_service", MILTER_README "per-Milter
// settings". Tables in values are not looked into.

internal import PosternMail

enum PostfixWords {
    /// Most words of one value: more than any list that a person writes.
    static let maxWords = 4096

    /// The words of a value; a group in braces is one word, braces and all.
    /// - Returns: nil where a brace is not closed, or none is open: Postfix refuses such a value.
    static func split(_ value: String) -> [String]? {
        var words: [String] = []
        var word: [UInt8] = []
        var depth = 0
        for octet in value.utf8 {
            let isSeparator = octet == 0x2C || octet == 0x20 || octet == 0x09 || octet == 0x0A || octet == 0x0D
            if isSeparator, depth == 0 {
                if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self)) }
                word = []
                guard words.count < maxWords else { return nil }
                continue
            }
            if octet == UInt8(ascii: "{") { depth += 1 }
            if octet == UInt8(ascii: "}") {
                depth -= 1
                guard depth >= 0 else { return nil }
            }
            word.append(octet)
        }
        guard depth == 0 else { return nil }
        if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self)) }
        return words
    }

    /// What is inside the outer braces of a word; the word itself if it has none.
    static func inside(_ word: String) -> String {
        guard word.hasPrefix("{"), word.hasSuffix("}"), word.count > 1 else { return word }
        return String(word.dropFirst().dropLast())
    }

    /// Seconds; a number without a unit has `unit`. Source: postconf(5), "s (seconds), m, h, d, w".
    static func seconds(_ text: String, unit: Int = 1) -> Int? {
        guard let last = text.utf8.last else { return nil }
        let units: [UInt8: Int] = [
            UInt8(ascii: "s"): 1, UInt8(ascii: "m"): 60, UInt8(ascii: "h"): 3600, UInt8(ascii: "d"): 86_400,
            UInt8(ascii: "w"): 604_800,
        ]
        let factor = units[last]
        let digits = factor == nil ? text[...] : text.dropLast()
        guard !digits.isEmpty, digits.utf8.count <= 9, digits.utf8.allSatisfy(\.isASCIIDigit), let number = Int(digits)
        else { return nil }
        let (seconds, isTooLong) = number.multipliedReportingOverflow(by: factor ?? unit)
        return isTooLong ? nil : seconds
    }

    /// `yes`, in any case, as Postfix reads booleans.
    static func isYes(_ text: String) -> Bool { text.lowercased() == "yes" }
}

/// A server with settings of its own: `unix:PATH`, or `{ unix:PATH, name=value, … }`; a milter's or policy service's.
struct PostfixServer: Hashable, Sendable {
    struct Setting: Hashable, Sendable {
        var name: String
        var value: String
    }

    /// `unix:PATH`, `inet:HOST:PORT`, as it is spelled.
    var endpoint: String
    var settings: [Setting] = []

    init(_ endpoint: String, _ settings: [Setting] = []) { (self.endpoint, self.settings) = (endpoint, settings) }

    /// - Parameter word: one word of a list.
    /// - Returns: nil for what Postfix would refuse.
    init?(word: String) {
        guard let parts = PostfixWords.split(PostfixWords.inside(word)), let first = parts.first else { return nil }
        endpoint = first
        guard word.hasPrefix("{") else { return }
        for part in parts.dropFirst() {
            // `{ name = value }` inside keeps spaces.
            let text = PostfixWords.inside(part)
            guard let equals = text.firstIndex(of: "=") else { return nil }
            let name = Self.trimmed(text[..<equals])
            guard !name.isEmpty else { return nil }
            settings.append(Setting(name: name, value: Self.trimmed(text[text.index(after: equals)...])))
        }
    }

    static func trimmed(_ text: some StringProtocol) -> String {
        let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        return String(String(text.drop(while: isSpace)).reversed().drop(while: isSpace).reversed())
    }

    /// The value of a setting; the last one counts, as for Postfix.
    subscript(name: String) -> String? {
        get { settings.last { $0.name == name }?.value }
        set {
            let place = settings.firstIndex { $0.name == name }
            settings.removeAll { $0.name == name }
            guard let newValue else { return }
            settings.insert(Setting(name: name, value: newValue), at: min(place ?? settings.count, settings.count))
        }
    }

    /// As contrib/postfix writes it.
    var text: String {
        guard !settings.isEmpty else { return endpoint }
        let words = settings.map { setting in
            setting.value.contains { $0 == " " || $0 == "," || $0 == "\t" }
                ? "{ \(setting.name) = \(setting.value) }" : "\(setting.name)=\(setting.value)"
        }
        return "{ \(([endpoint] + words).joined(separator: ", ")) }"
    }
}
