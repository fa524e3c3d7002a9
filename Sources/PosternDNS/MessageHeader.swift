// The header of a DNS message (RFC 1035 §4.1.1, flags AD and CD of RFC 4035 §3) as a value, and how to write one.

/// The twelve octets before the question.
public struct MessageHeader: Hashable, Sendable {
    public var id: UInt16
    /// QR, Opcode, AA, TC, RD, RA, Z, AD, CD and RCODE as they stand in the message.
    public var flags: UInt16
    public var questionCount: UInt16 = 0
    public var answerCount: UInt16 = 0
    public var authorityCount: UInt16 = 0
    public var additionalCount: UInt16 = 0

    /// Length of a header in octets.
    static let octets = 12

    public init(id: UInt16, flags: UInt16) {
        self.id = id
        self.flags = flags
    }

    static let qr: UInt16 = 0x8000
    static let opcodeMask: UInt16 = 0x7800
    static let aa: UInt16 = 0x0400
    static let tc: UInt16 = 0x0200
    static let rd: UInt16 = 0x0100
    static let ra: UInt16 = 0x0080
    static let ad: UInt16 = 0x0020
    static let cd: UInt16 = 0x0010
    static let rcodeMask: UInt16 = 0x000F

    func has(_ flag: UInt16) -> Bool { flags & flag != 0 }
    /// 0 is QUERY.
    var opcode: UInt16 { (flags & Self.opcodeMask) >> 11 }
    public var isReply: Bool { has(Self.qr) }
    public var isTruncated: Bool { has(Self.tc) }
    public var isAuthenticated: Bool { has(Self.ad) }
    public var rcode: ResponseCode { ResponseCode(rawValue: flags & Self.rcodeMask) }

    init(from reader: inout WireReader) throws(WireError) {
        self.init(id: try reader.uint16(), flags: try reader.uint16())
        questionCount = try reader.uint16()
        answerCount = try reader.uint16()
        authorityCount = try reader.uint16()
        additionalCount = try reader.uint16()
    }

    func append(to message: inout [UInt8]) {
        for field in [id, flags, questionCount, answerCount, authorityCount, additionalCount] {
            message.append(uint16: field)
        }
    }
}

/// How the asked server fared. Source: RFC 1035 §4.1.1, RFC 6891 §9.
public struct ResponseCode: Hashable, Sendable, RawRepresentable, CustomStringConvertible {
    public var rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    public static let noError = ResponseCode(rawValue: 0)
    public static let formatError = ResponseCode(rawValue: 1)
    public static let serverFailure = ResponseCode(rawValue: 2)
    public static let nameError = ResponseCode(rawValue: 3)
    public static let notImplemented = ResponseCode(rawValue: 4)
    public static let refused = ResponseCode(rawValue: 5)
    /// The query's EDNS version is unknown here; its upper bits travel in the OPT record.
    public static let badVersion = ResponseCode(rawValue: 16)
    /// The query's server cookie is missing or wrong. Source: RFC 7873 §8.
    public static let badCookie = ResponseCode(rawValue: 23)

    public var description: String {
        switch self {
        case .noError: "NOERROR"
        case .formatError: "FORMERR"
        case .serverFailure: "SERVFAIL"
        case .nameError: "NXDOMAIN"
        case .notImplemented: "NOTIMP"
        case .refused: "REFUSED"
        case .badVersion: "BADVERS"
        case .badCookie: "BADCOOKIE"
        default: "RCODE\(rawValue)"
        }
    }
}

extension [UInt8] {
    mutating func append(uint16 value: UInt16) {
        append(UInt8(truncatingIfNeeded: value >> 8))
        append(UInt8(truncatingIfNeeded: value))
    }

    mutating func append(uint32 value: UInt32) {
        append(uint16: UInt16(truncatingIfNeeded: value >> 16))
        append(uint16: UInt16(truncatingIfNeeded: value))
    }
}
