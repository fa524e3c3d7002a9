// The `[log]` table as a value: where lines go, and how they look. The configuration fills it, the sinks obey it.

public import PosternMail

/// Where a daemon's log lines go and how they are written.
public struct LogSettings: Hashable, Sendable {
    public var to: LogDestination
    /// For syslog and the journal; standard error has none.
    public var facility: SyslogFacility
    public var format: LogFormat
    /// The least grave level that is written.
    public var level: LogLevel

    public init(
        to: LogDestination = .journal, facility: SyslogFacility = .mail, format: LogFormat = .postfix,
        level: LogLevel = .info
    ) {
        self.to = to
        self.facility = facility
        self.format = format
        self.level = level
    }
}

public enum LogDestination: String, Hashable, Sendable, CaseIterable {
    case stderr, syslog, journal
}

public enum LogFormat: String, Hashable, Sendable, CaseIterable {
    /// Postfix's grammar, which tools for its logs read.
    case postfix
    /// One JSON object a line.
    case json
}

/// Facilities that a mail daemon may sensibly use. Source: RFC 3164 §4.1.1, the names of syslog.conf(5).
public enum SyslogFacility: String, Hashable, Sendable, CaseIterable {
    case user, mail, daemon, auth
    case local0, local1, local2, local3, local4, local5, local6, local7

    /// The facility's number, not shifted.
    public var code: Int {
        switch self {
        case .user: 1
        case .mail: 2
        case .daemon: 3
        case .auth: 4
        case .local0: 16
        case .local1: 17
        case .local2: 18
        case .local3: 19
        case .local4: 20
        case .local5: 21
        case .local6: 22
        case .local7: 23
        }
    }
}
