// From libmilter's C strings and addresses to values. What comes is whatever a stranger sent: any octets but NUL.

import CMilter
import Glibc
import PosternMail

enum MilterValues {
    /// The octets of a C string; empty for NULL.
    static func octets(_ text: UnsafePointer<CChar>?) -> [UInt8] {
        guard let text else { return [] }
        return [UInt8](UnsafeRawBufferPointer(start: text, count: strlen(text)))
    }

    /// A header field's value: folds, which Postfix hands over as bare LF, become CRLF again as they were on the wire.
    static func headerValue(_ text: UnsafePointer<CChar>?) -> [UInt8] {
        guard let text else { return [] }
        let octets = UnsafeRawBufferPointer(start: text, count: strlen(text))
        guard octets.contains(0x0A) else { return [UInt8](octets) }
        return MessageText.withCRLF(octets)
    }

    /// MAIL FROM's or RCPT TO's address without its angle brackets.
    static func path(_ text: UnsafePointer<CChar>?) -> [UInt8] {
        let octets = octets(text)
        guard octets.first == 0x3C, octets.last == 0x3E, octets.count >= 2 else { return octets }
        return Array(octets.dropFirst().dropLast())
    }

    /// ESMTP parameters, which stand behind the address. Source: sendmail's libmilter documentation, xxfi_envfrom.
    static func parameters(_ arguments: UnsafePointer<UnsafeMutablePointer<CChar>?>?) -> [[UInt8]] {
        guard var next = arguments, next.pointee != nil else { return [] }
        var parameters: [[UInt8]] = []
        // The list ends with NULL.
        for _ in 0..<maxParameters {
            next += 1
            guard let parameter = next.pointee else { break }
            parameters.append(octets(parameter))
        }
        return parameters
    }
    /// Most that are looked at; Postfix knows some ten.
    private static let maxParameters = 32

    /// The client's address and port; `nil` and 0 for a UNIX socket's client or none.
    static func address(_ address: UnsafePointer<sockaddr>?) -> (IPAddress?, UInt16) {
        guard let address else { return (nil, 0) }
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { v4 in
                (.v4(UInt32(bigEndian: v4.pointee.sin_addr.s_addr)), UInt16(bigEndian: v4.pointee.sin_port))
            }
        case AF_INET6:
            return address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { v6 in
                let octets = withUnsafeBytes(of: v6.pointee.sin6_addr) { [UInt8]($0) }
                return (IPAddress(octets: octets), UInt16(bigEndian: v6.pointee.sin6_port))
            }
        default: return (nil, 0)
        }
    }
}
