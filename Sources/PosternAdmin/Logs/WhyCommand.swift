// `postern why`: what became of a message, in the words of Postfix and of every daemon.

internal import ArgumentParser
internal import PosternDaemon
internal import PosternMail

struct WhyCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "why",
        abstract: "Tells from the logs what became of a message.",
        usage: "postern why [<queue-id>] [<options>]",
        discussion: """
            Shows in time order what Postfix and every Postern daemon said of a message, then what became of each \
            recipient. Before that stand the checks behind it: what was asked and answered in the same session while \
            the message had no queue id yet, and earlier tries of the same sender to the same recipient that were \
            refused, as greylisting does. Notifications that came of the message, and what a filter on this host gave \
            back, are shown as well. Short queue ids come again: the messages that had one are shown apart, the oldest \
            first, and --since and --until leave some out.

            What never had a queue id is found by --client, --sender and --recipient, which must all match: the last \
            1000 lines that Postfix and Postern said of such tries.

            Logs are plain or gzip files or the journal; the daemons' lines may be text or JSON (log.format). Without \
            --since it looks back 30d, or, where logs are named by --log, at all of them; --log takes all the words \
            behind it, so it stands last. Files are read two times or more.

            With --json, one object on one line:
              {"messages":[{"queue_id":…,"message_id":…,"from":…,"client_name":…,
              "client_address":…,"login":null,"octets":2345,"removed":true,
              "recipients":[{"to":…,"status":"sent","relay":…,"reason":…,
              "tries":1,"time":…}],"events":[{"time":…,"part":"before",
              "program":"postern-policy","pid":"815","queue_id":null,
              "text":…}]}]}
            part is earlier, before or message. With --client and its like it is {"events":[…]}.

            EXAMPLES
              postern why 4cXk2J1hz
              postern why --message-id '<20261121.17@example.net>'
              postern why --client 192.0.2.7 --since 2h
              postern why --sender ann@example.net --recipient bo@example.com
              postern why 4cXk2J1hz --log /var/log/mail.log.1 /var/log/mail.log.2.gz

            EXIT STATUS
              0   found
              1   no line is about it
              64  the command line is wrong
              69  a log cannot be read

            FILES
              /var/log/mail.log*
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @Argument(help: ArgumentHelp("The message, as Postfix's log lines name it.", valueName: "queue-id"))
    var queueID: String?
    @Option(help: ArgumentHelp("The messages with this Message-ID.", valueName: "message-id"))
    var messageID: String?
    @Option(help: ArgumentHelp("Tries of this address or host name.", valueName: "client"))
    var client: String?
    @Option(help: ArgumentHelp("Tries of this envelope sender.", valueName: "sender"))
    var sender: String?
    @Option(help: ArgumentHelp("Tries to this recipient.", valueName: "recipient"))
    var recipient: String?
    @OptionGroup var logs: LogArguments

    /// How far it looks back where nothing is said: logs are kept four weeks on Debian.
    static let span = Duration.seconds(30 * 86_400)

    private var filter: TryFilter { TryFilter(client: client, sender: sender, recipient: recipient) }

    func validate() throws(ValidationError) {
        let ways = [queueID != nil, messageID != nil, !filter.isEmpty].count { $0 }
        guard ways == 1 else {
            throw ValidationError(
                "expected a queue id, --message-id, or --client, --sender and --recipient, found "
                    + (ways == 0 ? "none of them" : "several")
                    + (ways == 0 && !logs.log.isEmpty ? "; --log takes all the words behind it, so it stands last" : "")
            )
        }
        for (option, value) in [
            ("message-id", messageID), ("client", client), ("sender", sender), ("recipient", recipient),
        ] where value?.isEmpty == true && option != "sender" {
            throw ValidationError("expected a value for --\(option), found nothing")
        }
        if let queueID, queueIDs.isEmpty {
            throw ValidationError(
                "expected a queue id such as 4cXk2J1hz or 72E90F7815D, found \"\(LogText.escaped(queueID.utf8))\"")
        }
    }

    /// As Postfix writes it, however it was copied: with the colon behind it, a short one in lower case.
    private var queueIDs: [String] {
        guard let queueID else { return [] }
        let bare = queueID.hasSuffix(":") ? String(queueID.dropLast()) : queueID
        let isShort = bare.utf8.allSatisfy { $0.isASCIIDigit || (0x61...0x66).contains($0) }
        let all = isShort && bare.uppercased() != bare ? [bare, bare.uppercased()] : [bare]
        return all.filter { QueueID.isOne(Array($0.utf8)[...]) }
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let reader = try logs.reader(options, span: Self.span, in: surroundings)
        // Every log is read again and again.
        for source in reader.sources where !source.isRegular {
            throw CommandFailure(
                .unavailable, "\(source.name): expected a file that can be read twice, found a pipe or device")
        }
        let text = StoryText(time: .ofThisSystem(at: reader.now))
        return filter.isEmpty ? try messages(reader, text) : try tries(reader, text)
    }

    private func messages(_ reader: LogReader, _ text: StoryText) throws(CommandFailure) -> CommandOutput {
        var search = StorySearch(reader)
        for id in queueIDs { search.look(forQueueID: id) }
        if let messageID { try search.look(forMessageID: messageID) }
        let stories = try search.stories()
        var notes = search.notes + (search.isCut ? ["warning: there is more than is shown; name one queue id"] : [])
        let namesakes = stories.count { story in queueIDs.contains { story.queueID.elementsEqual($0.utf8) } }
        if namesakes > 1 {
            notes.append("note: \(namesakes) messages had this queue id, one after another; the oldest is shown first")
        }
        let object: JSONValue = ["messages": .list(stories.map { text.json(of: $0) })]
        guard !stories.isEmpty else { return missing(reader, object, notes) }
        if options.json { return CommandOutput(json: object, notes: notes) }
        return CommandOutput(text: stories.map { text.text(of: $0) }.joined(separator: "\n"), notes: notes)
    }

    private func tries(_ reader: LogReader, _ text: StoryText) throws(CommandFailure) -> CommandOutput {
        let (events, isCut, found) = try TrySearch(reader: reader, filter: filter).events()
        let notes = found + (isCut ? ["warning: these are the last \(TrySearch.maxEvents) lines of more"] : [])
        let object: JSONValue = ["events": .list(events.map { text.json(of: $0) })]
        guard !events.isEmpty else { return missing(reader, object, notes) }
        if options.json { return CommandOutput(json: object, notes: notes) }
        return CommandOutput(text: text.lines(of: events, showingIDs: true), notes: notes)
    }

    private func missing(_ reader: LogReader, _ object: JSONValue, _ notes: [String]) -> CommandOutput {
        let names = reader.sources.prefix(3).map(\.name) + (reader.sources.count > 3 ? ["..."] : [])
        let since = reader.since.map { " since \(LogTimeText.ofThisSystem(at: reader.now).second($0))" } ?? ""
        let hint = reader.sources.contains(.journal) && !Journal.isAllToBeSeen ? reader.notes(onLines: 0).suffix(1) : []
        let all = notes + ["no line is about it in \(names.joined(separator: ", "))\(since)"] + hint
        return options.json
            ? CommandOutput(json: object, notes: all, status: .negative) : CommandOutput(notes: all, status: .negative)
    }
}
