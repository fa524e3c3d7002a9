// Base64 as DKIM writes it (RFC 6376 §2.10; alphabet of RFC 4648 §4): folding white space may stand anywhere, nothing
// else may. Octets outside of the alphabet are refused instead of skipped, so that one signature has one reading.

import PosternMail

/// Text for octets and back. Source: RFC 4648 §4, RFC 6376 §2.10.
public enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let padding: UInt8 = 0x3D  // "="

    /// The octets that a text stands for.
    ///
    /// The padding may be missing (`base64string` makes it optional), but when it is there it must be right.
    /// - Returns: `nil` for an octet that is neither alphabet, padding at the end nor FWS, and for an impossible
    ///   length.
    /// - Source: RFC 6376 §2.10, RFC 4648 §4.
    public static func decode(_ text: some Sequence<UInt8>) -> [UInt8]? {
        var octets: [UInt8] = []
        octets.reserveCapacity(text.underestimatedCount / 4 * 3)
        var bits: UInt32 = 0
        var digits = 0
        var paddings = 0
        for octet in text {
            if let value = value(of: octet) {
                guard paddings == 0 else { return nil }
                bits = bits << 6 | value  // 24 bits at most are of interest; older ones are shifted out
                digits &+= 1
                if digits & 3 == 0 {
                    octets.append(UInt8(truncatingIfNeeded: bits >> 16))
                    octets.append(UInt8(truncatingIfNeeded: bits >> 8))
                    octets.append(UInt8(truncatingIfNeeded: bits))
                }
            } else if octet == padding {
                paddings += 1
                guard paddings <= 2 else { return nil }
            } else if !octet.isFoldingWhiteSpace {
                return nil
            }
        }
        switch (digits & 3, paddings) {
        case (0, 0): break
        case (2, 0), (2, 2): octets.append(UInt8(truncatingIfNeeded: bits >> 4))
        case (3, 0), (3, 1):
            octets.append(UInt8(truncatingIfNeeded: bits >> 10))
            octets.append(UInt8(truncatingIfNeeded: bits >> 2))
        default: return nil
        }
        return octets
    }

    /// The text for some octets, padded, in one piece.
    public static func encode(_ octets: some Sequence<UInt8>) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(octets.underestimatedCount / 3 * 4 + 4)
        var bits: UInt32 = 0
        var held = 0
        for octet in octets {
            bits = bits << 8 | UInt32(octet)
            held += 1
            if held == 3 {
                for shift: UInt32 in [18, 12, 6, 0] { text.append(digit(bits >> shift)) }
                bits = 0
                held = 0
            }
        }
        if held == 1 {
            text += [digit(bits >> 2), digit(bits << 4), padding, padding]
        } else if held == 2 {
            text += [digit(bits >> 10), digit(bits >> 4), digit(bits << 2), padding]
        }
        return text
    }

    private static func digit(_ bits: UInt32) -> UInt8 { alphabet[Int(bits & 63)] }

    private static func value(of octet: UInt8) -> UInt32? {
        switch octet {
        case 0x41...0x5A: UInt32(octet) - 0x41
        case 0x61...0x7A: UInt32(octet) - 0x61 + 26
        case 0x30...0x39: UInt32(octet) - 0x30 + 52
        case 0x2B: 62
        case 0x2F: 63
        default: nil
        }
    }
}
