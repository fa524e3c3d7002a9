// What a filter concludes about a message: the verdict for Postfix, and the one line that the log gets.

public import PosternMail

public struct MessageOutcome: Sendable {
    public var verdict: Verdict
    /// The log's word for it: `sign`, `judge`, `pass`, `reject` ...
    public var action: String
    /// What was found, and why.
    public var text: String
    /// What was counted of it.
    public var counted: [CounterReading] = []

    public init(_ verdict: Verdict = Verdict(), action: String, text: String) {
        self.verdict = verdict
        self.action = action
        self.text = text
    }

    /// The message is refused whatever it is.
    public init(refusal reply: Reply) {
        self.init(Verdict(.refuse(reply)), action: "reject", text: "\(reply)")
    }

    /// Writes the message's line.
    /// - Parameter helo: what the client said, where the line tells it.
    public func write(to log: any LogSink, _ envelope: Envelope, from client: SMTPClient, helo: [UInt8]? = nil) {
        log.write(
            .outcome(
                OutcomeLine(
                    queueID: envelope.queueID, action: action, stage: "END-OF-MESSAGE", client: client, text: text,
                    mailFrom: envelope.mailFrom, helo: helo, counted: counted)))
    }
}
