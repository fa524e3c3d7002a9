// The judge's share of the configuration: what is done about findings.

public import PosternAuth

extension LocalPolicySettings {
    public init(_ configuration: Configuration) {
        let isShadow = configuration.host.shadow
        let spf = configuration.spf
        let dmarc = configuration.dmarc
        self.init()
        self.spf.onFail = spf.onFail
        self.spf.onSoftfail = spf.onSoftfail
        self.spf.onPermerror = spf.onPermerror
        self.spf.onTemperror = spf.onTemperror
        self.spf.isShadow = isShadow || spf.shadow
        self.dmarc.onReject = dmarc.onReject
        self.dmarc.onQuarantine = dmarc.onQuarantine
        self.dmarc.onTemperror = dmarc.onTemperror
        self.dmarc.onInvalidAuthor = dmarc.onInvalidAuthor
        self.dmarc.mailingList = dmarc.mailingList
        self.dmarc.require = dmarc.require
        self.dmarc.isShadow = isShadow || dmarc.shadow
        self.dmarc.exceptions = dmarc.exceptions.map {
            Exception(clients: $0.client, dkimDomains: $0.dkimDomain, authors: $0.author, reason: $0.reason)
        }
    }
}
