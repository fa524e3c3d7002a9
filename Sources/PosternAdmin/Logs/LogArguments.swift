// Which lines a subcommand reads: --log, --journal, --since, --until. Shared by report and why; the times by replay too.

internal import ArgumentParser
internal import PosternDaemon
internal import PosternMail
internal import PosternSocket

/// A point in time as an admin names it.
enum LogMoment: Equatable {
    /// So long ago: `24h`.
    case ago(Duration)
    case at(UnixTime)

    func time(now: UnixTime) -> UnixTime {
        switch self {
        case .ago(let duration): now + .nanoseconds(-duration.nanoseconds)
        case .at(let time): time
        }
    }

    /// `24h`, `2026-11-20`, `2026-11-20 08:15`, `2026-11-20T08:15:00+01:00`; without a zone it is local time.
    init(_ text: String, local: LogClock.LocalTime = LogClock.ofThisSystem) throws(ValidationError) {
        if let duration = Quantity.duration(text) {
            self = .ago(duration)
            return
        }
        var rest = Array(text.utf8)[...]
        if let time = LogStamp.rfc3339(&rest), rest.isEmpty {
            self = .at(time)
            return
        }
        guard let time = Self.localTime(text, local) else {
            throw ValidationError(
                "expected a duration such as 24h or 7d, or a time such as 2026-11-20 or \"2026-11-20 08:15\", found "
                    + "\"\(text)\"")
        }
        self = .at(time)
    }

    private static func localTime(_ text: String, _ local: LogClock.LocalTime) -> UnixTime? {
        var rest = Array(text.utf8)[...]
        guard let year = rest.takeNumber(digits: 4), rest.take("-"), let month = rest.takeNumber(digits: 2),
            rest.take("-"), let day = rest.takeNumber(digits: 2), year >= 1970, (1...12).contains(month),
            (1...31).contains(day)
        else { return nil }
        if rest.isEmpty { return UnixTime(seconds: local(year, month, day, 0)) }
        guard rest.take(" ") || rest.take("T"), let hour = rest.takeNumber(digits: 2), rest.take(":"),
            let minute = rest.takeNumber(digits: 2), hour < 24, minute < 60
        else { return nil }
        var second = 0
        if !rest.isEmpty {
            guard rest.take(":"), let told = rest.takeNumber(digits: 2), told < 61, rest.isEmpty else { return nil }
            second = told
        }
        return UnixTime(seconds: local(year, month, day, hour) + Int64(minute * 60 + second))
    }
}

/// From when to when.
struct SpanArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp("Leave out what is older: 24h, 7d, 2026-11-20, \"2026-11-20 08:15\".", valueName: "time"),
        transform: { text in try LogMoment(text) })
    var since: LogMoment?

    @Option(
        help: ArgumentHelp("Leave out what is younger, as for --since.", valueName: "time"),
        transform: { text in try LogMoment(text) })
    var until: LogMoment?
}

struct LogArguments: ParsableArguments {
    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp(
            "Read these logs, plain or compressed by gzip. (default: /var/log/mail.log and its rotated ones; the "
                + "journal where there are none)", valueName: "file"))
    var log: [String] = []

    @Flag(help: "Read the journal, even where there are log files.")
    var journal = false

    @OptionGroup var span: SpanArguments

    func validate() throws(ValidationError) {
        if journal, !log.isEmpty { throw ValidationError("expected --log or --journal, found both") }
    }

    /// A reader of what is asked for.
    /// - Parameter usual: how far back it looks where nothing is said, and no log is named.
    func reader(
        _ options: GlobalOptions, span usual: Duration, in surroundings: Surroundings
    ) throws(CommandFailure) -> LogReader {
        let now = surroundings.now()
        let isUsual = log.isEmpty
        var reader = LogReader(
            sources: [], since: span.since?.time(now: now), until: span.until?.time(now: now), now: now,
            tell: surroundings.tell)
        if let since = reader.since, let until = reader.until, since > until {
            throw CommandFailure(.usage, "expected --since before --until, found it after")
        }
        if isUsual, reader.since == nil { reader.since = (reader.until ?? now) + .nanoseconds(-usual.nanoseconds) }
        // What cannot be read of the configuration is no reason not to read logs.
        if let configuration = options.load(for: .dns, in: surroundings).readable {
            reader.facility = configuration.log.facility.rawValue
        }
        guard isUsual else {
            for path in log {
                do throws(FileFailure) { reader.sources.append(try LogSource.named(path)) } catch {
                    throw CommandFailure(error)
                }
            }
            return reader
        }
        let files = journal ? [] : LogSource.rotated()
        reader.sources = files.isEmpty ? [.journal] : files
        return reader
    }
}

extension LogReader {
    /// What to say where nothing of mail was read: "nothing happened" may mean that nobody looked in the right place.
    /// - Parameter lines: of Postfix and Postern, as far as they were counted.
    func notes(onLines lines: Int) -> [String] {
        guard lines == 0 else { return [] }
        let names = sources.prefix(3).map(\.name) + (sources.count > 3 ? ["..."] : [])
        var notes = [
            "warning: no line of Postfix or Postern of that time is in \(names.joined(separator: ", ")); --log names "
                + "another file"
        ]
        if sources.contains(.journal), !Journal.isAllToBeSeen {
            notes.append("warning: only root and members of group systemd-journal or adm see all of the journal")
        }
        return notes
    }
}
