// What DNS says of a message's author domains: the answers of their walks, and from these the record that governs each
// (RFC 9989 §4.10.1). Asked as soon as the author is known, and kept until SPF and DKIM have concluded.

import PosternDNS
public import PosternMail

/// How organizational domains are found.
public enum DMARCDiscoveryMethod: Sendable {
    /// Source: RFC 9989 §4.10.
    case treeWalk
    /// Source: RFC 7489 §3.2; for comparison only. Everything else is RFC 9989 here too.
    case publicSuffixList(PublicSuffixList)

    /// The names that may have a record for `domain`, longest first.
    public func names(for domain: DomainName) -> [DomainName] {
        switch self {
        case .treeWalk: return TreeWalk(from: domain).names
        case .publicSuffixList(let list):
            let organizational = list.organizationalDomain(of: domain)
            return organizational == domain ? [domain] : [domain, organizational]
        }
    }

    /// The names whose records tell the organizational domain of an identifier.
    func names(forIdentifier domain: DomainName) -> [DomainName] {
        if case .treeWalk = self { names(for: domain) } else { [] }
    }

    func organizationalDomain(of domain: DomainName, _ answers: DMARCAnswers) -> OrganizationalDomain {
        switch self {
        case .treeWalk: OrganizationalDomain(TreeWalk(from: domain)) { answers.policy(at: $0) }
        case .publicSuffixList(let list): OrganizationalDomain(list.organizationalDomain(of: domain))
        }
    }
}

/// Answers by the domain that they are about.
struct DMARCAnswers: Sendable {
    private var policies: [DomainName: WalkAnswer] = [:]
    private var existence: [DomainName: Answer] = [:]

    /// The type that is asked for when only the response code matters. Source: RFC 9989 §3.2.13.
    static let existenceType = RecordType.a

    /// Asks, in one batch, for the records of `domains` that are not known yet, and whether `subdomains` exist.
    mutating func ask(_ domains: [DomainName], existenceOf subdomains: [DomainName] = [], dns: some DNSAnswering) {
        var asked: [DomainName] = []
        var questions: [Question] = []
        for domain in domains where policies[domain] == nil {
            policies[domain] = WalkAnswer.none  // also for a name that cannot be asked
            guard let question = TreeWalk.question(for: domain) else { continue }
            asked.append(domain)
            questions.append(question)
        }
        questions += subdomains.map { Question($0, Self.existenceType) }
        guard !questions.isEmpty else { return }
        let answers = dns.answers(to: questions)
        for (index, domain) in (asked + subdomains).enumerated() {
            // A resolver that is broken may give too few; that is no answer.
            let answer = answers.dropFirst(index).first ?? .temporaryFailure("no answer")
            if index < asked.count { policies[domain] = WalkAnswer(answer) } else { existence[domain] = answer }
        }
    }

    /// A name that was never asked is one that nobody can tell of.
    func policy(at domain: DomainName) -> WalkAnswer { policies[domain] ?? .unknown("not asked") }

    /// Whether a name exists; `nil` when nobody could tell.
    /// - Source: RFC 9989 §3.2.13: only NXDOMAIN says that it does not.
    func exists(_ domain: DomainName) -> Bool? {
        switch existence[domain] {
        case .noSuchName: false
        case .noData, .records: true
        case .temporaryFailure, nil: nil
        }
    }
}

/// The policies of a message's authors, as far as DNS told them.
public struct DMARCPolicies: Sendable {
    /// The distinct domains of the author, in their order; empty when there is no usable author.
    public let domains: [DomainName]
    /// Why there is no usable author.
    let problem: DMARCReason?
    let discovery: DMARCDiscoveryMethod
    var answers = DMARCAnswers()

    init(_ author: AuthorFinding, discovery: DMARCDiscoveryMethod) {
        self.discovery = discovery
        var domains: [DomainName] = []
        switch author {
        case .missing: problem = .noAuthor
        case .repeated: problem = .repeatedAuthor
        case .invalid(let detail): problem = .invalidAuthor(detail)
        case .one, .several:
            let mailboxes = author.mailboxes
            if mailboxes.isEmpty {
                problem = .noAuthor
            } else if mailboxes.count > AuthorFinding.maxMailboxes {  // RFC 9989 §11.5
                problem = .invalidAuthor("more than \(AuthorFinding.maxMailboxes) authors")
            } else {
                problem = nil
                for mailbox in mailboxes where !domains.contains(mailbox.domain) { domains.append(mailbox.domain) }
            }
        }
        self.domains = domains
    }

    /// All names that the domains' policies may depend on, each once.
    var names: [DomainName] {
        var seen: Set<DomainName> = []
        return domains.flatMap { discovery.names(for: $0) }.filter { seen.insert($0).inserted }
    }

    /// The domains that may be subdomains of one with a policy, so that `np` may govern them.
    var subdomains: [DomainName] { domains.filter { $0.labelCount > 1 } }

    /// Every question about the authors.
    var questions: [Question] {
        names.compactMap(TreeWalk.question) + subdomains.map { Question($0, DMARCAnswers.existenceType) }
    }

    mutating func ask(dns: some DNSAnswering) { answers.ask(names, existenceOf: subdomains, dns: dns) }

    // MARK: Policy discovery

    /// What governs one author.
    enum Governing {
        case record(DMARCRecord, at: DomainName)
        case none
        case unknown(DomainName, String)
    }

    /// - Source: RFC 9989 §4.10.1: the author's domain, its organizational domain, its public suffix domain.
    func governing(_ author: DomainName, _ organizational: OrganizationalDomain) -> Governing {
        switch answers.policy(at: author) {
        case .record(let record): return .record(record, at: author)
        case .unknown(let detail): return .unknown(author, detail)
        case .none, .several: break
        }
        if let trouble = organizational.trouble { return .unknown(trouble.name, trouble.detail) }
        for domain in [organizational.domain, organizational.publicSuffix].compactMap(\.self) where domain != author {
            switch answers.policy(at: domain) {
            case .record(let record): return .record(record, at: domain)
            case .unknown(let detail): return .unknown(domain, detail)
            case .none, .several: break
            }
        }
        return .none
    }
}
