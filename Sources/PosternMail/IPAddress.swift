// An IPv4 or IPv6 address as a value: strict text forms in, RFC 5952 out. No scopes, no ports, no names.

public enum IPAddress: Hashable, Sendable {
    /// The 32 bits, most significant octet first in the text form.
    case v4(UInt32)
    /// The upper and lower 64 bits.
    case v6(UInt64, UInt64)

    /// The same address with IPv4-mapped IPv6 (`::ffff:192.0.2.1`) made IPv4. Source: RFC 4291 §2.5.5.2.
    public var unmapped: IPAddress {
        if case .v6(0, let low) = self, low >> 32 == 0xFFFF { return .v4(UInt32(truncatingIfNeeded: low)) }
        return self
    }

    /// 4 or 16 octets, network order.
    public init?(octets: some Collection<UInt8>) {
        switch octets.count {
        case 4: self = .v4(octets.reduce(0) { $0 << 8 | UInt32($1) })
        case 16:
            let high = octets.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            self = .v6(high, octets.dropFirst(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
        default: return nil
        }
    }

    /// 4 or 16 octets, network order.
    public var octets: [UInt8] {
        switch self {
        case .v4(let bits): (0..<4).map { UInt8(truncatingIfNeeded: bits >> (24 - 8 * UInt32($0))) }
        case .v6(let high, let low):
            [high, low].flatMap { half in (0..<8).map { UInt8(truncatingIfNeeded: half >> (56 - 8 * UInt64($0))) } }
        }
    }

    /// Whether it is 127/8 or ::1, mapped forms included.
    public var isLoopback: Bool {
        switch unmapped {
        case .v4(let bits): bits >> 24 == 127
        case .v6(let high, let low): high == 0 && low == 1
        }
    }

    /// Strict text forms: `192.0.2.1` (no leading zeros), `2001:db8::1`, `::ffff:192.0.2.1`. Source: RFC 4291 §2.2.
    public init?(_ text: some StringProtocol) {
        let octets = Array(text.utf8.prefix(46))
        guard octets.count < 46 else { return nil }
        if octets.contains(0x3A) {
            guard let groups = Self.groups(octets) else { return nil }
            let high = groups.prefix(4).reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
            self = .v6(high, groups.dropFirst(4).reduce(UInt64(0)) { $0 << 16 | UInt64($1) })
        } else {
            guard let bits = Self.dottedQuad(octets[...]) else { return nil }
            self = .v4(bits)
        }
    }

    /// Without arrays on the way: a policy service reads an address for each request.
    private static func dottedQuad(_ text: ArraySlice<UInt8>) -> UInt32? {
        var bits: UInt32 = 0
        var (value, digits, dots) = (UInt32(0), 0, 0)
        for octet in text {
            if octet == 0x2E {
                guard digits > 0, dots < 3 else { return nil }
                bits = bits << 8 | value
                (value, digits, dots) = (0, 0, dots + 1)
            } else {
                guard octet.isASCIIDigit, digits == 0 || value > 0 else { return nil }  // no leading zeros
                value = value * 10 + UInt32(octet - 0x30)
                digits += 1
                guard value <= 255 else { return nil }
            }
        }
        guard digits > 0, dots == 3 else { return nil }
        return bits << 8 | value
    }

    /// The eight 16-bit groups of an IPv6 text, or nil.
    private static func groups(_ text: [UInt8]) -> [UInt16]? {
        var halves: [[UInt16]] = [[]]
        var rest = text[...]
        if rest.starts(with: [0x3A, 0x3A]) {
            halves.append([])
            rest = rest.dropFirst(2)
            if rest.isEmpty { return Array(repeating: 0, count: 8) }
        } else if rest.first == 0x3A {
            return nil
        }
        while true {
            let part = rest.prefix { $0 != 0x3A }
            rest = rest.dropFirst(part.count)
            if part.contains(0x2E) {
                guard rest.isEmpty, let quad = dottedQuad(part) else { return nil }
                halves[halves.endIndex - 1] += [UInt16(quad >> 16), UInt16(quad & 0xFFFF)]
                break
            }
            guard (1...4).contains(part.count), let value = UInt16(String(decoding: part, as: UTF8.self), radix: 16),
                part.first != 0x2B, part.first != 0x2D
            else { return nil }
            halves[halves.endIndex - 1].append(value)
            guard rest.popFirst() != nil else { break }
            if rest.first == 0x3A {
                guard halves.count == 1 else { return nil }
                halves.append([])
                rest = rest.dropFirst()
                if rest.isEmpty { break }
            }
        }
        let count = halves.reduce(0) { $0 + $1.count }
        guard let head = halves.first, let tail = halves.last else { return nil }
        if halves.count == 1 { return count == 8 ? head : nil }
        guard count <= 7 else { return nil }
        return head + Array(repeating: 0, count: 8 - count) + tail
    }
}

extension IPAddress: CustomStringConvertible {
    /// The canonical text. Source: RFC 5952 §4; IPv4-mapped addresses with a dotted quad (§5).
    public var description: String {
        switch self {
        case .v4(let bits): return "\(bits >> 24).\(bits >> 16 & 255).\(bits >> 8 & 255).\(bits & 255)"
        case .v6(0, let low) where low >> 32 == 0xFFFF: return "::ffff:\(unmapped)"
        case .v6(let high, let low):
            let groups = [high, low].flatMap { half in
                (0..<4).map { UInt16(truncatingIfNeeded: half >> (48 - 16 * UInt64($0))) }
            }
            var best = 0..<0
            var start = 0  // the longest run of at least two zero groups, first wins
            for (index, group) in groups.enumerated() {
                if group != 0 {
                    start = index + 1
                } else if index + 1 - start > max(best.count, 1) {
                    best = start..<(index + 1)
                }
            }
            func hex(_ part: some Sequence<UInt16>) -> String {
                part.map { String($0, radix: 16) }.joined(separator: ":")
            }
            return best.isEmpty
                ? hex(groups) : hex(groups.prefix(best.lowerBound)) + "::" + hex(groups.dropFirst(best.upperBound))
        }
    }
}
