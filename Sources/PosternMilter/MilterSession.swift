// One SMTP session as libmilter's callbacks see it: the filter, and whether a message is open.

import PosternMail

/// Hangs on libmilter's context from connect to close. Not Sendable on purpose: libmilter serialises a session's calls.
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
    /// - Returns: whether it is the message's first.
    func isFirstRecipient() -> Bool {
        defer { hasRecipient = true }
        return isOpen && !hasRecipient
    }

    /// The message has its verdict, or the session is over.
    func end() {
        if isOpen { transactions.end() }
        isOpen = false
    }

    /// The message is over without a verdict.
    func abort() {
        if isOpen { filter.abort() }
        end()
    }
}
