// A limit's shape as text, for stores whose keys are text: every part of it, so that whoever lists a store's keys knows
// what they count, with no register beside them.
//
//     per%20account:sasl_username:recipients:3600s,60s
//
// Name, attributes, what is counted, spans: `s` seconds, `ms` milliseconds; `f` behind all of them for fixed windows,
// `w` for amounts of 64 bits. In a name what is not printable ASCII, colons and percent signs are `%XX`; no part has a
// colon.

internal import PosternMail

extension LimitShape {
    /// Longest name and attributes that are read; the configuration's are shorter.
    private static let maxPart = 4096

    public var text: String {
        let lengths = spans.map { $0 % 1000 == 0 ? "\($0 / 1000)s" : "\($0)ms" }.joined(separator: ",")
        let flags = (window == .fixed ? "f" : "") + (isWide ? "w" : "")
        return "\(Self.escaped(name)):\(Self.escaped(per)):\(count.rawValue):\(lengths)\(flags)"
    }

    /// - Parameter text: as it was written; nil for anything else.
    public init?(text: some StringProtocol) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 4, let name = Self.unescaped(parts[0]), let per = Self.unescaped(parts[1]),
            let count = LimitCount(rawValue: String(parts[2]))
        else { return nil }
        var lengths = parts[3]
        let isWide = lengths.last == "w"
        if isWide { lengths = lengths.dropLast() }
        let isFixed = lengths.last == "f"
        if isFixed { lengths = lengths.dropLast() }
        var spans: [Int64] = []
        for length in lengths.split(separator: ",", omittingEmptySubsequences: false).prefix(Self.maxSpans + 1) {
            let unit: Int64 = length.hasSuffix("ms") ? 1 : 1000
            guard length.last == "s", let number = Int64(length.dropLast(unit == 1 ? 2 : 1)), number >= 0,
                number <= Self.maxSpan
            else { return nil }
            spans.append(number * unit)
        }
        self.init(
            name: name, per: per, count: count, spans: spans, window: isFixed ? .fixed : .sliding, isWide: isWide)
    }

    private static func escaped(_ text: String) -> String {
        var octets: [UInt8] = []
        for octet in text.utf8 {
            switch octet {
            case 0...0x20, 0x7F...0xFF, UInt8(ascii: ":"), UInt8(ascii: "%"):
                octets.append(UInt8(ascii: "%"))
                octets += [octet >> 4, octet & 15].map { $0 < 10 ? 0x30 + $0 : 0x41 - 10 + $0 }
            default: octets.append(octet)
            }
        }
        return String(decoding: octets, as: UTF8.self)
    }

    private static func unescaped(_ text: some StringProtocol) -> String? {
        var octets: [UInt8] = []
        var rest = Array(text.utf8.prefix(maxPart + 1))[...]
        guard rest.count <= maxPart else { return nil }
        while let octet = rest.popFirst() {
            guard octet == UInt8(ascii: "%") else {
                octets.append(octet)
                continue
            }
            guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else {
                return nil
            }
            octets.append(high << 4 | low)
        }
        return String(validating: octets, as: UTF8.self)
    }

    private static func digit(_ octet: UInt8) -> UInt8? {
        switch octet {
        case 0x30...0x39: octet - 0x30
        case 0x41...0x46: octet - 0x41 + 10
        default: nil
        }
    }
}
