// Findings as a log line tells them: method, result, why, and what it is about. Everything in it is printable ASCII.

extension DKIMFinding {
    /// `dkim=fail (body hash did not verify) d=example.com s=2026q4 a=rsa-sha256`.
    public var logText: String {
        var text = "dkim=\(result.rawValue)"
        if reason != .none { text += " (\(reason))" }
        if let domain { text += " d=\(domain)" }
        if let selector { text += " s=\(selector)" }
        if let algorithm { text += " a=\(algorithm.rawValue)" }
        return text
    }
}

extension [DKIMFinding] {
    /// The signatures' texts, whole, as many as there is room for: `dkim=pass d=example.com …, +3 more`. A stranger says
    /// how many there are, and how long their names.
    public func logText(within octets: Int) -> String {
        guard !isEmpty else { return "dkim=none" }
        var told = ""
        for (number, finding) in enumerated() {
            let more = number == 0 ? finding.logText : told + ", \(finding.logText)"
            let rest = count - number - 1
            guard more.utf8.count + (rest == 0 ? 0 : ", +\(rest) more".utf8.count) <= octets else {
                return number == 0 ? "dkim: \(count) signatures" : told + ", +\(count - number) more"
            }
            told = more
        }
        return told
    }
}

extension SPFFinding {
    /// `spf=fail (-all) mailfrom=example.com`; the term that decided, or why there is none.
    public var logText: String {
        let identity =
            switch identity {
            case .mailFrom: "mailfrom"
            case .helo: "helo"
            }
        let why = reason == .matched ? mechanism : "\(reason)"
        return "spf=\(result.rawValue)" + (why.map { " (\($0))" } ?? "") + (domain.map { " \(identity)=\($0)" } ?? "")
    }
}

extension DMARCFinding {
    /// `dmarc=fail (nothing that passed is aligned) author=mail.example.com sp=reject t=y at=example.com`: the policy by
    /// its tag, and where it was found unless at the author's domain.
    public var logText: String {
        var text = "dmarc=\(result.rawValue)"
        if result != .pass { text += " (\(reason))" }
        if let authorDomain { text += " author=\(authorDomain)" }
        if let policy, let policyTag { text += " \(policyTag.rawValue)=\(policy.rawValue)" }
        if isTesting { text += " t=y" }
        if let policyDomain, policyDomain != authorDomain { text += " at=\(policyDomain)" }
        return text
    }
}
