// What a filter tells Postfix at the end of a message: what happens to it, how its header changes, what the log says.

/// What becomes of the message.
public enum Disposition: Hashable, Sendable {
    /// Goes on to the other filters and the queue.
    case accept
    /// Answered with a 4xx or 5xx reply; nothing is queued.
    case refuse(Reply)
    /// Goes to Postfix's hold queue, with this text in its log.
    case hold(String)
}

/// An SMTP reply: one line, for the sender's postmaster.
public struct Reply: Hashable, Sendable {
    /// 400...599.
    public let code: Int
    /// Enhanced status code, e.g. `5.7.1`; its class is that of `code`. Source: RFC 3463.
    public let enhanced: String
    /// Printable ASCII, at most `maxTextOctets` octets.
    public let text: String

    /// An SMTP reply line has 512 octets at most, with code, status and CRLF (RFC 5321 §4.5.3.1.5).
    public static let maxTextOctets = 450

    /// Octets of `text` that are no printable ASCII become `?`, and what is too long is cut.
    public init(code: Int, enhanced: String, text: String) {
        precondition(
            (400...599).contains(code) && enhanced.first == "\(code / 100)".first, "reply class and status differ")
        self.code = code
        self.enhanced = enhanced
        let octets = text.utf8.prefix(Self.maxTextOctets).map { $0 >= 0x20 && $0 < 0x7F ? $0 : 0x3F }
        self.text = String(decoding: octets, as: UTF8.self)
    }
}

extension Reply: CustomStringConvertible {
    public var description: String { "\(code) \(enhanced) \(text)" }
}

/// One change to a message's header; a milter can ask for them only at end of message.
public enum HeaderEdit: Hashable, Sendable {
    /// Puts a field above all others, Postfix's own Received field included.
    case insertOnTop(HeaderField)
    /// Removes the `occurrence`-th field of that name, counted from 1 over what was received. Edits are carried out in
    /// their order, and deletions shift the numbers of those below: highest first.
    case remove(name: [UInt8], occurrence: Int)
}

/// A filter's last word on a message.
public struct Verdict: Sendable {
    public var disposition: Disposition
    /// Carried out in this order, only when the message is not refused.
    public var edits: [HeaderEdit]

    public init(_ disposition: Disposition = .accept, edits: [HeaderEdit] = []) {
        self.disposition = disposition
        self.edits = edits
    }
}
