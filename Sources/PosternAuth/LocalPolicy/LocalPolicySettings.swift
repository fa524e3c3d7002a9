// What the admin decides about findings: the judge's share of `[spf]`, `[dmarc]` and `[[dmarc.exception]]`.

public import PosternMail

public struct LocalPolicySettings: Sendable {
    /// What is done about the MAIL FROM identity's result alone. Source: RFC 7208 §8.
    public struct SPF: Sendable {
        public var onFail = MailAction.accept
        public var onSoftfail = MailAction.accept
        public var onPermerror = MailAction.accept
        /// Never `reject`. Source: RFC 7208 §8.6.
        public var onTemperror = MailAction.accept
        /// Only tell what would be done.
        public var isShadow = false

        public init() {}
    }

    /// What is done about DMARC's result. Source: RFC 9989 §7.4.
    public struct DMARC: Sendable {
        public var onReject = MailAction.quarantine
        public var onQuarantine = MailAction.quarantine
        public var onTemperror = MailAction.accept
        public var onInvalidAuthor = MailAction.reject
        /// In place of a stricter `onReject`, for mail with List-Id that passes SPF for itself.
        public var mailingList = MailAction.quarantine
        /// Author domains that must pass, whatever they publish.
        public var require: [MatchPattern] = []
        public var exceptions: [Exception] = []
        /// Only tell what would be done.
        public var isShadow = false

        public init() {}
    }

    /// A trusted forwarder: all conditions that are given must hold.
    public struct Exception: Sendable {
        /// None for any.
        public var clients: [Network]
        /// Domains of which one must have signed, and pass; none for any.
        public var dkimDomains: [MatchPattern]
        /// Author domains that it is kept to; none for any.
        public var authors: [MatchPattern]
        public var reason: DMARCOverride

        public init(
            clients: [Network] = [], dkimDomains: [MatchPattern] = [], authors: [MatchPattern] = [],
            reason: DMARCOverride = .trustedForwarder
        ) {
            self.clients = clients
            self.dkimDomains = dkimDomains
            self.authors = authors
            self.reason = reason
        }
    }

    public var spf: SPF
    public var dmarc: DMARC

    public init(spf: SPF = SPF(), dmarc: DMARC = DMARC()) {
        self.spf = spf
        self.dmarc = dmarc
    }
}
