// Whether postern-rate hears of what its limits count: each limit against the stages that Postfix asks it at. What is
// counted where is LimitSubject's; in short: END-OF-MESSAGE tells all but single recipients of a message with several,
// RCPT tells connections, recipients and messages, and only what stands before a permit is told of those it permits.

internal import PosternAdmission
internal import PosternDaemon
internal import PosternMail

enum LimitFindings {
    static func all(_ subject: DoctorSubject) -> [DoctorFinding] {
        guard subject.uses(.rate) else { return [] }
        let wiring = PolicyWiring(subject: subject)
        let hooks = subject.servers.filter { $0.role != .reinjection }.map { Hooks($0.service, $0.role, wiring) }
        return neverAsked(subject.configuration.limits, hooks, wiring) + unsettled(hooks, wiring)
            + doubled(subject, hooks)
    }

    /// Where one service asks postern-rate.
    private struct Hooks {
        let service: PostfixService
        let role: DoctorSubject.Role
        /// Recipient by recipient, about strangers and about who logs in.
        var recipients = false
        var loginsRecipients = false
        /// At the end of each message.
        var end = false
        /// With a `policy_context`.
        var context = false
        /// Users log in here.
        let takesLogins: Bool

        init(_ service: PostfixService, _ role: DoctorSubject.Role, _ wiring: PolicyWiring) {
            (self.service, self.role) = (service, role)
            takesLogins = role == .submission || wiring.subject.postfix.isYes("smtpd_sasl_auth_enable", service)
            for parameter in DoctorSubject.restrictionParameters {
                let items = wiring.list(parameter, service)?.items ?? []
                for question in wiring.questions(parameter, service) where question.daemon == .rate {
                    let before = items[..<question.index]
                    guard question.isOfClass || !before.contains(where: \.endsList) else { continue }
                    if question.server["policy_context"]?.isEmpty == false { context = true }
                    switch parameter {
                    case PolicyWiring.endOfData: end = true
                    case "smtpd_data_restrictions": break
                    default:
                        recipients = true
                        if !before.contains(where: { $0.name == "permit_sasl_authenticated" }) {
                            loginsRecipients = true
                        }
                    }
                }
            }
        }

        func counts(_ limit: LimitSettings) -> Bool {
            let atRecipients = limit.isOfLogins ? loginsRecipients : recipients
            if limit.per.contains(.policyContext), !context { return false }
            if limit.needsRecipients { return atRecipients }
            switch limit.count {
            case .octets: return end
            case .messages, .recipients, .connections: return end || atRecipients
            }
        }
    }

    // MARK: Never asked

    private static func neverAsked(
        _ limits: [LimitSettings], _ hooks: [Hooks], _ wiring: PolicyWiring
    ) -> [DoctorFinding] {
        var findings: [DoctorFinding] = []
        for limit in limits {
            let concerned = hooks.filter { !limit.isOfLogins || $0.takesLogins }
            let deaf = concerned.filter { !$0.counts(limit) }
            // What needs its own place in a list is asked where the admin wants it: one place is enough.
            let isOfOnePlace = limit.needsRecipients || limit.per.contains(.policyContext)
            guard !deaf.isEmpty, !isOfOnePlace || deaf.count == concerned.count else {
                if concerned.isEmpty, !hooks.isEmpty { findings.append(withoutLogins(limit)) }
                continue
            }
            for hook in isOfOnePlace ? Self.best(deaf, for: limit) : deaf {
                findings.append(
                    DoctorFinding(
                        .limitNeverAsked, .error, at: [hook.service.place],
                        "limit \"\(limit.name)\" is never asked about", why: why(limit),
                        mends: [mend(limit, hook, wiring)]))
            }
        }
        return findings
    }

