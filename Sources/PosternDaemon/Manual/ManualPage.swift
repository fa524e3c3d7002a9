// A manual page as man(7) has it, made of the texts that --help and the sample configuration are made of. Only what these
// texts need: sections, paragraphs, lists, and lines that stay as they are.

/// A page of the manual.
public struct ManualPage: Hashable, Sendable {
    /// Such as `postern-dkim`.
    public let name: String
    /// 1 for commands, 5 for files, 8 for daemons.
    public let section: Int
    private var lines: [String]

    /// `postern-dkim.8`.
    public var file: String { "\(name).\(section)" }
    /// The page for man(1).
    public var text: String { lines.joined(separator: "\n") + "\n" }

    /// - Parameter purpose: what stands behind the name, without a capital letter or a full stop.
    public init(_ name: String, section: Int, purpose: String) {
        self.name = name
        self.section = section
        // No date: a page is the same whenever it is made.
        lines = [
            ".TH \(Self.escaped(name.uppercased())) \(section) \"\" \"Postern \(DaemonArguments.release)\" \"Postern\"",
            ".ad l", ".SH NAME", "\(Self.escaped(name)) \\- \(Self.escaped(purpose))",
        ]
    }

    public mutating func section(_ title: String) { lines.append(".SH \(Self.quoted(title.uppercased()))") }
    public mutating func subsection(_ title: String) { lines.append(".SS \(Self.quoted(title))") }

    /// A paragraph, filled.
    public mutating func paragraph(_ text: String) { lines += [".PP", Self.line(text)] }

    /// An entry of a list with what it means.
    public mutating func entry(_ term: String, _ text: String) {
        lines += [".TP", "\\fB\(Self.escaped(term))\\fR", text.isEmpty ? "\\&" : Self.line(text)]
    }

    /// Lines that stay as they are.
    public mutating func verbatim(_ text: [String]) {
        lines += [".PP", ".RS 2", ".nf"] + text.map(Self.line) + [".fi", ".RE"]
    }

    /// A line of text: what begins with a control character would be a request. Source: man(7), groff(7).
    private static func line(_ text: String) -> String {
        let text = escaped(text)
        return text.hasPrefix(".") || text.hasPrefix("'") ? "\\&" + text : text
    }

    /// Signs that mean something to groff, or that it would print as others. Source: groff_char(7).
    private static func escaped(_ text: String) -> String {
        var written = ""
        for sign in text.unicodeScalars {
            switch sign {
            case "\\": written += "\\e"
            case "-": written += "\\-"
            case "'": written += "\\(aq"
            case "`": written += "\\(ga"
            case "^": written += "\\(ha"
            case "~": written += "\\(ti"
            case _ where sign.isASCII: written.unicodeScalars.append(sign)
            default: written += "\\[u\(digits(sign))]"
            }
        }
        return written
    }

    /// groff_char(7): four digits at least, in upper case.
    private static func digits(_ sign: Unicode.Scalar) -> String {
        let digits = String(sign.value, radix: 16, uppercase: true)
        return String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits
    }

    private static func quoted(_ text: String) -> String { "\"\(escaped(text).replacing("\"", with: "\\(dq"))\"" }
}
