// A DKIM finding for people and for programs.

internal import PosternMail

enum FindingText {
    /// `fail (body hash did not verify) d=example.com s=2026q4 i=ann@example.com a=rsa-sha256 2048 bits`.
    static func line(_ finding: DKIMFinding) -> String {
        var words = [finding.result.rawValue]
        if finding.reason != .none { words.append("(\(finding.reason))") }
        if let domain = finding.domain { words.append("d=\(domain)") }
        if let selector = finding.selector { words.append("s=\(selector)") }
        if let auid = finding.auid { words.append("i=\(LogText.escaped(auid))") }
        if let algorithm = finding.algorithm { words.append("a=\(algorithm.rawValue)") }
        if let bits = finding.keyBits { words.append("\(bits) bits") }
        if finding.isTesting { words.append("(t=y: the domain tests DKIM)") }
        return words.joined(separator: " ")
    }

    /// Every member is always there.
    static func json(_ finding: DKIMFinding) -> JSONValue {
        [
            "result": .text(finding.result.rawValue), "domain": .optional(finding.domain),
            "selector": .optional(finding.selector), "auid": finding.auid.map(JSONValue.octets) ?? .null,
            "algorithm": .optional(finding.algorithm?.rawValue), "key_bits": .optional(finding.keyBits),
            "reason": finding.reason == .none ? .null : .text("\(finding.reason)"),
        ]
    }
}
