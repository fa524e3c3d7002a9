// How header fields are made ready for hashing (RFC 6376 §3.4.1, §3.4.2). A type of its own, apart from the body's,
// so that the two halves of `c=` cannot be mixed up. Header fields are hashed whole; only the body streams.

import PosternMail

/// The header's half of `c=`. Source: RFC 6376 §3.4.
public enum HeaderCanonicalization: String, Hashable, Sendable, CaseIterable {
    case simple, relaxed

    /// Appends a field without the CRLF that ends it.
    func append(_ field: HeaderField, to octets: inout [UInt8]) {
        switch self {
        case .simple:  // RFC 6376 §3.4.1: no change at all
            octets += field.name
            octets.append(0x3A)
            octets += field.value
        case .relaxed:
            // RFC 6376 §3.4.2: name in lower case, no WSP around the colon
            octets += field.lowercasedName
            octets.append(0x3A)
            Self.appendRelaxed(value: field.value, to: &octets)
        }
    }

    /// RFC 6376 §3.4.2: unfold, make each run of WSP one SP, drop WSP at both ends.
    private static func appendRelaxed(value: [UInt8], to octets: inout [UInt8]) {
        let value = value.span
        octets.reserveCapacity(octets.count + value.count + 2)
        var hasText = false
        var spaceWaits = false
        var at = 0
        while at < value.count {
            let octet = value[at]
            at += 1
            if octet == 0x0D, at < value.count, value[at] == 0x0A {  // a fold's CRLF; a bare CR or LF is text
                at += 1
            } else if octet.isWSP {
                spaceWaits = true
            } else {
                if spaceWaits, hasText { octets.append(0x20) }
                spaceWaits = false
                hasText = true
                octets.append(octet)
            }
        }
    }
}
