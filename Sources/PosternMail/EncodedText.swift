// Encoded-words (RFC 2047) and percent-encoding undone wherever they stand, also where no standard allows them: a
// lenient reader might do so. Only for noticing a forgery. The charset is taken for one that keeps ASCII as it is;
// of UTF-16 the zero octets are dropped by whoever compares.

enum EncodedText {
    /// Longest charset (and language, RFC 2231 §5) that is looked at.
    private static let maxCharsetOctets = 64

    /// The octets with every `=?charset?b|q?text?=` and `%XX` decoded. Linear: each octet is looked at once as text,
    /// at most `maxCharsetOctets` times as a charset, and once as an end.
    static func decoded(_ octets: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(octets.count)
        var rest = octets[...]
        var end: Int? = -1  // where the last `?=` that was looked for begins; nil: there is none any more
        while let octet = rest.first {
            if octet == 0x3D, let (encoding, text) = head(of: rest) {
                if let known = end, known < text.startIndex { end = firstEnd(in: text) }
                if let end {
                    let word = text[..<end]
                    out += encoding == 0x71 ? quotedPrintable(word) : base64(word)
                    rest = text[end...].dropFirst(2)
                    continue
                }
            }
            rest = rest.dropFirst()
            if octet == 0x25, let value = hexOctet(rest) {
                out.append(value)
                rest = rest.dropFirst(2)
            } else {
                out.append(octet)
            }
        }
        return out
    }

    /// `=?charset?encoding?` at the front: the encoding in lower case, and what comes after.
    private static func head(of octets: ArraySlice<UInt8>) -> (encoding: UInt8, text: ArraySlice<UInt8>)? {
        var rest = octets.dropFirst()
        guard rest.popFirst() == 0x3F else { return nil }
        rest = rest.dropFirst(rest.prefix(maxCharsetOctets).prefix { $0 != 0x3F }.count)
        guard rest.popFirst() == 0x3F, let encoding = rest.popFirst()?.asciiLowercased,
            encoding == 0x71 || encoding == 0x62, rest.popFirst() == 0x3F
        else { return nil }
        return (encoding, rest)
    }

    /// Where the first `?=` begins.
    private static func firstEnd(in octets: ArraySlice<UInt8>) -> Int? {
        zip(octets.indices, zip(octets, octets.dropFirst())).first { $0.1.0 == 0x3F && $0.1.1 == 0x3D }?.0
    }

    /// RFC 2047 §4.2.
    private static func quotedPrintable(_ text: ArraySlice<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        var rest = text
        while let octet = rest.popFirst() {
            if octet == 0x3D, let value = hexOctet(rest) {
                out.append(value)
                rest = rest.dropFirst(2)
            } else {
                out.append(octet == 0x5F ? 0x20 : octet)
            }
        }
        return out
    }

    /// RFC 2045 §6.8, whatever is no base64 skipped.
    private static func base64(_ text: ArraySlice<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        var bits: UInt32 = 0
        var count: UInt32 = 0
        for octet in text {
            let value: UInt8
            switch octet {
            case 0x41...0x5A: value = octet - 0x41
            case 0x61...0x7A: value = octet - 0x61 + 26
            case 0x30...0x39: value = octet - 0x30 + 52
            case 0x2B: value = 62
            case 0x2F: value = 63
            default: continue
            }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                out.append(UInt8(truncatingIfNeeded: bits >> count))
            }
        }
        return out
    }

    private static func hexOctet(_ octets: ArraySlice<UInt8>) -> UInt8? {
        let digits = octets.prefix(2)
        guard digits.count == 2 else { return nil }
        var value: UInt8 = 0
        for digit in digits {
            switch digit.asciiLowercased {
            case 0x30...0x39: value = value << 4 | (digit - 0x30)
            case 0x61...0x66: value = value << 4 | (digit.asciiLowercased - 0x57)
            default: return nil
            }
        }
        return value
    }
}
