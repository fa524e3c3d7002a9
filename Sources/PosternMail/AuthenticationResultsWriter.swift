// How a field of ours is written (RFC 8601 §2.2): words made safe, quoted where they must be, folded at 78 columns.
// A word that is longer than a line stands on a line of its own; its cap keeps that line far below 998 octets.

extension AuthenticationResults {
    /// Longest value that is written, in octets; a longer one loses its front, which is replaced by `...`: the end of
    /// a name or an address is what tells whose it is. No domain and no address that SMTP can carry is longer.
    public static let maxValueOctets = 330
    /// Longest reason or comment that is written, in octets.
    public static let maxRemarkOctets = 200
    /// Columns of a line, HTAB taken as eight. Source: RFC 5322 §2.1.1.
    static let maxColumns = 78

    /// The field as it is put on top of a message: folds are CRLF HTAB (or CRLF SP inside a long remark).
    public func field() -> HeaderField {
        let name = "Authentication-Results"
        var lines = FoldedLines(column: name.utf8.count + 1)
        let version = version.map { " " + Self.digits($0) } ?? ""
        lines.append(Self.id(Array(authservID.utf8)) + Array("\(version);".utf8))
        if results.isEmpty { lines.append(Array("none".utf8)) }
        for (index, result) in results.enumerated() {
            var words = Self.words(of: result)
            if index < results.count - 1, let last = words.popLast() { words.append(last + [0x3B]) }
            lines.beginLine()
            for word in words { lines.append(word) }
        }
        return HeaderField(name: Array(name.utf8), value: lines.octets)
    }

    /// What stands between white space in one resinfo.
    private static func words(of result: MethodResult) -> [[UInt8]] {
        let version = result.methodVersion.map { "/" + digits($0) } ?? ""
        var words = [Array("\(keyword(result.method))\(version)=\(keyword(result.result))".utf8)]
        if let comment = result.comment {
            words.append([0x28] + remark(comment) + [0x29])
        }
        if let reason = result.reason {
            words.append(Array("reason=".utf8) + quoted(remark(reason)))
        }
        for property in result.properties {
            let name = "\(keyword(property.ptype)).\(keyword(property.property))="
            words.append(Array(name.utf8) + word(property.value))
        }
        return words
    }

    /// An authserv-id: a token as it is, anything else quoted.
    private static func id(_ octets: [UInt8]) -> [UInt8] {
        let value = safe(octets)
        return !value.isEmpty && value.allSatisfy(\.isTokenText) ? value : quoted(value)
    }

    /// A stranger's octets as a pvalue: a token or an address as it is, anything else quoted.
    static func word(_ octets: [UInt8]) -> [UInt8] {
        let value = safe(octets)
        return isAddress(value) ? value : id(value)
    }

    /// What of a stranger's value is written: printable ASCII; an octet that could mean something to a reader, with or
    /// without an understanding of quotes, becomes `?`.
    static func safe(_ octets: [UInt8], max: Int = maxValueOctets) -> [UInt8] {
        let kept = octets.count <= max ? octets[...] : Array("...".utf8) + octets.suffix(max - 3)
        return kept.map { octet in
            switch octet {
            case 0x22, 0x28, 0x29, 0x3B, 0x5C: 0x3F
            case 0x20...0x7E: octet
            default: 0x3F
            }
        }
    }

    /// What of a reason or comment is written. Its quotes become `'`, which a reader takes for one, and not quoted-pairs
    /// (RFC 5322 §3.2.4): whoever looks for the next `"` would end at one.
    static func remark(_ text: String) -> [UInt8] {
        safe(text.utf8.map { $0 == 0x22 ? 0x27 : $0 }, max: maxRemarkOctets)
    }

    private static func quoted(_ safe: [UInt8]) -> [UInt8] { [0x22] + safe + [0x22] }

    /// `[[local-part] "@"] domain-name`, which a pvalue may be without quotes. Source: RFC 8601 §2.2, RFC 6376 §3.5.
    private static func isAddress(_ value: [UInt8]) -> Bool {
        guard let at = value.lastIndex(of: 0x40) else { return false }
        let labels = value[(at + 1)...].split(separator: 0x2E, omittingEmptySubsequences: false)
        return (at == 0 || value[..<at].isDotAtom) && labels.count > 1
            && labels.allSatisfy { label in
                label.allSatisfy(\.isLDH) && label.first.map { $0 != 0x2D } == true && label.last != 0x2D
            }
    }

    /// A Keyword (RFC 5321 §4.1.1.1: no hyphen at its end). Ours is one; of any other text the letters, digits and
    /// hyphens are kept.
    private static func keyword(_ text: String) -> String {
        let ldh = text.utf8.filter(\.isLDH)
        guard let last = ldh.lastIndex(where: { $0 != 0x2D }) else { return "x" }
        return String(decoding: ldh[...last], as: UTF8.self)
    }

    private static func digits(_ text: String) -> String {
        let digits = String(decoding: text.utf8.filter(\.isASCIIDigit).prefix(9), as: UTF8.self)
        return digits.isEmpty ? "1" : digits
    }
}

/// Words put into lines of at most 78 columns where their lengths allow it.
private struct FoldedLines {
    /// A field's value so far, with its first SP when there is anything.
    private(set) var octets: [UInt8] = []
    /// Columns of the last line.
    private var column: Int
    /// Whether the last line is a new one that holds no word yet.
    private var isNew = false

    init(column: Int) { self.column = column }

    mutating func beginLine() {
        octets += [0x0D, 0x0A, 0x09]
        column = 8
        isNew = true
    }

    /// Adds a word after a SP, or at the beginning of a new line if it would not fit.
    mutating func append(_ word: [UInt8]) {
        let columns = AuthenticationResults.maxColumns
        // A field must not begin with a fold: lines of white space only are obsolete (RFC 5322 §4.2).
        if !isNew, !octets.isEmpty, column + 1 + word.count > columns { beginLine() }
        if !isNew {
            octets.append(0x20)
            column += 1
        }
        isNew = false
        guard column + word.count > columns else {
            octets += word
            column += word.count
            return
        }
        for (index, piece) in Self.pieces(of: word).enumerated() {
            if index > 0, column + piece.count > columns {
                octets += [0x0D, 0x0A]
                column = 0
            }
            octets += piece
            column += piece.count
        }
    }

    /// A remark cut before each SP that stands alone: a fold there changes nothing, since CRLF is dropped and the SP
    /// is kept (RFC 5322 §2.2.3), and no line ends in white space.
    private static func pieces(of word: [UInt8]) -> [ArraySlice<UInt8>] {
        var pieces: [ArraySlice<UInt8>] = []
        var start = word.startIndex
        for (last, octets) in zip(word.indices, zip(word, zip(word.dropFirst(), word.dropFirst(2)))) {
            guard octets.0 != 0x20, octets.1.0 == 0x20, octets.1.1 != 0x20 else { continue }
            pieces.append(word[start...last])
            start = last + 1
        }
        return pieces + [word[start...]]
    }
}
