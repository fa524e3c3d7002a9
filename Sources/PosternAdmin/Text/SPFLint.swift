// What is wrong with a domain's SPF record and all that it includes and redirects to (RFC 7208), before mail meets it:
// every term is followed as if none matched, look-ups are counted against the limits of §4.6.4, and each mistake is
// told with its term. What depends on a message (macros) is counted and not followed. No client is judged here.

internal import PosternAuth
internal import PosternDNS
internal import PosternMail

struct SPFLint {
    /// Terms that cause DNS queries, and those of them for which DNS has nothing. Source: RFC 7208 §4.6.4.
    static let maxLookups = 10
    static let maxVoidLookups = 2
    static let maxMXHosts = 10
    /// Records that are looked at: more than a record within the limits can lead to.
    static let maxRecords = 40

    struct Problem: Hashable {
        enum Severity: String {
            /// Makes the whole evaluation permerror.
            case error
            case warning
        }
        var severity: Severity
        /// As published; `nil` when the record as a whole is meant.
        var term: String?
        var text: String

        static func error(_ text: String, _ term: String? = nil) -> Problem {
            Problem(severity: .error, term: term, text: text)
        }
        static func warning(_ text: String, _ term: String? = nil) -> Problem {
            Problem(severity: .warning, term: term, text: text)
        }
    }

    /// Look-ups, by the family of the client where DNS is asked for its addresses.
    struct Count: Equatable {
        var lookups = 0
        var void4 = 0
        var void6 = 0

        mutating func add(_ other: Count) {
            lookups += other.lookups
            void4 += other.void4
            void6 += other.void6
        }
    }

    /// One record on the way, each time that it is met.
    struct Visit {
        var domain: DomainName
        /// The term that led here; `nil` for the domain itself.
        var via: String?
        var depth: Int
        /// As published; `nil` when there is none.
        var record: [UInt8]?
        /// Of this record and all below it, without the term that led here.
        var count = Count()
        var problems: [Problem] = []
    }

    let domain: DomainName
    private(set) var visits: [Visit] = []
    /// Of the evaluation as a whole.
    private(set) var problems: [Problem] = []
    /// DNS did not answer everything.
    private(set) var isIncomplete = false
    private var known: [Question: Answer] = [:]

    init(of domain: DomainName, dns: any DNSAnswering) {
        self.domain = domain
        let total = visit(domain, via: nil, path: [], dns).count
        if total.lookups > Self.maxLookups {
            problems.append(.error("\(total.lookups) look-ups, \(Self.maxLookups) are allowed (RFC 7208 §4.6.4)"))
        }
        for (count, family) in [(total.void4, "IPv4"), (total.void6, "IPv6")] where count > Self.maxVoidLookups {
            problems.append(
                .error(
                    "\(count) look-ups without an answer for \(family) clients, \(Self.maxVoidLookups) are allowed "
                        + "(RFC 7208 §4.6.4)"))
        }
    }

    /// Something makes the evaluation permerror, if nothing matches before.
    var isPermerror: Bool { (problems + visits.flatMap(\.problems)).contains { $0.severity == .error } }
    var count: Count { visits.first?.count ?? Count() }
    var hasRecord: Bool { visits.first?.record != nil }

    // MARK: Asking

    /// In one batch, each question once.
    private mutating func ask(_ questions: [Question], _ dns: any DNSAnswering) {
        var new: [Question] = []
        for question in questions where known[question] == nil && !new.contains(question) { new.append(question) }
        guard !new.isEmpty else { return }
        for (question, answer) in zip(new, dns.answers(to: new)) { known[question] = answer }
    }

    private mutating func answer(_ name: DomainName, _ type: RecordType) -> Answer {
        let answer = known[Question(name, type)] ?? .temporaryFailure("no answer")
        if case .temporaryFailure = answer { isIncomplete = true }
        return answer
    }

    // MARK: Records

    /// RFC 4408's own record type, which RFC 7208 §3.1 has no more.
    private static let spfType = RecordType(rawValue: 99)

