// `postern status`: how the daemons are, in their own words.

internal import ArgumentParser
internal import PosternDaemon
internal import PosternMail

struct StatusCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Tells how the daemons are.",
        usage: """
            postern status [<options>] [<daemon> ...]
            postern status --fleet [--forget <host>]
            postern status --publish
            """,
        discussion: """
            For each daemon: release, time since its start, transactions under way, which configuration it works \
            with, the last warning, and its counters that are not 0. Each daemon is asked over its control socket \
            in listen.control, which answers root and the daemon's own user.

            With --json, one object on one line, with all counters:
              {"daemons":[{"name":"postern-dkim","running":true,"error":null,
              "status":{"version":"0.1.0","pid":812,"uptime":3600,
              "configuration":{"file":…,"generation":2,"loaded":…,"refused":null},
              "open_transactions":0,"counters":[{"metric":…,"label":…,
              "label_value":…,"value":7}],"last_warning":{"time":…,
              "level":"warning","text":…,"count":1}}}]}
            status is null for a daemon that does not run or did not answer; refused tells time and problems of the \
            last reload when it changed nothing.

            With --fleet, all hosts that share the store of store.url are shown side by side, and below them what differs: \
            keys and who signs with them, authserv_id, strip_authserv_ids, releases, clocks more than five seconds from the \
            store's, and whatever else decides about mail. Two keys of one selector, a domain that one host cannot sign for, \
            and two authserv_ids are errors. A host is silent when its document is older than five minutes; --forget takes one \
            out that is gone for good. postern-fleet.timer tells the store of this host each minute, by --publish. With --json, \
            one object on one line:
              {"store":"redis://…","hosts":[{"name":…,"heard":12,"clock_ahead":0,
              "document":{…}}],
              "differences":[{"severity":"error","subject":"host.authserv_id",
              "values":[{"host":…,"value":…}],"why":…}]}

            EXAMPLES
              postern status
              postern status dkim
              postern status --fleet
              postern status --json | jq '.daemons[].status.configuration.generation'

            EXIT STATUS
              0   all of them run; nothing of a fleet's differences breaks mail
              1   something differs that breaks mail
              64  the command line is wrong
              69  one does not run, or does not answer; the store does not
              78  the configuration is wrong, or names no store

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ControlArguments
    @Flag(help: "Show all hosts that share the store, and what differs.") var fleet = false
    @Flag(help: "Tell the shared store how this host is.") var publish = false
    @Option(help: ArgumentHelp("With --fleet: miss this host no more.", valueName: "host")) var forget: String?
    @Argument(
        help: ArgumentHelp("The daemons to ask. (default: those of this host)", valueName: "daemon"),
        transform: { text in try DaemonArgument.name(text) })
    var daemons: [DaemonName] = []

    func validate() throws {
        guard !(fleet && publish) else { throw ValidationError("expected --fleet or --publish, found both") }
        guard !(fleet || publish) || daemons.isEmpty else {
            throw ValidationError("expected no daemon beside --\(fleet ? "fleet" : "publish"), found one")
        }
        guard forget == nil || fleet else { throw ValidationError("expected --fleet beside --forget, found none") }
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        if fleet || publish { return try fleetOutput(in: surroundings) }
        let asked = DaemonControl(options, place)
        let answers = (daemons.isEmpty ? asked.usual : daemons).map { ($0, asked.ask($0, "status")) }
        let isComplete = answers.allSatisfy { if case .document = $0.1 { true } else { false } }
        let status: ExitStatus = isComplete ? .done : .unavailable
        guard !options.json else {
            let object: JSONValue = ["daemons": .list(answers.map(Self.json))]
            return CommandOutput(json: object, notes: asked.notes, status: status)
        }
        let text = answers.map { Self.text($0, $1) }.joined(separator: "\n")
        return CommandOutput(text: text, notes: asked.notes, status: status)
    }

    private static func json(_ daemon: DaemonName, _ answer: DaemonAnswer) -> JSONValue {
        var (isRunning, trouble, status): (JSONValue, JSONValue, JSONValue) = (.boolean(true), .null, .null)
        switch answer {
        case .document(let document):
            status = .object(
                document.members.filter { $0.key != "name" }.map { .init(key: $0.key, value: JSONValue($0.value)) })
        case .notRunning: isRunning = .boolean(false)
        case .failed(let text): trouble = .text(text)
        }
        return ["name": .text(daemon.rawValue), "running": isRunning, "error": trouble, "status": status]
    }

    // MARK: Text

    private static func text(_ daemon: DaemonName, _ answer: DaemonAnswer) -> String {
        switch answer {
        case .document(let document): lines(of: document, daemon).map { $0 + "\n" }.joined()
        case .notRunning: "\(daemon.rawValue): does not run\n"
        case .failed(let text): "\(daemon.rawValue): \(text)\n"
        }
    }

    private static func lines(of status: ControlDocument, _ daemon: DaemonName) -> [String] {
        func shown(_ document: ControlDocument?) -> String { DaemonControl.printable(document?.text ?? "unknown") }
        func number(_ document: ControlDocument?) -> String { document?.number.map { "\($0)" } ?? "unknown" }
        let open = status["open_transactions"]?.number ?? 0
        var lines = [
            "\(daemon.rawValue) \(shown(status["version"])): up \(uptime(status["uptime"]?.number ?? 0)), "
                + "pid \(number(status["pid"])), \(open == 1 ? "1 open transaction" : "\(open) open transactions")"
        ]
        if let configuration = status["configuration"] {
            lines.append(
                "  configuration: generation \(number(configuration["generation"])) of "
                    + "\(shown(configuration["file"])), loaded \(shown(configuration["loaded"]))")
            if let refused = configuration["refused"] {
                let problems = refused["problems"]?.elements ?? []
                lines.append("  reload refused: \(shown(refused["time"])), problems: \(problems.count)")
                lines += problems.map { "    \(DaemonArgument.problem($0))" }
            }
        }
        if let warning = status["last_warning"] {
            let count = warning["count"]?.number ?? 1
            let times = count > 1 ? " (\(count) times)" : ""
            lines.append(
                "  last \(shown(warning["level"])): \(shown(warning["time"])): \(shown(warning["text"]))\(times)")
        }
        let counters = status["counters"]?.elements.compactMap(counter) ?? []
        let width = counters.map(\.name.count).max() ?? 0
        lines += counters.map { "  \($0.name)\(String(repeating: " ", count: width - $0.name.count + 2))\($0.value)" }
        return lines
    }

    /// Those that are not 0.
    private static func counter(_ reading: ControlDocument) -> (name: String, value: Int64)? {
        guard let metric = reading["metric"]?.text, let value = reading["value"]?.number, value != 0 else { return nil }
        guard let key = reading["label"]?.text, let label = reading["label_value"]?.text else {
            return (DaemonControl.printable(metric), value)
        }
        return (DaemonControl.printable("\(CounterName(metric, key, label))"), value)
    }

    /// The two largest units: `3d 4h`, `12m 5s`, `7s`.
    static func uptime(_ seconds: Int64) -> String {
        let units: [(Int64, String)] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")]
        var (rest, parts): (Int64, [String]) = (max(0, seconds), [])
        for (size, letter) in units {
            if rest >= size || !parts.isEmpty { parts.append("\(rest / size)\(letter)") }
            rest %= size
        }
        return parts.isEmpty ? "0s" : parts.prefix(2).joined(separator: " ")
    }
}

/// Shared by the subcommands that ask daemons.
enum DaemonArgument {
    static func name(_ text: String) throws(ValidationError) -> DaemonName {
        guard let name = DaemonName(argument: text) else {
            throw ValidationError("expected a daemon (\(DaemonName.list)), found \"\(text)\"")
        }
        return name
    }

    /// `FILE:LINE:COLUMN: key.path: expected …, found …`, as `postern check` prints it.
    static func problem(_ problem: ControlDocument) -> String {
        var line = problem["file"]?.text ?? ""
        if let number = problem["line"]?.number { line += ":\(number):\(problem["column"]?.number ?? 0)" }
        if let key = problem["key"]?.text { line += ": \(key)" }
        return DaemonControl.printable("\(line): \(problem["text"]?.text ?? "")")
    }
}
