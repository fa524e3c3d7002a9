// What a finding leads to: the words of the `on_…` keys. Each key takes those that its RFC and our way of failing safe
// leave open.

/// What is done with mail.
public enum MailAction: String, Hashable, Sendable, CaseIterable {
    /// Let in; the results tell the finding.
    case accept
    /// Let in with a field Postern-Disposition, which a mailbox's filter can act on.
    case quarantine
    /// Let in to Postfix's hold queue.
    case hold
    /// Refused for now (4xx).
    case `defer`
    /// Refused for good (5xx).
    case reject
}

extension ValueType<MailAction> {
    /// One of some actions.
    static func action(_ actions: MailAction...) -> ValueType {
        oneOf(actions.map { ($0.rawValue, $0) }, name: \.rawValue)
    }
}
