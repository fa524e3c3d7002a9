// The exit statuses of every program of the suite, so that scripts and systemd units can tell them apart.

/// How a process ends. Source: sysexits.h for 64 and up.
public enum ExitStatus: Int32, Sendable, CaseIterable {
    case done = 0
    /// A negative finding where a script would ask: verify, check.
    case negative = 1
    /// The command line was wrong (EX_USAGE).
    case usage = 64
    /// The data given was wrong (EX_DATAERR).
    case badData = 65
    /// Something needed is not there: a socket, postern-dns, a file (EX_UNAVAILABLE).
    case unavailable = 69
    /// The configuration was wrong (EX_CONFIG).
    case badConfiguration = 78
}
