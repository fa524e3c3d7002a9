// The octets of files that daemons append to: numbers, texts, and frames with a checksum, so that a cut or damaged end is
// known for what it is. Reading is pure, and survives any octets.
//
// Numbers are LEB128, texts have their length before them; a frame is the length of its payload (32 bits, little-endian),
// the payload's CRC-32C and the payload. CRC-32C: RFC 3720 §B.4, Castagnoli's polynomial.

public enum FramedOctets {
    public static let frameHead = 8

    private static let crcTable: [UInt32] = (0..<256).map { number in
        (0..<8).reduce(UInt32(number)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
    }

    public static func crc(_ octets: ArraySlice<UInt8>) -> UInt32 {
        let table = crcTable
        var value = UInt32.max
        for octet in octets { value = table[Int(UInt8(truncatingIfNeeded: value) ^ octet)] ^ value >> 8 }
        return ~value
    }

    // MARK: Writing

    public static func append(_ number: UInt64, to octets: inout [UInt8]) {
        var rest = number
        while rest >= 0x80 {
            octets.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        octets.append(UInt8(rest))
    }

    /// - Parameter limit: what is longer is cut.
    @inlinable public static func append(  // or other modules' texts were copied octet by octet
        text: some Collection<UInt8>, atMost limit: Int, to octets: inout [UInt8]
    ) {
        let text = text.prefix(limit)
        append(UInt64(text.count), to: &octets)
        octets.append(contentsOf: text)
    }

    public static func append(word: UInt32, to octets: inout [UInt8]) {
        for shift in [0, 8, 16, 24] as [UInt32] { octets.append(UInt8(truncatingIfNeeded: word >> shift)) }
    }

    public static func append(frame payload: [UInt8], to octets: inout [UInt8]) {
        append(word: UInt32(payload.count), to: &octets)
        append(word: crc(payload[...]), to: &octets)
        octets += payload
    }

    // MARK: Reading

    /// What a file goes on with.
    public enum Frame {
        /// Nothing that is whole: the rest was not written yet, or never will be.
        case cut
        /// A length that no frame has; what is behind it cannot be found.
        case tooLong
        /// - Parameter isIntact: its checksum is right.
        case whole(payload: ArraySlice<UInt8>, isIntact: Bool)
    }

    /// Takes the next frame, if it is whole.
    /// - Parameter limit: the longest payload.
    public static func frame(_ rest: inout ArraySlice<UInt8>, atMost limit: Int) -> Frame {
        guard let length = word(rest), let crc = word(rest.dropFirst(4)) else { return .cut }
        guard length <= limit else { return .tooLong }
        let behind = rest.dropFirst(frameHead)
        guard behind.count >= Int(length) else { return .cut }
        let payload = behind.prefix(Int(length))
        rest = behind.dropFirst(Int(length))
        return .whole(payload: payload, isIntact: self.crc(payload) == crc)
    }

    public static func word(_ octets: ArraySlice<UInt8>) -> UInt32? {
        guard octets.count >= 4 else { return nil }
        return octets.prefix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// - Returns: nil for what is no number, or needs more than 64 bits.
    public static func number(_ rest: inout ArraySlice<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard let octet = rest.popFirst() else { return nil }
            let bits = UInt64(octet & 0x7F)
            guard (bits << shift) >> shift == bits else { return nil }
            value |= bits << shift
            if octet < 0x80 { return value }
        }
        return nil
    }

    /// - Returns: nil where the text is longer than the limit or cut.
    public static func text(_ rest: inout ArraySlice<UInt8>, atMost limit: Int) -> ArraySlice<UInt8>? {
        guard let count = number(&rest), count <= UInt64(limit), rest.count >= Int(count) else { return nil }
        let text = rest.prefix(Int(count))
        rest = rest.dropFirst(Int(count))
        return text
    }
}
