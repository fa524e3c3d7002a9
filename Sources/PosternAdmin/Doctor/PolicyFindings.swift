// What is wrong with how policy services are asked (SMTPD_POLICY_README): not at all, about recipients that Postfix
// refuses anyway, or so that their failure stops mail.

internal import PosternDaemon
internal import PosternMail

enum PolicyFindings {
    static func all(_ subject: DoctorSubject) -> [DoctorFinding] {
        let wiring = PolicyWiring(subject: subject)
        var findings: [DoctorFinding] = []
        for (service, role) in subject.servers where role != .reinjection {
            if role == .mx { findings += recipients(service, wiring) }
            for parameter in DoctorSubject.restrictionParameters {
                for question in wiring.questions(parameter, service) {
                    findings += settings(question, parameter, service, wiring)
                }
                findings += peers(parameter, service, wiring)
            }
        }
        return findings
    }

    // MARK: postern-policy's place

    private static func recipients(_ service: PostfixService, _ wiring: PolicyWiring) -> [DoctorFinding] {
        let subject = wiring.subject
        guard subject.uses(.policy) else { return [] }
        let parameter = PolicyWiring.recipients
        guard subject.asksAnywhere(.policy, service) else {
            guard subject.hasWork(.policy) else { return [] }
            return [
                DoctorFinding(
                    .policyMissing, .error, at: [service.place], "postern-policy is not asked",
                    why: "rules, DNS lists and greylisting do nothing",
                    mends: [wiring.mend(parameter, service)])
            ]
        }
        guard let list = wiring.list(parameter, service),
            let question = wiring.questions(parameter, service).first(where: { $0.daemon == .policy && !$0.isOfClass })
        else { return [] }
        let before = list.items[..<question.index]
        let mend = wiring.mend(parameter, service)
        if let end = before.first(where: { $0.endsList || $0.name == "permit_auth_destination" }) {
            let isPermit = end.name == "permit_auth_destination"
            return [
                DoctorFinding(
                    .policyNeverReached, .error, at: [service.place],
                    "postern-policy stands behind \(end.name) in \(parameter)", why: "nothing behind it is ever asked",
                    mends: [
                        isPermit ? .advice("in \(parameter), put check_policy_service before \(end.name)") : mend
                    ])
            ]
        }
        var findings: [DoctorFinding] = []
        if !before.contains(where: { PolicyWiring.refusals.contains($0.name) }) {
            // Since 3.6 smtpd_relay_restrictions come first, where they refuse the same.
            let relay = wiring.list("smtpd_relay_restrictions", service)
            let isRefused =
                subject.postfix.isYes("smtpd_relay_before_recipient_restrictions", service)
                && relay?.firstIndex(of: PolicyWiring.refusals) != nil
            findings.append(
                DoctorFinding(
                    .policyOrder, isRefused ? .note : .warning, at: [service.place],
                    "postern-policy is asked before reject_unauth_destination in \(parameter)",
                    why: isRefused
                        ? "smtpd_relay_restrictions refuse it before, as things stand"
                        : "who tries to relay is answered 450 by a greylist instead of 554, and learns what lists "
                            + "say of him",
                    mends: [mend]))
        }
        if !before.contains(where: { $0.name == PolicyWiring.unlisted }) {
            findings.append(
                DoctorFinding(
                    .policyUnlistedRecipient, .warning, at: [service.place],
                    "postern-policy is asked before reject_unlisted_recipient in \(parameter)",
                    why: "a greylist answers 450 for recipients that do not exist: their senders try for days",
                    mends: [mend]))
        }
        return findings
    }

    // MARK: Settings

    private static func settings(
        _ question: PolicyWiring.Question, _ parameter: String, _ service: PostfixService, _ wiring: PolicyWiring
    ) -> [DoctorFinding] {
        let (daemon, server) = (question.daemon, question.server)
        let mend: DoctorFinding.Mend =
            question.isOfClass
            ? .advice(
                "in the restriction class that asks it: \(wiring.subject.spelling(of: daemon, isChrooted: false) ?? "")"
            )
            : wiring.mend(parameter, service)
        var findings: [DoctorFinding] = []
        let action = wiring.action(of: server, service)
        if !PolicyWiring.isHarmless(action) {
            let isOpen = ["ok", "permit"].contains(action.lowercased())
            let source = server["default_action"] == nil ? "smtpd_policy_service_default_action" : "default_action"
            findings.append(
                DoctorFinding(
                    .policyDefaultAction, isOpen ? .warning : .error, at: [service.place],
                    "\(source) is \"\(action)\" for \(daemon.rawValue) in \(parameter)",
                    why: isOpen
                        ? "while \(daemon.rawValue) is down, nothing behind it in the list is looked at"
                        : "while \(daemon.rawValue) is down, all mail gets that answer",
                    mends: [mend]))
        }
        let timeout = wiring.timeout(of: server, service)
        if !PolicyWiring.isRight(timeout, of: daemon) {
            let isShort = timeout.map { $0 < PolicyWiring.minTimeout(of: daemon) } ?? true
            findings.append(
                DoctorFinding(
                    .policyTimeout, .warning, at: [service.place],
                    "\(daemon.rawValue) has \(timeout.map { "\($0) s" } ?? "no time") to answer in \(parameter)",
                    why: isShort
                        ? (daemon == .policy
                            ? "it may wait 8 s for DNS; Postfix gives up before, and then does what default_action says"
                            : "on a busy machine Postfix gives up before it is heard")
                        : "Postfix tries twice: if the daemon hangs, each recipient waits \((timeout ?? 0) * 2 + 1) s",
                    mends: [mend]))
        }
        return findings
    }

    private static func peers(
        _ parameter: String, _ service: PostfixService, _ wiring: PolicyWiring
    ) -> [DoctorFinding] {
        let subject = wiring.subject
        return subject.policyServices(parameter, service).compactMap { server in
            guard let peer = MilterPeers.policyService(server), subject.uses(peer.daemon) else { return nil }
            let isSPF = peer.daemon == .dmarc
            return DoctorFinding(
                .peerStillAsked, .warning, at: [service.place],
                "\(peer.name) (\(server.endpoint)) is still asked in \(parameter)",
                why: isSPF
                    ? "SPF is judged twice, and it refuses or marks mail before DMARC is heard"
                    : "mail is greylisted twice, by two memories",
                mends: [wiring.mend(parameter, service)])
        }
    }
}
