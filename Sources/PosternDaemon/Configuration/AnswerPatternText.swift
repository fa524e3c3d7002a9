// Which answers of a DNS list count, in the syntax of postscreen_dnsbl_sites (postconf(5)): four octets, each a number
// or `[…]` with numbers and ranges: `127.0.0.[2..4;10]`. Source of what lists may answer: RFC 5782 §2.1, §2.3.

internal import PosternAdmission
internal import PosternMail

extension AnswerPattern {
    /// Most ranges within one pair of brackets.
    private static let maxRanges = 256

    /// - Throws: `expected …, found …`.
    init(_ text: String) throws(Unfit) {
        let expectation = "an answer such as \"127.0.0.2\" or \"127.0.0.[2..4;10]\""
        guard let parts = Self.parts(text) else { throw Unfit(expected: expectation, found: text) }
        var octets: [[ClosedRange<UInt8>]] = []
        for part in parts {
            guard let ranges = Self.ranges(part) else { throw Unfit(expected: expectation, found: text) }
            octets.append(ranges)
        }
        guard octets.count == 4 else { throw Unfit(expected: expectation, found: text) }
        guard octets.first == [127...127] else {
            throw Unfit(expected: "an answer within 127.0.0.0/8 (RFC 5782 §2.1)", found: text)
        }
        // 127.255/16 tells of trouble with the query, and 127.0.0.1 that the zone's domain is parked or wrong.
        let isError = octets.dropFirst().first.map(Self.isOnly(255)) ?? false
        let isNothing = zip(octets, [127, 0, 0, 1] as [UInt8]).allSatisfy { Self.isOnly($1)($0) }
        guard !isError, !isNothing else {
            throw Unfit(expected: "answers that can count: 127.0.0.1 and 127.255.0.0/16 never do", found: text)
        }
        self.init(octets: octets)
    }

    private static func isOnly(_ octet: UInt8) -> ([ClosedRange<UInt8>]) -> Bool {
        { ranges in ranges.allSatisfy { $0 == octet...octet } }
    }

    /// Splits at dots that are not within brackets.
    private static func parts(_ text: String) -> [Substring]? {
        var parts: [Substring] = []
        var rest = Substring(text)
        while parts.count < 5 {
            let end =
                rest.hasPrefix("[") ? rest.firstIndex(of: "]").map { rest.index(after: $0) } : rest.firstIndex(of: ".")
            guard let end else {
                if rest.hasPrefix("[") { return nil }
                return parts + [rest]
            }
            parts.append(rest[..<end])
            rest = rest[end...]
            if rest.isEmpty { return parts }
            guard rest.first == "." else { return nil }
            rest = rest.dropFirst()
        }
        return nil
    }

    private static func ranges(_ part: Substring) -> [ClosedRange<UInt8>]? {
        guard part.hasPrefix("[") else { return octet(part).map { [$0...$0] } }
        guard part.hasSuffix("]") else { return nil }
        var ranges: [ClosedRange<UInt8>] = []
        for piece in part.dropFirst().dropLast().split(separator: ";", omittingEmptySubsequences: false) {
            guard ranges.count < maxRanges, let range = range(piece) else { return nil }
            ranges.append(range)
        }
        return ranges.isEmpty ? nil : ranges
    }

    private static func range(_ piece: Substring) -> ClosedRange<UInt8>? {
        if let number = octet(piece) { return number...number }
        guard let dots = piece.firstRange(of: ".."), let least = octet(piece[..<dots.lowerBound]),
            let most = octet(piece[dots.upperBound...]), least <= most
        else { return nil }
        return least...most
    }

    private static func octet(_ text: Substring) -> UInt8? {
        guard (1...3).contains(text.utf8.count), text.utf8.allSatisfy(\.isASCIIDigit) else { return nil }
        return UInt8(text)
    }
}
