// Versions of Postfix with bugs that matter to milters and policy services. Each row names the first release of every
// branch that has the fix, by Postfix's HISTORY file; distributions mend old versions without changing their numbers,
// so these are for looking, not proof. What only a malicious milter can use is left out: ours are not.

internal import PosternMail

enum VersionFindings {
    private struct Bug {
        /// By `major.minor`: the first patch level with the fix.
        let fixed: [(major: Int, minor: Int, patch: Int)]
        let severity: DoctorFinding.Severity
        let what: String
        let why: String

        func concerns(_ version: PostfixVersion) -> Bool {
            let branch = fixed.first { ($0.major, $0.minor) == (version.major, version.minor) }
            if let branch { return version.isSnapshot ? false : version.patch < branch.patch }
            // Older branches never got it; newer ones began with it.
            guard let newest = fixed.max(by: { ($0.major, $0.minor) < ($1.major, $1.minor) }) else { return false }
            return (version.major, version.minor) < (newest.major, newest.minor)
        }

        var remedy: String {
            let releases = fixed.map { "\($0.major).\($0.minor).\($0.patch)" }.joined(separator: ", ")
            return "upgrade Postfix (mended in \(releases)), or see in its package's changelog that it is mended"
        }
    }

    private static let bugs = [
        // HISTORY 20231213.
        Bug(
            fixed: [(3, 5, 25), (3, 6, 15), (3, 7, 11), (3, 8, 6), (3, 9, 0)], severity: .warning,
            what: "after a PREPEND, milters delete or change the wrong header field, or none",
            why:
                "a forged Authentication-Results field can survive in mail to which an access table or "
                + "postern-policy has prepended a field"),
        // HISTORY 20200308.
        Bug(
            fixed: [(3, 2, 13), (3, 3, 8), (3, 4, 10), (3, 5, 0)], severity: .warning,
            what: "smtpd panics at MAIL FROM when one of several milters has failed",
            why: "while one of our milters is down, sessions break off although default_action says accept"),
        // HISTORY 20260803.
        Bug(
            fixed: [
                (3, 5, 27), (3, 6, 20), (3, 7, 22), (3, 8, 20), (3, 9, 14), (3, 10, 13), (3, 11, 6),
            ], severity: .note,
            what: "after a refusal at the end of a message, a client can send another one without MAIL FROM",
            why:
                "limits of postern-rate that refuse at END-OF-MESSAGE make it possible; milters that had accepted "
                + "by the envelope are not asked about the second"),
    ]

    static func all(_ subject: DoctorSubject) -> [DoctorFinding] {
        let version = subject.postfix.version
        guard version.major > 0 else { return [] }
        if version.major < 3 {
            return [
                DoctorFinding(
                    .postfixVersion, .error, at: ["mail_version"], "this is Postfix \(version), 3.0 or later is needed",
                    why: "settings of single milters and policy services ({ unix:…, default_action=… }) came with 3.0",
                    mends: [.advice("upgrade Postfix")])
            ]
        }
        return bugs.filter { $0.concerns(version) }.map { bug in
            DoctorFinding(
                .postfixVersion, bug.severity, at: ["mail_version"], "Postfix \(version): \(bug.what)", why: bug.why,
                mends: [.advice(bug.remedy)])
        }
    }
}
