// What an OPT record carries (RFC 6891 §6.1.2): options by their number. Read here are cookies (RFC 7873 §4) and extended
// errors (RFC 8914 §2); other options are kept as they came, and nobody looks at them.

/// One option of an OPT record.
public struct EDNSOption: Hashable, Sendable {
    public var code: UInt16
    public var octets: [UInt8]

    public init(code: UInt16, octets: [UInt8]) {
        self.code = code
        self.octets = octets
    }

    /// A cookie. Source: RFC 7873 §4.
    public static let cookie: UInt16 = 10
    /// Why the answer is what it is. Source: RFC 8914 §2.
    public static let extendedError: UInt16 = 15

    /// Most options read from one record; a query has one or two, a reply as many.
    static let maxOptions = 64

    /// The options of an OPT record's data.
    static func read(_ octets: [UInt8]) throws(WireError) -> [EDNSOption] {
        guard !octets.isEmpty else { return [] }
        var reader = WireReader(octets)
        var options: [EDNSOption] = []
        while !reader.isAtEnd {
            let code = try reader.uint16()
            let value = try reader.take(Int(try reader.uint16()))
            if options.count < maxOptions { options.append(EDNSOption(code: code, octets: Array(value))) }
        }
        return options
    }
}

/// A cookie option's value. Source: RFC 7873 §4.
public struct DNSCookie: Hashable, Sendable {
    /// The client's own 8 octets.
    public var client: [UInt8]
    /// What the server gave it: nothing, or 8 to 32 octets.
    public var server: [UInt8]

    public static let clientOctets = 8
    static let serverOctets = 8...32

    public init(client: [UInt8], server: [UInt8] = []) {
        self.client = client
        self.server = server
    }

    /// - Returns: `nil` for a length that no cookie has.
    public init?(_ octets: [UInt8]) {
        client = Array(octets.prefix(Self.clientOctets))
        server = Array(octets.dropFirst(Self.clientOctets))
        guard client.count == Self.clientOctets, server.isEmpty || Self.serverOctets.contains(server.count) else {
            return nil
        }
    }

    public var option: EDNSOption { EDNSOption(code: EDNSOption.cookie, octets: client + server) }
}

extension [EDNSOption] {
    /// The value of the first cookie option, of whatever length. Source: RFC 7873 §5.3: the others are ignored.
    public var cookieOctets: [UInt8]? { first { $0.code == EDNSOption.cookie }?.octets }

    /// The INFO-CODEs of all extended errors. Source: RFC 8914 §2.
    public var extendedErrors: [UInt16] {
        compactMap { option in
            guard option.code == EDNSOption.extendedError, option.octets.count >= 2 else { return nil }
            return option.octets.prefix(2).reduce(0) { $0 << 8 | UInt16($1) }
        }
    }
}

extension ReplyMessage {
    /// The server has validated, and what it found is bogus: the failure is the answer, and no older one, nor that of
    /// a server that does not validate, may stand in for it. Source: RFC 8914 §4.7 to §4.13, RFC 4035 §5.5.
    public var isBogus: Bool {
        guard rcode == .serverFailure else { return false }
        return options.extendedErrors.contains { (6...12).contains($0) }
    }
}
