// A name in the DNS (RFC 1035 §3.1), as a value that can always be asked: labels of 1 to 63 octets, at most 255 octets
// in all. It is kept in wire form, lower-cased (RFC 4343), so that equal names are equal octets and the cache can hash it.
// U-labels become A-labels when the name is made (RFC 8616 §4); IDNA's full code point tables are deliberately not here:
// what is no valid IDNA2008 label simply names nothing.

public struct DomainName: Hashable, Sendable {
    /// Wire form without the root's zero octet: each label preceded by its length. Lower case. Empty for the root.
    public let wire: [UInt8]

    /// Longest label, in octets. Source: RFC 1035 §2.3.4.
    public static let maxLabelOctets = 63
    /// Longest name in wire form, in octets, the root's zero octet included. Source: RFC 1035 §2.3.4.
    public static let maxWireOctets = 255
    /// The root of the DNS, which has no labels.
    public static let root = DomainName(unchecked: [])

    private init(unchecked wire: [UInt8]) { self.wire = wire }

    /// Reads a name as mail writes it: labels between dots, an optional dot at the end, upper or lower case, A- or U-labels.
    ///
    /// Any octets but controls, SP and DEL may stand in a label, since SPF macros make such names; `isHostname` tells
    /// whether it is one. There are no escapes: a dot always ends a label.
    /// - Throws: which limit or rule the text breaks; the empty text is `.emptyLabel`.
    public init(text: some Collection<UInt8>) throws(DomainNameError) { try self.init(octets: Array(text)) }

    /// Of one type: other modules call the other one unspecialized, which took microseconds.
    private init(octets text: [UInt8]) throws(DomainNameError) {
        var wire: [UInt8] = []
        wire.reserveCapacity(text.count + 1)
        var rest = text[...]
        if let last = rest.last(1).first, last == 0x2E, rest.count > 1 { rest = rest.dropLast(1) }
        for label in rest.split(separator: 0x2E, omittingEmptySubsequences: false) {
            if label.contains(where: { $0 >= 0x80 }) {
                try Self.append(label: try IDNA.aLabel(of: Array(label)), to: &wire)
            } else {
                guard !label.contains(where: { $0.isASCIIControl || $0 == 0x20 }) else { throw .badOctet }
                try Self.append(label: label, to: &wire)
            }
        }
        self.wire = wire
    }

    /// Reads a name as mail writes it; see `init(text:)` for octets.
    public init(_ text: String) throws(DomainNameError) { try self.init(octets: Array(text.utf8)) }

    /// Takes labels as they are, with any octets in them, lower-casing ASCII letters.
    public init(labels: some Sequence<some Collection<UInt8>>) throws(DomainNameError) {
        var wire: [UInt8] = []
        for label in labels { try Self.append(label: label, to: &wire) }
        self.wire = wire
    }

    /// Takes a name in wire form, lower-casing ASCII letters: each label preceded by its length, any octets in it,
    /// without the root's zero octet at the end.
    public init(wire: some Collection<UInt8>) throws(DomainNameError) {
        guard wire.count < Self.maxWireOctets else { throw .nameTooLong }
        var lower: [UInt8] = []
        lower.reserveCapacity(wire.count)
        var left = 0  // octets of the label that is being read
        for octet in wire {
            if left > 0 {
                lower.append(octet.asciiLowercased)
                left -= 1
            } else {
                guard octet > 0 else { throw .emptyLabel }
                guard octet <= Self.maxLabelOctets else { throw .labelTooLong }
                lower.append(octet)
                left = Int(octet)
            }
        }
        guard left == 0 else { throw .emptyLabel }
        self.wire = lower
    }

    private static func append(label: some Collection<UInt8>, to wire: inout [UInt8]) throws(DomainNameError) {
        guard !label.isEmpty else { throw .emptyLabel }
        guard label.count <= maxLabelOctets else { throw .labelTooLong }
        guard wire.count + 1 + label.count < maxWireOctets else { throw .nameTooLong }
        wire.append(UInt8(truncatingIfNeeded: label.count))
        for octet in label { wire.append(octet.asciiLowercased) }
    }

    // MARK: Labels

    /// The labels, leftmost first; each 1 to 63 octets.
    public var labels: [ArraySlice<UInt8>] {
        var found: [ArraySlice<UInt8>] = []
        var rest = wire[...]
        while let length = rest.popFirst() {
            found.append(rest.prefix(Int(length)))
            rest = rest.dropFirst(Int(length))
        }
        return found
    }

