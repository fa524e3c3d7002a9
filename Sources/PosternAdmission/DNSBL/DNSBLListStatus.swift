// What `postern dnsbl status` shows of a list, and what is told when a list falls ill or is well again.

public import PosternMail

/// One list's health at one moment.
public struct DNSBLListStatus: Hashable, Sendable {
    public enum State: String, Hashable, Sendable, CaseIterable {
        case working
        /// Not asked until its test entries were right once; after a start, for as long as that takes.
        case unproved
        /// Not asked since it is sick; comes back by itself.
        case suspended
    }

    /// The zone; keys of paying users are not in it.
    public let zone: String
    public let by: DNSBLSubject
    public let state: State
    /// Why it is not asked, or what else is not as it should be; printable ASCII; nil where all is well.
    public let reason: String?
    /// Since when it is in this state; nil when it was never looked at.
    public let since: UnixTime?
    public let lastProbe: UnixTime?
    public let nextProbe: UnixTime?
    /// Whether it has IPv6's test entry; nil for lists of names and when not known.
    public let listsIPv6: Bool?
    /// Since the daemon's start: answers, those of them that counted, questions without an answer, suspensions.
    public let answers: Int
    public let listings: Int
    public let failures: Int
    public let suspensions: Int
}

/// A list has changed its state. For one line in the log and a counter.
public struct DNSBLNotice: Hashable, Sendable {
    public enum Change: Hashable, Sendable {
        case suspended, returned
    }
    /// Keys of paying users are not in it.
    public let zone: String
    public let change: Change
    /// The whole line, printable ASCII.
    public let text: String

    /// A warning for `.suspended`.
    public var level: LogLevel { change == .suspended ? .warning : .info }
}
