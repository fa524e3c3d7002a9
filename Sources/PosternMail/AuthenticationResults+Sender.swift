// What postern-dmarc writes of a message: the results of SPF (RFC 8601 §2.7.2), DKIM and DMARC (RFC 9989 §9.2, §9.3).

extension AuthenticationResults {
    /// One field with everything that was found of a message.
    /// - Parameter spf: the identities that are told, in their order.
    /// - Parameter dmarc: the finding that governs the message; of several authors the strictest one's, so that no
    ///   reader takes another author's pass for the message's.
    public init(authservID: String, spf: [SPFFinding], dkim: [DKIMFinding], dmarc: DMARCFinding) {
        let results = spf.map(MethodResult.init(spf:)) + MethodResult.dkim(dkim) + [MethodResult(dmarc: dmarc)]
        self.init(authservID: authservID, results: results)
    }
}

extension AuthenticationResults.MethodResult {
    /// The result of one SPF identity, whose name is in the property: `smtp.mailfrom` or `smtp.helo`.
    /// - Source: RFC 8601 §2.7.2.
    public init(spf finding: SPFFinding) {
        var properties: [AuthenticationResults.Property] = []
        switch finding.identity {
        case .mailFrom(let identity):
            // RFC 7208 §2.4: for a null reverse-path this is postmaster at the HELO name.
            if let domain = identity.domain {
                let address = identity.localPart + [0x40] + Array(domain.description.utf8)
                properties.append(.init("smtp", "mailfrom", address))
            }
        case .helo(let identity):
            if !identity.text.isEmpty { properties.append(.init("smtp", "helo", identity.text)) }
        }
        let isEvaluated = finding.reason == .matched || finding.reason == .noMatch
        self.init(
            "spf", finding.result.rawValue, reason: isEvaluated ? nil : finding.reason.publicDescription,
            comment: finding.reason == .matched ? finding.mechanism : nil, properties: properties)
    }

    /// The result of DMARC. The comment tells what of the record governs the author, which no property does.
    /// - Source: RFC 9989 §9.2, §9.3.
    public init(dmarc finding: DMARCFinding) {
        var properties: [AuthenticationResults.Property] = []
        if let author = finding.authorDomain { properties.append(.init("header", "from", author.description)) }
        if let published = finding.published {
            properties.append(.init("polrec", "p", published.policy.rawValue))
            if let domain = finding.policyDomain, domain != finding.authorDomain {
                properties.append(.init("polrec", "domain", domain.description))
            }
        }
        var remarks: [String] = []
        if let policy = finding.policy, let tag = finding.policyTag, tag != .p {
            remarks.append("\(tag.rawValue)=\(policy.rawValue)")
        }
        if finding.isTesting { remarks.append("t=y") }
        self.init(
            "dmarc", finding.result.rawValue, reason: finding.result == .pass ? nil : finding.reason.publicDescription,
            comment: remarks.isEmpty ? nil : remarks.joined(separator: " "), properties: properties)
    }
}