    public var labelCount: Int {
        var count = 0
        var rest = wire[...]
        while let length = rest.popFirst() {
            count += 1
            rest = rest.dropFirst(Int(length))
        }
        return count
    }

    /// The name without its leftmost label; `nil` for the root.
    public var parent: DomainName? {
        guard let length = wire.first else { return nil }
        return DomainName(unchecked: Array(wire.dropFirst(1 + Int(length))))
    }

    /// The name's rightmost `count` labels; the whole name if it has no more.
    public func suffix(labels count: Int) -> DomainName {
        var surplus = labelCount - max(0, count)
        var rest = wire[...]
        while surplus > 0, let length = rest.popFirst() {
            rest = rest.dropFirst(Int(length))
            surplus -= 1
        }
        return DomainName(unchecked: Array(rest))
    }

    /// This name below itself: `example.com` prefixed by `_dmarc` is `_dmarc.example.com`.
    /// - Parameter prefix: one or more labels between dots, as for `init(text:)`.
    /// - Throws: when the whole is longer than a name may be; such a name cannot be asked and has no records.
    public func prefixed(_ prefix: String) throws(DomainNameError) -> DomainName {
        try prefixed(DomainName(prefix))
    }
    public func prefixed(_ prefix: DomainName) throws(DomainNameError) -> DomainName {
        guard prefix.wire.count + wire.count < Self.maxWireOctets else { throw .nameTooLong }
        return DomainName(unchecked: prefix.wire + wire)
    }

    /// Whether this name is `other` or lies below it. Every name lies below the root.
    public func isEqualOrBelow(_ other: DomainName) -> Bool {
        guard wire.count >= other.wire.count, wire.suffix(other.wire.count).elementsEqual(other.wire) else {
            return false
        }
        var surplus = wire.count - other.wire.count  // the suffix must begin where a label begins
        var rest = wire[...]
        while surplus > 0, let length = rest.popFirst() {
            surplus -= 1 + Int(length)
            rest = rest.dropFirst(Int(length))
        }
        return surplus == 0
    }

    /// Whether every label is letters, digits, hyphens and underscores, with no hyphen at its ends, and there are at
    /// least `minLabels` of them: what `d=`, `s=` and mail domains may be. Underscores are allowed since real names have them.
    public func isHostname(minLabels: Int = 1) -> Bool {
        let labels = labels
        return labels.count >= minLabels
            && labels.allSatisfy { label in
                label.first != 0x2D && label.last != 0x2D
                    && label.allSatisfy { $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2D || $0 == 0x5F }
            }
    }
}

extension DomainName {
    /// All octets in one call: an array's own hash takes them one by one, which was 5 % of a message's cost.
    public func hash(into hasher: inout Hasher) {
        wire.withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}

extension DomainName: CustomStringConvertible {
    /// Text form without the dot at the end; octets that are no graphic ASCII, dots inside labels and backslashes are
    /// escaped as `\DDD` or `\X`. The root is `.`. Source: RFC 1035 §5.1.
    public var description: String {
        guard !wire.isEmpty else { return "." }
        var text: [UInt8] = []
        text.reserveCapacity(wire.count)
        for label in labels {
            if !text.isEmpty { text.append(0x2E) }
            for octet in label {
                switch octet {
                case 0x2E, 0x5C, 0x22, 0x3B, 0x28, 0x29, 0x40, 0x24: text.append(contentsOf: [0x5C, octet])
                case 0x21...0x7E: text.append(octet)
                default: text.append(contentsOf: [0x5C, 0x30 + octet / 100, 0x30 + octet / 10 % 10, 0x30 + octet % 10])
                }
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}

/// Why a text is no name that the DNS can be asked for.
public enum DomainNameError: Error, Hashable, Sendable, CustomStringConvertible {
    case emptyLabel, labelTooLong, nameTooLong, badOctet, badULabel

    public var description: String {
        switch self {
        case .emptyLabel: "an empty label"
        case .labelTooLong: "a label of more than 63 octets"
        case .nameTooLong: "a name of more than 255 octets"
        case .badOctet: "a control character or a space"
        case .badULabel: "an internationalized label that is no valid UTF-8 or too long"
        }
    }
}

extension Collection {
    /// The last `count` elements, for collections that cannot be walked backwards.
    fileprivate func last(_ count: Int) -> SubSequence {
        self[index(startIndex, offsetBy: Swift.max(0, self.count - count))...]
    }
}
