// `postern events`: what an admin wants to hear of at once, as postern-rate tells it over its control socket, one JSON
// object a line. Followed over a restart of the daemon. What is done about it is whoever's who reads.

internal import ArgumentParser
internal import PosternDaemon

struct EventsCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "Tells what happened to limits, or follows what happens.",
        usage: "postern events [<options>] [--follow]",
        discussion: """
            One JSON object a line, with or without --json, of the last 1000 that postern-rate remembers since its \
            start; with --follow of those to come, for ever:
              {"event":"over","time":"2026-11-21T02:00:00.000Z","run":…,"number":7,
              "limit":"per account","count":"recipients","key":"ann",
              "uses":[{"used":200,"allowed":200,"seconds":3600}],"reserved":0,
              "blocked_seconds":3600,"refuses":true,"account":"ann",
              "clients":["192.0.2.7"]}
            event is
              nearing    warn_at of the limit is reached
              over       a request went over it
              blocked, unblocked, cleared
                         by postern limit; account and refuses are null
            nearing and over are told once in the limit's time for a key. account is the login of the request; clients \
            are those seen since half of the limit was used; refuses is false for a limit that only observes or holds. \
            That a block has ended by itself is not told.

            With --follow a daemon that stops is waited for and followed again, with what came meanwhile; notes on \
            standard error tell of it, and of events that were missed. Whoever follows has to read: one that does not \
            is dropped, and counted. The daemon itself runs nothing: contrib/events mails what it tells.

            EXAMPLES
              postern events --since 1d
              postern events --follow | jq --unbuffered -r 'select(.event == "over").key'

            EXIT STATUS
              0   told
              64  the command line is wrong
              69  postern-rate does not run (without --follow), or does not answer

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ControlArguments
    @Flag(help: "Go on with what happens from now on.") var follow = false
    @Option(help: ArgumentHelp("Begin with what happened in the last 90s, 1h, 7d …", valueName: "time"))
    var since: String?
    @Option(help: ArgumentHelp("End after so many events.", valueName: "number")) var limit: Int?

    /// How long a daemon that has gone is left alone.
    private static let patience = Duration.seconds(1)

    private var age: Int64? {
        guard let seconds = since.flatMap({ Quantity.duration($0) })?.components.seconds else { return nil }
        return (1...3650 * 86_400).contains(seconds) ? seconds : nil
    }

    func validate() throws {
        if let since, age == nil { throw ValidationError("expected a time of 1s to 3650d, found \"\(since)\"") }
        if let limit, limit < 1 { throw ValidationError("expected a limit of 1 or more, found \(limit)") }
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let asked = DaemonControl(options, place)
        if follow { for note in asked.notes { surroundings.tell(note) } }
        var reader = EventReader(limit: limit, surroundings)
        while true {
            let answer = asked.read(.rate, command(reader), silence: follow ? nil : DaemonControl.maxWait) {
                reader.take($0)
            }
            if let trouble = reader.trouble { throw trouble }
            if reader.isDone { break }
            guard follow else {
                _ = try asked.taken(answer, of: .rate)
                break
            }
            switch answer {
            case .document: reader.lose("postern-rate has ended the answer")
            case .notRunning: reader.lose("postern-rate does not run")
            // What is refused from the beginning stays refused.
            case .failed(let text) where reader.run == nil: throw asked.failure("postern-rate: \(text)")
            case .failed(DaemonControl.brokenOff): reader.lose("postern-rate has gone")
            case .failed(let text): reader.lose("postern-rate: \(text)")
            }
            surroundings.pause(Self.patience)
        }
        return CommandOutput(notes: follow ? [] : asked.notes)
    }

    private func command(_ reader: EventReader) -> ControlCommand {
        ControlCommand(
            "events",
            [
                "follow": .boolean(follow), "seconds": age.map { .number($0) } ?? .null,
                "run": reader.run.map { .text($0) } ?? .null,
                "after": reader.run.map { _ in .number(reader.last) } ?? .null,
            ])
    }
}

/// Writes events as they come, and keeps its place among them.
private struct EventReader {
    /// The daemon's start that the last number is of; nil before anything came.
    private(set) var run: String?
    private(set) var last: Int64 = 0
    /// Nil while any may come.
    private var expected: Int64?
    /// Standard output cannot be written.
    private(set) var trouble: CommandFailure?
    private var left: Int?
    /// Why nothing comes at the moment.
    private var loss: String?
    private let surroundings: Surroundings

    init(limit: Int?, _ surroundings: Surroundings) {
        left = limit
        self.surroundings = surroundings
    }

    var isDone: Bool { left == 0 }

    /// - Returns: whether more is wanted.
    mutating func take(_ document: ControlDocument) -> Bool {
        guard document["event"] != nil else {
            begin(document)
            return true
        }
        let number = max(0, min(document.count("number"), .max - 1))
        if let expected, number > expected { surroundings.tell("note: \(number - expected) events were missed") }
        (last, expected) = (number, number + 1)
        do throws(CommandFailure) {
            try surroundings.write(Array("\(JSONValue(document))\n".utf8))
        } catch {
            trouble = error
            return false
        }
        if let count = left { left = count - 1 }
        return !isDone
    }

    /// The daemon says where it is.
    private mutating func begin(_ head: ControlDocument) {
        let found = head.word("run")
        if loss != nil {
            surroundings.tell("note: postern-rate answers again" + (found == run ? "" : ", after a start"))
            loss = nil
        }
        guard found != run else { return }
        // Of another run than the one before all is new.
        (expected, last) = run == nil ? (nil, head.count("last")) : (1, 0)
        run = found
    }

    /// Nothing comes any more; told once.
    mutating func lose(_ why: String) {
        guard loss != why else { return }
        loss = why
        surroundings.tell("note: \(why); waiting")
    }
}
