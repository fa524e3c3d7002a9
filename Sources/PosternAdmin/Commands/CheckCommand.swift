// `postern check`: everything that is wrong with the configuration.

internal import ArgumentParser
internal import PosternDaemon

struct CheckCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Reads the configuration and reports everything that is wrong.",
        usage: "postern check [<options>] [<file>]",
        discussion: """
            Looks at the tables of all daemons and at the files that they name. Prints one line for each problem:
              FILE:LINE:COLUMN: key.path: expected …, found …
            or "FILE: ok". Whether key files can be read, and by nobody else, is judged for the user \
            \(KeyOwner.daemonUser), or for who runs this where there is no such user; lists and zone files are judged \
            for the users of the daemons that read them. What is right and yet hardly meant is a warning on standard \
            error, also limits that /etc/postfix/main.cf and master.cf do not ask postern-rate about. Nothing is changed; daemons that run keep what they have.

            With --json, one object on one line; line, column and key are null where the file as a whole is meant:
              {"file":"postern.toml","problems":[{"file":"postern.toml","line":3,
              "column":8,"key":"host.name","text":"expected …, found …",
              "severity":"error"}]}

            EXAMPLES
              postern check
              postern check new.toml
              postern check --json | jq -r '.problems[].key'

            EXIT STATUS
              0   no problem
              64  the command line is wrong
              78  there are problems, or the file cannot be read

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @Argument(help: "The configuration. (default: that of --config)") var file: String?

    func validate() throws { _ = try options.naming(file) }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let path = file ?? options.configPath
        let result = Configuration.load(path: path, for: .check)
        let problems = result.problems
        let status: ExitStatus = problems.isEmpty ? .done : .badConfiguration
        let resolvers = result.readable?.advice(onSystemResolvers: surroundings.systemResolvers()) ?? []
        var notes =
            (result.advice + onHooks(result.readable, path, surroundings)).map { "warning: \($0)" }
            + resolvers.map { "warning: \($0)" }
        if result.configuration?.dkim.keys.isEmpty == false, surroundings.keyOwner() == .nobody {
            notes += [
                "warning: this machine has no user \(KeyOwner.daemonUser); key files were judged for who runs this"
            ]
        }
        guard !options.json else {
            let object: JSONValue = ["file": .text(path), "problems": .list(problems.map(Self.json))]
            return CommandOutput(json: object, notes: notes, status: status)
        }
        let lines = problems.isEmpty ? ["\(path): ok"] : problems.map(\.description)
        return CommandOutput(text: lines.map { $0 + "\n" }.joined(), notes: notes, status: status)
    }

    /// Limits that this system's Postfix does not ask about where it must.
    private func onHooks(
        _ configuration: Configuration?, _ path: String, _ surroundings: Surroundings
    ) -> [ConfigurationProblem] {
        guard let configuration, !configuration.limits.isEmpty, let files = surroundings.postfixFiles() else {
            return []
        }
        let hooks = LimitHooks(main: files.main, master: files.master, rate: configuration.listen.rate)
        return configuration.advice(on: hooks, file: path)
    }

    private static func json(_ problem: ConfigurationProblem) -> JSONValue {
        let hasPlace = problem.line > 0
        return [
            "file": .text(problem.file), "line": hasPlace ? .number(problem.line) : .null,
            "column": hasPlace ? .number(problem.column) : .null,
            "key": problem.keyPath.isEmpty ? .null : .text(problem.keyPath), "text": .text(problem.text),
            "severity": .text(problem.severity == .error ? "error" : "warning"),
        ]
    }
}
