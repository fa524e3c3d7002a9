// One field of a message's header (RFC 5322 §2.2), octet for octet: DKIM's simple canonicalization needs it untouched.

public struct HeaderField: Hashable, Sendable {
    /// The octets before the colon as they came, WSP before the colon included.
    public var name: [UInt8]
    /// The octets after the colon, with the leading white space, folds as CRLF WSP, and without the CRLF that ends it.
    public var value: [UInt8]

    public init(name: [UInt8], value: [UInt8]) {
        self.name = name
        self.value = value
    }

    /// A field of our own making; `value` gets the SP after the colon.
    public init(_ name: String, _ value: String) {
        self.init(name: Array(name.utf8), value: [0x20] + Array(value.utf8))
    }

    /// Whether this is a field of that name; case and WSP before the colon do not count (RFC 5322 §1.2.2, §4.5).
    public func isNamed(_ other: StaticString) -> Bool {
        if name.count == other.utf8CodeUnitCount { return name.equalsIgnoringASCIICase(other) }
        return name.trimmingFoldingWhiteSpace.equalsIgnoringASCIICase(other)
    }

    /// The name for comparing: lower case, without WSP before the colon.
    public var lowercasedName: [UInt8] { name.trimmingFoldingWhiteSpace.asciiLowercased }

    /// How many octets the field takes on the wire, colon and CRLF included.
    public var octets: Int { name.count + value.count + 3 }
}
