// From findings to what is done with a message: the admin's word about each finding, and what reports say of it. A pure
// function, so that the daemon and `postern judge` cannot differ. RFC 9989 §7.4 leaves all of it to the receiver;
// the replies carry the codes of RFC 7372.

public import PosternMail

/// What was found of one message.
public struct JudgedMessage: Sendable {
    public var client: IPAddress?
    /// MAIL FROM first.
    public var spf: [SPFFinding]
    public var dkim: [DKIMFinding]
    /// One for each author; see `DMARCJudge.findings`.
    public var dmarc: [DMARCFinding]
    /// It has a List-Id field. Source: RFC 2919.
    public var hasListID: Bool

    public init(
        client: IPAddress?, spf: [SPFFinding], dkim: [DKIMFinding], dmarc: [DMARCFinding], hasListID: Bool = false
    ) {
        self.client = client
        self.spf = spf
        self.dkim = dkim
        self.dmarc = dmarc
        self.hasListID = hasListID
    }

    /// The finding of the MAIL FROM identity.
    public var mailFrom: SPFFinding? {
        spf.first { if case .mailFrom = $0.identity { true } else { false } }
    }
    /// The finding that governs the message.
    public var governing: DMARCFinding {
        DMARCJudge.governing(dmarc) ?? DMARCFinding(result: .permerror, reason: .noAuthor)
    }
}

/// What is done with one message.
public struct LocalDecision: Sendable {
    /// One action and what it says; made by one check.
    public struct Measure: Sendable {
        public var action: MailAction
        /// `spf` or `dmarc`.
        public var check: String
        /// Whose policy it is.
        public var domain: DomainName?
        /// For `defer` and `reject`.
        public var reply: Reply?

        static let none = Measure(action: .accept, check: "dmarc")
    }
    /// What reports say of one author. Source: RFC 9990, `PolicyEvaluatedType`.
    public struct Applied: Hashable, Sendable {
        public var disposition: DMARCDisposition
        /// Nil where the policy was applied as published.
        public var override: DMARCOverride?

        public init(disposition: DMARCDisposition, override: DMARCOverride? = nil) {
            self.disposition = disposition
            self.override = override
        }
    }

    /// The strictest of all that is to be done.
    public var measure: Measure
    /// What would be done if nothing were in shadow, when that is stricter.
    public var shadowed: Measure?
    /// In the order of the findings.
    public var applied: [Applied]
    /// Why a policy is not applied to the author whose finding governs: for the log.
    public var override: DMARCOverride?
}

public struct LocalPolicy: Sendable {
    public let settings: LocalPolicySettings

    public init(_ settings: LocalPolicySettings) { self.settings = settings }

    public func decision(on message: JudgedMessage) -> LocalDecision {
        let authors = message.dmarc.map { author($0, of: message) }
        // A forwarder that is trusted with every author makes SPF fail by nature.
        let isTrusted = !authors.isEmpty && authors.allSatisfy { $0.exception != nil }
        let spf = isTrusted ? .none : spfMeasure(message)
        let dmarc = authors.map(\.measure).strictest ?? .none
        let active = [settings.dmarc.isShadow ? .none : dmarc, settings.spf.isShadow ? .none : spf].strictest ?? .none
        let whole = [dmarc, spf].strictest ?? .none
        let governing = message.governing
        let applied = zip(message.dmarc, authors).map { Self.applied(active.action, to: $0, $1) }
        return LocalDecision(
            measure: active, shadowed: whole.action > active.action ? whole : nil, applied: applied,
            override: zip(message.dmarc, applied).first { $0.0 == governing }?.1.override)
    }

    // MARK: SPF

