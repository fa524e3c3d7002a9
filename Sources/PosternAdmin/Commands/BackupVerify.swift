// `postern backup verify`: whether an archive is whole, and what it holds is of use.

internal import ArgumentParser
internal import PosternDaemon

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
              "good":true,"texts":["2, all of which can sign"],"counts":{}}]}

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
        let trial = try RestoreTrial(of: file, surroundings)
        let (octets, files) = (trial.archive.reader.octets, trial.archive.manifest.entries.count)
        return options.output(
            text(trial), json: trial.json(["octets": .number(octets), "files": .number(files)]), notes: trial.notes,
            status: trial.status)
    }

    private func text(_ trial: RestoreTrial) -> String {
        let origin = trial.origin
        var lines = [
            "\(file): whole: \(trial.archive.manifest.entries.count) files of \(origin.host), made "
                + "\(origin.created) by Postern \(origin.version)"
        ]
        for finding in trial.findings {
            lines += finding.texts.map { "  \(finding.what): \(finding.isGood ? "" : "error: ")\($0)" }
        }
        return lines.map { $0 + "\n" }.joined()
    }
}
