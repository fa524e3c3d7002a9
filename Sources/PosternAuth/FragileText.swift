// What relays may alter in a message, so that a signature over it fails (RFC 6376 §5.3): they may turn 8-bit text into
// quoted-printable, wrap lines, or replace a CR or LF that is no line end. Streaming: chunks may be cut anywhere. It only
// looks: a signer that altered a message would break whatever else was signed in it.

public import PosternMail

/// One thing in a message that may not arrive as it was signed.
public enum Fragility: Int, Hashable, Sendable, CaseIterable {
    /// 8-bit octets in the body, and neither BODY=8BITMIME (RFC 6152) nor a Content-Transfer-Encoding of 8bit says so:
    /// a relay may take it for 7-bit text with faults, and mend it.
    case eightBit
    /// A line over 998 octets without its CRLF. Source: RFC 5322 §2.1.1; postconf(5), smtp_line_length_limit.
    case longLine
    /// A CR or LF alone. Source: RFC 5322 §2.3; postconf(5), cleanup_replace_stray_cr_lf.
    case bareLineEnd
}

public struct FragileText: Sendable {
    /// Source: RFC 5322 §2.1.1.
    public static let maxLineOctets = 998

    private var isDeclared: Bool
    private var hasEightBit = false
    private var hasLongLine = false
    private var hasBareLineEnd = false
    private var lineOctets = 0
    private var endsInCR = false

    /// - Parameter declaresEightBit: MAIL FROM came with BODY=8BITMIME (RFC 6152 §3).
    public init(declaresEightBit: Bool) { isDeclared = declaresEightBit }

    /// A field of the message's header.
    public mutating func add(_ field: HeaderField) {
        var line = field.name.count + ":".utf8.count
        var last: UInt8 = 0
        for octet in field.value {
            if last == 0x0D, octet != 0x0A { hasBareLineEnd = true }
            if octet == 0x0A {
                if last != 0x0D { hasBareLineEnd = true }
                line = 0
            } else if octet != 0x0D {
                line += 1
            }
            if line > Self.maxLineOctets { hasLongLine = true }
            last = octet
        }
        if last == 0x0D { hasBareLineEnd = true }
        // RFC 2045 §6.1: what a whole body has, its parts' 8-bit text included (§6.4).
        if !isDeclared, field.isNamed("Content-Transfer-Encoding"),
            field.value[...].trimmingFoldingWhiteSpace.equalsIgnoringASCIICase("8bit")
        {
            isDeclared = true
        }
    }

    /// A piece of the body.
    public mutating func update(_ chunk: Span<UInt8>) {
        let words = chunk.bytes
        var from = 0
        while from < chunk.count {
            if !endsInCR, chunk.count - from >= 8 {
                let word = UInt64(littleEndian: words.unsafeLoadUnaligned(fromByteOffset: from, as: UInt64.self))
                if Self.isWithinLine(word) {
                    hasEightBit = hasEightBit || word & 0x8080_8080_8080_8080 != 0
                    lineOctets += 8
                    hasLongLine = hasLongLine || lineOctets > Self.maxLineOctets
                    from += 8
                    continue
                }
            }
            take(chunk[from])
            from += 1
        }
    }

    /// Neither CR nor LF is among eight octets.
    private static func isWithinLine(_ word: UInt64) -> Bool {
        // An octet that is zero borrows from its highest bit; one over 0x7F is masked out.
        func hasZero(_ word: UInt64) -> Bool {
            (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080 != 0
        }
        return !hasZero(word ^ 0x0D0D_0D0D_0D0D_0D0D) && !hasZero(word ^ 0x0A0A_0A0A_0A0A_0A0A)
    }

    private mutating func take(_ octet: UInt8) {
        if octet == 0x0A {
            if !endsInCR { hasBareLineEnd = true }
            lineOctets = 0
        } else {
            if endsInCR { hasBareLineEnd = true }
            // A CR before LF is not of the line.
            if octet != 0x0D {
                lineOctets += 1
                hasLongLine = hasLongLine || lineOctets > Self.maxLineOctets
            }
            hasEightBit = hasEightBit || octet > 0x7F
        }
        endsInCR = octet == 0x0D
    }

    /// What was found, when the message has ended.
    public var findings: [Fragility] {
        var found: [Fragility] = []
        if hasEightBit, !isDeclared { found.append(.eightBit) }
        if hasLongLine { found.append(.longLine) }
        if hasBareLineEnd || endsInCR { found.append(.bareLineEnd) }
        return found
    }
}
