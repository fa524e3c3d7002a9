// What a finding leads to: the words of the `on_…` keys. Each key takes those that its RFC and our way of failing safe
// leave open.

/// What is done with mail, mildest first.
public enum MailAction: String, Hashable, Sendable, CaseIterable, Comparable {
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

    public static func < (left: MailAction, right: MailAction) -> Bool { left.severity < right.severity }
    private var severity: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}