    /// - Source: RFC 7208 §8.4 to §8.7.
    private func spfMeasure(_ message: JudgedMessage) -> LocalDecision.Measure {
        guard let finding = message.mailFrom, let domain = finding.domain else { return .none }
        let action =
            switch finding.result {
            case .fail: settings.spf.onFail
            case .softfail: settings.spf.onSoftfail
            case .permerror: settings.spf.onPermerror
            case .temperror: settings.spf.onTemperror
            case .none, .neutral, .pass: MailAction.accept
            }
        return LocalDecision.Measure(
            action: action, check: "spf", domain: domain,
            reply: Self.reply(action) {
                Self.spfText(finding, domain, message.client)
            } enhanced: { `class` in
                // RFC 7372 §3.2: X.7.23 for a check that failed, X.7.24 for one that ended in an error.
                finding.result == .fail || finding.result == .softfail ? "\(`class`).7.23" : "\(`class`).7.24"
            })
    }

    private static func spfText(_ finding: SPFFinding, _ domain: DomainName, _ client: IPAddress?) -> String {
        let client = client.map { "\($0.unmapped)" } ?? "this client"
        switch finding.result {
        case .temperror: return "SPF record of \(domain) is not available at the moment"
        case .permerror: return "SPF record of \(domain) is in error: \(finding.reason.publicDescription)"
        case .fail, .softfail, .none, .neutral, .pass:
            let term = finding.mechanism.map { " (\($0))" } ?? ""
            // RFC 7208 §6.2: the words of a stranger are told as such.
            let words = finding.explanation.map { "; \(domain) explains: \($0)" } ?? ""
            return "SPF of \(domain) does not allow \(client) to send its mail\(term)\(words)"
        }
    }

    // MARK: DMARC

    /// What is decided about one author.
    private struct Author {
        var measure: LocalDecision.Measure
        var exception: DMARCOverride?
        var isMailingList = false
    }

    private func author(_ finding: DMARCFinding, of message: JudgedMessage) -> Author {
        let exception = settings.dmarc.exceptions.first { $0.holds(for: finding, of: message) }?.reason
        let isRequired = finding.authorDomain.map { settings.dmarc.require.contain($0) } ?? false
        var isMailingList = false
        var action = MailAction.accept
        switch finding.result {
        case .pass: break
        case .permerror: action = settings.dmarc.onInvalidAuthor
        case .temperror: action = settings.dmarc.onTemperror
        case .none where isRequired:
            switch Self.isVouchedFor(finding.authorDomain, in: message) {
            case true?: break
            case false?: action = settings.dmarc.onReject
            case nil: action = settings.dmarc.onTemperror  // DNS trouble refuses nothing for good (DESIGN §2)
            }
        case .none: break
        case .fail where isRequired: action = settings.dmarc.onReject
        case .fail:
            switch finding.applied {
            case .none: break
            case .quarantine: action = settings.dmarc.onQuarantine
            case .reject:
                action = settings.dmarc.onReject
                // RFC 9989 §7.4: lists are why a policy of reject alone is no reason to reject.
                if message.hasListID, message.mailFrom?.result == .pass, settings.dmarc.mailingList < action {
                    action = settings.dmarc.mailingList
                    isMailingList = true
                }
            }
        }
        if exception != nil { action = .accept }
        let measure = LocalDecision.Measure(
            action: action, check: "dmarc", domain: finding.authorDomain,
            reply: Self.reply(action) {
                Self.dmarcText(finding, isRequired: isRequired)
            } enhanced: { `class` in
                switch finding.result {
                case .temperror: "\(`class`).4.3"  // RFC 3463 §3.5: no answer from a directory server, such as DNS
                case .permerror: "\(`class`).7.1"
                // RFC 7372 §3.3: neither SPF nor DKIM vouches for the author.
                case .fail, .none, .pass: "\(`class`).7.26"
                }
            })
        return Author(measure: measure, exception: exception, isMailingList: isMailingList)
    }

    /// Whether SPF or DKIM vouches for the author's very domain, which aligns in either mode and needs no record for it;
    /// nil when DNS did not tell.
    /// - Source: RFC 9989 §4.10.2.
    private static func isVouchedFor(_ author: DomainName?, in message: JudgedMessage) -> Bool? {
        let identifiers =
            message.spf.compactMap { DMARCIdentifier($0) } + message.dkim.compactMap { DMARCIdentifier($0) }
        let own = identifiers.filter { $0.domain == author }
        if own.contains(where: { $0.trouble == nil }) { return true }
        return own.isEmpty ? false : nil
    }

