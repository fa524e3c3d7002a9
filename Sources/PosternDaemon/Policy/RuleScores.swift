// The scores of rules alone, where no DNS list is asked.

public import PosternAdmission
public import PosternDNS
public import PosternMail

public struct RuleScores: DNSBLChecking {
    private let settings: DNSBLSettings

    public init(_ settings: DNSBLSettings) { self.settings = settings }

    public func finding(
        for request: PolicyRequest, ruleScore: Int, wantsScore: Bool, telling: PolicyTelling, dns: any DNSAnswering,
        now: UnixTime
    ) -> DNSBLFinding {
        DNSBLFinding(lists: [], score: 0, isWhole: true)
    }

    public func decision(on request: PolicyRequest, ruleScore: Int, lists: DNSBLFinding) -> PolicyFinding {
        let score = ruleScore + lists.score
        let reason = "score \(score)"
        if let limit = settings.rejectScore, score >= limit {
            let reply = Reply(code: 554, enhanced: "5.7.1", text: "Service unavailable, by local policy")
            return PolicyFinding(
                .dnsbl, .reject, reason: reason, score: score, answer: .reject(reply), isShadow: settings.shadow)
        }
        if let limit = settings.deferScore, score >= limit {
            let reply = Reply(code: 450, enhanced: "4.7.1", text: "Service unavailable for now, by local policy")
            return PolicyFinding(
                .dnsbl, .defer, reason: reason, score: score, answer: .defer(reply), isShadow: settings.shadow)
        }
        return PolicyFinding(.dnsbl, .pass, reason: reason, score: score)
    }
}
