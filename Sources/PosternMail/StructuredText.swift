// The words that structured header fields are made of (RFC 5322 §3.2): folding white space, comments, quoted strings,
// runs of plain octets. Read strictly: the obsolete forms that hide controls, bare CR, LF or NUL in a field
// (RFC 5322 §4.1) are errors here, since two readers would take them differently. Every step moves forwards, so
// reading is linear in the field; comments nest by a counter and not by recursion.

/// A structured field's value, read from its front.
struct StructuredText {
    /// What is still to be read.
    private(set) var rest: ArraySlice<UInt8>
    /// Whether a comment that was read held `<` or `>`, which readers that know no comments look for.
    private(set) var hasAngleInComment = false

    /// Comments in comments that are still read; people write one or two.
    static let maxCommentDepth = 32

    init(_ octets: some Collection<UInt8>) { rest = Array(octets)[...] }

    var isAtEnd: Bool { rest.isEmpty }

    /// Takes `octet` if it comes next.
    mutating func take(_ octet: UInt8) -> Bool {
        guard rest.first == octet else { return false }
        rest = rest.dropFirst()
        return true
    }

    /// Takes the octets up to the first that is not wanted; may be none.
    mutating func run(where isWanted: (UInt8) -> Bool) -> ArraySlice<UInt8> {
        let found = rest.prefix(while: isWanted)
        rest = rest[found.endIndex...]
        return found
    }

    /// Takes white space, folds and comments.
    /// - Returns: whether there were any.
    /// - Source: RFC 5322 §3.2.2, §4.2.
    @discardableResult
    mutating func skipCFWS() throws(StructuredTextError) -> Bool {
        var comment: [UInt8]?
        return try skipCFWS(comment: &comment)
    }

    /// Takes white space, folds and comments, and keeps what the first comment says, without quoted-pairs and folds.
    mutating func skipCFWS(comment: inout [UInt8]?) throws(StructuredTextError) -> Bool {
        let before = rest.startIndex
        while let octet = rest.first {
            if octet == 0x28 {
                let text = try self.comment()
                comment = comment ?? text
            } else if octet.isFoldingWhiteSpace {
                _ = try whiteSpace()
            } else {
                break
            }
        }
        return rest.startIndex > before
    }

    /// Takes one WSP, or the CRLF of a fold, which stands for nothing.
    private mutating func whiteSpace() throws(StructuredTextError) -> UInt8? {
        guard let octet = rest.popFirst() else { return nil }
        if octet.isWSP { return octet }
        // RFC 5322 §2.2.3: a CRLF in a field is one before WSP; §4.2 lets several such lines follow each other.
        guard octet == 0x0D, rest.popFirst() == 0x0A, rest.first?.isWSP == true else { throw .bareLineEnd }
        return nil
    }

    /// RFC 5322 §3.2.2, `comment`; the parentheses of inner comments are kept.
    private mutating func comment() throws(StructuredTextError) -> [UInt8] {
        var text: [UInt8] = []
        var depth = 0
        while let octet = rest.first {
            if octet.isFoldingWhiteSpace {
                if let space = try whiteSpace() { text.append(space) }
                continue
            }
            rest = rest.dropFirst()
            switch octet {
            case 0x28:
                depth += 1
                guard depth <= Self.maxCommentDepth else { throw .deepComment }
                if depth > 1 { text.append(octet) }
            case 0x29:
                depth -= 1
                if depth == 0 {
                    hasAngleInComment = hasAngleInComment || text.contains { $0 == 0x3C || $0 == 0x3E }
                    return text
                }
                text.append(octet)
            case 0x5C: text.append(try quotedPair())
            case _ where octet.isASCIIControl: throw .control
            default: text.append(octet)
            }
        }
        throw .openComment
    }

    /// Takes a quoted-string, if one comes next, and gives its content: without quotes, quoted-pairs and folds.
    /// - Source: RFC 5322 §3.2.4, RFC 6532 §3.2.
    mutating func quotedString() throws(StructuredTextError) -> [UInt8]? {
        guard take(0x22) else { return nil }
        var content: [UInt8] = []
        while let octet = rest.first {
            if octet.isFoldingWhiteSpace {
                if let space = try whiteSpace() { content.append(space) }
                continue
            }
            rest = rest.dropFirst()
            switch octet {
            case 0x22: return content
            case 0x5C: content.append(try quotedPair())
            case _ where octet.isASCIIControl: throw .control
            default: content.append(octet)
            }
        }
        throw .openQuote
    }

    /// The octet after a backslash. Not RFC 5322 §4.1: controls, CR, LF and NUL cannot be quoted.
    private mutating func quotedPair() throws(StructuredTextError) -> UInt8 {
        guard let octet = rest.popFirst(), octet.isWSP || !octet.isASCIIControl else { throw .control }
        return octet
    }
}

/// Why a structured field cannot be read as every reader would.
enum StructuredTextError: Error, Hashable, CustomStringConvertible {
    case bareLineEnd, control, openComment, deepComment, openQuote

    var description: String {
        switch self {
        case .bareLineEnd: "a CR or LF that is no fold"
        case .control: "a control character"
        case .openComment: "a comment that does not end"
        case .deepComment: "comments nested too deeply"
        case .openQuote: "a quoted string that does not end"
        }
    }
}

extension UInt8 {
    /// RFC 5322 §3.2.3 `atext`, with RFC 6532 §3.2: any octet over 0x7F.
    var isAtomText: Bool {
        if isASCIILetter || isASCIIDigit || self >= 0x80 { return true }
        switch self {
        case 0x21, 0x23, 0x24, 0x25, 0x26, 0x27, 0x2A, 0x2B, 0x2D, 0x2F, 0x3D, 0x3F, 0x5E, 0x5F, 0x60,
            0x7B, 0x7C, 0x7D, 0x7E:
            return true
        default: return false
        }
    }

    /// RFC 2045 §5.1, an octet of `token`: printable ASCII without SP and tspecials.
    var isTokenText: Bool {
        guard self > 0x20, self < 0x7F else { return false }
        switch self {
        case 0x28, 0x29, 0x3C, 0x3E, 0x40, 0x2C, 0x3B, 0x3A, 0x5C, 0x22, 0x2F, 0x5B, 0x5D, 0x3F, 0x3D: return false
        default: return true
        }
    }

    /// An octet of a hostname's label: letter, digit or hyphen.
    var isLDH: Bool { isASCIILetter || isASCIIDigit || self == 0x2D }
}

extension Collection<UInt8> {
    /// RFC 5322 §3.2.3, `dot-atom-text`: atoms with single dots between them.
    var isDotAtom: Bool {
        split(separator: 0x2E, omittingEmptySubsequences: false).allSatisfy { atom in
            !atom.isEmpty && atom.allSatisfy(\.isAtomText)
        }
    }
}