    private static func withoutLogins(_ limit: LimitSettings) -> DoctorFinding {
        DoctorFinding(
            .limitNeverAsked, .warning, "limit \"\(limit.name)\" is about logins, and nobody can log in",
            why: "smtpd_sasl_auth_enable is no for every service",
            mends: [.advice("enable SASL for the submission service (SASL_README), or remove the limit")])
    }

    /// Where a limit that needs a place of its own is best asked.
    private static func best(_ deaf: [Hooks], for limit: LimitSettings) -> [Hooks] {
        let submission = deaf.filter { $0.role == .submission }
        return limit.per.contains(.policyContext) || limit.isOfLogins ? (submission.isEmpty ? deaf : submission) : deaf
    }

    private static func why(_ limit: LimitSettings) -> String {
        if limit.per.contains(.policyContext) {
            return "it needs a policy_context, which no check_policy_service of postern-rate's gives"
        }
        if limit.needsRecipients {
            return "it counts single recipients, which Postfix tells at RCPT only"
        }
        return "postern-rate is not asked at the end of messages (smtpd_end_of_data_restrictions), where "
            + "\(limit.count.rawValue) are told"
    }

    private static func mend(_ limit: LimitSettings, _ hook: Hooks, _ wiring: PolicyWiring) -> DoctorFinding.Mend {
        guard limit.needsRecipients || limit.per.contains(.policyContext) else {
            return wiring.mend(PolicyWiring.endOfData, hook.service, asking: PolicyWiring.Wish(daemon: .rate))
        }
        // Who logs in is permitted early; a context is what tells one service's requests from another's.
        let isFirst = hook.role == .submission || limit.isOfLogins || limit.per.contains(.policyContext)
        let wish = PolicyWiring.Wish(
            daemon: .rate, isFirst: isFirst,
            context: hook.role == .submission || limit.per.contains(.policyContext) ? "submission" : nil)
        return wiring.mend(PolicyWiring.recipients, hook.service, asking: wish)
    }

    // MARK: Asked, and not to the end

    private static func unsettled(_ hooks: [Hooks], _ wiring: PolicyWiring) -> [DoctorFinding] {
        hooks.filter { ($0.recipients || $0.loginsRecipients) && !$0.end }.map { hook in
            DoctorFinding(
                .limitUnsettled, .warning, at: [hook.service.place],
                "postern-rate is asked about recipients and not at the end of messages",
                why: "what recipients reserve never becomes a charge, and octets are not counted",
                mends: [wiring.mend(PolicyWiring.endOfData, hook.service, asking: PolicyWiring.Wish(daemon: .rate))])
        }
    }

    // MARK: anvil

    private static let anvil: [(parameter: String, count: LimitCount)] = [
        ("smtpd_client_connection_rate_limit", .connections), ("smtpd_client_message_rate_limit", .messages),
        ("smtpd_client_recipient_rate_limit", .recipients),
    ]

    private static func doubled(_ subject: DoctorSubject, _ hooks: [Hooks]) -> [DoctorFinding] {
        var findings: [DoctorFinding] = []
        for (parameter, count) in anvil {
            let ours = subject.configuration.limits.filter { $0.count == count && $0.per.contains(.client) }
            guard let limit = ours.first else { continue }
            for hook in hooks {
                let value = subject.postfix.value(parameter, hook.service)
                guard let number = Int(value), number > 0 else { continue }
                findings.append(
                    DoctorFinding(
                        .limitDoubled, .warning, at: [hook.service.place],
                        "\(parameter) is \(number), and limit \"\(limit.name)\" counts \(count.rawValue) of clients too",
                        why: "the lower of the two holds; what anvil refuses, postern-rate neither counts nor tells",
                        mends: [subject.edit.set(parameter, "0", for: hook.service)]))
            }
        }
        return findings
    }
}

extension LimitSettings {
    fileprivate var isOfLogins: Bool { per.contains(.saslUsername) || users != nil }
    /// It tells recipients apart.
    fileprivate var needsRecipients: Bool { per.contains(.recipient) || per.contains(.recipientDomain) }
}
