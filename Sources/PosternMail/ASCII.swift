// Octet tests and comparisons that every parser here needs. ASCII only and never locale-dependent: mail and DNS
// compare names that way (RFC 5322 §1.2.2, RFC 4343 §3).

extension UInt8 {
    /// SP or HTAB. Source: RFC 5234 Appendix B.1, `WSP`.
    @inlinable public var isWSP: Bool { self == 0x20 || self == 0x09 }
    /// SP, HTAB, CR or LF: what folding white space is made of.
    @inlinable public var isFoldingWhiteSpace: Bool { isWSP || self == 0x0D || self == 0x0A }
    @inlinable public var isASCIIDigit: Bool { self >= 0x30 && self <= 0x39 }
    @inlinable public var isASCIILetter: Bool { (self | 0x20) >= 0x61 && (self | 0x20) <= 0x7A }
    @inlinable public var isASCIIControl: Bool { self < 0x20 || self == 0x7F }
    /// The octet with `A`...`Z` made lower case; others unchanged.
    @inlinable public var asciiLowercased: UInt8 { self >= 0x41 && self <= 0x5A ? self | 0x20 : self }
}

extension Collection<UInt8> {
    /// A copy with `A`...`Z` made lower case.
    @inlinable public var asciiLowercased: [UInt8] { map(\.asciiLowercased) }

    /// Whether the octets are equal to `text` when `A`...`Z` and `a`...`z` are taken as equal.
    @inlinable public func equalsIgnoringASCIICase(_ text: StaticString) -> Bool {
        count == text.utf8CodeUnitCount
            && text.withUTF8Buffer { elementsEqual($0, by: { $0.asciiLowercased == $1.asciiLowercased }) }
    }
    @inlinable public func equalsIgnoringASCIICase(_ other: some Collection<UInt8>) -> Bool {
        count == other.count && elementsEqual(other, by: { $0.asciiLowercased == $1.asciiLowercased })
    }
}

extension BidirectionalCollection<UInt8> {
    /// The octets without WSP, CR and LF at both ends.
    @inlinable public var trimmingFoldingWhiteSpace: SubSequence {
        guard let first = firstIndex(where: { !$0.isFoldingWhiteSpace }),
            let last = lastIndex(where: { !$0.isFoldingWhiteSpace })
        else { return self[endIndex..<endIndex] }
        return self[first...last]
    }
}
