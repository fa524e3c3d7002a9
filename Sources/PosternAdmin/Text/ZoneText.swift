// Records as a zone file writes them (RFC 1035 §5.1), for pasting.

internal import PosternMail

enum ZoneText {
    /// Longest character-string. Source: RFC 1035 §3.3.
    static let maxStringOctets = 255

    /// A text in character-strings; joined they are the text. At least one, which may be empty.
    static func strings(_ text: [UInt8]) -> [[UInt8]] {
        var strings: [[UInt8]] = []
        var rest = text[...]
        repeat {
            strings.append(Array(rest.prefix(maxStringOctets)))
            rest = rest.dropFirst(maxStringOctets)
        } while !rest.isEmpty
        return strings
    }

    /// A character-string between quotes: `"` and `\` escaped, what is no printable ASCII as `\DDD`.
    /// Source: RFC 1035 §5.1.
    static func quoted(_ octets: some Sequence<UInt8>) -> String {
        var text = "\""
        for octet in octets {
            switch octet {
            case 0x22, 0x5C: text += "\\\(Unicode.Scalar(octet))"
            case 0x20...0x7E: text.unicodeScalars.append(Unicode.Scalar(octet))
            default:
                let digits = String(octet)
                text += "\\" + String(repeating: "0", count: 3 - digits.utf8.count) + digits
            }
        }
        return text + "\""
    }

    /// A TXT record on several lines; the name is absolute, the TTL the zone's default.
    static func record(_ name: DomainName, txt text: [UInt8]) -> String {
        let lines = strings(text).map { "    " + quoted($0) }
        return "\(name). IN TXT (\n\(lines.joined(separator: "\n")) )\n"
    }

    /// Lines that a zone file's reader skips.
    static func comment(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { $0.isEmpty ? ";\n" : "; \($0)\n" }.joined()
    }
}
