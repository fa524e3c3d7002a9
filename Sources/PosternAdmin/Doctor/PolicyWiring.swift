// How policy services are to be asked (contrib/postfix/main.cf.policy and main.cf.rate): behind what Postfix refuses
// by itself, with an answer of Postfix's own that lets mail flow while a daemon is down. As for milters, all findings
// about one list propose the same line; what the admin has put there beside ours stays, in its order.

internal import PosternDaemon
internal import PosternMail

struct PolicyWiring {
    let subject: DoctorSubject

    static let recipients = "smtpd_recipient_restrictions"
    static let endOfData = "smtpd_end_of_data_restrictions"
    static let refusals: Set<String> = ["reject_unauth_destination", "defer_unauth_destination"]
    static let unlisted = "reject_unlisted_recipient"

    /// Seconds that Postfix must wait at least: postern-policy answers within 8, postern-rate waits for nobody.
    static func minTimeout(of daemon: DaemonName) -> Int { daemon == .policy ? 10 : 2 }
    /// A hung service costs each recipient twice this and a second (`smtpd_policy_service_try_limit`).
    static let maxTimeout = 30
    private static func timeout(of daemon: DaemonName) -> String { daemon == .policy ? "12s" : "5s" }

    /// One question of a list to a daemon of ours.
    struct Question: Hashable, Sendable {
        let daemon: DaemonName
        let server: PostfixServer
        /// Its place among the list's items.
        let index: Int
        let isOfClass: Bool
    }

    func list(_ parameter: String, _ service: PostfixService) -> RestrictionList? {
        RestrictionList(subject.postfix.value(parameter, service), in: subject.postfix)
    }

    func questions(_ parameter: String, _ service: PostfixService) -> [Question] {
        (list(parameter, service)?.items ?? []).enumerated().compactMap { index, item in
            guard let server = item.policyService,
                let owner = subject.owner(of: server.endpoint, isChrooted: service.isChrooted),
                owner.daemon == .policy || owner.daemon == .rate
            else { return nil }
            return Question(daemon: owner.daemon, server: server, index: index, isOfClass: item.isOfClass)
        }
    }

    // MARK: Settings in force

    func action(of server: PostfixServer, _ service: PostfixService) -> String {
        server["default_action"] ?? subject.postfix.value("smtpd_policy_service_default_action", service)
    }

    static func isHarmless(_ action: String) -> Bool { action.lowercased() == "dunno" }

    /// nil where Postfix cannot read it.
    func timeout(of server: PostfixServer, _ service: PostfixService) -> Int? {
        server["timeout"].map { PostfixWords.seconds($0) }
            ?? subject.postfix.seconds("smtpd_policy_service_timeout", service)
    }

    static func isRight(_ timeout: Int?, of daemon: DaemonName) -> Bool {
        timeout.map { (minTimeout(of: daemon)...maxTimeout).contains($0) } ?? false
    }

    // MARK: The list as it should be

    /// A daemon that a list must ask.
    struct Wish: Hashable, Sendable {
        let daemon: DaemonName
        /// First of all, so that those are told too whom the list permits.
        var isFirst = false
        /// `policy_context`.
        var context: String? = nil
    }

    /// What a list must ask, and how, beside what it asks now.
    func wishes(_ parameter: String, _ service: PostfixService) -> [Wish] {
        let role = role(of: service)
        guard let role, role != .reinjection else { return [] }
        switch parameter {
        case Self.recipients:
            let isAsked = subject.asksAnywhere(.policy, service)
            let policy = role == .mx && subject.hasWork(.policy) && !isAsked ? [Wish(daemon: .policy)] : []
            return policy + [RateHooks.wish(service, self)].compactMap(\.self)
        case Self.endOfData: return subject.uses(.rate) ? [Wish(daemon: .rate)] : []
        default: return []
        }
    }

    /// The line that gives a service its right list.
    func mend(_ parameter: String, _ service: PostfixService) -> DoctorFinding.Mend {
        let isApart = role(of: service) == .submission && wishes(parameter, service).contains(where: \.isFirst)
        // What is in main.cf is written as strangers' service needs it, whoever else inherits it.
        var owner = service
        if !isApart, service.overrides[parameter] == nil {
            owner =
                subject.servers.first { $0.role == .mx && $0.service.overrides[parameter] == nil }?.service ?? service
        }
        return subject.edit.set(parameter, mended(parameter, owner).text, for: service, apart: isApart)
    }

