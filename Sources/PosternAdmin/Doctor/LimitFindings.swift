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
        let hooks = RateHooks.all(wiring)
        return neverAsked(subject.configuration.limits, hooks, wiring) + unsettled(hooks, wiring)
            + doubled(subject, hooks)
    }

    // MARK: Never asked

    private static func neverAsked(
        _ limits: [LimitSettings], _ hooks: [RateHooks], _ wiring: PolicyWiring
    ) -> [DoctorFinding] {
        var findings: [DoctorFinding] = []
        for limit in limits {
            let (deaf, isAnyConcerned) = RateHooks.deaf(to: limit, hooks)
            if !isAnyConcerned, !hooks.isEmpty { findings.append(withoutLogins(limit)) }
            for hook in deaf {
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

    private static func mend(_ limit: LimitSettings, _ hook: RateHooks, _ wiring: PolicyWiring) -> DoctorFinding.Mend {
        wiring.mend(limit.needsOwnPlace ? PolicyWiring.recipients : PolicyWiring.endOfData, hook.service)
    }

    // MARK: Asked, and not to the end

    private static func unsettled(_ hooks: [RateHooks], _ wiring: PolicyWiring) -> [DoctorFinding] {
        hooks.filter { ($0.recipients || $0.loginsRecipients) && !$0.end }.map { hook in
            DoctorFinding(
                .limitUnsettled, .warning, at: [hook.service.place],
                "postern-rate is asked about recipients and not at the end of messages",
                why: "what recipients reserve never becomes a charge, and octets are not counted",
                mends: [wiring.mend(PolicyWiring.endOfData, hook.service)])
        }
    }

    // MARK: anvil

    private static let anvil: [(parameter: String, count: LimitCount)] = [
        ("smtpd_client_connection_rate_limit", .connections), ("smtpd_client_message_rate_limit", .messages),
        ("smtpd_client_recipient_rate_limit", .recipients),
    ]

    private static func doubled(_ subject: DoctorSubject, _ hooks: [RateHooks]) -> [DoctorFinding] {
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
                        "\(parameter) is \(number), and limit \"\(limit.name)\" counts \(count.rawValue) "
                            + "of clients too",
                        why: "the lower of the two holds; what anvil refuses, postern-rate neither counts nor tells",
                        mends: [subject.edit.set(parameter, "0", for: hook.service)]))
            }
        }
        return findings
    }
}