    private static func dmarcText(_ finding: DMARCFinding, isRequired: Bool) -> String {
        let domain = finding.authorDomain.map { "\($0)" } ?? "this author"
        let reason = finding.reason.publicDescription
        switch finding.result {
        case .permerror: return "Message cannot be authenticated: \(reason)"
        case .temperror: return "DMARC of \(domain) could not be checked: \(reason)"
        case .fail where !isRequired:
            let policy = finding.policy.map { " (\(finding.policyTag?.rawValue ?? "p")=\($0.rawValue))" } ?? ""
            return "DMARC policy of \(domain)\(policy) forbids this message: \(reason)"
        case .fail, .none, .pass: return "Mail from \(domain) must be authenticated here: \(reason)"
        }
    }

    // MARK: Replies and reports

    private static func reply(
        _ action: MailAction, _ text: () -> String, enhanced: (_ class: Int) -> String
    ) -> Reply? {
        switch action {
        case .accept, .quarantine, .hold: nil
        case .defer: Reply(code: 451, enhanced: enhanced(4), text: "\(text()); try again later")
        case .reject: Reply(code: 550, enhanced: enhanced(5), text: text())
        }
    }

    /// - Source: RFC 9990 §3.1.1.9 and its schema: what was done, and why that is not what was published.
    private static func applied(
        _ action: MailAction, to finding: DMARCFinding, _ author: Author
    ) -> LocalDecision.Applied {
        let expected: DMARCDisposition =
            switch (finding.result, finding.policy) {
            case (.pass, _): .pass
            case (.fail, .quarantine): .quarantine
            case (.fail, .reject): .reject
            case (.fail, _), (.none, _), (.temperror, _), (.permerror, _): .none
            }
        let disposition: DMARCDisposition =
            switch action {
            case .accept, .defer: finding.result == .pass ? .pass : .none
            case .quarantine, .hold: .quarantine
            case .reject: .reject
            }
        guard disposition != expected else { return LocalDecision.Applied(disposition: disposition) }
        var override = DMARCOverride.localPolicy
        if let exception = author.exception {
            override = exception
        } else if author.isMailingList {
            override = .mailingList
        } else if finding.isTesting, finding.result == .fail, disposition.isAsMildAs(finding.applied) {
            override = .policyTestMode
        }
        return LocalDecision.Applied(disposition: disposition, override: override)
    }
}

extension DMARCDisposition {
    fileprivate func isAsMildAs(_ policy: DMARCPolicy) -> Bool {
        switch policy {
        case .none: self == .none
        case .quarantine: self == .quarantine
        case .reject: self == .reject
        }
    }
}

extension [LocalDecision.Measure] {
    /// The first of the strictest.
    fileprivate var strictest: LocalDecision.Measure? {
        dropFirst().reduce(first) { found, next in
            next.action > (found?.action ?? .accept) ? next : found
        }
    }
}

extension LocalPolicySettings.Exception {
    /// Whether the message came by this forwarder.
    fileprivate func holds(for finding: DMARCFinding, of message: JudgedMessage) -> Bool {
        // Nobody's policy is at stake where there is no author, and a forwarder makes none.
        guard finding.result != .permerror, !clients.isEmpty || !dkimDomains.isEmpty else { return false }
        if !clients.isEmpty, !(message.client.map(clients.contain) ?? false) { return false }
        if !authors.isEmpty, !(finding.authorDomain.map { authors.contain($0) } ?? false) { return false }
        return dkimDomains.isEmpty
            || message.dkim.contains { signature in
                signature.result == .pass && (signature.domain.map { dkimDomains.contain($0) } ?? false)
            }
    }
}

extension [MatchPattern] {
    /// Whether one of the patterns means this domain.
    fileprivate func contain(_ domain: DomainName) -> Bool {
        contains { pattern in
            switch pattern {
            case .domain(let name): domain == name
            case .below(let name): domain != name && domain.isEqualOrBelow(name)
            case .exact, .addresses, .network, .expression: false
            }
        }
    }
}
