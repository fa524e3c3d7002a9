// What a policy service answers to one request. There is no OK and no PERMIT: they would end Postfix's own restrictions
// (SMTPD_POLICY_README, access(5)).

public enum PolicyAnswer: Hashable, Sendable {
    /// No opinion; Postfix goes on with its next restriction.
    case dunno
    case reject(Reply)
    case `defer`(Reply)
    /// Refused for now unless a later restriction refuses for good.
    case deferIfPermit(Reply)
    /// Into Postfix's hold queue, with a text for its log.
    case hold(String)
    /// A header field for the message.
    case prepend(name: String, value: String)
    /// `transport:destination`; the destination may be empty.
    case filter(transport: String, destination: String)
    case redirect(String)
    case bcc(String)
}
