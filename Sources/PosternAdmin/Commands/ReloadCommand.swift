// `postern reload`: the daemons read the configuration again, and say what came of it.

internal import ArgumentParser
internal import PosternDaemon

struct ReloadCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "reload",
        abstract: "Lets the daemons read the configuration again.",
        usage: "postern reload [<options>] [<daemon> ...]",
        discussion: """
            Each daemon that runs reads its file. Without a single problem it goes on with what it read: mail that \
            is under way ends as it began, and what comes then is judged by the new. With any problem, be it in \
            another daemon's table, it changes nothing and tells all of them; so does `postern check`, which asks \
            no daemon. Where a daemon listens and where its log goes is read at its start only, and told.

            With --json, one object on one line; result is adopted, refused, or null for a daemon that did not \
            answer:
              {"daemons":[{"name":"postern-dkim","running":true,"error":null,
              "result":"refused","generation":2,"problems":[{"file":…,"line":3,
              "column":8,"key":"host.name","text":…}],"notices":[]}]}

            EXAMPLES
              postern check && postern reload
              postern reload dkim

            EXIT STATUS
              0   every daemon that runs has taken the new configuration
              64  the command line is wrong
              69  no daemon runs, one named here does not, or one did not answer
              78  refused: the configuration has problems

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ControlArguments
    @Argument(
        help: ArgumentHelp("The daemons to ask. (default: all that run)", valueName: "daemon"),
        transform: { text in try DaemonArgument.name(text) })
    var daemons: [DaemonName] = []

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let asked = DaemonControl(options, place)
        var report = Report(notes: asked.notes)
        for daemon in daemons.isEmpty ? asked.usual : daemons {
            report.add(daemon, asked.ask(daemon, "reload"), isNamed: !daemons.isEmpty)
        }
        let status = report.status
        if !report.hasRunning { report.notes.append("error: expected a running daemon, found none") }
        return options.json
            ? CommandOutput(json: ["daemons": .list(report.objects)], notes: report.notes, status: status)
            : CommandOutput(text: report.lines.map { $0 + "\n" }.joined(), notes: report.notes, status: status)
    }

    private struct Report {
        var notes: [String]
        var lines: [String] = []
        var objects: [JSONValue] = []
        var hasRunning = false
        private var isRefused = false
        private var isIncomplete = false

        init(notes: [String]) { self.notes = notes }

        var status: ExitStatus {
            if isRefused { return .badConfiguration }
            return isIncomplete || !hasRunning ? .unavailable : .done
        }

        mutating func add(_ daemon: DaemonName, _ answer: DaemonAnswer, isNamed: Bool) {
            let name = daemon.rawValue
            var trouble: String?
            var document: ControlDocument = [:]
            switch answer {
            case .document(let answer):
                document = answer
                hasRunning = true
                tell(answer, name)
            case .notRunning:
                notes.append("\(isNamed ? "error" : "note"): \(name) does not run")
                if isNamed { isIncomplete = true }
            case .failed(let text):
                hasRunning = true
                isIncomplete = true
                trouble = text
                notes.append("error: \(name): \(text)")
            }
            var isRunning = true
            if case .notRunning = answer { isRunning = false }
            objects.append([
                "name": .text(name), "running": .boolean(isRunning), "error": .optional(trouble),
                "result": .optional(document["result"]?.text),
                "generation": .optional(document["generation"]?.number.map { Int($0) }),
                "problems": .list((document["problems"]?.elements ?? []).map(JSONValue.init)),
                "notices": .list((document["notices"]?.elements ?? []).map(JSONValue.init)),
            ])
        }

        private mutating func tell(_ answer: ControlDocument, _ name: String) {
            let generation = answer["generation"]?.number.map { "\($0)" } ?? "unknown"
            switch answer["result"]?.text {
            case "adopted": lines.append("\(name): reloaded, generation \(generation)")
            case "refused":
                isRefused = true
                lines.append("\(name): refused, going on with generation \(generation)")
            default:
                isIncomplete = true
                notes.append("error: \(name): expected the outcome of a reload, found something else")
            }
            lines += (answer["problems"]?.elements ?? []).map { DaemonArgument.problem($0) }
            notes += (answer["notices"]?.elements ?? []).map {
                "warning: \(name): \(DaemonControl.printable($0.text ?? ""))"
            }
        }
    }
}
