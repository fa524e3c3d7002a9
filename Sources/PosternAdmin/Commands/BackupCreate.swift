// `postern backup create`: one archive of all that this host has of Postern, while everything runs.

internal import ArgumentParser
internal import PosternDaemon
internal import PosternMail

struct BackupCreate: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Writes an archive of configuration, keys and state.",
        usage: "postern backup create [<options>]",
        discussion: """
            Takes the configuration with the lists, zones and passwords that it names, the DKIM private keys, and of \
            each daemon what it remembers: the daemon is asked for a copy of one moment, and goes on. Of a daemon that \
            does not run, what lies in the state folder is taken. --with-postfix adds main.cf, master.cf and the \
            tables that they name. What packages bring (below /usr) is not in it, nor what a shared store holds.

            The archive is \(BackupFolder.usual)/postern-HOST-TIME.tar.zst, or lies in the folder of --to. It has its \
            name only when all of it is on the disk; what a crash leaves is called .postern-….partial, and the next \
            create or prune removes it. With --to - it goes to standard output: for ssh, rclone, borg, age. Where a \
            daemon's state could not be had the archive is made without it, the error is told, and the exit status is \
            1.

            It holds private keys. Encrypt it before it leaves the host:
              postern backup create --to - | age -r RECIPIENT > FILE
              postern backup create --to - | gpg -e -r RECIPIENT > FILE

            With --json, one object on one line; schema is null where a file has none:
              {"path":"/var/backups/postern/postern-mx1.example.com-….tar.zst",
              "octets":48213,"host":"mx1.example.com","created":1795259080,
              "missing":[],"files":[{"path":"config/etc/postern/postern.toml",
              "kind":"config","original":…,"owner":"root","group":"postern",
              "mode":"640","size":2048,"sha256":…,"state":null,"schema":null,…}]}

            EXAMPLES
              postern backup create
              postern backup create --to /mnt/backup --with-postfix
              postern backup create --to - | ssh backup@host 'cat > mx1.tar.zst'

            EXIT STATUS
              0   made
              1   made, but the state of a daemon is missing
              64  the command line is wrong
              69  not made: a file could not be read, no room, no right to write
              78  the configuration cannot be read

            FILES
              \(BackupFolder.usual)
              \(DaemonArguments.defaultConfiguration)
              /var/lib/postern
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ControlArguments
    @Option(help: ArgumentHelp("The folder for the archive, or - for standard output.", valueName: "folder"))
    var to = BackupFolder.usual
    @Flag(help: "Take Postfix's main.cf, master.cf and the tables that they name too.") var withPostfix = false
    @Option(help: ArgumentHelp("Where Postfix's files are.", valueName: "folder")) var postfixConfig = "/etc/postfix"

    func validate() throws {
        guard !to.isEmpty else { throw ValidationError("expected a folder or - for --to, found nothing") }
        guard to != "-" || !options.json else {
            throw ValidationError("expected --json or --to -, found both: standard output holds the one or the other")
        }
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let isStream = to == "-"
        guard !isStream || !surroundings.writesToTerminal() else {
            throw CommandFailure(.usage, "expected a file or a pipe for --to -, found a terminal")
        }
        let control = DaemonControl(options, place)
        let made = try BackupRun(
            options: options, control: control, folder: isStream ? nil : BackupFolder(path: to),
            postfix: withPostfix ? postfixConfig : nil, surroundings: surroundings
        ).run()
        let status: ExitStatus = made.missing.isEmpty ? .done : .negative
        let keys = made.manifest.entries.count { $0.kind == .keys }
        var notes = control.notes + made.notes
        if keys > 0 {
            let what = keys == 1 ? "1 private key" : "\(keys) private keys"
            notes.append(
                "note: the archive holds \(what): whoever can read it can sign as you; encrypt it before it leaves this "
                    + "host, such as by `age -r RECIPIENT` or `gpg -e -r RECIPIENT`")
        }
        guard !isStream else { return CommandOutput(notes: notes, status: status) }
        return options.output(Self.text(made), json: Self.json(made), notes: notes, status: status)
    }

    /// Whose name it has, then what is in it by kind.
    private static func text(_ made: BackupRun.Made) -> String {
        var lines = ["\(made.path ?? ""): \(ReportNumber.octets(made.octets))"]
        for kind in BackupManifest.Kind.allCases {
            let entries = made.manifest.entries.filter { $0.kind == kind }
            guard !entries.isEmpty else { continue }
            let octets = ReportNumber.octets(entries.reduce(0) { $0 + $1.size })
            let names = kind == .state ? ": " + entries.compactMap(\.state?.rawValue).joined(separator: ", ") : ""
            lines.append(
                "  \(kind.rawValue): \(entries.count == 1 ? "1 file" : "\(entries.count) files"), \(octets)\(names)")
        }
        return lines.map { $0 + "\n" }.joined()
    }

    private static func json(_ made: BackupRun.Made) -> JSONValue {
        [
            "path": .optional(made.path), "octets": .number(made.octets), "host": .text(made.manifest.host),
            "created": .number(Int(made.manifest.created.seconds)), "missing": .list(made.missing.map { .text($0) }),
            "files": .list(made.manifest.entries.map(\.json)),
        ]
    }
}
