// Where Postfix asks postern-rate, service by service, against what each limit must be told. What is counted where is
// LimitSubject's; in short: END-OF-MESSAGE tells all but single recipients of a message with several, RCPT tells
// connections, recipients and messages, and only what stands before a permit is told of those it permits.

internal import PosternAdmission
internal import PosternDaemon

/// Where one service asks postern-rate.
struct RateHooks {
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

extension RateHooks {
    /// Of all services that mail of people comes in by.
    static func all(_ wiring: PolicyWiring) -> [RateHooks] {
        wiring.subject.servers.filter { $0.role != .reinjection }.map { RateHooks($0.service, $0.role, wiring) }
    }

    /// The services where a limit should be asked about and is not; and whether there is any that it is about.
    static func deaf(to limit: LimitSettings, _ hooks: [RateHooks]) -> (hooks: [RateHooks], isAnyConcerned: Bool) {
        let concerned = hooks.filter { !limit.isOfLogins || $0.takesLogins }
        let deaf = concerned.filter { !$0.counts(limit) }
        guard limit.needsOwnPlace else { return (deaf, !concerned.isEmpty) }
        // What needs its own place in a list is asked where the admin wants it: one place is enough.
        guard deaf.count == concerned.count else { return ([], true) }
        let submission = deaf.filter { $0.role == .submission }
        let isOfUsers = limit.isOfLogins || limit.per.contains(.policyContext)
        return (isOfUsers && !submission.isEmpty ? submission : deaf, !concerned.isEmpty)
    }

    /// How the recipient restrictions of a service must ask postern-rate, so that all limits are told what they count.
    static func wish(_ service: PostfixService, _ wiring: PolicyWiring) -> PolicyWiring.Wish? {
        let limits = wiring.subject.configuration.limits.filter(\.needsOwnPlace)
        guard !limits.isEmpty else { return nil }
        let hooks = all(wiring)
        var wish: PolicyWiring.Wish?
        for limit in limits {
            guard let hook = deaf(to: limit, hooks).hooks.first(where: { $0.service == service }) else { continue }
            // Who logs in is permitted early; a context is what tells one service's requests from another's.
            let isOfSubmission = hook.role == .submission || limit.per.contains(.policyContext)
            var next = wish ?? PolicyWiring.Wish(daemon: .rate)
            next.isFirst = next.isFirst || isOfSubmission || limit.isOfLogins
            next.context = next.context ?? (isOfSubmission ? "submission" : nil)
            wish = next
        }
        return wish
    }
}

extension LimitSettings {
    var isOfLogins: Bool { per.contains(.saslUsername) || users != nil }
    /// It tells recipients apart.
    var needsRecipients: Bool { per.contains(.recipient) || per.contains(.recipientDomain) }
    /// The end of messages is not enough: recipient restrictions must ask.
    var needsOwnPlace: Bool { needsRecipients || per.contains(.policyContext) }
}
