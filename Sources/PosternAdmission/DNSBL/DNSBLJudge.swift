// Judges a client and a sender by DNS block and allow lists (RFC 5782): all lists are asked in one batch, the scores of
// their answers add up, and the settings say from which score on mail is refused. A list that is late, broken, sick or
// refusing lists nobody, so that no list's failure ever refuses mail. In the common case that is one round trip to
// postern-dns; the wait ends with the answer that decides, where nothing looks at the score itself.

public import PosternDNS
public import PosternMail

public struct DNSBLJudge: DNSBLChecking {
    /// How long a list's own reason is waited for; it is asked for only once mail is refused.
    static let reasonBudget = Duration.seconds(1)
    /// Octets of a list's reason that a reply repeats. Lists write a sentence and a link.
    static let maxReasonOctets = 200
    /// Zones that a reply names.
    static let maxNamedLists = 3

    private let settings: DNSBLSettings
    private let lists: [List]
    private let health: DNSBLHealth
    private let keys: QueryKeys

    private struct List {
        let settings: DNSBLListSettings
        let key: DNSBLHealth.Key
        let shown: String
        /// The least and the most that it can add.
        let bounds: ClosedRange<Int>
        /// Labels of the zone that are nobody's business.
        let secrets: [[UInt8]]
    }

    /// - Parameter health: of these lists; those that it does not know are always asked.
    public init(_ settings: DNSBLSettings, health: DNSBLHealth) {
        self.settings = settings
        self.health = health
        keys = QueryKeys(zones: settings.lists.map(\.zone))
        lists = settings.lists.map { list in
            let scores = list.scores.map(\.score)
            return List(
                settings: list, key: DNSBLHealth.Key(list), shown: ZoneName.redacted(list.zone),
                bounds: min(0, scores.min() ?? 0)...max(0, scores.max() ?? 0),
                secrets: list.zone.labels.map { Array($0) }.filter { label in
                    let text = String(decoding: label, as: UTF8.self)
                    return ZoneName.redacted(text) != text
                })
        }
    }

    // MARK: Asking

    /// What one list is asked in one request, or why it is not.
    private enum Inquiry {
        case ask(DomainName)
        case none(String)
        case suspended(String)
    }

    public func finding(
        for request: PolicyRequest, ruleScore: Int, wantsScore: Bool, telling: PolicyTelling, dns: any DNSAnswering,
        now: UnixTime
    ) -> DNSBLFinding {
        let inquiries = lists.map { list -> Inquiry in
            switch DNSBLQuery(request, list.settings) {
            case .none(let reason): .none(reason)
            case .ask(let name): health.problem(of: list.key).map { .suspended($0) } ?? .ask(name)
            }
        }
        let asked: [(list: List, name: DomainName)] = zip(lists, inquiries).compactMap { list, inquiry in
            if case .ask(let name) = inquiry { (list, name) } else { nil }
        }
        let mayEnd = telling != .everything
        func isDecided(_ answers: [Answer?]) -> Bool {
            mayEnd && self.isDecided(ruleScore, zip(asked.map(\.list), answers), wantsScore: wantsScore)
        }
        let nothing = [Answer?](repeating: nil, count: asked.count)
        let isRefusedAnyway = isDecided(nothing) && decide(ruleScore) != .pass
        let answers =
            asked.isEmpty || isRefusedAnyway
            ? nothing
            : dns.answers(to: asked.map { Question($0.name, .a) }, within: settings.budget, until: isDecided)
        let readings = readings(asked, answers, telling, now)

        var rest = readings[...]
        var findings: [PolicyFinding] = []
        var heard: [DNSBLHeard] = []
        for (list, inquiry) in zip(lists, inquiries) {
            switch inquiry {
            case .none(let reason): findings.append(PolicyFinding(.list(list.shown), .skipped, reason: reason))
            case .suspended(let reason):
                findings.append(PolicyFinding(.list(list.shown), .suspended, reason: clean(reason, list)))
                heard.append(DNSBLHeard(zone: list.shown, by: list.settings.by, answer: .suspended))
            case .ask(let name):
                let came = rest.popFirst() ?? nil
                findings.append(finding(list, name, came, telling, request))
                if let came {
                    heard.append(DNSBLHeard(zone: list.shown, by: list.settings.by, answer: .init(came.answer)))
                }
            }
        }
        let score = findings.reduce(0) { $0.clamped(adding: $1.score) }
        return DNSBLFinding(
            lists: findings, score: score, isWhole: answers.allSatisfy { $0 != nil },
            told: reason(asked, findings, total: ruleScore.clamped(adding: score), dns), heard: heard)
    }

