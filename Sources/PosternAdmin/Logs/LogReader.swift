// Reads logs from their beginning to their end, as often as it is asked to, and says on standard error how far it is.

internal import PosternMail
internal import PosternSocket

struct LogReader {
    var sources: [LogSource]
    /// Lines of other times are left out; those without a time are of any.
    var since: UnixTime?
    var until: UnixTime?
    /// `log.facility`, for the journal.
    var facility = "mail"
    /// What reads the journal.
    var journal = Journal.program
    var now: UnixTime
    /// Takes a line on how far it is.
    var tell: (String) -> Void = { _ in }
    var clock: () -> MonotonicTime = MonotonicTime.now
    var localTime: LogClock.LocalTime = LogClock.ofThisSystem

    /// How often progress is told.
    static let interval = Duration.seconds(5)

    /// What was read.
    struct Reading: Equatable {
        var lines = 0
        var octets = 0
        /// Files that are damaged, for standard error.
        var notes: [String] = []
    }

    /// Hands over each line with its time.
    /// - Parameter take: the line, and a function that gives its time: it costs something, and not every line is
    ///   looked at. nil: the line has none.
    func read(
        _ take: (LogLine, _ time: () -> UnixTime?) -> Void
    ) throws(CommandFailure) -> Reading {
        var reading = Reading()
        var progress = Progress(total: sources.reduce(0) { $0 + $1.octets }, next: clock() + Self.interval)
        for (number, source) in sources.enumerated() where since.map({ source.mayHold(linesSince: $0) }) ?? true {
            do throws(FileFailure) {
                try read(source, number, &reading, &progress, take)
            } catch {
                throw CommandFailure(error)
            }
            progress.behind += source.octets
        }
        return reading
    }

    private func read(
        _ source: LogSource, _ number: Int, _ reading: inout Reading, _ progress: inout Progress,
        _ take: (LogLine, _ time: () -> UnixTime?) -> Void
    ) throws(FileFailure) {
        switch source {
        case .file(let path, _, let modified):
            let file = try LogFile(path: path)
            let end = read(file, number, newest: modified, &reading, &progress, take)
            if case .broken(let text) = end {
                reading.notes.append("warning: \(path): \(text); what comes before it was read")
            }
        case .journal:
            let arguments = Journal.arguments(since: since, until: until, facility: facility)
            let process = try Journal(journal, arguments)
            let file = try LogFile(owning: process.output, named: journal)
            _ = read(file, number, newest: now, &reading, &progress, take)
            let status = process.end()
            if status != 0 { reading.notes.append("warning: \(journal) ended with status \(status)") }
        }
    }

    private func read(
        _ file: borrowing LogFile, _ number: Int, newest: UnixTime, _ reading: inout Reading,
        _ progress: inout Progress,
        _ take: (LogLine, _ time: () -> UnixTime?) -> Void
    ) -> LogFile.End {
        var clock = LogClock(newest: newest, local: localTime)
        var count = (lines: 0, octets: 0)
        let end = file.lines { position in
            tellProgress(&progress, position, reading.lines + count.lines)
        } _: { octets in
            count.lines += 1
            count.octets += octets.count + 1
            if var line = LogLine(octets) {
                line.source = number
                take(line, { clock.time(of: line.stamp) })
            }
            return true
        }
        reading.lines += count.lines
        reading.octets += count.octets
        return end
    }

    /// Whether a line of this time is wanted; one without a time is.
    func wants(_ time: UnixTime?) -> Bool {
        guard let time else { return true }
        if let since, time < since { return false }
        if let until, time > until { return false }
        return true
    }

    // MARK: Progress

    private struct Progress {
        let total: Int
        var next: MonotonicTime
        /// Octets of the files that are done.
        var behind = 0
    }

    private func tellProgress(_ progress: inout Progress, _ position: Int, _ lines: Int) {
        let moment = clock()
        guard moment >= progress.next else { return }
        progress.next = moment + Self.interval
        let done = progress.behind + position
        let text = "\(done >> 20) MiB"
        let share = progress.total > 0 ? " of \(progress.total >> 20) MiB (\(done * 100 / progress.total) %)" : ""
        tell("reading: \(text)\(share), \(lines) lines")
    }
}
