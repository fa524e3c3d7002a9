// `postern backup restore`: puts an archive's files back where they were.

internal import ArgumentParser
internal import PosternDaemon
internal import PosternMail

struct BackupRestore: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Puts the files of a backup back.",
        usage: "postern backup restore [<options>] <file>",
        discussion: """
            Reads the whole archive first; a damaged one changes nothing. Shows what becomes of each file: new, \
            replaced, the same already, or other owner or mode only. Asks before it replaces anything; without a \
            terminal --yes is needed. Then all files are written beside their places, and put in place one by one: \
            state, keys, what the configuration names, the configuration. Whatever ends that, each file is the old \
            one or the new one.

            What is replaced is kept beside it as NAME.replaced-TIME; the last lines tell how that goes away. A daemon \
            that owns state must not run while its state is restored: stop it first. Configuration and keys can be \
            restored while daemons run, which take them by `postern reload`. Owners are set by name: the users must be \
            there, as Postern's package makes them. Who is not root keeps the files, and is told.

            With --config, the configuration and what lay below its folder go there. Postfix's files are never put \
            back: `tar --zstd -xf` has them. An encrypted archive is decrypted into a file first.

            With --json, one object on one line; kept is null for what was not replaced, problems for what was not \
            checked:
              {"archive":…,"host":"mx1.example.com","created":1795259080,
              "root":"/","done":true,"files":[{"path":"/etc/postern/postern.toml",
              "kind":"config","change":"replaced","kept":…,"owner":"root",
              "group":"postern","mode":"640","size":2048}],"folders":[],"problems":[]}

            EXAMPLES
              postern backup restore --dry-run FILE
              systemctl stop postern.target && postern backup restore FILE
              postern backup restore --only keys FILE && postern reload dkim
              postern backup restore --root /mnt --yes FILE

            EXIT STATUS
              0   restored, or there was nothing to do
              1   restored, and the configuration there has problems
              64  the command line is wrong
              65  the archive is damaged, or leads out of the root
              69  nothing was restored: a daemon runs, a user is missing, there is no
                  room, nobody said yes, a file could not be read or written

            FILES
              \(DaemonArguments.defaultConfiguration)
              /var/lib/postern
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ControlArguments
    @Option(
        help: ArgumentHelp("config, keys or state; may be given more than once. (default: all)", valueName: "kind"),
        transform: { text in
            guard let kind = BackupManifest.Kind(rawValue: text), RestorePlan.kinds.contains(kind) else {
                throw ValidationError("expected config, keys or state, found \"\(LogText.escaped(text.utf8))\"")
            }
            return kind
        })
    var only: [BackupManifest.Kind] = []
    @Option(help: ArgumentHelp("The folder that stands for /.", valueName: "folder")) var root = "/"
    @Flag(help: "Replace what is there without asking.") var yes = false
    @Flag(help: "Show what would be done, and change nothing.") var dryRun = false
    @Argument(help: ArgumentHelp("An archive of `postern backup create`.", valueName: "file")) var file: String

    func validate() throws {
        guard file != "-" else {
            throw ValidationError("expected a file, found -: an archive is read twice; put it into a file first")
        }
        if let config = options.config, !BackupManifest.isPlain(config) {
            throw ValidationError("expected an absolute path for --config, found \"\(LogText.escaped(config.utf8))\"")
        }
        guard !root.isEmpty else { throw ValidationError("expected a folder for --root, found nothing") }
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let isInterrupted = surroundings.interruption()
        let archive = try CheckedArchive(file, surroundings, isInterrupted: isInterrupted)
        var places = RestorePlan.Places()
        if !only.isEmpty { places.kinds = Set(only) }
        places.configuration = options.config
        let run = try RestoreRun(
            archive, into: root, places, owners: .ofThisSystem(), now: surroundings.now(), isInterrupted: isInterrupted)
        var report = RestoreReport(run: run, isDone: false)
        var notes = notes(on: run)
        let running = try daemons(of: run)
        let rooms = try run.roomTroubles()
        if dryRun || run.plan.isEmpty {
            notes += running.map { "note: \($0)" } + rooms.map { "warning: no room at \($0)" }
            return options.output(report.planText, json: report.json, notes: notes)
        }
        try refuse(running)
        guard rooms.isEmpty else {
            var failure = CommandFailure(
                .unavailable,
                "no room for the archive's files, and nothing was changed; make room (what is replaced stays beside "
                    + "it), or restore a part by --only:")
            failure.notes = rooms.map { "error: \($0)" }
            throw failure
        }
        if !options.json { try surroundings.write(Array(report.planText.utf8)) }
        try agree(run.plan, surroundings)
        try refuse(try daemons(of: run))  // an answer may take long
        // And so may writing; a socket of systemd's starts its daemon again.
        try run.perform(surroundings) { () throws(CommandFailure) in try refuse(try daemons(of: run)) }
        report = RestoreReport(run: run, isDone: true)
        report.problems = problems(run)
        return options.output(
            report.outcomeText, json: report.json, notes: notes,
            status: report.problems?.isEmpty == false ? .negative : .done)
    }

    // MARK: Before

    /// What an admin should know before.
    private func notes(on run: RestoreRun) -> [String] {
        var notes: [String] = []
        if let reason = run.keepsCallers { notes.append("note: the files belong to you: \(reason)") }
        for path in run.leftovers {
            notes.append(
                "warning: \(path) is of a restore that was killed: a part of a new file, or all of an old one; remove "
                    + "it when nothing is missing")
        }
        if let exposure = run.archive.reader.exposure { notes.append(exposure) }
        if let shortcoming = run.archive.manifest.shortcoming {
            notes.append("warning: the archive is \(shortcoming), which could not be had when it was made")
        }
        if run.archive.manifest.entries.contains(where: { $0.kind == .postfix }) {
            notes.append("note: the archive has files of Postfix's, which are not put back")
        }
        return notes
    }

    /// The daemons that run and own state that would be written, each with what to do.
    private func daemons(of run: RestoreRun) throws(CommandFailure) -> [String] {
        guard run.root.isWholeSystem else { return [] }
        var controls = [DaemonControl(options, place)]
        if place.control == nil, let other = run.archive.control, other != controls.first?.folder {
            controls.append(DaemonControl(options, stated: other))
        }
        return run.plan.ownersOfState.compactMap { daemon in
            for control in controls {
                switch control.ask(daemon, "status") {
                case .notRunning: continue
                case .document:
                    return "\(daemon.rawValue) runs and owns state that would be restored: systemctl stop "
                        + "\(daemon.rawValue).socket \(daemon.rawValue).service"
                case .failed(let text):
                    return "cannot tell whether \(daemon.rawValue) runs, whose state would be restored: \(text)"
                }
            }
            return nil
        }
    }

    private func refuse(_ running: [String]) throws(CommandFailure) {
        guard !running.isEmpty else { return }
        var failure = CommandFailure(.unavailable, "expected daemons that are stopped; nothing was changed:")
        failure.notes = running.map { "error: \($0)" }
        throw failure
    }

    private func agree(_ plan: RestorePlan, _ surroundings: Surroundings) throws(CommandFailure) {
        let changed = plan.steps.count { $0.change == .replaced || $0.change == .rights }
        guard changed > 0, !yes else { return }
        let files = changed == 1 ? "1 file that is there" : "\(changed) files that are there"
        guard !options.json, let answer = surroundings.ask("change \(files)? [y/N] ") else {
            throw CommandFailure(
                .unavailable,
                "\(files) would be changed, and nobody can be asked; nothing was changed: --dry-run shows "
                    + "which, --yes agrees")
        }
        guard ["y", "yes"].contains(answer.lowercased()) else {
            throw CommandFailure(.unavailable, "nothing was changed")
        }
    }

    // MARK: After

    /// What is wrong with the configuration that is there now; nil where there is none.
    private func problems(_ run: RestoreRun) -> [ConfigurationProblem]? {
        let path = options.config ?? run.archive.manifest.configuration
        let root = run.root
        guard Files.exists(root.outside(path)) else { return nil }
        return root.isWholeSystem
            ? Configuration.load(path: path, for: .check).problems
            : Configuration.load(path: path, below: root.path, for: .check, as: .current).problems
    }
}
