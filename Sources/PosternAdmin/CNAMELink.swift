// The CNAME records between a name and its records (RFC 1034 §3.6.2). An Answer has only what stands at their end, so
// they are asked for one by one; postern-dns has them in its cache by then.

internal import PosternDNS
internal import PosternMail

struct CNAMELink: Hashable, Sendable {
    var owner: DomainName
    var target: DomainName
    var ttl: UInt32

    /// Asks a question, and for the links on the way to its answer.
    /// - Returns: no more links than a resolver follows; where DNS cannot tell of a link they end.
    static func answer(to question: Question, dns: some DNSAnswering) -> (answer: Answer, links: [CNAMELink]) {
        guard question.type != .cname else { return (dns.answer(to: question), []) }
        let answers = dns.answers(to: [question, Question(question.name, .cname)])
        var links: [CNAMELink] = []
        var next = answers.last.flatMap { CNAMELink(at: question.name, $0) }
        while let link = next, links.count < Resolution.maxCNAMEs, !links.contains(where: { $0.owner == link.owner }) {
            links.append(link)
            next = CNAMELink(at: link.target, dns.answer(to: Question(link.target, .cname)))
        }
        return (answers.first ?? .temporaryFailure("no answer"), links)
    }

    private init?(at owner: DomainName, _ answer: Answer) {
        guard case .records(let records, let ttl) = answer, case .cname(let target)? = records.first else { return nil }
        self.init(owner: owner, target: target, ttl: ttl)
    }

    init(owner: DomainName, target: DomainName, ttl: UInt32) {
        (self.owner, self.target, self.ttl) = (owner, target, ttl)
    }
}
