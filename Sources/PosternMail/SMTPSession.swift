// What Postfix tells us of an SMTP session and of one message in it, as values. Every text came from a stranger or
// from his DNS; nothing here has been judged.

/// The SMTP client, as Postfix names it.
public struct SMTPClient: Hashable, Sendable {
    /// The verified name, or as Postfix says `unknown` or `[address]`. Octets, since DNS may hold any.
    public var name: [UInt8]
    /// `nil` for a client on a UNIX socket, or when Postfix gave no address.
    public var address: IPAddress?
    /// The TCP port; 0 when unknown or simulated (`non_smtpd_milters`).
    public var port: UInt16

    public init(name: [UInt8], address: IPAddress?, port: UInt16 = 0) {
        self.name = name
        self.address = address
        self.port = port
    }
}

/// What holds for a whole SMTP session.
public struct SMTPSession: Sendable {
    public var client: SMTPClient
    /// `{daemon_name}`: `milter_macro_daemon_name` of the service, e.g. ORIGINATING; `nil` when not sent.
    public var daemonName: String?
    /// The HELO or EHLO argument, octets as they came; `nil` before HELO.
    public var helo: [UInt8]?

    public init(client: SMTPClient, daemonName: String? = nil, helo: [UInt8]? = nil) {
        self.client = client
        self.daemonName = daemonName
        self.helo = helo
    }
}

/// What holds for one message of a session.
public struct Envelope: Sendable {
    /// Envelope sender without angle brackets; empty for the null reverse-path.
    public var mailFrom: [UInt8]
    /// `{auth_authen}`: the login of an authenticated session; `nil` without one.
    public var login: [UInt8]?
    /// Postfix's queue id; `nil` until the first recipient was accepted (known from DATA on).
    public var queueID: String?
    /// MAIL FROM came with BODY=8BITMIME. Source: RFC 6152 §3.
    public var declaresEightBit: Bool

    public init(
        mailFrom: [UInt8], login: [UInt8]? = nil, queueID: String? = nil, declaresEightBit: Bool = false
    ) {
        self.mailFrom = mailFrom
        self.login = login
        self.queueID = queueID
        self.declaresEightBit = declaresEightBit
    }

    /// The domain of the envelope sender; `nil` for the null reverse-path, without `@`, or when it is no name.
    public var mailFromDomain: DomainName? {
        guard let at = mailFrom.lastIndex(of: 0x40) else { return nil }
        return try? DomainName(text: mailFrom[(at + 1)...])  // no name: there is no domain to speak of
    }
}
