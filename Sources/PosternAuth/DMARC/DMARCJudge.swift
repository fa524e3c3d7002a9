// Judges a message's authors by DMARC (RFC 9989): which policy governs each, whether something that SPF or DKIM
// authenticated aligns, and what the owner wants done. DNS trouble on a question that the result depends on is
// temperror; identifiers that cannot align are never asked for, so that a stranger's domains cannot delay or blur the
// result. Local policy (exceptions, mailing lists, what reject means here) is deliberately not here.

public import PosternDNS
public import PosternMail

/// A domain that SPF or DKIM authenticated, or would have if DNS had answered.
public struct DMARCIdentifier: Hashable, Sendable {
    public var domain: DomainName
    /// Why nobody can tell whether it is authenticated; `nil` when it is.
    public var trouble: String?

    /// - Parameter domain: for SPF that of the MAIL FROM identity, which is the HELO name's for a null reverse-path.
    ///   Source: RFC 9989 §3.2.4; for DKIM the SDID, §3.2.3.
    public init(_ domain: DomainName, trouble: String? = nil) {
        self.domain = domain
        self.trouble = trouble
    }

    /// `nil` for the HELO identity, which DMARC does not look at (RFC 9989 §4.4.2), and for every result but pass and
    /// temperror.
    public init?(_ finding: SPFFinding) {
        guard case .mailFrom = finding.identity, let domain = finding.domain else { return nil }
        switch finding.result {
        case .pass: self.init(domain)
        case .temperror: self.init(domain, trouble: finding.reason.description)
        case .none, .neutral, .fail, .softfail, .permerror: return nil
        }
    }

    /// `nil` for a signature that says nothing to DMARC: every one but pass and temperror.
    public init?(_ finding: DKIMFinding) {
        guard let domain = finding.domain else { return nil }
        switch finding.result {
        case .pass: self.init(domain)
        case .temperror: self.init(domain, trouble: finding.reason.description)
        case .none, .fail, .policy, .neutral, .permerror: return nil
        }
    }
}

public struct DMARCJudge: Sendable {
    private let discovery: DMARCDiscoveryMethod

    /// Most identifiers that are looked at beyond those equal to an author's domain; with the signatures that DKIM
    /// judges there are fewer. The rest does not align.
    public static let maxIdentifiers = 32

    public init(discovery: DMARCDiscoveryMethod = .treeWalk) { self.discovery = discovery }

    // MARK: Asking

    /// What `policies` asks; for `prefetch` as soon as the header shows the author.
    public func questions(for author: AuthorFinding) -> [Question] {
        DMARCPolicies(author, discovery: discovery).questions
    }

    /// Asks for everything about the authors, in one batch: at most `TreeWalk.maxNames` names and one for existence
    /// for each domain. To be asked first, out of a reserve of the time budget.
    public func policies(for author: AuthorFinding, dns: some DNSAnswering) -> DMARCPolicies {
        var policies = DMARCPolicies(author, discovery: discovery)
        policies.ask(dns: dns)
        return policies
    }

    // MARK: Judging

    /// The finding that governs the message: that of the author with the strictest failing policy.
    /// - Source: RFC 9989 §11.5.
    public func finding(
        author: AuthorFinding, spf: DMARCIdentifier?, dkim: [DKIMFinding], dns: some DNSAnswering
    ) -> DMARCFinding {
        finding(policies(for: author, dns: dns), spf: spf, dkim: dkim, dns: dns)
    }
    public func finding(
        _ policies: DMARCPolicies, spf: DMARCIdentifier?, dkim: [DKIMFinding], dns: some DNSAnswering
    ) -> DMARCFinding {
        // `findings` is never empty.
        Self.governing(findings(policies, spf: spf, dkim: dkim, dns: dns))
            ?? DMARCFinding(result: .permerror, reason: .noAuthor)
    }

