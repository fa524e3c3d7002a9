// MessagePack, as far as scripts need it: whole numbers from 0, octets and arrays. Redis' Lua reads and writes it in C
// (cmsgpack), so a value's fields cost a script nothing to take apart. Source: github.com/msgpack/msgpack, spec.md.

struct MessagePackWriter {
    private(set) var octets: [UInt8] = []

    init() { octets.reserveCapacity(256) }

    /// Negative numbers are none of ours: 0.
    mutating func append(_ number: Int) {
        switch number {
        case ..<0: octets.append(0)
        case 0..<0x80: octets.append(UInt8(number))
        case 0x80..<0x100: octets += [0xCC, UInt8(number)]
        case 0x100..<0x1_0000: append(0xCD, number, octets: 2)
        case 0x1_0000..<0x1_0000_0000: append(0xCE, number, octets: 4)
        default: append(0xCF, number, octets: 8)
        }
    }

    mutating func append(_ number: Int64) { append(Int(number)) }
    mutating func append(_ flag: Bool) { append(flag ? 1 : 0) }

    /// Of so many elements, which follow.
    mutating func beginArray(_ count: Int) {
        if count < 16 { octets.append(0x90 | UInt8(count)) } else { append(0xDD, count, octets: 4) }
    }

    mutating func append(octets text: [UInt8]) {
        if text.count < 32 { octets.append(0xA0 | UInt8(text.count)) } else { append(0xDB, text.count, octets: 4) }
        octets += text
    }

    private mutating func append(_ kind: UInt8, _ number: Int, octets count: Int) {
        octets.append(kind)
        for shift in stride(from: 8 * (count - 1), through: 0, by: -8) {
            octets.append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }
}

/// Reads one thing after another; nil for anything else than was asked for.
struct MessagePackReader {
    private var rest: ArraySlice<UInt8>

    init(_ octets: [UInt8]) { rest = octets[...] }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func number() -> Int? {
        guard let kind = rest.popFirst() else { return nil }
        switch kind {
        case 0..<0x80: return Int(kind)
        case 0xCC: return big(1)
        case 0xCD: return big(2)
        case 0xCE: return big(4)
        case 0xCF: return big(8)
        case 0xD0...0xD3:  // signed ones, for numbers that need no sign
            let count = 1 << Int(kind & 3)
            guard let first = rest.first, first < 0x80 else { return nil }
            return big(count)
        default: return nil
        }
    }

    mutating func array() -> Int? {
        guard let kind = rest.popFirst() else { return nil }
        switch kind {
        case 0x90...0x9F: return Int(kind & 15)
        case 0xDC: return big(2)
        case 0xDD: return big(4)
        case 0x80: return 0  // an empty table of Lua's may be either
        default: return nil
        }
    }

    mutating func octets(atMost most: Int) -> [UInt8]? {
        guard let kind = rest.popFirst() else { return nil }
        let count: Int? =
            switch kind {
            case 0xA0...0xBF: Int(kind & 31)
            case 0xC4, 0xD9: big(1)
            case 0xC5, 0xDA: big(2)
            case 0xC6, 0xDB: big(4)
            default: nil
            }
        guard let count, count <= most, rest.count >= count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    private mutating func big(_ count: Int) -> Int? {
        guard rest.count >= count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return Int(exactly: rest.prefix(count).reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
    }
}
