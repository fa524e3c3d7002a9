// `postern report`: what came, what was refused and why, from the logs.

internal import ArgumentParser
internal import PosternDaemon
internal import PosternMail

struct ReportCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Counts what the mail logs say.",
        usage: "postern report [<options>]",
        discussion: """
            Reads the lines of Postfix and of the daemons, as text or JSON (log.format), and tells what was taken in, \
            delivered and refused, what Postern decided and why, which clients and senders were refused most, which \
            DNS lists hit, how many greylisted senders came back and after how long, which limits were reached, which \
            DKIM keys signed, and which warnings came. Timestamps may be of either kind that syslog daemons write; a \
            year that is not told follows from the file's last change.

            Without --since it looks back 24h, or, where logs are named by --log, at all of them. However long the \
            logs, memory stays the same: where more than 2000 different clients, senders or reasons came, their counts \
            are told with how much they may be too high (space-saving counters). What takes longer than 5s tells how \
            far it is.

            --html writes a page with a chart that needs nothing else: no scripts, nothing from elsewhere, strangers' \
            words as text. The text is printed as well, unless the page goes to standard output (-).

            With --json, one object on one line:
              {"from":…,"until":…,"read":{"lines":…,"octets":…,"postfix":…,
              "postern":…},"postfix":{"connections":…,"messages":…,…,
              "answers":[{"code":"554 5.7.1","reason":…,"count":7,
              "at_most_too_many":0,"last":null}],…},"postern":{"verdicts":
              [{"daemon":"postern-policy","action":"reject","reason":"dnsbl",
              "count":5,…}],"results":[{"method":"spf","result":"pass",…}],
              "greylist":{"first_tries":…,"came_back":…,"delays":[…]},…},
              "series":{"seconds":3600,"bars":[…]},"troubles":[…]}

            EXAMPLES
              postern report
              postern report --since 7d --html /var/www/html/mail.html
              postern report --log /var/log/mail.log.1 /var/log/mail.log.2.gz
              postern report --json | jq '.postern.verdicts[]'

            EXIT STATUS
              0   reported
              64  the command line is wrong
              69  a log cannot be read, the page cannot be written

            FILES
              /var/log/mail.log*
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var logs: LogArguments
    @Option(help: ArgumentHelp("Write an HTML page too; - is standard output.", valueName: "file"))
    var html: String?
    @Option(help: ArgumentHelp("Rows of a table at most, up to 1000.", valueName: "rows"))
    var top = 10

    /// How far it looks back where nothing is said.
    static let span = Duration.seconds(86_400)

    func validate() throws(ValidationError) {
        guard (1...1000).contains(top) else { throw ValidationError("--top: expected 1 to 1000, found \(top)") }
        if html == "-", options.json { throw ValidationError("expected --json or --html -, found both") }
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let reader = try logs.reader(options, span: Self.span, in: surroundings)
        let time = LogTimeText.ofThisSystem(at: reader.now)
        var counts = ReportCounts(offset: time.offset)
        let reading = try reader.read { line, moment in
            counts.take(line, time: moment) { reader.wants($0) }
        }
        var report = Report(
            counts: counts, since: reader.since, until: reader.until, made: reader.now, reading: reading, time: time,
            top: top)
        report.configuredKeys = keys(in: surroundings)
        if let html, html != "-" {
            do throws(FileFailure) { try PageFile.write(Array(report.page.utf8), to: html) } catch {
                throw CommandFailure(error)
            }
        }
        let notes = reading.notes + reader.notes(onLines: counts.postfixLines + counts.posternLines)
        if options.json { return CommandOutput(json: report.json, notes: notes) }
        return CommandOutput(text: html == "-" ? report.page : report.text, notes: notes)
    }

    /// The names of the configured keys; none where the file cannot be read, which is `check`'s to tell.
    private func keys(in surroundings: Surroundings) -> [DKIMKeyName] {
        let entries = options.load(for: .dkim, in: surroundings).readable?.dkim.entries ?? []
        return entries.compactMap { try? DKIMKeyName($0) }  // a name that is too long is told by `check`
    }
}
