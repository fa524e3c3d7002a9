// One SMTP session as libmilter's callbacks see it: the filter, and whether a message is open.

import PosternMail

/// Hangs on libmilter's context from its negotiation to close, and is counted so long: what Postfix says next may lie in
/// the socket unread. Not Sendable on purpose: libmilter serialises a connection's calls.
final class MilterConnection {
    /// From connect on.
    var session: MilterSession?
    private let count: OpenTransactions

    init(_ context: MilterContext) {
        count = context.sessions
        count.begin()
    }
    deinit { count.end() }
}

/// Not Sendable, as the connection that it belongs to.
final class MilterSession {
    let filter: any Filter
    let log: any LogSink
    /// Whether the filter wants more of the open message's body.
    var bodyInterest = BodyInterest.wanted
    /// The open message's queue id; known from the end of its header on.
    var queueID: String?
    private let transactions: OpenTransactions
    private var isOpen = false
    private var hasRecipient = false
    /// A message with a recipient was left unsent. What its client left behind is worked off here, one after the other,
    /// while Postfix and the client go on: from now on no envelope is waited for before its message has come.
    private var leavesUnsent = false

    init(_ session: SMTPSession, context: MilterContext) {
        filter = context.makeFilter(session)
        log = context.log
        transactions = context.transactions
    }

    /// MAIL was accepted.
    func begin(_ envelope: Envelope) {
        if !isOpen { transactions.begin() }
        isOpen = true
        hasRecipient = false
        bodyInterest = .wanted
        queueID = nil
        filter.mail(envelope)
    }

    /// A recipient was accepted.
    /// - Returns: whether it is the message's first, and the message likely to come.
    func isFirstRecipient() -> Bool {
        defer { hasRecipient = true }
        return isOpen && !hasRecipient && !leavesUnsent
    }

    /// The message has its verdict, or the session is over.
    func end() {
        if isOpen { transactions.end() }
        isOpen = false
    }

    /// The message is over without a verdict.
    func abort() {
        if isOpen {
            leavesUnsent = leavesUnsent || hasRecipient
            filter.abort()
        }
        end()
    }
}
