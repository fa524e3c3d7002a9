// What a policy daemon does with requests, as a protocol of values: the door calls it, an executable implements it.
// One transaction belongs to one message on one connection of Postfix's, and to the thread of that connection.

public import PosternMail

/// One message under way, or one request outside of any.
///
/// Postfix names a message by `instance`, from its accepted MAIL command to its end; requests before that have none,
/// and each gets a transaction of its own. A transaction keeps the settings that it began with (DESIGN §1, rule 6),
/// and may keep facts about the client and the sender: both are the same in all of its requests. Nothing about a
/// recipient may be kept. Postfix asks again on another connection when one broke; then the message has a second
/// transaction.
public protocol PolicyTransaction: AnyObject {
    /// Judges one request. It may wait (DNS, a ledger); other connections go on meanwhile.
    ///
    /// A repeat of a request is not judged again: the door gives the answer that it remembers.
    func answer(_ request: PolicyRequest) -> PolicyOutcome

    /// Postfix has asked about something else on this connection: this message was accepted, refused or given up. Not
    /// called for a transaction without `instance`, nor when the connection ends, which says nothing of the message.
    /// Source: SMTPD_POLICY_README.
    func end()
}

extension PolicyTransaction {
    public func end() {}
}

/// What is answered, and what the log says of it.
public struct PolicyOutcome: Hashable, Sendable {
    public var answer: PolicyAnswer
    /// nil where the log says nothing.
    public var remark: PolicyRemark?

    public init(_ answer: PolicyAnswer, remark: PolicyRemark?) {
        self.answer = answer
        self.remark = remark
    }

    /// With a line in the log.
    /// - Parameter action: one word of ours; default: the answer's.
    /// - Parameter text: the finding and its reason, ours and printable; default: what the client is told.
    /// - Parameter counted: what the service counts with it; the answer is counted by the door.
    public static func logged(
        _ answer: PolicyAnswer, as action: String? = nil, text: String? = nil, counted: [CounterReading] = []
    ) -> PolicyOutcome {
        PolicyOutcome(
            answer,
            remark: PolicyRemark(action: action ?? answer.word, text: text ?? answer.summary, counted: counted))
    }

    /// Without one.
    public static func silent(_ answer: PolicyAnswer) -> PolicyOutcome { PolicyOutcome(answer, remark: nil) }
}

/// The part of a log line that is the service's.
public struct PolicyRemark: Hashable, Sendable {
    /// One word: `reject`, `defer`, `pass` ...
    public var action: String
    /// The finding and its reason; ours, so printable.
    public var text: String
    /// What the service counts with it.
    public var counted: [CounterReading]

    public init(action: String, text: String, counted: [CounterReading] = []) {
        self.action = action
        self.text = text
        self.counted = counted
    }
}
