// A message as Postfix delivered it: what virtual(8) put on top taken off, line ends CRLF again, split into fields.

import Foundation

/// One header field as it stands: raw, folds and all, without its last CRLF.
public struct RawField: Sendable, CustomStringConvertible {
    public let name: String
    /// Octets from the name on; lines separated by CRLF.
    public let octets: [UInt8]
    public var description: String { String(decoding: octets, as: UTF8.self) }

    /// What stands after the colon, unfolded (RFC 5322 §2.2.3), without the spaces at both ends.
    public var value: String {
        let text = description.replacing("\r\n", with: "")
        let afterColon = text.drop { $0 != ":" }.dropFirst()
        return String(afterColon.drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
    }
}

public struct DeliveredMessage: Sendable {
    /// The octets that cleanup(8) queued, CRLF line ends.
    public let octets: [UInt8]
    public let fields: [RawField]
    public let body: [UInt8]
    /// Whom it was delivered to; nil for a message that did not come from a Maildir.
    public private(set) var recipient: String?
    /// The id in the topmost Received field, which is Postfix's own.
    public private(set) var queueID: String?

    private static let addedByDelivery: Set<String> = ["return-path", "x-original-to", "delivered-to"]

    /// - Parameter maildir: the file's octets, LF line ends. Source: virtual(8).
    init(maildir: [UInt8]) {
        var found: String?
        var lines = maildir.split(separator: 0x0A, omittingEmptySubsequences: false)[...]
        while let line = lines.first, let colon = line.firstIndex(of: 0x3A),
            Self.addedByDelivery.contains(String(decoding: line[..<colon], as: UTF8.self).lowercased())
        {
            if line.starts(with: "X-Original-To: ".utf8) { found = String(decoding: line.dropFirst(15), as: UTF8.self) }
            lines = lines.dropFirst()
        }
        let rest = Array(lines.joined(separator: [0x0A]))
        self.init(octets: Message.withCRLF(rest))
        recipient = found
        queueID = fields("Received").first?.value.firstMatch(of: /\sid ([0-9A-Za-z]+)/).map { String($0.output.1) }
    }

    /// - Parameter octets: a message with CRLF line ends.
    public init(octets: [UInt8]) {
        self.octets = octets
        var fields: [RawField] = []
        var position = octets.startIndex
        var current: [UInt8] = []
        func field() -> RawField? {
            guard let colon = current.firstIndex(of: 0x3A) else { return nil }
            let name = String(decoding: current[..<colon], as: UTF8.self)
            return RawField(name: String(name.drop(while: \.isWhitespace)), octets: current)
        }
        while position < octets.endIndex {
            let end = Self.lineEnd(octets, from: position)
            let line = octets[position..<end]
            position = min(end + 2, octets.endIndex)
            if line.isEmpty { break }
            if line.first == 0x20 || line.first == 0x09, !current.isEmpty {
                current += [0x0D, 0x0A] + line
                continue
            }
            if let field = field() { fields.append(field) }
            current = Array(line)
        }
        if let field = field() { fields.append(field) }
        self.fields = fields
        body = Array(octets[position...])
    }

    /// The fields of one name, top to bottom, case ignored.
    public func fields(_ name: String) -> [RawField] {
        fields.filter { $0.name.trimmingSuffixWhitespace().lowercased() == name.lowercased() }
    }

    private static func lineEnd(_ octets: [UInt8], from start: Int) -> Int {
        var position = start
        while position < octets.endIndex {
            if octets[position] == 0x0D, position + 1 < octets.endIndex, octets[position + 1] == 0x0A {
                return position
            }
            position += 1
        }
        return position
    }
}

extension String {
    fileprivate func trimmingSuffixWhitespace() -> String {
        String(reversed().drop(while: \.isWhitespace).reversed())
    }
}

/// Messages that tests write: text with LF, octets with CRLF.
public enum Message {
    /// Turns each LF that has no CR before it into CRLF.
    public static func withCRLF(_ octets: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(octets.count + octets.count / 32)
        var last: UInt8 = 0
        for octet in octets {
            if octet == 0x0A, last != 0x0D { out.append(0x0D) }
            out.append(octet)
            last = octet
        }
        return out
    }

    /// A message from text with LF line ends.
    public static func octets(_ text: String) -> [UInt8] { withCRLF(Array(text.utf8)) }
}