    /// An answer as it came, and what it is believed to mean.
    private struct Heard {
        let answer: Answer
        let reading: DNSBLReading
        let isBelieved: Bool
    }

    private func readings(
        _ asked: [(list: List, name: DomainName)], _ answers: [Answer?], _ telling: PolicyTelling, _ now: UnixTime
    ) -> [Heard?] {
        let readings = zip(asked, answers).map { asked, answer in
            answer.map { DNSBLReading($0, asked.list.settings.scores) }
        }
        // What an admin asks for is nobody's mail: it says nothing of whom the lists usually list.
        let watched = zip(asked, readings).compactMap { asked, reading in
            reading.map { (key: asked.list.key, reading: $0, subject: asked.name.hashValue) }
        }
        let trust = telling == .everything ? watched.map { _ in true } : health.watch(watched, now: now)
        var rest = trust[...]
        return zip(answers, readings).map { answer, reading in
            guard let answer, let reading else { return nil }
            return Heard(answer: answer, reading: reading, isBelieved: rest.popFirst() ?? false)
        }
    }

    /// Whether what is missing cannot change the outcome any more.
    private func isDecided(
        _ ruleScore: Int, _ answers: some Sequence<(List, Answer?)>, wantsScore: Bool
    ) -> Bool {
        // Without thresholds, or where only observed, the score is all there is.
        guard settings.rejectScore != nil || settings.deferScore != nil else { return false }
        var (least, most) = (ruleScore, ruleScore)
        for (list, answer) in answers {
            let bounds =
                answer.map { answer in
                    let score = DNSBLReading(answer, list.settings.scores).score
                    return score...score
                } ?? list.bounds
            least = least.clamped(adding: bounds.lowerBound)
            most = most.clamped(adding: bounds.upperBound)
        }
        let outcome = decide(least)
        guard outcome == decide(most) else { return false }
        return !wantsScore || outcome != .pass && !settings.shadow
    }

    // MARK: Telling

    private func finding(
        _ list: List, _ name: DomainName, _ heard: Heard?, _ telling: PolicyTelling, _ request: PolicyRequest
    ) -> PolicyFinding {
        guard let heard else {
            return PolicyFinding(.list(list.shown), .skipped, reason: "not waited for: the outcome is clear without")
        }
        let exchanges =
            telling == .everything ? ["\(keys.text(name)) A: \(clean(heard.answer.told, list))"] : []
        func finding(_ outcome: PolicyFinding.Outcome, _ reason: String, score: Int = 0) -> PolicyFinding {
            PolicyFinding(
                .list(list.shown), outcome, reason: clean(reason, list), score: score, exchanges: exchanges)
        }
        switch heard.reading {
        case .listed(let score, let addresses):
            guard heard.isBelieved else { return finding(.unanswered, "\(addresses.told) is not believed any more") }
            let subject = DNSBLQuery.subject(list.settings.by, of: request).map { "\($0): " } ?? ""
            return finding(.listed, "\(subject)\(addresses.told)", score: score)
        case .notListed(let addresses):
            return finding(.notListed, addresses.isEmpty ? "no answer" : "\(addresses.told) counts nothing")
        case .silent(let text): return finding(.unanswered, text)
        case .refused(let address): return finding(.unanswered, "\(address): the list refuses to answer")
        case .foreign(let address): return finding(.unanswered, "\(address) is no answer of a DNS list")
        }
    }

