// Which answers of a DNS list count: a set of IPv4 addresses. Source of what lists may answer: RFC 5782 §2.1, §2.3.

public import PosternMail

/// A set of IPv4 addresses.
public struct AnswerPattern: Hashable, Sendable {
    /// For each octet of an address what it may be.
    private let octets: [[ClosedRange<UInt8>]]

    /// - Parameter octets: four, each with what it may be.
    public init(octets: [[ClosedRange<UInt8>]]) { self.octets = octets }

    /// Whether it holds the address; IPv6 addresses never.
    public func contains(_ address: IPAddress) -> Bool {
        guard case .v4 = address else { return false }
        return zip(octets, address.octets).allSatisfy { ranges, octet in ranges.contains { $0.contains(octet) } }
    }

    /// Whether some address is in both.
    public func overlaps(_ other: AnswerPattern) -> Bool {
        zip(octets, other.octets).allSatisfy { ranges, others in
            ranges.contains { range in others.contains { range.overlaps($0) } }
        }
    }
}

extension AnswerPattern: CustomStringConvertible {
    /// As postscreen_dnsbl_sites has it: `127.0.0.[2..4;10]`. Source: postconf(5).
    public var description: String {
        octets.map { ranges in
            let pieces = ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)..\($0.upperBound)" }
            return ranges.count == 1 && ranges.first?.count == 1
                ? pieces.joined() : "[\(pieces.joined(separator: ";"))]"
        }.joined(separator: ".")
    }
}
