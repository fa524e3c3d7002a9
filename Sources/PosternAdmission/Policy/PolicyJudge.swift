// Judges one request of Postfix's: first the rules, then the DNS lists by score, then greylisting; the first check that
// has an answer decides. Nothing is asked that cannot matter any more: SPF only where a rule or greylisting needs it, the
// lists not for whom a rule accepts or refuses.
//
// Postfix takes one action for an answer. What refuses, holds, redirects or filters goes before header fields and copies;
// of several of these the first rule's is told, the others are not. A field or copy is told once for a message, at its
// first recipient: Postfix keeps it, and adds it again for each time that it is told (access(5)).
//
// Rules are for everybody. Lists and greylisting leave alone whoever has logged in, and `host.networks` and `relays`:
// their mail is ours, or was judged before. They are asked where there is something for them: the lists from the client's
// connection on, greylisting at RCPT only, since it is about a recipient. VRFY and ETRN are not judged.

public import PosternDNS
public import PosternMail

public struct PolicyJudge: Sendable {
    private let rules: RuleJudge
    private let lists: any DNSBLChecking
    private let greylist: (any GreylistChecking)?
    private let senderPolicy: any SenderPolicyChecking
    private let origin: OriginSettings
    private let isShadow: Bool

    /// - Parameter greylist: nil where nobody is greylisted.
    /// - Parameter origin: `[host]`'s networks and relays.
    /// - Parameter isShadow: the whole suite only observes; every answer is `.dunno`.
    /// - Throws: a wrong expression of a rule, which `check` has told before.
    public init(
        rules: [RuleSettings], lists: any DNSBLChecking, greylist: (any GreylistChecking)?,
        senderPolicy: any SenderPolicyChecking, origin: OriginSettings, isShadow: Bool
    ) throws(ExpressionError) {
        self.rules = try RuleJudge(rules)
        self.lists = lists
        self.greylist = greylist
        self.senderPolicy = senderPolicy
        self.origin = origin
        self.isShadow = isShadow
    }

    /// Judges a request.
    ///
    /// - Parameter facts: of the request's `instance`; new ones where it has none.
    /// - Parameter dns: answers within the request's time budget.
    /// - Returns: always a verdict; what could not be asked refuses nobody.
    public func verdict(
        on request: PolicyRequest, at time: PolicyTime, facts: inout InstanceFacts, dns: any DNSAnswering,
        telling: PolicyTelling = .outcome
    ) -> PolicyVerdict {
        guard request.stage != .vrfy, request.stage != .etrn else { return PolicyVerdict(answer: .dunno, findings: []) }
        var inquiry = PolicyInquiry(
            request: request, time: time, telling: telling, dns: dns, lists: lists, policy: senderPolicy, facts: facts)
        let verdict = judge(&inquiry)
        facts = inquiry.facts
        return verdict
    }

    private func judge(_ inquiry: inout PolicyInquiry) -> PolicyVerdict {
        let outcome = rules.outcome(
            for: inquiry.request, at: inquiry.time, telling: inquiry.telling, asking: &inquiry)
        inquiry.findings = outcome.findings + inquiry.findings  // what the rules have asked for follows them
        inquiry.score = outcome.score
        if let ending = outcome.ending, let answer = ending.finding.answer, answer != .dunno {
            return close(&inquiry, ending.finding, answer, [.dnsbl, .greylist], "\(ending.finding.check) has decided")
        }
        var isForced = false
        var accepting: PolicyFinding?
        switch outcome.ending?.action {
        case .accept: accepting = outcome.ending?.finding
        case .greylist: isForced = true
        default: break
        }
        if let accepting {
            tellSkipped(&inquiry, [.dnsbl, .greylist], "\(accepting.check) has decided")
        } else if let reason = exemption(of: inquiry.request) {
            tellSkipped(&inquiry, [.dnsbl, .greylist], reason)
        } else {
            if let refusal = askLists(&inquiry, outcome, isForced: isForced) {
                return close(&inquiry, refusal.finding, refusal.answer, [.greylist], "the score has decided")
            }
            if let refusal = askGreylist(&inquiry, outcome, isForced: isForced) {
                return close(&inquiry, refusal.finding, refusal.answer, [], "")
            }
        }
        return tellCollected(&inquiry, outcome, accepting)
    }

    /// What is told where nobody refuses: the first header field or copy, once for a message.
    private func tellCollected(
        _ inquiry: inout PolicyInquiry, _ outcome: RuleOutcome, _ accepting: PolicyFinding?
    ) -> PolicyVerdict {
        // PREPEND does nothing at END-OF-MESSAGE: the header has gone by (access(5)).
        let collected = outcome.collected.first { finding in
            if case .prepend = finding.answer { return inquiry.request.stage != .endOfMessage }
            return true
        }
        guard let collected, let answer = collected.answer, !inquiry.facts.told.contains(answer) else {
            return close(&inquiry, accepting, .dunno, [], "")
        }
        // Without an instance there is no message to tell it of twice.
        if !inquiry.request[.instance].isEmpty, !isShadow { inquiry.facts.told.insert(answer) }
        return close(&inquiry, collected, answer, [], "")
    }

