// What was known about one message when it was judged, in place of DNS. A list that was not asked then, and SPF where
// nobody asked for it, are unknown: that is noted, and nothing is guessed. A list whose answer could not change the outcome
// is not missed, by the judge's own word (`until`).

public import PosternDNS
internal import PosternMail

final class RecordedDNS: DNSAnswering {
    private let request: PolicyRequest
    private let lists: [ReplayedList]
    private let heard: [RecordedList: DNSBLHeard.Answer]
    /// Who is asked now for what is unknown; nil for nobody.
    private let asking: ReplayAsking?
    /// What was wanted and is unknown: zones, `SPF`.
    private(set) var unknown: [String] = []

    init(
        _ request: PolicyRequest, lists: [ReplayedList], heard: [RecordedList: DNSBLHeard.Answer], asking: ReplayAsking?
    ) {
        (self.request, self.lists, self.heard, self.asking) = (request, lists, heard, asking)
    }

    func answers(to questions: [Question]) -> [Answer] {
        answers(to: questions, within: .zero) { _ in false }.map { $0 ?? Self.nobody }
    }

    private static let nobody = Answer.temporaryFailure("not recorded")

    func answers(to questions: [Question], within limit: Duration, until isEnough: ([Answer?]) -> Bool) -> [Answer?] {
        // A list's reason (TXT) is told to the client, and decides nothing.
        guard questions.allSatisfy({ $0.type == .a }) else { return questions.map { _ in Self.nobody } }
        let asked = questions.map { list(asking: $0.name) }
        var found = asked.map { list in list.flatMap { heard[$0.key] }.map { Self.answer($0) } }
        if found.allSatisfy({ $0 != nil }) || isEnough(found) { return found }
        let missing = found.indices.filter { found[$0] == nil }
        if let asking {
            let answers = asking.dns().answers(to: missing.map { questions[$0] })
            for (place, answer) in zip(missing, answers) { found[place] = answer }
            asking.asked(missing.count)
        } else {
            for place in missing {
                found[place] = Self.nobody
                note(asked[place]?.key.zone ?? "a DNS list")
            }
        }
        return found
    }

    /// Whose question that is. One zone may be asked about several things: then the name tells.
    private func list(asking name: DomainName) -> ReplayedList? {
        let near = lists.filter { name.isEqualOrBelow($0.settings.zone) }
        if near.count == 1 { return near.first }
        return near.first { list in
            if case .ask(let own) = DNSBLQuery(request, list.settings) { own == name } else { false }
        }
    }

    func prefetch(_ questions: [Question]) {}

    fileprivate func note(_ name: String) {
        if !unknown.contains(name) { unknown.append(name) }
    }

    private static func answer(_ heard: DNSBLHeard.Answer) -> Answer {
        switch heard {
        case .addresses(let addresses):
            addresses.isEmpty ? .noSuchName : .records(addresses.map { .a(.v4($0)) }, ttl: 0)
        case .silent: .temporaryFailure("it did not answer then")
        case .suspended: .temporaryFailure("it was suspended then")
        }
    }
}

/// A list of a configuration that is tried.
struct ReplayedList {
    let settings: DNSBLListSettings
    let key: RecordedList

    init(_ settings: DNSBLListSettings) {
        self.settings = settings
        key = RecordedList(zone: ZoneName.redacted(settings.zone), by: settings.by)
    }
}

/// What tells lists apart in records: a key that has changed makes no other list.
struct RecordedList: Hashable {
    let zone: String
    let by: DNSBLSubject
}

/// Asks DNS now for what was not asked then.
public struct ReplayAsking {
    let dns: () -> any DNSAnswering
    let senderPolicy: any SenderPolicyChecking
    /// Is told how many questions were asked.
    let asked: (Int) -> Void

    public init(
        senderPolicy: any SenderPolicyChecking, dns: @escaping () -> any DNSAnswering,
        asked: @escaping (Int) -> Void
    ) {
        (self.dns, self.senderPolicy, self.asked) = (dns, senderPolicy, asked)
    }
}

/// SPF where no record has it.
struct UnrecordedSPF: SenderPolicyChecking {
    func senderPolicy(
        for request: PolicyRequest, client: IPAddress, dns: any DNSAnswering, now: UnixTime
    ) -> SPFFinding {
        if let recorded = dns as? RecordedDNS { return recorded.senderPolicy(request, client, now) }
        return Self.unknown(request)
    }

    fileprivate static func unknown(_ request: PolicyRequest) -> SPFFinding {
        let sender = MailFromIdentity(sender: Array(request[.sender]), helo: HELOIdentity(Array(request[.heloName])))
        return SPFFinding(result: .temperror, reason: .noRecord, identity: .mailFrom(sender))
    }
}

extension RecordedDNS {
    fileprivate func senderPolicy(_ request: PolicyRequest, _ client: IPAddress, _ now: UnixTime) -> SPFFinding {
        guard let asking else {
            note("SPF")
            return UnrecordedSPF.unknown(request)
        }
        asking.asked(1)
        return asking.senderPolicy.senderPolicy(for: request, client: client, dns: asking.dns(), now: now)
    }
}
