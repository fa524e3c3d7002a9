// A reason of Postfix's without what differs from message to message, so that the same trouble is one row of a table:
// addresses and names in brackets go, numbers become N.

internal import PosternMail

enum PlainReason {
    /// Longest reason, in octets.
    static let maxOctets = 100

    /// - Parameter text: `<bo@example.net>: Recipient address rejected: Greylisted, try again in 300 seconds`.
    /// - Returns: `Recipient address rejected: Greylisted, try again in N seconds`.
    static func of(_ text: ArraySlice<UInt8>) -> [UInt8] {
        var rest = text
        if let name = rest.inAngleBrackets, rest[name.endIndex...].begins(with: ">: ") {
            rest = rest[name.endIndex...].dropFirst(3)
        }
        var plain: [UInt8] = []
        plain.reserveCapacity(maxOctets)
        var isInNumber = false
        while let octet = rest.popFirst(), plain.count < maxOctets {
            switch octet {
            case UInt8(ascii: "<"):
                plain += "<>".utf8
                rest = rest.place(of: UInt8(ascii: ">")).map { rest[($0 + 1)...] } ?? []
            case UInt8(ascii: "["):
                plain += "[]".utf8
                rest = rest.place(of: UInt8(ascii: "]")).map { rest[($0 + 1)...] } ?? []
            case 0x30...0x39:
                if !isInNumber { plain.append(UInt8(ascii: "N")) }
            default: plain.append(octet)
            }
            isInNumber = octet.isASCIIDigit
        }
        return plain
    }
}
