// `postern backup prune`: removes archives that no rule keeps.

internal import ArgumentParser
internal import Glibc
internal import PosternDaemon
internal import PosternMail

struct BackupPrune: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "prune",
        abstract: "Removes old archives, and keeps some of each day, week and month.",
        usage: "postern backup prune [<options>] [<folder>]",
        discussion: """
            Of each of the last --keep-daily days that have an archive the newest is kept, likewise of the last \
            --keep-weekly weeks (from Monday) and --keep-monthly months, in local time; each host's archives on their \
            own. The others are removed, and what crashes have left.

            One that lacks the state of a daemon never takes the place of one that has all: such archives are counted \
            apart, and go when a whole one has come after them.

            Files with other names are left alone. Before anything is removed, the newest archive of each host is read \
            as a whole: one that is damaged is told of, is not counted, and stays, so that the last good one never \
            goes.

            With --json, one object on one line; keep has why, and is empty for what goes:
              {"folder":"/var/backups/postern","done":true,"archives":[{"path":…,
              "host":"mx1.example.com","created":1795259080,"octets":48213,
              "keep":["daily","weekly"],"missing":[],"trouble":null}]}

            EXAMPLES
              postern backup prune --dry-run
              postern backup prune --keep-daily 14 --keep-weekly 8 --keep-monthly 24
              postern backup create --to /mnt/backup && postern backup prune /mnt/backup

            EXIT STATUS
              0   done
              1   done, but a file with an archive's name is no whole archive
              64  the command line is wrong
              69  the folder cannot be read, or a file not removed

            FILES
              \(BackupFolder.usual)
            """)

    @OptionGroup var options: GlobalOptions
    @Option(help: ArgumentHelp("Days of which an archive is kept.", valueName: "days")) var keepDaily = 7
    @Option(help: ArgumentHelp("Weeks of which an archive is kept.", valueName: "weeks")) var keepWeekly = 4
    @Option(help: ArgumentHelp("Months of which an archive is kept.", valueName: "months")) var keepMonthly = 12
    @Flag(help: "Show what would go, and remove nothing.") var dryRun = false
    @Argument(help: "The folder of the archives.") var folder = BackupFolder.usual

    private static let most = 10_000

    func validate() throws {
        for number in [keepDaily, keepWeekly, keepMonthly] where !(0...Self.most).contains(number) {
            throw ValidationError("expected numbers from 0 to \(Self.most) to keep, found \(number)")
        }
        guard keepDaily + keepWeekly + keepMonthly > 0 else {
            throw ValidationError("expected something to be kept, found 0 days, weeks and months")
        }
    }

    /// An archive and what becomes of it.
    private struct Judged {
        let archive: ListedBackup
        var reasons: Set<PruneRule.Reason>
        /// It is no whole archive; it stays.
        var trouble: String?

        var goes: Bool { reasons.isEmpty && trouble == nil }
        /// The states of all daemons are in it, as far as its manifest tells.
        var isComplete: Bool { archive.manifest?.missing.isEmpty == true }
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let place = BackupFolder(path: folder)
        let progress = Progress(surroundings)
        var judged = try judge(try place.archives(), progress)
        judged.sort {
            ($0.archive.name.created, $0.archive.name.host) > ($1.archive.name.created, $1.archive.name.host)
        }
        progress.end()
        if !dryRun {
            try place.removeLeftovers()
            for one in judged where one.goes {
                guard unlink(one.archive.path) == 0 else {
                    throw CommandFailure(FileFailure.last("remove \(one.archive.path)"))
                }
                surroundings.reached("prune removed")
            }
            try place.sync()
        }
        let troubles = judged.compactMap { one in one.trouble.map { "warning: \($0); it stays, and is not counted" } }
        return options.output(
            text(judged), json: json(judged), notes: troubles, status: troubles.isEmpty ? .done : .negative)
    }

    private func judge(_ archives: [ListedBackup], _ progress: Progress) throws(CommandFailure) -> [Judged] {
        let rule = PruneRule(daily: keepDaily, weekly: keepWeekly, monthly: keepMonthly)
        var judged: [Judged] = []
        for host in Set(archives.map(\.name.host)) {
            var whole: [Judged] = []
            for archive in archives where archive.name.host == host {
                var trouble = archive.trouble
                if trouble == nil, !whole.contains(where: \.isComplete) {
                    // The newest must be good before an older one goes.
                    do throws(CommandFailure) {
                        _ = try ArchiveReader(archive.path) { octets in
                            progress.tell("reading \(archive.name.text)", octets, of: archive.octets ?? 0)
                        }
                    } catch { trouble = error.text }
                }
                if let trouble {
                    judged.append(Judged(archive: archive, reasons: [], trouble: trouble))
                } else {
                    whole.append(Judged(archive: archive, reasons: []))
                }
            }
            let newest = whole.firstIndex(where: \.isComplete) ?? whole.endIndex
            for isComplete in [true, false] {
                // Of those that lack something the ones that nothing better came after.
                let counted = whole.indices.filter { whole[$0].isComplete == isComplete && (isComplete || $0 < newest) }
                let reasons = rule.reasons(counted.map { whole[$0].archive.name.created })
                for (index, reasons) in zip(counted, reasons) { whole[index].reasons = reasons }
            }
            judged += whole
        }
        return judged
    }

    private static func words(_ one: Judged) -> [String] {
        PruneRule.Reason.allCases.filter(one.reasons.contains).map(\.rawValue)
    }

    private func text(_ judged: [Judged]) -> String {
        guard !judged.isEmpty else { return "\(folder): no archives\n" }
        let rows = judged.map { one in
            let what = one.goes ? (dryRun ? "would be removed" : "removed") : one.trouble == nil ? "kept" : "damaged"
            let why = Self.words(one) + [one.archive.manifest?.shortcoming].compactMap(\.self)
            return [what, one.archive.name.text, why.joined(separator: ", ")]
        }
        let gone = judged.filter(\.goes)
        let room = ReportNumber.octets(gone.reduce(0) { $0 + ($1.archive.octets ?? 0) })
        let last =
            "\(judged.count - gone.count) kept, \(gone.count) \(dryRun ? "would be removed" : "removed"): \(room)\n"
        return Columns.text(rows) + last
    }

    private func json(_ judged: [Judged]) -> JSONValue {
        let list = judged.map { one -> JSONValue in
            [
                "path": .text(one.archive.path), "host": .text(one.archive.name.host),
                "created": .number(Int(one.archive.name.created.seconds)), "octets": .optional(one.archive.octets),
                "keep": .list(Self.words(one).map { .text($0) }),
                "missing": one.archive.manifest.map { .list($0.missing.map { .text($0) }) } ?? .null,
                "trouble": .optional(one.trouble),
            ]
        }
        return ["folder": .text(folder), "done": .boolean(!dryRun), "archives": .list(list)]
    }
}