    func mended(_ parameter: String, _ service: PostfixService) -> RestrictionList {
        var items = (list(parameter, service)?.items ?? []).filter { !$0.isOfClass }
        let isChrooted = service.isChrooted
        func daemon(_ item: RestrictionList.Item) -> DaemonName? {
            item.policyService.flatMap { subject.owner(of: $0.endpoint, isChrooted: isChrooted)?.daemon }
        }
        items.removeAll { item in
            item.policyService.flatMap(MilterPeers.policyService).map { subject.uses($0.daemon) } ?? false
        }
        for index in items.indices {
            guard let daemon = daemon(items[index]), let server = items[index].policyService else { continue }
            items[index].argument = right(server, daemon, service).text
        }
        for wish in wishes(parameter, service) { ask(wish, &items, service, isAsked: { daemon($0) == wish.daemon }) }
        if parameter == Self.recipients, role(of: service) == .mx, items.contains(where: { daemon($0) == .policy }) {
            Self.putBehindRefusals(&items) { daemon($0) == .policy }
        }
        return RestrictionList(items)
    }

    private func ask(
        _ wish: Wish, _ items: inout [RestrictionList.Item], _ service: PostfixService,
        isAsked: (RestrictionList.Item) -> Bool
    ) {
        let old = items.first(where: isAsked)?.policyService
        guard old == nil || wish.isFirst else { return }
        let spelling = subject.spelling(of: wish.daemon, isChrooted: service.isChrooted)
        let path = "unix:postern/\(wish.daemon.rawValue.dropFirst("postern-".count)).sock"
        var server = right(old ?? PostfixServer(spelling ?? path), wish.daemon, service)
        if let context = wish.context, server["policy_context"] == nil { server["policy_context"] = context }
        items.removeAll(where: isAsked)
        let end = items.firstIndex { $0.endsList } ?? items.endIndex
        items.insert(
            RestrictionList.Item(word: "check_policy_service", argument: server.text),
            at: wish.isFirst ? items.startIndex : end)
    }

    private func role(of service: PostfixService) -> DoctorSubject.Role? {
        subject.servers.first { $0.service == service }?.role
    }

    /// Puts what is moved behind what Postfix refuses by itself, and before what ends the list.
    private static func putBehindRefusals(
        _ items: inout [RestrictionList.Item], isMoved: (RestrictionList.Item) -> Bool
    ) {
        let moved = items.filter(isMoved)
        let before = items.firstIndex(where: isMoved).map { items[..<$0].last } ?? nil
        items.removeAll(where: isMoved)
        func end() -> Int { items.firstIndex { $0.endsList } ?? items.endIndex }
        if !items[..<end()].contains(where: { refusals.contains($0.name) }) {
            items.removeAll { refusals.contains($0.name) }
            let behindOurs = items[..<end()].lastIndex { permits.contains($0.name) }.map { $0 + 1 }
            items.insert(RestrictionList.Item(word: "reject_unauth_destination"), at: behindOurs ?? 0)
        }
        let refusal = items.firstIndex { refusals.contains($0.name) } ?? items.startIndex
        if !items[..<end()].contains(where: { $0.name == unlisted }) {
            items.removeAll { $0.name == unlisted }
            items.insert(RestrictionList.Item(word: unlisted), at: min(refusal + 1, end()))
        }
        let lowest = max(refusal, items.firstIndex { $0.name == unlisted } ?? 0) + 1
        let place = before.flatMap { items.firstIndex(of: $0) }.map { $0 + 1 } ?? 0
        items.insert(contentsOf: moved, at: min(max(place, lowest), end()))
    }

    /// What lets users and our own networks by.
    private static let permits: Set<String> = ["permit_mynetworks", "permit_sasl_authenticated"]

    /// One of ours with the settings that it needs; what the admin has set beside them stays.
    private func right(_ old: PostfixServer, _ daemon: DaemonName, _ service: PostfixService) -> PostfixServer {
        var server = old
        let isChrooted = service.isChrooted
        if let spelling = subject.spelling(of: daemon, isChrooted: isChrooted),
            subject.owner(of: server.endpoint, isChrooted: isChrooted)?.leadsThere != true
        {
            server.endpoint = spelling
        }
        if server["timeout"] == nil || !Self.isRight(timeout(of: server, service), of: daemon) {
            server["timeout"] = Self.timeout(of: daemon)
        }
        if server["default_action"] == nil || !Self.isHarmless(action(of: server, service)) {
            server["default_action"] = "DUNNO"
        }
        return server
    }
}
