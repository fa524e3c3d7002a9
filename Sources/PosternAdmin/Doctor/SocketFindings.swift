// Whether Postfix's processes get to our sockets: by how they are spelled, and by what came when each was dialled as
// user postfix from inside of the chroot. And whether our daemons get to the store that they share with other hosts.

internal import Glibc
internal import PosternAdmission
internal import PosternDaemon
internal import PosternMail

enum SocketFindings {
    static func all(_ subject: DoctorSubject) -> [DoctorFinding] {
        spelled(subject) + tried(subject) + down(subject) + store(subject)
    }

    // MARK: The shared store

    private static func store(_ subject: DoctorSubject) -> [DoctorFinding] {
        guard let url = subject.configuration.store.url, let trouble = subject.machine.storeTrouble else { return [] }
        return [
            DoctorFinding(
                .storeUnreachable, .warning, at: ["store.url"], "\(url): \(trouble)",
                why: "each host greylists and limits by itself: who was put off here is put off again by the others, "
                    + "and each allows all of a limit",
                mends: [.advice("look after that server, or at what [store] says of it; mail flows meanwhile")])
        ]
    }

    // MARK: Spelled

    private static func spelled(_ subject: DoctorSubject) -> [DoctorFinding] {
        subject.dialled.filter { !$0.leadsThere }.map { dialled in
            let daemon = dialled.daemon.rawValue
            let listens = subject.endpoint(of: dialled.daemon).map { "\($0)" } ?? "nowhere"
            let inside = dialled.socket.isChrooted ? " from inside of \(subject.postfix.queueFolder)" : ""
            let mends: [DoctorFinding.Mend]
            if subject.spelling(of: dialled.daemon, isChrooted: dialled.socket.isChrooted) == nil {
                let short = dialled.daemon.rawValue.dropFirst("postern-".count)
                mends = [
                    .configuration(
                        "[listen]\n\(short) = \"unix:\(subject.postfix.queueFolder)/postern/\(short).sock\"")
                ]
            } else {
                mends = [Self.mend(dialled, subject)]
            }
            return DoctorFinding(
                .socketElsewhere, .error, at: [dialled.service?.place ?? dialled.parameter],
                "\(dialled.parameter) dials \(dialled.socket.spelling)\(inside), and \(daemon) listens at \(listens)",
                why: "Postfix cannot reach it: what default_action says is done with all mail", mends: mends)
        }
    }

    /// The line that gives the list with the right spelling.
    private static func mend(_ dialled: DoctorSubject.Dialled, _ subject: DoctorSubject) -> DoctorFinding.Mend {
        if dialled.parameter.hasSuffix("_milters") {
            let wiring = MilterWiring(subject: subject)
            let place = wiring.places.first { $0.parameter == dialled.parameter && $0.service == dialled.service }
            if let place { return wiring.mend(place) }
        } else if let service = dialled.service {
            return PolicyWiring(subject: subject).mend(dialled.parameter, service)
        }
        let right = subject.spelling(of: dialled.daemon, isChrooted: dialled.socket.isChrooted) ?? ""
        return .advice("in \(dialled.parameter), spell it \(right)")
    }

    // MARK: Tried

    private static func tried(_ subject: DoctorSubject) -> [DoctorFinding] {
        subject.machine.trials.compactMap { trial in
            guard case .refused(let code) = trial.outcome else { return nil }
            let users = subject.dialled.filter {
                $0.socket == DialledSocket(spelling: trial.spelling, isChrooted: trial.isChrooted)
            }
            guard let first = users.first, first.leadsThere else { return nil }
            // A daemon that does not run is told as such.
            if code == ENOENT || code == ECONNREFUSED, !subject.machine.running.contains(first.daemon) { return nil }
            var places: [String] = []
            for user in users {
                let place = user.service?.place ?? user.parameter
                if !places.contains(place) { places.append(place) }
            }
            let root = trial.isChrooted ? ", chrooted in \(subject.postfix.queueFolder)" : ""
            return DoctorFinding(
                .socketUnreachable, .error, at: places,
                "user \(subject.postfix.value("mail_owner"))\(root), cannot reach \(trial.spelling): "
                    + "\(SystemText.of(code))",
                why: "Postfix cannot reach \(first.daemon.rawValue): what default_action says is done with all mail",
                mends: mends(first.daemon, code, subject))
        }
    }

    private static func mends(
        _ daemon: DaemonName, _ code: Int32, _ subject: DoctorSubject
    ) -> [DoctorFinding.Mend] {
        guard code == EACCES, case .unix(let path)? = subject.endpoint(of: daemon) else {
            return [.command("systemctl restart \(daemon.rawValue)")]
        }
        // setgid_group is postdrop's; what smtpd has is the group of mail_owner.
        let owner = subject.postfix.value("mail_owner")
        let group = UserIdentity(named: owner).map { "\($0.gid)" } ?? owner
        let folder = Files.folder(of: path)
        let (quotedFolder, quotedPath) = (PostfixEdit.quoted(folder), PostfixEdit.quoted(path))
        return [
            .command(
                "chgrp \(group) \(quotedFolder) \(quotedPath) && chmod g+rx \(quotedFolder) && chmod g+rw \(quotedPath)"
            )
        ]
    }

    // MARK: Down

    private static func down(_ subject: DoctorSubject) -> [DoctorFinding] {
        DaemonName.allCases.filter { subject.uses($0) && !subject.machine.running.contains($0) }.map { daemon in
            DoctorFinding(
                .daemonDown, .error, at: [daemon.rawValue], "\(daemon.rawValue) does not run",
                why: daemon == .dns
                    ? "the other daemons cannot ask DNS: verdicts read temperror"
                    : "what Postfix's default_action says is done with all mail",
                mends: [.command("systemctl enable --now \(daemon.rawValue)")])
        }
    }
}
