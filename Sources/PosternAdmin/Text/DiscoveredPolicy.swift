// The discovery of a domain's DMARC policy (RFC 9989 §4.10), for people and for programs: what DNS answered at each
// name of the walk, and what the judge makes of these answers. What follows for a message is not here.

internal import PosternAuth
internal import PosternDNS
internal import PosternMail

struct DiscoveredPolicy {
    let domain: DomainName
    /// `nil` where DNS could not tell.
    let exists: Bool?
    /// In the order of the walk.
    let steps: [WalkedName]
    /// That of a message whose author is at the domain, and which nothing authenticates.
    let finding: DMARCFinding

    init(of domain: DomainName, by method: DMARCDiscoveryMethod = .treeWalk, dns: any DNSAnswering) {
        self.domain = domain
        let judge = DMARCJudge(discovery: method)
        let author = AuthorFinding.one(Mailbox(localPart: [], domain: domain))
        // Asked once, so that what is shown is what was judged. A top-level domain's existence is not asked by the
        // judge, whom it does not matter to.
        let existence = Question(domain, .a)
        var questions = judge.questions(for: author)
        if !questions.contains(existence) { questions.append(existence) }
        let given = GivenAnswers(
            Dictionary(zip(questions, dns.answers(to: questions)), uniquingKeysWith: { first, _ in first }))
        finding = judge.finding(author: author, spf: nil, dkim: [], dns: given)
        switch given.answer(to: existence) {
        case .noSuchName: exists = false  // RFC 9989 §3.2.13
        case .noData, .records: exists = true
        case .temporaryFailure: exists = nil
        }
        var steps: [WalkedName] = []
        for name in method.names(for: domain) {
            // By the list every name counts that is asked.
            let hasEnded =
                if case .treeWalk = method { steps.last.map { !$0.counts || $0.endsWalk } ?? false } else { false }
            steps.append(WalkedName(name, dns: given, counts: !hasEnded))
        }
        self.steps = steps
    }

    /// The policy that governs, and the tag it comes from; `nil` when there is none or it cannot be told.
    var policy: (value: DMARCPolicy, tag: DMARCPolicyTag)? {
        guard finding.result != .temperror, let policy = finding.policy, let tag = finding.policyTag else { return nil }
        return (policy, tag)
    }

    // MARK: Text

    /// Each line with its line end.
    var lines: String {
        var lines = steps.flatMap(\.lines)
        lines.append("organizational domain: \(finding.organizationalDomain.map(\.description) ?? "unknown")")
        if let policy, let place = finding.policyDomain {
            var line = "policy: \(policy.value.rawValue), by \(policy.tag.rawValue)= of \(place)"
            if exists == false { line += "; \(domain) does not exist" }
            if finding.isTesting { line += "; t=y leaves \(policy.value.whileTesting.rawValue)" }
            lines.append(line)
        } else {
            lines.append("policy: \(finding.result == .temperror ? "unknown" : "not found") (\(finding.reason))")
        }
        return lines.map { $0 + "\n" }.joined()
    }

    /// Every member is always there.
    var json: JSONValue {
        [
            "domain": .text("\(domain)"), "exists": exists.map(JSONValue.boolean) ?? .null,
            "walk": .list(steps.map(\.json)), "organizational_domain": .optional(finding.organizationalDomain),
            "policy_domain": .optional(finding.policyDomain), "policy": .optional(policy?.value.rawValue),
            "tag": .optional(policy?.tag.rawValue),
            "testing": finding.published.map { .boolean($0.isTesting) } ?? .null,
            "reason": policy == nil ? .text("\(finding.reason)") : .null,
        ]
    }
}

/// One name of a walk, and what DNS has there.
struct WalkedName {
    /// The domain whose record it may have.
    private let domain: DomainName
    private let policy: WalkAnswer
    /// Policy records, as published.
    private(set) var records: [[UInt8]] = []
    /// Other TXT records.
    private var ignored: [[UInt8]] = []
    private(set) var mistakes: [String] = []
    /// The walk has not ended below.
    let counts: Bool

    init(_ domain: DomainName, dns: some DNSAnswering, counts: Bool) {
        self.domain = domain
        self.counts = counts
        let answer = TreeWalk.question(for: domain).map { dns.answer(to: $0) } ?? .noSuchName
        policy = WalkAnswer(answer)
        guard case .records(let data, _) = answer else { return }
        for case .txt(let text) in data {
            if let record = DMARCRecord(text) {
                records.append(text)
                mistakes += record.mistakes.map(\.description)
            } else {
                ignored.append(text)
            }
        }
    }

    /// Source: RFC 9989 §4.10.2 steps 1 and 2.
    var endsWalk: Bool {
        if case .record(let record) = policy { record.published.publicSuffix != .unknown } else { false }
    }

    private var name: String { TreeWalk.question(for: domain).map { "\($0.name)" } ?? "_dmarc.\(domain)" }

    var lines: [String] {
        let text =
            switch policy {
            case .none: TreeWalk.question(for: domain) == nil ? "too long to be asked" : "no record"
            case .record: records.map(ZoneText.quoted).joined()
            case .several: "several records, which count as none"
            case .unknown(let detail): "temporary failure: \(LogText.escaped(detail.utf8))"
            }
        var lines = ["\(name): \(text)\(counts ? "" : " (does not count)")"]
        if case .several = policy { lines += records.map { "  record: \(ZoneText.quoted($0))" } }
        lines += mistakes.map { "  mistake: \($0)" }
        lines += ignored.map { "  no policy record: \(ZoneText.quoted($0))" }
        return lines
    }

    /// Every member is always there.
    var json: JSONValue {
        let (result, reason): (String, String?) =
            switch policy {
            case .none: ("none", nil)
            case .record: ("record", nil)
            case .several: ("several", nil)
            case .unknown(let detail): ("temperror", detail)
            }
        return [
            "name": .text(name), "result": .text(result), "counts": .boolean(counts),
            "records": .list(records.map(JSONValue.octets)), "mistakes": .list(mistakes.map(JSONValue.text)),
            "ignored": .list(ignored.map(JSONValue.octets)), "reason": .optional(reason),
        ]
    }
}

/// DNS that was asked already.
private struct GivenAnswers: DNSAnswering {
    private let given: [Question: Answer]

    init(_ given: [Question: Answer]) { self.given = given }

    func answers(to questions: [Question]) -> [Answer] {
        questions.map { given[$0] ?? .temporaryFailure("no answer") }
    }
    func prefetch(_ questions: [Question]) {}
}
