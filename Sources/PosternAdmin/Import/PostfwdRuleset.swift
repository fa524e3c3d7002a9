// A postfwd ruleset cut into rules and items, with macros put in: what its own parser makes of the text. What items
// mean is not judged here. Source: postfwd(8), "CONFIGURATION", "MACROS/ACLS"; postfwd 2.03.

internal import PosternMail

struct PostfwdItem: Hashable, Sendable {
    enum Comparison: String, Sendable {
        case usual = "="
        case equal = "=="
        case matches = "=~"
        case atLeast = "=>"
        case atMost = "=<"
        case above = ">"
        case below = "<"
        case unequal = "!="
        case unmatched = "!~"
        case notAtLeast = "!>"
        case notAtMost = "!<"
    }

    let name: String
    let comparison: Comparison
    /// Without `!!` and the parentheses behind it.
    let value: String
    let isNegated: Bool
}

struct PostfwdRule: Hashable, Sendable {
    let id: String
    let action: String
    /// Beside id and action, in their order.
    let items: [PostfwdItem]
    let line: ImportedLine
}

struct PostfwdRuleset {
    private(set) var rules: [PostfwdRule] = []
    private(set) var leftOut: [ImportRemark] = []
    private var macros: [String: String] = [:]

    static let maxRules = 10_000
    /// Macros within macros.
    private static let maxDepth = 8
    private static let maxRuleOctets = 1 << 16
    /// Of everything that macros become: a few lines of macros within macros stand for any amount of text.
    private static let maxExpandedOctets = 1 << 23
    private var expandedOctets = 0

    init(_ octets: [UInt8], file: String) {
        for line in Self.logicalLines(octets, file) {
            do throws(ImportRefusal) {
                if try define(line.text) { continue }
                guard rules.count < Self.maxRules else {
                    throw ImportRefusal(reason: "expected at most \(Self.maxRules) rules")
                }
                rules.append(try rule(line))
            } catch {
                leftOut.append(ImportRemark(line: Self.shown(line), text: error.reason))
            }
        }
    }

    // MARK: Lines

    /// A line with those that go on with it: behind a backslash or an opening brace, and those that begin with white
    /// space or a closing brace, each of which begins a new item.
    private static func logicalLines(_ octets: [UInt8], _ file: String) -> [ImportedLine] {
        var lines: [ImportedLine] = []
        var isOpen = false
        for (index, raw) in ImportedText.lines(octets).enumerated() {
            let kept = raw.prefix { $0 != UInt8(ascii: "#") }.filter { $0 != UInt8(ascii: "\"") }
            var text = ImportedText.trimmed(kept[...])
            guard let first = kept.first, !text.isEmpty else { continue }
            let goesOn = text.last == UInt8(ascii: "\\") || text.last == UInt8(ascii: "{")
            if text.last == UInt8(ascii: "\\") { text.removeLast() }
            let part = String(decoding: text, as: UTF8.self)
            let isContinued = isOpen || ImportedText.isSpace(first) || first == UInt8(ascii: "}")
            if isContinued, let last = lines.last, last.text.utf8.count < maxRuleOctets {
                let separator = isOpen || last.text.hasSuffix(";") || last.text.hasSuffix("{") ? " " : "; "
                lines[lines.count - 1] = ImportedLine(
                    file: file, number: last.number, text: last.text + separator + part)
            } else {
                lines.append(ImportedLine(file: file, number: index + 1, text: part))
            }
            isOpen = goesOn
        }
        return lines
    }

    /// - Returns: whether the line is a macro's.
    private mutating func define(_ text: String) throws(ImportRefusal) -> Bool {
        guard text.hasPrefix("&&"), let open = text.firstIndex(of: "{"), let close = text.lastIndex(of: "}"),
            open < close
        else { return false }
        let name = trimmed(text[..<open])
        macros[name] = try expanded(trimmed(text[text.index(after: open)..<close]), 0)
        return true
    }

    private mutating func expanded(_ text: String, _ depth: Int) throws(ImportRefusal) -> String {
        guard text.contains("&&") else { return text }
        guard depth < Self.maxDepth, text.utf8.count < Self.maxRuleOctets else {
            throw ImportRefusal(reason: "expected macros that end somewhere")
        }
        var parts: [String] = []
        var octets = 0
        for part in text.split(separator: ";") {
            let part = trimmed(part)
            // postfwd puts a macro in wherever its name stands; as an item of its own it stands everywhere in practice.
            guard part.hasPrefix("&&") else {
                parts.append(part)
                continue
            }
            guard let body = macros[part] else {
                throw ImportRefusal(reason: "expected a macro that is defined above: \(part)")
            }
            let text = try expanded(body, depth + 1)
            octets += text.utf8.count
            expandedOctets += text.utf8.count
            guard octets < Self.maxRuleOctets, expandedOctets < Self.maxExpandedOctets else {
                throw ImportRefusal(
                    reason: "expected macros that become at most \(Self.maxRuleOctets) octets in a rule and "
                        + "\(Self.maxExpandedOctets) in all")
            }
            parts.append(text)
        }
        return parts.joined(separator: "; ")
    }

    // MARK: Rules

    private mutating func rule(_ line: ImportedLine) throws(ImportRefusal) -> PostfwdRule {
        var (id, action) = ("R-\(rules.count)", String?.none)
        var items: [PostfwdItem] = []
        for part in try expanded(line.text, 0).split(separator: ";") {
            let part = trimmed(part)
            guard !part.isEmpty else { continue }
            let item = try Self.item(part)
            switch item.name {
            case "id": id = item.value
            case "action": action = item.value
            default: items.append(item)
            }
        }
        guard let action else { throw ImportRefusal(reason: "postfwd ignores a rule without an action") }
        return PostfwdRule(id: id, action: action, items: items, line: Self.shown(line, as: id))
    }

    private static func item(_ text: String) throws(ImportRefusal) -> PostfwdItem {
        guard let start = text.firstIndex(where: { "=~<>!".contains($0) }) else {
            throw ImportRefusal(reason: "expected items NAME=VALUE, found \(text)")
        }
        let signs = text[start...].prefix(2)
        let spelled = ["<=": "=<", ">=": "=>", "~=": "=~"][String(signs)] ?? String(signs)
        let comparison =
            PostfwdItem.Comparison(rawValue: spelled) ?? PostfwdItem.Comparison(rawValue: String(signs.prefix(1)))
        guard let comparison else { throw ImportRefusal(reason: "expected a comparison such as ==, found \(signs)") }
        let width = PostfwdItem.Comparison(rawValue: spelled) == nil ? 1 : spelled.count
        var value = trimmed(text[text.index(start, offsetBy: width)...])
        let isNegated = value.hasPrefix("!!")
        if isNegated {
            value = trimmed(value.dropFirst(2))
            if value.hasPrefix("("), value.hasSuffix(")"), value.count > 1 {
                value = trimmed(value.dropFirst().dropLast())
            }
        }
        return PostfwdItem(
            name: trimmed(text[..<start]), comparison: comparison, value: value, isNegated: isNegated)
    }

    private static func shown(_ line: ImportedLine, as text: String? = nil) -> ImportedLine {
        ImportedLine(file: line.file, number: line.number, text: text ?? String(line.text.prefix(80)))
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        String(decoding: ImportedText.trimmed(Array(text.utf8)[...]), as: UTF8.self)
    }

    private func trimmed(_ text: some StringProtocol) -> String { Self.trimmed(text) }
}
