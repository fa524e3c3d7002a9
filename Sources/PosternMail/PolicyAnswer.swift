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

extension PolicyAnswer {
    /// One word for logs, counters and explain; `pass` for no opinion.
    public var word: String {
        switch self {
        case .dunno: "pass"
        case .reject: "reject"
        case .defer, .deferIfPermit: "defer"
        case .hold: "hold"
        case .prepend: "prepend"
        case .filter: "filter"
        case .redirect: "redirect"
        case .bcc: "bcc"
        }
    }

    /// What Postfix is told beside the word, for logs.
    public var summary: String {
        switch self {
        case .dunno: "no objection"
        case .reject(let reply), .defer(let reply), .deferIfPermit(let reply): "\(reply)"
        case .hold(let text): text
        case .prepend(let name, let value): "\(name): \(value)"
        case .filter(let transport, let destination): "\(transport):\(destination)"
        case .redirect(let address), .bcc(let address): address
        }
    }
}
