// `postern backup test`: a restore that nobody notices, to know that the real one would go well.

internal import ArgumentParser
internal import Glibc
internal import PosternDaemon
internal import PosternMail
internal import PosternStore

struct BackupTest: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "test",
        abstract: "Restores a backup into a scratch folder and looks whether it would do.",
        usage: "postern backup test [<options>] [<file or folder>]",
        discussion: """
            Takes the newest archive of a folder, or the one that is named, and does with it what `restore` does, in a \
            folder of its own for root alone: reads the whole archive, writes every file, checks the configuration \
            there with everything that it names, tries each private key, opens every store, reads all of it and \
            counts. The folder is below $TMPDIR or \
            /var/tmp, needs room for all files, and is removed in the end; nothing else of this host is touched, and \
            daemons may run. postern-backup-test.timer does it once a week. That a backup of this host would do is \
            noted in state.directory, from where postern metrics tells when that was.

            An archive may be of another host. Whether this one has the users is told by `restore --dry-run`.

            With --json, one object on one line; age is in seconds, counts of stores only:
              {"archive":…,"host":"mx1.example.com","created":1795259080,
              "age":3600,"good":true,"parts":[{"part":"facts.sqlite","good":true,
              "texts":["812 facts, 3 policies"],"counts":{"facts":812}}]}

            EXAMPLES
              postern backup test
              postern backup test /mnt/backup
              postern backup test --json | jq -e .good

            EXIT STATUS
              0   the backup would do
              1   something in it would not
              64  the command line is wrong
              65  the archive is damaged
              69  there is no archive, it cannot be read, or there is no room

            FILES
              \(BackupFolder.usual)
              \(DaemonArguments.defaultConfiguration)
              /var/lib/postern/backup.tested
            """)

    @OptionGroup var options: GlobalOptions
    @Option(help: ArgumentHelp("Where the scratch folder is made. (default: $TMPDIR or /var/tmp)", valueName: "folder"))
    var scratch: String?
    @Argument(help: ArgumentHelp("An archive, or a folder of them.", valueName: "file or folder"))
    var place = BackupFolder.usual

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let trial = try RestoreTrial(of: try newest(), in: scratch, surroundings)
        let age = max(0, (surroundings.now() - trial.archive.manifest.created).components.seconds)
        return options.output(
            Self.text(trial, age: Int(age)), json: trial.json(["age": .number(Int(age))]),
            notes: trial.notes + noted(trial, surroundings), status: trial.status)
    }

    /// Leaves word for `postern metrics`, where the backup is one of this host and would do.
    /// - Returns: why that could not be.
    private func noted(_ trial: RestoreTrial, _ surroundings: Surroundings) -> [String] {
        // A machine without a configuration is not the host; `.dns` opens no keys.
        guard trial.isGood, let here = Configuration.load(path: options.configPath, for: .dns).readable,
            here.host.name.description == trial.archive.manifest.host
        else { return [] }
        do throws(CommandFailure) {
            try LastBackup(time: surroundings.now(), octets: trial.archive.reader.octets)
                .write(as: .tested, in: here.state.directory)
            return []
        } catch {
            return ["warning: \(error.text); the metrics do not tell of this test"]
        }
    }

    /// The archive that is meant.
    private func newest() throws(CommandFailure) -> String {
        var status = stat()
        guard stat(place, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return place }
        let folder = BackupFolder(path: place)
        guard let name = try folder.archiveNames().first else {
            throw CommandFailure(
                .unavailable,
                "\(LogText.escaped(place.utf8)): expected an archive, found none; make one by "
                    + "`postern backup create`")
        }
        return folder.path(of: name.text)
    }

    private static func text(_ trial: RestoreTrial, age: Int) -> String {
        let (reader, manifest, origin) = (trial.archive.reader, trial.archive.manifest, trial.origin)
        var rows = [
            ["archive", reader.path],
            [
                "made",
                "\(origin.created), \(ReportNumber.duration(age)) ago, on \(origin.host) by Postern "
                    + origin.version,
            ],
            [
                "contents",
                "\(manifest.entries.count == 1 ? "1 file" : "\(manifest.entries.count) files"), "
                    + "\(ReportNumber.octets(manifest.octets)) in \(ReportNumber.octets(reader.octets)): whole, "
                    + "each as the manifest has it",
            ],
        ]
        for finding in trial.findings {
            for (number, text) in finding.texts.prefix(maxTexts).enumerated() {
                rows.append([number == 0 ? finding.what : "", finding.isGood ? text : "error: \(text)"])
            }
            if finding.texts.count > maxTexts { rows.append(["", "and \(finding.texts.count - maxTexts) more"]) }
        }
        rows.append(["result", trial.isGood ? "this backup would do" : "this backup would NOT do"])
        return Columns.text(rows)
    }

    /// Problems of one part that are told: the result is to fit on a screen; `--json` has them all.
    private static let maxTexts = 5
}