    /// Of the findings of a message's authors the one that governs it: the first of the gravest; nil for none.
    /// - Source: RFC 9989 §11.5.
    public static func governing(_ findings: [DMARCFinding]) -> DMARCFinding? {
        findings.dropFirst().reduce(findings.first) { found, next in
            next.gravity > (found?.gravity ?? 0) ? next : found
        }
    }

    /// A finding for each of the author's domains, in their order; one when there is no usable author.
    ///
    /// - Parameter dns: asked, in one batch, for the walks of identifiers that may align and no others.
    public func findings(
        _ policies: DMARCPolicies, spf: DMARCIdentifier?, dkim: [DKIMFinding], dns: some DNSAnswering
    ) -> [DMARCFinding] {
        if let problem = policies.problem { return [DMARCFinding(result: .permerror, reason: problem)] }
        let subjects = policies.domains.map { Subject($0, policies) }
        let identifiers = Identifiers(spf: spf, dkim: dkim)
        var answers = policies.answers
        let walked = identifiers.walked(by: subjects)
        answers.ask(walked.flatMap { discovery.names(forIdentifier: $0) }, dns: dns)
        let walks = Dictionary(walked.map { ($0, discovery.organizationalDomain(of: $0, answers)) }) { first, _ in first
        }
        return subjects.map { $0.finding(identifiers, walks: walks) }
    }
}

extension DMARCFinding {
    /// Which author's finding governs a message with several: trouble is graver than a failure without consequences,
    /// and a pass of one author counts only when all pass.
    fileprivate var gravity: Int {
        switch (result, applied) {
        case (.fail, .reject): 6
        case (.fail, .quarantine): 5
        case (.temperror, _): 4
        case (.fail, .none): 3
        case (.permerror, _): 2
        case (.none, _): 1
        case (.pass, _): 0
        }
    }
}

/// The identifiers of a message.
struct Identifiers {
    let spf: DMARCIdentifier?
    /// Each domain once; one that passed stands before, and for, the same that nobody can tell of.
    let dkim: [DMARCIdentifier]

    init(spf: DMARCIdentifier?, dkim: [DKIMFinding]) {
        self.spf = spf
        let all = dkim.compactMap { DMARCIdentifier($0) }
        var seen: Set<DomainName> = []
        self.dkim = (all.filter { $0.trouble == nil } + all.filter { $0.trouble != nil })
            .filter { seen.insert($0.domain).inserted }
    }

    /// The domains whose own organizational domain matters to an author.
    func walked(by subjects: [Subject]) -> [DomainName] {
        var walked: [DomainName] = []
        for (identifiers, method) in [(spf.map { [$0] } ?? [], Subject.Method.spf), (dkim, .dkim)] {
            for identifier in identifiers where walked.count < DMARCJudge.maxIdentifiers {
                let domain = identifier.domain
                if !walked.contains(domain), subjects.contains(where: { $0.needsWalk(of: domain, for: method) }) {
                    walked.append(domain)
                }
            }
        }
        return walked
    }
}

/// One of the author's domains while it is judged.
struct Subject {
    enum Method { case spf, dkim }
    /// Whether an identifier aligns.
    enum Alignment {
        case aligned, notAligned
        case unknown(DomainName, String)
    }

    let author: DomainName
    let organizational: OrganizationalDomain
    let governing: DMARCPolicies.Governing
    let exists: Bool?

    init(_ author: DomainName, _ policies: DMARCPolicies) {
        self.author = author
        organizational = policies.discovery.organizationalDomain(of: author, policies.answers)
        governing = policies.governing(author, organizational)
        exists = policies.answers.exists(author)
    }

    // MARK: Alignment

    private func mode(_ method: Method) -> DMARCAlignment? {
        guard case .record(let record, _) = governing, record.isUsable else { return nil }
        return method == .spf ? record.published.spfAlignment : record.published.dkimAlignment
    }

    /// Whether the identifier may align and its own organizational domain decides. Source: RFC 9989 §4.10.2.
    func needsWalk(of domain: DomainName, for method: Method) -> Bool {
        mode(method) == .relaxed && domain != author
            && organizational.candidates.contains { domain.isEqualOrBelow($0) }
    }

