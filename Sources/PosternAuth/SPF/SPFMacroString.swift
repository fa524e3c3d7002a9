// The macro-strings of SPF records and explanations (RFC 7208 §7.1), parsed but not expanded: `SPFMacroExpansion` does
// that, for one transaction. Which letters and characters may stand in them depends on the place.

internal import PosternMail

/// A text with macros in it, checked.
public struct SPFMacroString: Hashable, Sendable {
    /// Where a macro-string stands.
    enum Place {
        /// A target name of a mechanism, `redirect` or `exp`; must end in a macro or a top label.
        case domainSpec
        /// The value of a modifier that nobody knows.
        case unknownModifier
        /// The text that `exp` leads to.
        case explanation
    }

    enum Piece: Hashable, Sendable {
        case literal([UInt8])
        /// What `%%`, `%_` and `%-` stand for.
        case escape([UInt8])
        case macro(Macro)
    }

    /// `%{` ... `}`. Source: RFC 7208 §7.1.
    struct Macro: Hashable, Sendable {
        /// In lower case.
        var letter: Letter
        /// The letter was upper case: the value is URL-escaped. Source: RFC 7208 §7.3.
        var isURLEscaped: Bool
        /// How many parts from the right are kept; `nil` for all.
        var parts: Int?
        var isReversed: Bool
        /// Empty for the default, a dot.
        var delimiters: [UInt8]

        var hasTransformer: Bool { parts != nil || isReversed || !delimiters.isEmpty }
    }

    /// Source: RFC 7208 §7.2.
    enum Letter: UInt8, Sendable {
        case sender = 0x73  // s
        case localPart = 0x6C  // l
        case senderDomain = 0x6F  // o
        case domain = 0x64  // d
        case address = 0x69  // i
        case validatedName = 0x70  // p
        case version = 0x76  // v
        case helo = 0x68  // h
        case readableAddress = 0x63  // c
        case receiver = 0x72  // r
        case time = 0x74  // t

        /// "The following macro letters are allowed only in "exp" text". Source: RFC 7208 §7.2.
        var isForExplanations: Bool { self == .readableAddress || self == .receiver || self == .time }
    }

    /// Macros and escapes in one text. No real one has ten; the cap bounds the work that a record can ask for.
    static let maxMacros = 100
    /// A number of parts is not read beyond this; no value has so many.
    private static let maxParts = 10_000

    let pieces: [Piece]

    /// - Throws: the first rule that the text breaks.
    /// - Source: RFC 7208 §7.1.
    init(_ text: some Collection<UInt8>, in place: Place) throws(SPFSyntaxError) {
        var pieces: [Piece] = []
        var literal: [UInt8] = []
        var macros = 0
        var rest = Array(text)[...]
        while let octet = rest.popFirst() {
            guard octet == 0x25 else {
                // RFC 7208 §7.1: macro-literal = %x21-24 / %x26-7E; explain-string has SP too
                guard (0x21...0x7E).contains(octet) || (octet == 0x20 && place == .explanation) else {
                    throw .badOctet(octet)
                }
                literal.append(octet)
                continue
            }
            macros += 1
            guard macros <= Self.maxMacros else { throw .tooManyMacros }
            if !literal.isEmpty { pieces.append(.literal(literal)) }
            literal = []
            switch rest.popFirst() {
            case 0x25: pieces.append(.escape([0x25]))
            case 0x5F: pieces.append(.escape([0x20]))
            case 0x2D: pieces.append(.escape(Array("%20".utf8)))
            case 0x7B:
                guard let end = rest.firstIndex(of: 0x7D) else { throw .badMacro("no closing brace") }
                pieces.append(.macro(try Self.macro(rest[..<end], in: place)))
                rest = rest[(end + 1)...]
            // RFC 7208 §7.1: "A '%' character not followed by a '{', '%', '-', or '_' character is a syntax error."
            default: throw .badMacro("a % that begins no macro")
            }
        }
        if !literal.isEmpty { pieces.append(.literal(literal)) }
        if place == .domainSpec { try Self.checkEnd(pieces.last) }
        self.pieces = pieces
    }

    /// What stands between the braces.
    private static func macro(_ text: ArraySlice<UInt8>, in place: Place) throws(SPFSyntaxError) -> Macro {
        var rest = text
        guard let first = rest.popFirst(), let letter = Letter(rawValue: first.asciiLowercased) else {
            throw .badMacro("an unknown macro letter")
        }
        guard place == .explanation || !letter.isForExplanations else {
            throw .badMacro("a macro letter that only explanations may have")
        }
        var parts: Int?
        while let digit = rest.first, digit.isASCIIDigit {
            parts = min(maxParts, (parts ?? 0) * 10 + Int(digit - 0x30))
            rest = rest.dropFirst()
        }
        // RFC 7208 §7.3: "If a DIGIT is specified, it MUST be nonzero."
        guard parts != 0 else { throw .badMacro("zero parts") }
        var isReversed = false
        if let next = rest.first, next.asciiLowercased == 0x72 {
            isReversed = true
            rest = rest.dropFirst()
        }
        // RFC 7208 §7.1: delimiter = "." / "-" / "+" / "," / "/" / "_" / "="
        guard rest.allSatisfy({ delimiters.contains($0) }) else { throw .badMacro("an unknown delimiter") }
        return Macro(
            letter: letter, isURLEscaped: first != letter.rawValue, parts: parts, isReversed: isReversed,
            delimiters: delimiters.filter { rest.contains($0) })
    }

    private static let delimiters = Array(".-+,/_=".utf8)

    /// RFC 7208 §7.1: domain-end = ( "." toplabel [ "." ] ) / macro-expand
    private static func checkEnd(_ last: Piece?) throws(SPFSyntaxError) {
        guard let last else { throw .emptyDomain }
        guard case .literal(let text) = last else { return }
        var end = text[...]
        if end.last == 0x2E { end = end.dropLast() }
        guard let dot = end.lastIndex(of: 0x2E) else { throw .singleLabel }
        let label = end[(dot + 1)...]
        guard let first = label.first, let final = label.last, first.isAlphanumeric, final.isAlphanumeric,
            label.allSatisfy({ $0.isAlphanumeric || $0 == 0x2D })
        else { throw .badTopLabel }
        guard !label.allSatisfy(\.isASCIIDigit) else { throw .numericTopLabel }
    }

    /// Whether the local-part of the sender would be in the expansion.
    var mentionsLocalPart: Bool {
        pieces.contains {
            if case .macro(let macro) = $0 { macro.letter == .localPart || macro.letter == .sender } else { false }
        }
    }
}

extension SPFMacroString: CustomStringConvertible {
    /// As it would be published; parses to an equal value.
    public var description: String {
        pieces.map { piece in
            switch piece {
            case .literal(let octets): String(decoding: octets, as: UTF8.self)
            case .escape([0x25]): "%%"
            case .escape([0x20]): "%_"
            case .escape: "%-"
            case .macro(let macro): macro.description
            }
        }.joined()
    }
}

extension SPFMacroString.Macro: CustomStringConvertible {
    var description: String {
        let letter = String(
            decoding: [isURLEscaped ? self.letter.rawValue & 0xDF : self.letter.rawValue], as: UTF8.self)
        return "%{\(letter)\(parts.map(String.init) ?? "")\(isReversed ? "r" : "")"
            + "\(String(decoding: delimiters, as: UTF8.self))}"
    }
}

extension UInt8 {
    fileprivate var isAlphanumeric: Bool { isASCIILetter || isASCIIDigit }
}
