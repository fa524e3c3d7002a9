// Where outcomes and warnings go. Doors and daemons write; judges never do (CONVENTIONS: one line per outcome, at the door).

/// How grave a line is. Source: syslog(3), fewer.
public enum LogLevel: Int, Comparable, Sendable, CaseIterable {
    /// For us.
    case debug
    /// Outcomes.
    case info
    /// It works, someone should look.
    case warning
    /// An operation was lost.
    case error
    /// The daemon exits.
    case critical

    public static func < (left: LogLevel, right: LogLevel) -> Bool { left.rawValue < right.rawValue }
}

/// One line of the log.
public enum LogEvent: Sendable, Equatable {
    /// What happened to one transaction.
    case outcome(OutcomeLine)
    /// Anything else; one sentence that says what was expected, what came, what we do next.
    case note(LogLevel, String)

    public var level: LogLevel {
        switch self {
        case .outcome: .info
        case .note(let level, _): level
        }
    }
}

/// Takes log lines from any thread. A sink never throws and never blocks mail: what cannot be written is lost and counted.
public protocol LogSink: Sendable {
    func write(_ event: LogEvent)
}

extension LogSink {
    public func info(_ text: String) { write(.note(.info, text)) }
    public func warning(_ text: String) { write(.note(.warning, text)) }
    public func error(_ text: String) { write(.note(.error, text)) }
    public func critical(_ text: String) { write(.note(.critical, text)) }
}
