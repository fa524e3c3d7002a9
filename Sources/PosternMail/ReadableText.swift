// Octets reduced to what a reader might see in them, for finding a name of ours in a stranger's text: white space,
// controls, quotes, backslashes and parentheses dropped, lower case, A-labels as U-labels, the lookalikes that
// UTS 46 maps to ASCII (full-width forms, ideographic full stops, invisible characters) mapped. Only for noticing a
// forgery: no name is looked up by it. Letters that merely look alike (Cyrillic a) are deliberately not here.

struct ReadableText: Sendable {
    /// The octets without those that are dropped, `A`...`Z` lower-cased.
    let squeezed: [UInt8]
    /// The same with A-labels decoded and lookalikes mapped; compared by canonical equivalence, as String does it.
    let unicode: String
    /// A-labels decoded one by one, before white space is dropped: `1 xn--...` does not hide one. Empty without any.
    private let labelwise: String

    init(_ octets: [UInt8]) {
        let squeezed = octets.filter { !$0.isDroppedByReaders }.asciiLowercased
        self.squeezed = squeezed
        let isASCII = !squeezed.contains { $0 >= 0x80 }
        let hasALabel = squeezed.firstOccurrence(of: Array("xn--".utf8)) != nil
        if isASCII, !hasALabel {
            unicode = String(decoding: squeezed, as: UTF8.self)
            labelwise = ""
        } else {
            unicode = Self.unicodeForm(of: squeezed)
            labelwise = hasALabel ? Self.unicodeForm(of: octets.asciiLowercased) : ""
        }
    }

    private init(squeezed: [UInt8], unicode: String) {
        self.squeezed = squeezed
        self.unicode = unicode
        labelwise = ""
    }

    var isEmpty: Bool { squeezed.isEmpty }

    /// The text after a dot.
    var prefixedByDot: ReadableText { ReadableText(squeezed: [0x2E] + squeezed, unicode: "." + unicode) }

    /// Whether one of `names` occurs anywhere in this text.
    func mentions(anyOf names: [ReadableText]) -> Bool {
        if names.contains(where: { squeezed.firstOccurrence(of: $0.squeezed) != nil }) { return true }
        // Without these, `unicode` is `squeezed`.
        guard !labelwise.isEmpty || squeezed.contains(where: { $0 >= 0x80 }) else { return false }
        let names = names.map { Array($0.unicode) }
        return [unicode, labelwise].lazy.map(Array.init).contains { text in
            names.contains { text.firstOccurrence(of: $0) != nil }
        }
    }

    /// Lookalikes mapped, every A-label decoded; runs of name characters are taken for labels.
    private static func unicodeForm(of octets: [UInt8]) -> String {
        var mapped = ""
        for scalar in String(decoding: octets, as: UTF8.self).unicodeScalars {
            if let scalar = scalar.asReadersMapIt { mapped.unicodeScalars.append(scalar) }
        }
        var text = ""
        var rest = Array(mapped.lowercased().utf8)[...]
        while !rest.isEmpty {
            var label = rest.prefix { $0.isLDH || $0 >= 0x80 }
            rest = rest[label.endIndex...]
            if let prefix = label.firstOccurrence(of: Array("xn--".utf8)) {
                text += String(decoding: label[..<prefix], as: UTF8.self)
                label = label[prefix...]
            }
            text += IDNA.unicodeForm(of: label)
            let other = rest.prefix { !$0.isLDH && $0 < 0x80 }
            text += String(decoding: other.filter { !$0.isDroppedByReaders }, as: UTF8.self)
            rest = rest[other.endIndex...]
        }
        return text
    }
}

extension UInt8 {
    /// White space, controls, and the octets by which header fields quote and comment.
    fileprivate var isDroppedByReaders: Bool {
        self <= 0x20 || self == 0x7F || self == 0x22 || self == 0x28 || self == 0x29 || self == 0x5C
    }
}

extension Unicode.Scalar {
    /// What UTS 46 §4 makes of some scalars that anyone can type into a name; `nil` for those that it drops.
    fileprivate var asReadersMapIt: Unicode.Scalar? {
        switch value {
        case 0x3002, 0xFF0E, 0xFF61: return "."
        case 0xFF01...0xFF5E: return Unicode.Scalar(value - 0xFEE0)
        case 0x80...0x9F: return nil  // controls
        case 0xA0... where properties.isWhitespace || properties.isDefaultIgnorableCodePoint: return nil
        default: return self
        }
    }
}

extension BidirectionalCollection where Element: Equatable {
    /// Where `wanted` first begins. Linear in both, whatever they hold. Source: Knuth, Morris, Pratt 1977.
    func firstOccurrence(of wanted: [Element]) -> Index? {
        guard !wanted.isEmpty else { return startIndex }
        // failure[n]: length of the longest proper prefix of wanted[...n] that is also its suffix.
        var failure = [0]
        var length = 0
        for element in wanted.dropFirst() {
            while length > 0, wanted[length] != element { length = failure[length - 1] }
            if wanted[length] == element { length += 1 }
            failure.append(length)
        }
        var matched = 0
        for index in indices {
            let element = self[index]
            while matched > 0, wanted[matched] != element { matched = failure[matched - 1] }
            if wanted[matched] == element { matched += 1 }
            if matched == wanted.count { return self.index(index, offsetBy: 1 - matched) }
        }
        return nil
    }
}
