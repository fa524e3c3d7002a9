// `postern doctor`: whether Postfix and Postern are wired so that mail flows, is signed and is judged; and for what is
// not, the line that mends it. It reads and asks; it changes nothing.

internal import ArgumentParser
internal import PosternAuth
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

struct DoctorCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Looks whether Postfix, Postern and DNS are wired right, and tells what mends it.",
        usage: "postern doctor [<options>]",
        discussion: """
            Reads Postfix's configuration by postconf(1): main.cf, the services of master.cf and what each of them \
            overrides; and postern.toml. Dials each socket that Postfix dials, as Postfix's user and from inside of \
            its chroot, which only root can. Asks DNS about this host's name and address, the domains that it signs \
            for, their keys, and the DNS lists in use. Tries the store that hosts share ([store]). Looks at rights, \
            disks, the clock and the age of the last backup. Nothing is changed.

            Prints for each finding what is wrong and where, why it matters, and what mends it:
              SEVERITY: FINDING (WHERE): …
                why: …
                run: a line for the shell, to be pasted as it stands
                set: lines for postern.toml
                do: what no line can do
            Lines that change Postfix hold after postfix reload. All lines about one list of Postfix's are the same \
            and mend all of it; what else is in the list stays. Then the sums, after "ok: " if there is neither error \
            nor warning. SEVERITY is
              error    mail is lost, stopped, unsigned or judged wrongly, now or as
                       soon as a daemon is down
              warning  it works; someone should look
              note     optional, or depends on what you want; shown with --notes

            FINDING is one of
            \(Self.list)

            With --json, one object on one line, notes included; kind is run, set or do:
              {"postfix":"3.7.11","errors":1,"warnings":0,"notes":0,"findings":[
              {"id":"milter_order","severity":"error","where":["smtp/inet"],
              "what":…,"why":…,"mend":[{"kind":"run","text":"postconf -e …"}]}],
              "not_looked_at":[]}

            EXAMPLES
              sudo postern doctor
              sudo postern doctor --notes
              sudo postern doctor --postfix-config /etc/postfix-out
              sudo postern doctor | sed -n 's/^  run: //p'
              sudo postern doctor --json | jq -r '.findings[].id'

            EXIT STATUS
              0   nothing that breaks mail
              1   an error was found
              64  the command line is wrong
              69  postconf is not there, fails, or prints what is not understood
              78  the configuration cannot be read

            FILES
              \(DaemonArguments.defaultConfiguration)
              /etc/postfix/main.cf, /etc/postfix/master.cf, by postconf(1)
            """)

    @OptionGroup var options: GlobalOptions
    @Option(
        help: ArgumentHelp("Where main.cf and master.cf are. (default: as Postfix has it)", valueName: "folder"))
    var postfixConfig: String?
    @Option(help: ArgumentHelp("Where the control sockets are. (default: listen.control)", valueName: "folder"))
    var control: String?
    @Flag(help: "Show notes too.") var notes = false

    /// All words, in columns that a terminal has room for.
    private static var list: String {
        var lines: [String] = []
        var line = " "
        for id in DoctorFinding.ID.allCases {
            let word = id == DoctorFinding.ID.allCases.last ? id.rawValue : "\(id.rawValue),"
            if line.count + 1 + word.count > 76 {
                lines.append(line)
                line = " "
            }
            line += " \(word)"
        }
        return (lines + [line]).joined(separator: "\n")
    }

    func validate() throws {
        if let postfixConfig, !postfixConfig.hasPrefix("/") {
            throw ValidationError("--postfix-config: expected an absolute path, found \"\(postfixConfig)\"")
        }
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let result = options.load(for: .check, in: surroundings)
        guard let configuration = result.readable else { throw options.failure(result) }
        let postfix = try PostconfRun(folder: postfixConfig).view()
        let asked = DaemonControl(options, stated: control)
        var subject = DoctorSubject(postfix: postfix, configuration: configuration)
        subject.machine = DoctorMachine(
            configuration, postfix, control: asked, trying: Self.sockets(subject),
            resolvers: surroundings.systemResolvers(), now: surroundings.now())
        let config = options.config.map { " \(PostfixEdit.quoted($0))" } ?? ""
        subject.configOption = options.config.map { " --config \(PostfixEdit.quoted($0))" } ?? ""
        // Whoever may not look at the keys knows nothing about them.
        let isBlind = KeyAdvice.onRights(of: surroundings.keyReader()) != nil
        let keyFiles = Set(configuration.dkim.entries.map(\.keyPath))
        let problems = result.problems.filter { !isBlind || !keyFiles.contains($0.keyPath) }
        var findings =
            FileFindings.configuration(problems, configuration.dkim.entries, check: "postern check\(config)")
            + Self.findings(subject)
        let log = NoteCollector()
        let resolver = try options.resolver(LoadedConfiguration(configuration: configuration))
        let network = try network(subject, in: surroundings) { surroundings.dns(resolver, log) }
        findings += network.findings
        let report = Report(
            findings: DoctorFinding.merged(findings),
            notLookedAt: Self.untried(subject) + OriginFindings.unread(subject) + network.notLookedAt
                + (isBlind ? ["private keys: only root and user \(KeyOwner.daemonUser) may read them"] : []),
            version: postfix.version.description, reload: subject.edit.reload)
        return options.json
            ? report.json(notes: asked.notes + log.notes)
            : report.text(withNotes: notes, notes: asked.notes + log.notes(on: resolver))
    }

    // MARK: Looking

    /// What follows from Postfix, the configuration and the machine alone.
    static func findings(_ subject: DoctorSubject) -> [DoctorFinding] {
        SocketFindings.all(subject) + MilterFindings.all(subject) + OriginFindings.all(subject)
            + PolicyFindings.all(subject) + LimitFindings.all(subject) + ContentFindings.all(subject)
            + VersionFindings.all(subject) + DNSFindings.loop(subject) + DNSFindings.knownLists(subject)
            + FileFindings.all(subject)
    }

    /// What DNS tells. Where it tells nothing that is the one finding.
    private func network(
        _ subject: DoctorSubject, in surroundings: Surroundings, dns: @escaping () -> any DNSAnswering
    ) throws(CommandFailure) -> (findings: [DoctorFinding], notLookedAt: [String]) {
        let questions = DNSFindings(subject: subject, dns: dns)
        if let silence = questions.silence() {
            return ([silence], ["DNS lists, names, SPF, keys and DMARC: DNS answers nothing"])
        }
        let now = surroundings.now()
        var keys: [NamedKey] = []
        for entry in subject.configuration.dkim.entries {
            // A key that cannot be read is a finding already.
            guard let key = try? entry.privateKey(for: surroundings.keyReader()) else { continue }
            keys.append(try NamedKey(entry, key))
        }
        let tests = try KeyFindings.tests(of: keys, config: options.config, dns: dns())
        let silent = tests.filter { $0.result == "temperror" }.map { "key \($0.key.name.record): DNS could not tell" }
        let findings =
            questions.lists(now: now) + DomainFindings(subject: subject, dns: dns, now: now).all()
            + KeyFindings.all(tests, requirePublished: subject.configuration.dkim.requirePublished)
        return (findings, silent)
    }

    /// Each socket that Postfix dials, once.
    private static func sockets(_ subject: DoctorSubject) -> [DialledSocket] {
        var sockets: [DialledSocket] = []
        for dialled in subject.dialled where !sockets.contains(dialled.socket) { sockets.append(dialled.socket) }
        return sockets
    }

    private static func untried(_ subject: DoctorSubject) -> [String] {
        var reasons: [String] = []
        for trial in subject.machine.trials {
            guard case .untried(let reason) = trial.outcome else { continue }
            let text = "sockets: \(reason)"
            if !reasons.contains(text) { reasons.append(text) }
        }
        if subject.machine.backup == .unknown { reasons.append("backups: only who may enter state.directory knows") }
        return reasons
    }
}

