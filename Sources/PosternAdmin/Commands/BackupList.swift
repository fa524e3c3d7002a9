// `postern backup list`: the archives in a folder.

internal import ArgumentParser
internal import PosternDaemon
internal import PosternMail

struct BackupList: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Lists the archives in a folder, newest first.",
        usage: "postern backup list [<options>] [<folder>]",
        discussion: """
            Each archive's time, host, size, Postern's version, number of files and of private keys, and the states \
            that it holds, and what could not be had for it. What breaks off, or has no manifest, is shown as no whole \
            archive; octets between its ends are looked at by verify. Files with other names are left out.

            With --json, one object on one line; trouble is null where nothing shows, else what is known of the \
            manifest is null:
              {"folder":"/var/backups/postern","archives":[{"path":…,
              "host":"mx1.example.com","created":1795259080,"octets":48213,
              "postern":"0.1.0","files":9,"keys":2,"states":["greylist","limits"],
              "missing":[],"trouble":null}]}

            EXAMPLES
              postern backup list
              postern backup list /mnt/backup
              postern backup list --json | jq -r '.archives[0].path'

            EXIT STATUS
              0   done
              1   a file with an archive's name is no whole archive
              64  the command line is wrong
              69  the folder cannot be read

            FILES
              \(BackupFolder.usual)
            """)

    @OptionGroup var options: GlobalOptions
    @Argument(help: "The folder of the archives.") var folder = BackupFolder.usual

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let archives = try BackupFolder(path: folder).archives()
        let isWhole = archives.allSatisfy { $0.trouble == nil }
        return options.output(
            Self.text(archives, folder), json: Self.json(archives, folder), status: isWhole ? .done : .negative)
    }

    private static func text(_ archives: [ListedBackup], _ folder: String) -> String {
        guard !archives.isEmpty else { return "\(folder): no archives\n" }
        var rows = [["time", "host", "size", "postern", "files", "keys", "state", "file"]]
        for archive in archives {
            let manifest = archive.manifest
            rows.append([
                BackupTime.text(archive.name.created), LogText.escaped((manifest?.host ?? archive.name.host).utf8),
                archive.octets.map(ReportNumber.octets) ?? "-",
                manifest.map { LogText.escaped($0.version.utf8) } ?? "-", manifest.map { "\($0.entries.count)" } ?? "-",
                manifest.map { "\($0.keys)" } ?? "-",
                manifest.map(Self.states) ?? "no whole archive", archive.name.text,
            ])
        }
        return Columns.text(rows)
    }

    private static func states(_ manifest: BackupManifest) -> String {
        ([manifest.states.map(\.rawValue).joined(separator: ",")] + [manifest.shortcoming].compactMap(\.self))
            .filter { !$0.isEmpty }.joined(separator: ", ")
    }

    private static func json(_ archives: [ListedBackup], _ folder: String) -> JSONValue {
        let list = archives.map { archive -> JSONValue in
            let manifest = archive.manifest
            return [
                "path": .text(archive.path), "host": .text(manifest?.host ?? archive.name.host),
                "created": .number(Int(archive.name.created.seconds)), "octets": .optional(archive.octets),
                "postern": .optional(manifest?.version), "files": .optional(manifest?.entries.count),
                "keys": .optional(manifest?.keys),
                "states": manifest.map { .list($0.states.map { .text($0.rawValue) }) } ?? .null,
                "missing": manifest.map { .list($0.missing.map { .text($0) }) } ?? .null,
                "trouble": .optional(archive.trouble),
            ]
        }
        return ["folder": .text(folder), "archives": .list(list)]
    }
}

extension BackupManifest {
    /// How many private keys it holds.
    var keys: Int { entries.count { $0.kind == .keys } }
    var states: [State] { entries.compactMap(\.state) }
    /// `without greylist.sqlite`; nil for one that has all.
    var shortcoming: String? {
        missing.isEmpty ? nil : "without " + missing.map { LogText.escaped($0.utf8) }.joined(separator: ", ")
    }
}