    /// Printable ASCII without the zone's keys.
    private func clean(_ text: String, _ list: List) -> String {
        guard !list.secrets.isEmpty else { return text.printable }
        var rest = Array(text.printable.utf8)[...]
        var out: [UInt8] = []
        while let octet = rest.first {
            if let secret = list.secrets.first(where: { rest.prefix($0.count).equalsIgnoringASCIICase($0) }) {
                rest = rest.dropFirst(secret.count)
                // The one type that hides keys says what stands for one.
                out += ZoneName.redacted(String(decoding: secret, as: UTF8.self)).utf8
            } else {
                out.append(octet)
                rest = rest.dropFirst()
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// The TXT record of the list that counts most, if mail is refused and the settings want it told.
    /// - Source: RFC 5782 §2.1.
    private func reason(
        _ asked: [(list: List, name: DomainName)], _ findings: [PolicyFinding], total: Int, _ dns: any DNSAnswering
    ) -> String? {
        guard settings.tellsReason, decide(total) != .pass, let top = top(findings),
            let place = zip(lists, findings).enumerated().first(where: { $0.element.1 == top })?.offset
        else { return nil }
        let list = lists[place]
        guard let name = asked.first(where: { $0.list.key == list.key })?.name,
            case .records(let records, _)?? = dns.answers(
                to: [Question(name, .txt)], within: Self.reasonBudget, until: { _ in false }
            ).first
        else { return nil }
        let texts = records.compactMap { record in if case .txt(let octets) = record { octets } else { nil } }
        guard let octets = texts.first(where: { !$0.isEmpty }) else { return nil }
        // Keys are hidden before the text is cut, or half a key could be left.
        let text = clean(String(decoding: octets.prefix(2 * Self.maxReasonOctets + 256), as: UTF8.self), list)
        return String(decoding: text.utf8.prefix(Self.maxReasonOctets), as: UTF8.self)
    }

    private func top(_ findings: [PolicyFinding]) -> PolicyFinding? {
        let highest = findings.filter { $0.outcome == .listed && $0.score > 0 }.map(\.score).max()
        return highest.flatMap { highest in findings.first { $0.outcome == .listed && $0.score == highest } }
    }

    // MARK: Deciding

    private func decide(_ score: Int) -> PolicyFinding.Outcome {
        if let limit = settings.rejectScore, score >= limit { return .reject }
        if let limit = settings.deferScore, score >= limit { return .defer }
        return .pass
    }

    public func decision(on request: PolicyRequest, ruleScore: Int, lists found: DNSBLFinding) -> PolicyFinding {
        let score = ruleScore.clamped(adding: found.score)
        var parts = found.lists.filter { $0.score != 0 }.map { finding in
            if case .list(let zone) = finding.check { "\(zone) \(finding.score)" } else { "\(finding.score)" }
        }
        if ruleScore != 0, !parts.isEmpty { parts.append("rules \(ruleScore)") }
        let reason = "score \(score)" + (parts.isEmpty ? "" : " (\(parts.joined(separator: ", ")))")
        let outcome = decide(score)
        guard outcome != .pass else { return PolicyFinding(.dnsbl, .pass, reason: reason, score: score) }
        let text = complaint(request, found)
        let answer: PolicyAnswer =
            outcome == .reject
            ? .reject(Reply(code: 554, enhanced: "5.7.1", text: text))
            : .defer(Reply(code: 450, enhanced: "4.7.1", text: text))
        return PolicyFinding(
            .dnsbl, outcome, reason: reason, score: score, answer: answer, isShadow: settings.shadow)
    }

    /// For the sender's postmaster: who is listed, and where he can ask.
    private func complaint(_ request: PolicyRequest, _ found: DNSBLFinding) -> String {
        guard let top = top(found.lists),
            let by = zip(lists, found.lists).first(where: { $0.1 == top })?.0.settings.by
        else { return "Service unavailable, by local policy" }
        let named = zip(lists, found.lists).filter { list, finding in
            list.settings.by == by && finding.outcome == .listed && finding.score > 0
        }.sorted { $0.1.score > $1.1.score }.prefix(Self.maxNamedLists).map(\.0.shown)
        let subject =
            switch by {
            case .client: "client [\(request.client.map { "\($0)" } ?? "unknown")]"
            case .sender: "sender domain \(DNSBLQuery.subject(by, of: request).map { "\($0)" } ?? "")"
            case .helo: "HELO name \(DNSBLQuery.subject(by, of: request).map { "\($0)" } ?? "")"
            case .clientName: "client name \(DNSBLQuery.subject(by, of: request).map { "\($0)" } ?? "")"
            }
        let told = found.told.map { ": \($0)" } ?? ""
        return "Service unavailable; \(subject) is listed by \(named.joined(separator: ", "))\(told)"
    }
}

extension DNSBLHeard.Answer {
    fileprivate init(_ answer: Answer) {
        switch answer {
        case .records(let records, _):
            self = .addresses(
                records.prefix(DNSBLReading.maxAddresses).compactMap { record in
                    if case .a(.v4(let address)) = record { address } else { nil }
                })
        case .noData, .noSuchName: self = .addresses([])
        case .temporaryFailure: self = .silent
        }
    }
}

extension Answer {
    /// For explain.
    fileprivate var told: String {
        switch self {
        case .records(let data, let ttl):
            [IPAddress](data.compactMap { if case .a(let address) = $0 { address } else { nil } }).told + ", ttl \(ttl)"
        case .noData: "no such record"
        case .noSuchName: "no such name"
        case .temporaryFailure(let text): text
        }
    }
}
