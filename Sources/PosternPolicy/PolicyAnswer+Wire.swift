// A policy answer as Postfix reads it: `action=` with the text of an access(5) table, and an empty line. What is
// written here decides what Postfix's check_table_result makes of it, which takes OK, RELAY, PERMIT and a text of
// digits alone as the end of its restrictions, and an unknown word as the name of a restriction: no such text can be
// made here. Postfix expands no macros in it. Source: access(5), SMTPD_POLICY_README, Postfix src/smtpd/smtpd_check.c.

import PosternMail

/// Why an answer cannot be put into Postfix's words; the service that gave it is wrong.
enum UnspeakableAnswer: Error, Hashable, Sendable, CustomStringConvertible {
    case fieldName, filter, address, tooLong

    var description: String {
        switch self {
        case .fieldName: "a header field's name that is none"
        case .filter: "a content filter that is not transport:destination"
        case .address: "an address that is not user@domain on one line"
        case .tooLong: "an answer of more than \(PolicyAnswer.maxWireOctets) octets"
        }
    }
}

extension PolicyAnswer {
    /// Longest line, `action=` and LF included, in octets: what is an SMTP reply must fit into one (RFC 5321
    /// §4.5.3.1.5).
    static let maxWireOctets = 512

    /// No opinion; also what is answered when we have no answer of our own.
    static let dunnoWire = Array("action=DUNNO\n\n".utf8)

    /// - Returns: the octets to send. Texts are made printable and cut to fit; what Postfix acts on never is.
    func wire() throws(UnspeakableAnswer) -> [UInt8] {
        switch self {
        case .dunno: return Self.dunnoWire
        case .reject(let reply):
            return try Self.wire("\(reply.code) \(Self.status(reply, class: reply.code / 100))", reply.text)
        case .defer(let reply):
            // What is meant to be tried again must never be final, whatever code it was given.
            return try Self.wire("\(reply.code < 500 ? reply.code : 450) \(Self.status(reply, class: 4))", reply.text)
        case .deferIfPermit(let reply):
            return try Self.wire("DEFER_IF_PERMIT \(Self.status(reply, class: 4))", reply.text)
        case .hold(let text): return try Self.wire("HOLD", text)
        case .prepend(let name, let value):
            // RFC 5322 §3.6.8: ftext
            guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x3A }) else {
                throw .fieldName
            }
            return try Self.wire("PREPEND \(name):", value)
        case .filter(let transport, let destination):
            guard !transport.isEmpty, !transport.utf8.contains(0x3A),
                (transport + destination).utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
            else { throw .filter }
            return try Self.wire("FILTER \(transport):\(destination)", "")
        case .redirect(let address): return try Self.wire("REDIRECT \(Self.checked(address))", "")
        case .bcc(let address): return try Self.wire("BCC \(Self.checked(address))", "")
        }
    }

    /// - Parameter head: what Postfix acts on; it must fit.
    /// - Parameter text: octets that are no printable ASCII become `?`, and what is too long is cut.
    private static func wire(_ head: String, _ text: String) throws(UnspeakableAnswer) -> [UInt8] {
        var line = Array("action=\(head)".utf8)
        guard line.count < maxWireOctets else { throw .tooLong }
        if !text.isEmpty, line.count + 2 < maxWireOctets {
            line.append(0x20)
            line += text.utf8.prefix(maxWireOctets - 1 - line.count).map { $0 >= 0x20 && $0 < 0x7F ? $0 : 0x3F }
        }
        return line + [0x0A, 0x0A]
    }

    /// The reply's enhanced status code in that class; `X.7.1` where it has none. Postfix answers 450 4.7.1 in place of
    /// one that is malformed. Source: RFC 3463 §2, §3.8; dsn_valid in Postfix's src/global/dsn_util.c.
    private static func status(_ reply: Reply, class kind: Int) -> String {
        let parts = reply.enhanced.split(separator: ".", omittingEmptySubsequences: false)
        let isWellFormed = parts.allSatisfy { (1...3).contains($0.utf8.count) && $0.utf8.allSatisfy(\.isASCIIDigit) }
        guard parts.count == 3, isWellFormed else { return "\(kind).7.1" }
        return "\(kind).\(parts.dropFirst().joined(separator: "."))"
    }

    /// Postfix wants an `@` and takes the rest as it is.
    private static func checked(_ address: String) throws(UnspeakableAnswer) -> String {
        let parts = address.utf8.split(separator: 0x40, omittingEmptySubsequences: false)
        guard parts.count >= 2, parts.allSatisfy({ !$0.isEmpty }),
            !address.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F })
        else { throw .address }
        return address
    }
}
