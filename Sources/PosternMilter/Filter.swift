// What a milter daemon does with mail, as a protocol of values: the door calls it, an executable implements it.
// One filter belongs to one SMTP session. Its calls come one at a time, though on different threads.

public import PosternMail

/// A session's filter. The order is that of SMTP: `helo`, then for each message `mail`, `recipient`..., `header`...,
/// `endOfHeader`, `body`..., and either `endOfMessage` or `abort`.
public protocol Filter: AnyObject {
    /// HELO or EHLO; may come again (STARTTLS, a second EHLO).
    func helo(_ name: [UInt8])
    /// A new message begins; state of an older one is gone.
    func mail(_ envelope: Envelope)
    /// One accepted recipient, without angle brackets.
    func recipient(_ address: [UInt8])
    /// The first recipient was accepted, so that a message is likely to come: what the envelope alone tells may be
    /// asked now. It may wait for DNS some seconds, since Postfix does not wait for it; but the rest of the message
    /// does. Only for those who need recipients, and left out when too many messages are being judged, or when the
    /// session left a message unsent before.
    func judgeEnvelope()
    /// One field of the header, in order, top to bottom.
    func header(_ field: HeaderField)
    /// The header is complete. The queue id is known now.
    /// - Returns: whether the body is wanted at all.
    func endOfHeader(queueID: String?) -> BodyInterest
    /// A piece of the body, CRLF line ends, at most 65,535 octets.
    func body(_ chunk: Span<UInt8>) -> BodyInterest
    /// The last word. Called whether or not the body was wanted.
    func endOfMessage() -> Verdict
    /// The last word in place of `endOfMessage`, when too many messages are being judged. It must not wait for
    /// anybody: no DNS.
    func whenOverloaded() -> Verdict
    /// The message is over without a verdict.
    func abort()
}

extension Filter {
    public func recipient(_ address: [UInt8]) {}
    public func judgeEnvelope() {}
}

/// How Postfix cuts a body.
public enum BodyChunk {
    /// Octets of every chunk but the last. Source: MILTER_CHUNK_SIZE in Postfix.
    public static let maxOctets = 65_535
}

/// Whether more of the body is wanted.
public enum BodyInterest: Hashable, Sendable {
    case wanted, enough
}