// MARK: Telling

extension DoctorCommand {
    /// What was found, ready to be told.
    struct Report: Equatable {
        var findings: [DoctorFinding]
        var notLookedAt: [String]
        /// Postfix's.
        var version: String
        /// The line that tells Postfix of what was changed.
        var reload: String

        private func count(_ severity: DoctorFinding.Severity) -> Int {
            findings.reduce(0) { $0 + ($1.severity == severity ? 1 : 0) }
        }

        var status: ExitStatus { count(.error) > 0 ? .negative : .done }

        func text(withNotes: Bool, notes: [String]) -> CommandOutput {
            let shown = findings.filter { withNotes || $0.severity != .note }
            var text = shown.map { $0.lines + "\n" }.joined()
            if shown.contains(where: { $0.mends.contains(where: \.isOfPostfix) }) {
                text += "after changes to Postfix: \(reload)\n"
            }
            let (errors, warnings, hints) = (count(.error), count(.warning), count(.note))
            func counted(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }
            text += errors + warnings == 0 ? "ok: " : ""
            text += "\(counted(errors, "error")), \(counted(warnings, "warning")), \(counted(hints, "note"))"
            text += hints > 0 && !withNotes ? "; --notes shows them\n" : "\n"
            return CommandOutput(
                text: text, notes: notes + notLookedAt.map { "warning: not looked at: \($0)" }, status: status)
        }

        func json(notes: [String]) -> CommandOutput {
            let object: JSONValue = [
                "postfix": .text(version), "errors": .number(count(.error)), "warnings": .number(count(.warning)),
                "notes": .number(count(.note)), "findings": .list(findings.map(\.json)),
                "not_looked_at": .list(notLookedAt.map(JSONValue.text)),
            ]
            return CommandOutput(json: object, notes: notes, status: status)
        }
    }
}