    private func close(
        _ inquiry: inout PolicyInquiry, _ decision: PolicyFinding?, _ answer: PolicyAnswer,
        _ skipped: [PolicyFinding.Check], _ reason: String
    ) -> PolicyVerdict {
        tellSkipped(&inquiry, skipped, reason)
        let isWithheld = isShadow && answer != .dunno
        return PolicyVerdict(
            answer: isWithheld ? .dunno : answer, findings: inquiry.findings, decision: decision, score: inquiry.score,
            withheld: isWithheld ? answer : nil)
    }

    private func tellSkipped(_ inquiry: inout PolicyInquiry, _ checks: [PolicyFinding.Check], _ reason: String) {
        guard inquiry.telling == .everything else { return }
        inquiry.findings += checks.map { PolicyFinding($0, .skipped, reason: reason) }
    }

    /// Why lists and greylisting leave a client alone; nil for strangers.
    private func exemption(of request: PolicyRequest) -> String? {
        if !request[.saslUsername].isEmpty { return "the client has logged in" }
        guard let client = request.client else { return nil }
        if origin.relays.contain(client) { return "the client is one of host.relays" }
        return origin.networks.contain(client) ? "the client is in host.networks" : nil
    }

    // MARK: Lists and greylisting

    private func askLists(
        _ inquiry: inout PolicyInquiry, _ outcome: RuleOutcome, isForced: Bool
    ) -> (finding: PolicyFinding, answer: PolicyAnswer)? {
        guard !outcome.skip.contains(.dnsbl) else {
            tellSkipped(&inquiry, [.dnsbl], "a rule skips it")
            return nil
        }
        let mayBeGreylisted =
            inquiry.request.stage == .rcpt && !outcome.skip.contains(.greylist)
            && greylist?.concerns(inquiry.request, score: nil, isForced: isForced) == true
        let lists = inquiry.askLists(
            ruleScore: outcome.score, wantsScore: mayBeGreylisted || inquiry.telling == .everything)
        let decision = self.lists.decision(on: inquiry.request, ruleScore: outcome.score, lists: lists)
        inquiry.score = decision.score
        inquiry.findings += inquiry.telling == .everything ? lists.lists : lists.lists.filter { $0.outcome == .listed }
        inquiry.findings.append(decision)
        guard let answer = decision.answer, !decision.isShadow else { return nil }
        return (decision, answer)
    }

    private func askGreylist(
        _ inquiry: inout PolicyInquiry, _ outcome: RuleOutcome, isForced: Bool
    ) -> (finding: PolicyFinding, answer: PolicyAnswer)? {
        guard let greylist else { return nil }
        guard !outcome.skip.contains(.greylist) else {
            tellSkipped(&inquiry, [.greylist], "a rule skips it")
            return nil
        }
        guard inquiry.request.stage == .rcpt else {
            tellSkipped(&inquiry, [.greylist], "it is about recipients, and this is \(inquiry.request.stage.rawValue)")
            return nil
        }
        guard greylist.concerns(inquiry.request, score: inquiry.score, isForced: isForced) else {
            tellSkipped(&inquiry, [.greylist], "the settings leave this one alone")
            return nil
        }
        let finding = greylist.finding(
            for: inquiry.request, score: inquiry.score, isForced: isForced, telling: inquiry.telling,
            now: inquiry.time.now
        ) { inquiry.senderPolicy() }
        inquiry.findings.append(finding)
        guard let answer = finding.answer, !finding.isShadow else { return nil }
        return (finding, answer)
    }
}

/// One request while it is judged: what was asked for it, and what was concluded.
struct PolicyInquiry: RuleQuestions {
    let request: PolicyRequest
    let time: PolicyTime
    let telling: PolicyTelling
    let dns: any DNSAnswering
    let lists: any DNSBLChecking
    let policy: any SenderPolicyChecking
    var facts: InstanceFacts
    var findings: [PolicyFinding] = []
    var score = 0

    init(
        request: PolicyRequest, time: PolicyTime, telling: PolicyTelling, dns: any DNSAnswering,
        lists: any DNSBLChecking, policy: any SenderPolicyChecking, facts: InstanceFacts
    ) {
        self.request = request
        self.time = time
        self.telling = telling
        self.dns = dns
        self.lists = lists
        self.policy = policy
        self.facts = facts
    }

    mutating func listScore(ruleScore: Int) -> Int { askLists(ruleScore: ruleScore, wantsScore: true).score }

    /// What the lists say; asked again only where they were left before all had answered, and it could matter now.
    mutating func askLists(ruleScore: Int, wantsScore: Bool) -> DNSBLFinding {
        if let known = facts.lists, known.isWhole { return known }
        let finding = lists.finding(
            for: request, ruleScore: ruleScore, wantsScore: wantsScore, telling: telling, dns: dns, now: time.now)
        facts.lists = finding
        return finding
    }

    mutating func senderPolicy() -> SPFFinding? {
        if let known = facts.senderPolicy { return known }
        guard let client = request.client else { return nil }
        let finding = policy.senderPolicy(for: request, client: client, dns: dns, now: time.now)
        facts.senderPolicy = finding
        if telling == .everything {
            let mechanism = finding.mechanism.map { ": \($0)" } ?? ""
            let reason = "\(finding.domain.map { "\($0)" } ?? "no domain"), \(finding.reason)\(mechanism)"
            findings.append(PolicyFinding(.spf, .spf(finding.result), reason: reason.printable))
        }
        return finding
    }
}
