// `[log]`: where lines go. The settings themselves belong to the life of a daemon.

internal import PosternMail

enum LogTable {
    static let to = Key(
        "to", .oneOf(LogDestination.self), default: LogSettings().to,
        "Where lines go: \"journal\", \"syslog\" or \"stderr\".")
    static let facility = Key(
        "facility", .oneOf(SyslogFacility.self), default: LogSettings().facility,
        "The facility for syslog and the journal.")
    static let format = Key(
        "format", .oneOf(LogFormat.self), default: LogSettings().format,
        "\"postfix\" for lines as Postfix writes them, \"json\" for an object a line.")
    static let level = Key(
        "level", .oneOf(LogLevel.allCases.map { ("\($0)", $0) }, name: { "\($0)" }), default: LogSettings().level,
        "The least grave lines that are written: \"debug\", \"info\", \"warning\", \"error\" or \"critical\".")

    static let declaration = TableDeclaration(
        "log", "Where log lines go, and how they look.", keys: [to, facility, format, level])
}

extension LogSettings {
    init(_ values: TableValues) {
        self.init(
            to: values[LogTable.to], facility: values[LogTable.facility], format: values[LogTable.format],
            level: values[LogTable.level])
    }
}
