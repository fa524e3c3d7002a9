// Which header fields a signature covers, and their hash (RFC 6376 §3.7, §5.4.2). Fields are indexed by name once for a
// message, so that a thousand names in `h=` over ten thousand fields stay a thousand look-ups.

import PosternMail

/// A message's fields by name.
struct HeaderIndex {
    let header: [HeaderField]
    /// Positions of the fields of each name (lower case), from the bottom up.
    private let positions: [[UInt8]: [Int]]

    init(_ header: [HeaderField]) {
        self.header = header
        var positions: [[UInt8]: [Int]] = [:]
        for (position, field) in header.enumerated().reversed() {
            positions[field.lowercasedName, default: []].append(position)
        }
        self.positions = positions
    }

    /// How many fields have this name (lower case).
    func count(of name: [UInt8]) -> Int { positions[name]?.count ?? 0 }

    /// The fields that names select: each further mention of a name takes the next field of that name from the bottom
    /// up, and nothing when there is none left.
    /// - Parameter own: position of the signature itself, which its own `h=` never means (RFC 6376 §5.4).
    /// - Source: RFC 6376 §5.4.2.
    func fields(named names: [[UInt8]], except own: Int?) -> [HeaderField] {
        var taken: [[UInt8]: Int] = [:]
        var fields: [HeaderField] = []
        fields.reserveCapacity(names.count)
        for name in names {
            guard let candidates = positions[name] else { continue }
            var next = taken[name, default: 0]
            if let position = candidates.dropFirst(next).first, position == own { next += 1 }
            if let position = candidates.dropFirst(next).first {
                fields.append(header[position])
                next += 1
            }
            taken[name] = next
        }
        return fields
    }
}

/// The hash that a signature signs.
enum SignedHeader {
    /// Most octets of header fields hashed for one signature. Postfix lets one field have 100 KiB (header_size_limit).
    static let maxOctets = 1024 * 1024
    /// Octets collected before they are hashed.
    private static let bufferOctets = 16 * 1024

    /// Hashes the fields, each ended by CRLF, and then the signature's own field with an empty `b=` and no CRLF.
    /// - Returns: `nil` when the fields have more than `maxOctets` octets.
    /// - Source: RFC 6376 §3.7.
    static func hash(
        _ fields: [HeaderField], signature: HeaderField, canonicalization: HeaderCanonicalization,
        maxOctets: Int = SignedHeader.maxOctets
    ) throws(CryptoError) -> [UInt8]? {
        var octets = signature.octets
        for field in fields {
            octets += field.octets
            guard octets <= maxOctets else { return nil }
        }
        let context = try DigestContext()
        var buffer: [UInt8] = []
        buffer.reserveCapacity(min(octets, bufferOctets))
        for field in fields {
            canonicalization.append(field, to: &buffer)
            buffer += [0x0D, 0x0A]
            if buffer.count >= bufferOctets {
                try context.update(buffer.span)
                buffer.removeAll(keepingCapacity: true)
            }
        }
        canonicalization.append(signature, to: &buffer)
        try context.update(buffer.span)
        return try context.finish()
    }
}
