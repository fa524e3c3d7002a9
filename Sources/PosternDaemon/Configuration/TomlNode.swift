// A TOML document as values: what the configuration is decoded from. Every value and key knows where it stands, since a
// problem is reported with line and column. No toml++ type shows here; TomlDocument makes these.

/// A place in a text file, both counted from 1; columns count code points.
struct SourcePosition: Hashable, Sendable, Comparable {
    let line: Int
    let column: Int

    static let start = SourcePosition(line: 1, column: 1)

    static func < (left: SourcePosition, right: SourcePosition) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}

/// One value of a document and where it begins.
struct TomlNode: Sendable {
    enum Value: Sendable {
        case table(TomlTable)
        case array([TomlNode])
        case string(String)
        case integer(Int64)
        case float(Double)
        case boolean(Bool)
        /// A date, a time or both, as TOML spells it; no key takes one.
        case dateTime(String)
    }

    let value: Value
    let position: SourcePosition
}

/// A table's entries in the order in which they are written.
struct TomlTable: Sendable {
    struct Entry: Sendable {
        let key: String
        let keyPosition: SourcePosition
        let node: TomlNode
    }

    let entries: [Entry]
}

extension TomlNode {
    /// What was found, for a problem's text.
    var found: String {
        switch value {
        case .table: "a table"
        case .array(let elements): elements.isEmpty ? "an empty list" : "a list"
        case .string(let text): quoted(text)
        case .integer(let number): "the integer \(number)"
        case .float(let number): "the number \(number)"
        case .boolean(let flag): flag ? "true" : "false"
        case .dateTime(let text): "the date or time \(text)"
        }
    }
}

/// Longest piece of the admin's text that a problem repeats, in characters.
let maxQuotedCharacters = 80

/// The text in quotes as a problem repeats it: controls as `\u{HH}`, cut after 80 characters.
func quoted(_ text: some StringProtocol) -> String {
    "\"\(printable(text))\""
}

/// The text on one line, without controls, cut after 80 characters or as many as `most` says.
func printable(_ text: some StringProtocol, most: Int = maxQuotedCharacters) -> String {
    var shown = ""
    var count = 0
    for scalar in text.unicodeScalars {
        guard count < most else { return shown + "…" }
        count += 1
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned:
            shown += "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
        default: shown.unicodeScalars.append(scalar)
        }
    }
    return shown
}

/// The text as a TOML basic string. Source: TOML 1.0, "String".
func tomlString(_ text: String) -> String {
    var written = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": written += "\\\""
        case "\\": written += "\\\\"
        case "\n": written += "\\n"
        case "\t": written += "\\t"
        case _ where scalar.value < 0x20 || scalar.value == 0x7F:
            let digits = String(scalar.value, radix: 16, uppercase: true)
            written += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        default: written.unicodeScalars.append(scalar)
        }
    }
    return written + "\""
}