    /// - Parameter path: the domains above, this one left out.
    private mutating func visit(
        _ domain: DomainName, via: String?, path: [DomainName], _ dns: any DNSAnswering
    ) -> Visit {
        let place = visits.count
        var visit = Visit(domain: domain, via: via, depth: path.count)
        visits.append(visit)
        defer { visits[place] = visit }
        ask([Question(domain, .txt), Question(domain, Self.spfType)], dns)
        var texts: [[UInt8]] = []
        switch answer(domain, .txt) {
        case .records(let data, _):
            for case .txt(let text) in data { texts.append(text) }
        case .noData, .noSuchName: break
        case .temporaryFailure(let detail):
            visit.problems.append(.warning("DNS does not answer: \(LogText.escaped(detail.utf8)); not followed"))
            return visit
        }
        let records = texts.filter(SPFRecord.isRecord)
        visit.problems += texts.filter { !SPFRecord.isRecord($0) && $0.looksLikeSPF }.map {
            .warning("\(ZoneText.quoted($0.prefix(60))) is no SPF record: expected \"v=spf1\" and a space")
        }
        if case .records = known[Question(domain, Self.spfType)] {
            visit.problems.append(
                .warning("a record of type SPF (99) is published, which nobody reads (RFC 7208 §3.1)"))
        }
        guard let text = records.first, let record = SPFRecord(text) else {
            // RFC 7208 §5.2, §6.1; alone it is the result none.
            visit.problems.append(via == nil ? .warning("no SPF record") : .error("no SPF record"))
            return visit
        }
        visit.record = text
        if records.count > 1 {
            visit.problems.append(.error("\(records.count) SPF records, one is allowed (RFC 7208 §4.5)"))
        }
        visit.problems += SPFAdvice.onSize(texts)
        if record.mistakes.contains(where: { $0.term.isEmpty }) {  // too long to be read by terms
            visit.problems += record.mistakes.map { .error($0.error.description) }
            return visit
        }
        follow(SPFLintTerm.all(text), of: &visit, path: path + [domain], dns)
        return visit
    }

    private mutating func follow(
        _ terms: [SPFLintTerm], of visit: inout Visit, path: [DomainName], _ dns: any DNSAnswering
    ) {
        visit.problems += SPFAdvice.onTerms(terms)
        let isClosed = terms.contains { $0.isAll }
        ask(terms.flatMap { $0.questions(at: visit.domain) }, dns)
        var isAfterAll = false
        for term in terms {
            // RFC 7208 §5.1: what stands behind all is never reached, §6.1: nor is redirect then.
            guard !isAfterAll, !(term.isRedirect && isClosed) else { continue }
            isAfterAll = term.isAll
            guard term.causesLookup else { continue }
            visit.count.lookups += 1
            guard let target = term.target(at: visit.domain) else {
                visit.problems.append(.warning("depends on the message: counted, not followed", term.text))
                continue
            }
            if term.isInclude || term.isRedirect {
                guard !path.contains(target) else {
                    visit.problems.append(.error("leads back to \(target)", term.text))
                    continue
                }
                guard visits.count < Self.maxRecords else {
                    visit.problems.append(.warning("not followed: more than \(Self.maxRecords) records", term.text))
                    continue
                }
                visit.count.add(self.visit(target, via: term.text, path: path, dns).count)
            } else {
                visit.count.add(voids(of: term, target, &visit.problems, dns))
            }
        }
    }

    // MARK: Look-ups without an answer

    private mutating func voids(
        of term: SPFLintTerm, _ target: DomainName, _ problems: inout [Problem], _ dns: any DNSAnswering
    ) -> Count {
        var count = Count()
        switch term.kind {
        case .a:
            count.void4 = answer(target, .a).isNothing ? 1 : 0
            count.void6 = answer(target, .aaaa).isNothing ? 1 : 0
            if count.void4 + count.void6 == 2 {
                problems.append(.warning("\(target) has no address", term.text))
            }
        case .exists:
            // RFC 7208 §5.7: A, whatever the client has
            if answer(target, .a).isNothing {
                (count.void4, count.void6) = (1, 1)
                problems.append(.warning("\(target) has no address: never matches", term.text))
            }
        case .mx:
            var hosts: [DomainName] = []
            if case .records(let data, _) = answer(target, .mx) {
                for case .mx(_, let host) in data where host != .root { hosts.append(host) }
            }
            if hosts.count > Self.maxMXHosts {
                problems.append(
                    .error("\(hosts.count) MX hosts, \(Self.maxMXHosts) are allowed (RFC 7208 §4.6.4)", term.text))
                return count
            }
            ask(hosts.flatMap { [Question($0, .a), Question($0, .aaaa)] }, dns)
            let answers4 = hosts.map { answer($0, .a) }
            let answers6 = hosts.map { answer($0, .aaaa) }
            count.void4 = answers4.allSatisfy(\.isNothing) ? 1 : 0
            count.void6 = answers6.allSatisfy(\.isNothing) ? 1 : 0
            if hosts.isEmpty { problems.append(.warning("\(target) has no MX host", term.text)) }
        case .ptr, .include, .redirect, .other: break
        }
        return count
    }
}

extension Answer {
    fileprivate var isNothing: Bool {
        switch self {
        case .noData, .noSuchName: true
        case .records, .temporaryFailure: false
        }
    }
}

extension [UInt8] {
    /// A record that somebody meant to publish.
    fileprivate var looksLikeSPF: Bool {
        let start = prefix { $0 == 0x20 || $0 == 0x22 }.count
        let words = dropFirst(start).prefix(5).map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
        return words.starts(with: "v=spf".utf8) || words.starts(with: "spf1".utf8)
            || words.starts(with: "v spf".utf8)
    }
}
