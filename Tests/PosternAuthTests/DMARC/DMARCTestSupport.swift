// What the tests of the DMARC judge share: policy records by domain, and findings of SPF and DKIM in a word.

import PosternAuth
import PosternDNS
import PosternMail
import Synchronization

/// DNS with policy records. A name exists when it, or one below it, is listed; all others do not.
final class PolicyZone: DNSAnswering, Sendable {
    private let records: [DomainName: [String]]
    private let existing: Set<DomainName>
    private let failing: Set<Question>
    private let asked = Mutex<[[Question]]>([])

    /// - Parameter policies: TXT records by the domain that they are for, without `_dmarc`.
    /// - Parameter failing: domains whose policy question fails; `exists:` and a domain for the other question.
    init(_ policies: [String: [String]], existing: [String] = [], failing: [String] = []) throws {
        var records: [DomainName: [String]] = [:]
        for (domain, texts) in policies { records[try DomainName("_dmarc.\(domain)")] = texts }
        self.records = records
        var names = Set(records.keys)
        for name in existing { names.insert(try DomainName(name)) }
        for name in names {
            var above = name.parent
            while let parent = above {
                names.insert(parent)
                above = parent.parent
            }
        }
        self.existing = names
        self.failing = Set(
            try failing.map {
                $0.hasPrefix("exists:")
                    ? Question(try DomainName(String($0.dropFirst(7))), .a)
                    : Question(try DomainName("_dmarc.\($0)"), .txt)
            })
    }

    convenience init(_ policies: KeyValuePairs<String, String>, existing: [String] = [], failing: [String] = []) throws
    {
        var all: [String: [String]] = [:]
        for (domain, text) in policies { all[domain, default: []].append(text) }
        try self.init(all, existing: existing, failing: failing)
    }

    func answers(to questions: [Question]) -> [Answer] {
        asked.withLock { $0.append(questions) }
        return questions.map { question in
            if failing.contains(question) { return .temporaryFailure("timeout") }
            if question.type == .txt, let texts = records[question.name] {
                return .records(texts.map { .txt(Array($0.utf8)) }, ttl: 300)
            }
            return existing.contains(question.name) ? .noData : .noSuchName
        }
    }

    func prefetch(_ questions: [Question]) {}

    /// The questions, batch by batch: policy questions without `_dmarc.`, others with their type.
    var batches: [[String]] {
        asked.withLock { batches in
            batches.map { $0.map { $0.type == .txt ? String("\($0.name)".dropFirst(7)) : "\($0)" } }
        }
    }
}

func author(_ domains: String...) throws -> AuthorFinding {
    let mailboxes = try domains.map { Mailbox(localPart: Array("ann".utf8), domain: try DomainName($0)) }
    return mailboxes.count == 1 ? mailboxes.first.map { .one($0) } ?? .missing : .several(mailboxes)
}

func signature(_ domain: String, _ result: DKIMResult = .pass) throws -> DKIMFinding {
    DKIMFinding(
        result: result, reason: result == .temperror ? .keyUnavailable("timeout") : .none,
        domain: try DomainName(domain))
}

/// `example.com`, or `temperror:example.com` for one that DNS did not tell of.
func identifier(_ text: String) throws -> DMARCIdentifier {
    text.hasPrefix("temperror:")
        ? DMARCIdentifier(try DomainName(String(text.dropFirst(10))), trouble: "timeout")
        : DMARCIdentifier(try DomainName(text))
}

/// Judges a message: identifiers as for `identifier`.
func judge(
    _ zone: PolicyZone, _ authorDomain: String, spf: String? = nil, dkim: [String] = [],
    by judge: DMARCJudge = DMARCJudge()
) throws -> DMARCFinding {
    judge.finding(
        author: try author(authorDomain), spf: try spf.map(identifier),
        dkim: try dkim.map {
            $0.hasPrefix("temperror:") ? try signature(String($0.dropFirst(10)), .temperror) : try signature($0)
        }, dns: zone)
}
