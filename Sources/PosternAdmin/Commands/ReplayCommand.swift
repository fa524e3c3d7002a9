// `postern replay`: what another configuration would have decided about the requests that postern-policy and postern-rate
// have recorded (policy.record). The daemons' own judges decide, here, and nobody is asked and nothing is written.

internal import ArgumentParser
internal import Glibc
internal import PosternAdmission
internal import PosternDaemon
internal import PosternMail

struct ReplayCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Tells what a new configuration would have decided about recorded requests.",
        usage: "postern replay --config <new file> [<options>] [<record> ...]",
        discussion: """
            With record = "7d" in [policy], postern-policy and postern-rate keep what Postfix asked them, what DNS said \
            and what they answered. replay judges these requests again, by the rules, scores, lists, greylisting and \
            limits of <new file>, and counts what would have been decided otherwise.

            The configuration in force (--against) is replayed beside it, and the two are compared. How far its replay \
            agrees with what was really decided is told: a change of a decision that it does not bring about is called \
            doubtful. Where it cannot be read, the new one is compared with what was decided.

            What nobody asked then is not guessed: a list that is new is told as not known, and taken for no answer, or \
            asked now with --ask, whose answer may be another than it was. Where what is missing could not have \
            changed the outcome, it is not missed. Records older than --since fill the memories of greylisting and \
            limits. What greylisting knew before the records began is taken over from what it answered. A client that \
            would have to wait although it came in then is taken to come back when its wait is over. Limits begin with \
            nothing counted. Each daemon's requests are judged by themselves: a recipient that a rule would refuse is \
            still counted by limits.

            With --json, one object on one line:
              {"from":…,"until":…,"requests":…,"changed":…,"agreeing":…,
              "daemons":[…],"changes":[{"daemon":"postern-policy","from":"pass",
              "to":"reject","check":"rule no spam","count":12,"doubtful":0}],
              "unknown":[{"name":"bl.example.org","requests":3}],…,
              "decisions":[{"time":…,"client":…,"sender":…,"recipient":…,
              "old":{"action":"pass",…},"new":{…,"reason":…},"doubt":null}]}

            EXAMPLES
              postern replay --config new.toml
              postern replay --since 7d --config new.toml --changes pass:reject --limit 100
              postern replay --config new.toml --client 192.0.2.0/24
              postern replay --config new.toml --json | jq '.changes[]'

            EXIT STATUS
              0   replayed; nothing would be decided otherwise
              1   something would be decided otherwise
              64  the command line is wrong
              65  the files that are named hold no recorded requests
              69  there are no records, or they cannot be read
              78  the configuration is wrong

            FILES
              \(DaemonArguments.defaultConfiguration)
              /var/lib/postern/policy-requests.*
              /var/lib/postern/rate-requests.*
            """)

    @OptionGroup var options: GlobalOptions
    @Option(
        help: ArgumentHelp(
            "The configuration in force. (default: \(DaemonArguments.defaultConfiguration))", valueName: "file"))
    var against: String?
    @OptionGroup var span: SpanArguments
    @Option(
        help: ArgumentHelp("List only these: pass:reject, pass: (from), :defer (to).", valueName: "from:to"),
        transform: { text in try ReplayCommand.change(text) })
    var changes: ChangeFilter?
    @Option(
        help: ArgumentHelp("List only those of this client or network.", valueName: "network"),
        transform: { text in
            do throws(NetworkError) { return try Network(text) } catch { throw ValidationError("\(error)") }
        })
    var client: Network?
    @Option(help: ArgumentHelp("List so many decisions at most, up to 100000.", valueName: "number"))
    var limit = 20
    @Flag(help: "Ask DNS now for what nobody asked then.")
    var ask = false
    @Argument(
        help: ArgumentHelp(
            "Files of recorded requests. (default: those in state.directory)", valueName: "record"))
    var records: [String] = []

    typealias ChangeFilter = (from: String?, to: String?)
    private static let maxLimit = 100_000

    func validate() throws(ValidationError) {
        guard (0...Self.maxLimit).contains(limit) else {
            throw ValidationError("--limit: expected 0 to \(Self.maxLimit), found \(limit)")
        }
    }

    private static func change(_ text: String) throws(ValidationError) -> ChangeFilter {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map { String($0) }
        let words = RecordedDecision.allWords + [""]
        guard let from = parts.first, let to = parts.dropFirst().first, words.contains(from), words.contains(to) else {
            throw ValidationError(
                "expected FROM:TO with words such as pass:reject, one of them may be missing; found "
                    + "\"\(LogText.escaped(text.utf8))\"")
        }
        return (from.isEmpty ? nil : from, to.isEmpty ? nil : to)
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let tried = try ReplayedConfiguration(options, in: surroundings)
        var notes = tried.notes
        let baseline = try self.baseline(&notes, in: surroundings)
        let folder = (baseline ?? tried).policy.state.directory
        let paths = records.isEmpty ? RecordReader.files(in: folder) : records
        guard !paths.isEmpty else {
            throw CommandFailure(
                .unavailable,
                "expected recorded requests in \(folder), found none; [policy] record = \"7d\" records them")
        }
        let now = surroundings.now()
        var report = ReplayReport(
            wanted: .init(from: changes?.from, to: changes?.to, client: client, limit: limit),
            since: span.since?.time(now: now), until: span.until?.time(now: now), hasBaseline: baseline != nil,
            limits: tried.rate.limits)
        let log = NoteCollector()
        let questions = QuestionCount()
        let asking = try ask ? asking(tried, questions, log, in: surroundings) : nil
        let replay: Replay
        do throws(ExpressionError) {
            replay = try Replay([baseline, tried].compactMap { $0?.settings }, asking: asking)
        } catch {
            throw CommandFailure(.badConfiguration, "rules: \(error)")
        }
        let reader = RecordReader(paths: paths, isListed: records.isEmpty, tell: surroundings.tell)
        let reading = try reader.read { record in
            report.take(record, replay.judge(record, at: .local(record.time)))
        }
        // That nothing would be decided otherwise is not said of nothing.
        guard reading.records > 0 else {
            var failure =
                records.isEmpty
                ? CommandFailure(.unavailable, "expected recorded requests in \(folder), found none that can be read")
                : CommandFailure(.badData, "expected files of recorded requests, found none of them")
            failure.notes = notes + reading.notes
            throw failure
        }
        report.reading = reading
        (report.seeded, report.comingBack, report.asked) = (replay.seeded, replay.comingBack, questions.count)
        notes += reading.notes + log.notes
        return options.output(
            report.text(.ofThisSystem(at: now)), json: report.json, notes: notes,
            status: report.changed > 0 ? .negative : .done)
    }

    /// - Returns: nil where there is none to be read, which is noted, or where it is the one that is tried.
    private func baseline(
        _ notes: inout [String], in surroundings: Surroundings
    ) throws(CommandFailure) -> ReplayedConfiguration? {
        var options = options
        options.config = against
        if against == nil, access(options.configPath, R_OK) != 0 {
            notes.append(
                "warning: cannot read \(options.configPath): \(SystemText.of(errno)); compared with what was decided")
            return nil
        }
        let read = try ReplayedConfiguration(options, in: surroundings)
        notes += read.notes.filter { [notes] in !notes.contains($0) }
        return read
    }

    private func asking(
        _ tried: ReplayedConfiguration, _ questions: QuestionCount, _ log: NoteCollector, in surroundings: Surroundings
    ) throws(CommandFailure) -> ReplayAsking {
        let resolver = try options.resolver(LoadedConfiguration(configuration: tried.policy))
        return ReplayAsking(senderPolicy: EnvelopeSPF(receiver: tried.policy.host.name)) {
            surroundings.dns(resolver, log)
        } asked: {
            questions.count += $0
        }
    }
}

private final class QuestionCount {
    var count = 0
}

/// One configuration as both daemons read it.
struct ReplayedConfiguration {
    let policy: Configuration
    let rate: Configuration
    let notes: [String]

    init(_ options: GlobalOptions, in surroundings: Surroundings) throws(CommandFailure) {
        let policy = try options.configurationNeeded(for: .policy, in: surroundings)
        let rate = try options.configurationNeeded(for: .rate, in: surroundings)
        (self.policy, self.rate) = (policy.0, rate.0)
        notes = policy.notes + rate.notes.filter { !policy.notes.contains($0) }
    }

    var settings: ReplaySettings { ReplaySettings(policy: policy, rate: rate) }
}
