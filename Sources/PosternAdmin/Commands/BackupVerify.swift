// `postern backup verify`: whether an archive is whole, and what it holds is of use.

internal import ArgumentParser
internal import PosternDaemon
internal import PosternMail

struct BackupVerify: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Reads an archive and everything in it, and tells what is wrong.",
        usage: "postern backup verify [<options>] <file>",
        discussion: """
            First the archive: the SHA-256 of the whole, which one flipped bit anywhere changes, then each file's own. \
            Then what it holds, in a folder for root alone that goes afterwards: the configuration with everything \
            that it names is checked, each private key must be able to sign, each database is read page by page, with \
            every index, and the limits' journal and the DNS cache are read as their daemons would. Nothing of this \
            host is touched.

            With --json, one object on one line; parts is what was found in it:
              {"archive":…,"host":"mx1.example.com","created":1795259080,
              "octets":48213,"files":9,"good":true,"parts":[{"part":"keys",
              "good":true,"texts":["2, all of which can sign"]}]}

            EXAMPLES
              postern backup verify /var/backups/postern/postern-mx1-….tar.zst
              postern backup verify --json FILE | jq .good

            EXIT STATUS
              0   whole, and everything in it is of use
              1   whole, but something in it is not of use
              64  the command line is wrong
              65  damaged, cut off, or no archive of Postern's
              69  it cannot be read, or there is no room for looking at it

            FILES
              \(BackupFolder.usual)
              /var/tmp
            """)

    @OptionGroup var options: GlobalOptions
    @Argument(help: ArgumentHelp("An archive of `postern backup create`.", valueName: "file")) var file: String

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let isInterrupted = surroundings.interruption()
        let archive = try CheckedArchive(file, surroundings, isInterrupted: isInterrupted)
        let trial = try RestoreTrial(
            archive, in: BackupScratch.temporaryFolder, surroundings, isInterrupted: isInterrupted)
        return options.output(
            text(archive, trial), json: json(archive, trial), status: trial.isGood ? .done : .negative)
    }

    private func text(_ archive: CheckedArchive, _ trial: RestoreTrial) -> String {
        let manifest = archive.manifest
        var lines = [
            "\(file): whole: \(manifest.entries.count) files of \(LogText.escaped(manifest.host.utf8)), made "
                + "\(BackupTime.text(manifest.created)) by Postern \(LogText.escaped(manifest.version.utf8))"
        ]
        for finding in trial.findings {
            lines += finding.texts.map { "  \(finding.what): \(finding.isGood ? "" : "error: ")\($0)" }
        }
        return lines.map { $0 + "\n" }.joined()
    }

    private func json(_ archive: CheckedArchive, _ trial: RestoreTrial) -> JSONValue {
        let manifest = archive.manifest
        let parts = trial.findings.map { finding -> JSONValue in
            [
                "part": .text(finding.what), "good": .boolean(finding.isGood),
                "texts": .list(finding.texts.map { .text($0) }),
            ]
        }
        return [
            "archive": .text(file), "host": .text(manifest.host), "created": .number(Int(manifest.created.seconds)),
            "octets": .number(archive.reader.octets), "files": .number(manifest.entries.count),
            "good": .boolean(trial.isGood), "parts": .list(parts),
        ]
    }
}
