// What is wrong on this machine: the configuration and the files that it names, rights on the state folder, room on the
// disks, the clock, and backups.

internal import Glibc
internal import PosternDaemon
internal import PosternMail

enum FileFindings {
    static func all(_ subject: DoctorSubject) -> [DoctorFinding] {
        state(subject) + subject.machine.disks.flatMap { disk($0, subject) } + clock(subject.machine)
            + backup(subject.machine.backup, subject.configOption)
    }

    // MARK: The configuration

    /// - Parameter problems: what `postern check` tells.
    /// - Parameter path: the file that they are about.
    static func configuration(
        _ problems: [ConfigurationProblem], _ entries: [DKIMKeyEntry], check command: String
    ) -> [DoctorFinding] {
        problems.map { problem in
            if let entry = entries.first(where: { "\($0.path).file" == problem.keyPath }) {
                let file = PostfixEdit.quoted(entry.file)
                return DoctorFinding(
                    .keyFile, .error, at: [entry.file], problem.text,
                    why: "postern-dkim does not start with a key that it cannot read, or that others can",
                    mends: [
                        access(entry.file, F_OK) == 0
                            ? .command("chown \(KeyOwner.daemonUser) \(file) && chmod 0400 \(file)")
                            : .advice(
                                "make it: postern dkim genkey --domain \(entry.domain) --selector "
                                    + "\(entry.selector), or remove its [[dkim.key]]")
                    ])
            }
            return DoctorFinding(
                .configuration, .error, at: ["\(problem.file):\(problem.line)"],
                problem.keyPath.isEmpty ? problem.text : "\(problem.keyPath): \(problem.text)",
                why: "a reload changes nothing with it, and the daemon whose table it is does not start",
                mends: [.advice("mend the line; \(command) says whether it is right")])
        }
    }

    // MARK: State, disks

    private static func state(_ subject: DoctorSubject) -> [DoctorFinding] {
        subject.machine.stateTroubles.filter { subject.uses($0.daemon) }.map { trouble in
            DoctorFinding(
                .state, .error, at: [trouble.daemon.rawValue], trouble.text,
                why: "what \(trouble.daemon.rawValue) learns is lost with its next start, or it does not start",
                mends: [.command(trouble.command)])
        }
    }

    /// Below it Postfix's own queue is soon too small for one message.
    private static let leastOctets = 16 << 20
    private static let fewOctets = 256 << 20
    private static let fewFiles = 100

    private static func disk(_ disk: DoctorMachine.Disk, _ subject: DoctorSubject) -> [DoctorFinding] {
        let isQueue = disk.folder == subject.postfix.queueFolder
        if disk.isReadOnly { return [readOnly(disk.folder, isQueue: isQueue)] }
        // smtpd takes no mail below 1.5 times the largest message. Source: postconf(5), queue_minfree.
        let largest = Int(subject.postfix.value("message_size_limit")) ?? 0
        let (half, _) = largest.dividedReportingOverflow(by: 2)
        let needed = isQueue ? max(leastOctets, min(largest, 1 << 50) + min(half, 1 << 50)) : leastOctets
        let isShort = disk.free < needed || disk.freeFiles == 0
        guard isShort || disk.free < fewOctets || disk.freeFiles < fewFiles else { return [] }
        let found = disk.freeFiles < fewFiles ? "\(disk.freeFiles) files" : "\(disk.free >> 20) MiB"
        return [
            DoctorFinding(
                .diskSpace, isShort ? .error : .warning, at: [disk.folder],
                "only \(found) are free on the disk of \(disk.folder)",
                why: isQueue
                    ? "Postfix takes no mail when there is less than 1.5 times message_size_limit"
                    : "the daemons forget what they learn: greylisting, limits, facts for reports",
                mends: [.advice("make room, or move the folder")])
        ]
    }

    private static func readOnly(_ folder: String, isQueue: Bool) -> DoctorFinding {
        DoctorFinding(
            .state, .error, at: [folder], "the disk of \(folder) is mounted read-only",
            why: isQueue
                ? "Postfix takes no mail: it cannot write its queue"
                : "the daemons forget what they learn: greylisting, limits, facts for reports",
            mends: [
                .advice(
                    "journalctl -k says whether the disk has failed; when it is sound again: mount -o remount,rw, with its "
                        + "mount point")
            ])
    }

    // MARK: Backups

    /// Postern's own are made each night, with some patience; as contrib/prometheus's PosternBackupOld.
    private static let oldBackup = 36 * 3600
    /// Tests are weekly; as PosternBackupUntested.
    private static let oldTest = 14 * 86_400

    private static func backup(_ backup: DoctorMachine.Backup, _ option: String) -> [DoctorFinding] {
        let loss = "with this disk the private keys go, and what the daemons remember"
        let timers = "each night by itself: systemctl enable --now postern-backup.timer postern-backup-test.timer"
        switch backup {
        case .unknown: return []
        case .never:
            return [
                DoctorFinding(
                    .backup, .note, "no backup of this host was ever made", why: loss,
                    mends: [.command("postern backup create\(option)"), .advice(timers)])
            ]
        case .made(let age, _) where age > oldBackup:
            return [
                DoctorFinding(
                    .backup, .warning, "the last backup of this host is \(ReportNumber.duration(age)) old", why: loss,
                    mends: [
                        .command("postern backup create\(option)"),
                        .advice("why none was made since: journalctl -u postern-backup; \(timers)"),
                    ])
            ]
        case .made(_, let tested):
            guard tested.map({ $0 > oldTest }) ?? true else { return [] }
            return [
                DoctorFinding(
                    .backup, .note,
                    tested.map { "the last test of a backup is \(ReportNumber.duration($0)) old" }
                        ?? "no backup of this host was ever tested",
                    why: "nobody knows whether it would do",
                    mends: [
                        .command("postern backup test\(option)"),
                        .advice("each week by itself: systemctl enable --now postern-backup-test.timer"),
                    ])
            ]
        }
    }

    // MARK: The clock

    private static func clock(_ machine: DoctorMachine) -> [DoctorFinding] {
        guard machine.isClockSynchronised == false else { return [] }
        return [
            DoctorFinding(
                .clock, .warning, "nothing keeps this machine's clock right (adjtimex)",
                why: "signatures carry times (t=, x=), and limits and greylisting count by the clock",
                mends: [.command("timedatectl set-ntp true")])
        ]
    }
}