    private func alignment(
        of domain: DomainName, _ method: Method, _ walks: [DomainName: OrganizationalDomain]
    ) -> Alignment {
        if domain == author { return .aligned }  // RFC 9989 §4.10.2: in both modes, whatever the walk would find
        guard needsWalk(of: domain, for: method), let other = walks[domain],
            other.candidates.contains(where: { organizational.candidates.contains($0) })
        else { return .notAligned }
        if let trouble = organizational.trouble ?? other.trouble,
            organizational.domain == nil || other.domain == nil
        {
            return .unknown(trouble.name, trouble.detail)
        }
        return .aligned
    }

    // MARK: The finding

    func finding(_ identifiers: Identifiers, walks: [DomainName: OrganizationalDomain]) -> DMARCFinding {
        var finding = DMARCFinding(
            result: .none, reason: .noRecord, authorDomain: author, organizationalDomain: organizational.domain)
        let record: DMARCRecord
        switch governing {
        case .none: return finding
        case .unknown(let name, let detail):
            finding.result = .temperror
            finding.reason = .recordUnavailable(name, detail)
            return finding
        case .record(let found, let domain):
            finding.policyDomain = domain
            finding.published = found.published
            record = found
        }
        guard record.isUsable else {
            finding.reason = .unusableRecord
            return finding
        }
        let doubt = govern(&finding, record.published)
        let trouble = align(&finding, identifiers, walks)
        if finding.alignedSPF != nil || !finding.alignedDKIM.isEmpty {  // RFC 9989 §5.3.5
            finding.result = .pass
            finding.reason = .aligned
        } else if let trouble = trouble ?? doubt {
            // RFC 9989 §5.3.6: a required query that did not complete: neither pass nor fail.
            finding.result = .temperror
            finding.reason = trouble
        } else {
            finding.result = .fail
            let hasPassed = identifiers.spf.map { $0.trouble == nil } ?? false
            finding.reason =
                hasPassed || identifiers.dkim.contains { $0.trouble == nil } ? .notAligned : .noIdentifier
            let policy = finding.policy ?? .none
            finding.applied = finding.isTesting ? policy.whileTesting : policy
        }
        return finding
    }

    /// Sets the policy that governs the author.
    /// - Returns: what cannot be told and would make it another one.
    /// - Source: RFC 9989 §4.10.1.
    private func govern(_ finding: inout DMARCFinding, _ published: DMARCPublishedPolicy) -> DMARCReason? {
        guard finding.policyDomain != author else {
            (finding.policy, finding.policyTag) = (published.policy, .p)
            return nil
        }
        (finding.policy, finding.policyTag) = published.policy(forSubdomain: exists ?? true)
        guard exists == nil, published.policy(forSubdomain: false).0 != finding.policy else { return nil }
        return .existenceUnknown(author, "no answer")
    }

    /// Finds what aligns.
    /// - Returns: what cannot be told and might align.
    private func align(
        _ finding: inout DMARCFinding, _ identifiers: Identifiers, _ walks: [DomainName: OrganizationalDomain]
    ) -> DMARCReason? {
        var trouble: DMARCReason?
        func aligns(_ identifier: DMARCIdentifier, _ method: Method) -> Bool {
            switch alignment(of: identifier.domain, method, walks) {
            case .notAligned: return false
            case .aligned:
                guard let detail = identifier.trouble else { return true }
                trouble = trouble ?? .identifierUnavailable(identifier.domain, detail)
            case .unknown(let name, let detail): trouble = trouble ?? .recordUnavailable(name, detail)
            }
            return false
        }
        if let spf = identifiers.spf, aligns(spf, .spf) { finding.alignedSPF = spf.domain }
        finding.alignedDKIM = identifiers.dkim.filter { aligns($0, .dkim) }.map(\.domain)
        return trouble
    }
}
