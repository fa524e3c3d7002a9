// Judges one request of Postfix's by the limits: which of them it concerns, under which keys and for how much; asks the
// ledger once for all of them; and says what Postfix is told.
//
// Counted are a connection at its first request, whatever the stage; a recipient at RCPT; a message at its first recipient;
// octets as the client announces them, and as they are at END-OF-MESSAGE, which settles all of it for the message. DATA
// adds what is missing, for those who ask there only. VRFY and ETRN are not judged. What Postfix does not tell (sessions
// before RCPT, how many there are at a time) is anvil's.
//
// A limit that needs an attribute which is not known does not apply: no login, no name (`unknown`), no HELO, no domain of
// the null sender. The null sender itself is known: `<>`.

public import PosternMail

public struct LimitJudge: Sendable {
    fileprivate struct Limit: Sendable {
        let settings: LimitSettings
        let terms: LimitTerms
        let clients: NetworkTable?
        let users: PatternTable?
        /// Nil for none.
        let except: PatternTable?
    }

    private let limits: [Limit]
    private let isShadow: Bool

    /// - Parameter isShadow: the whole suite only observes; every answer is `.dunno`.
    /// - Throws: a wrong expression, which `check` has told before.
    public init(_ settings: [LimitSettings], isShadow: Bool) throws(ExpressionError) {
        var limits: [Limit] = []
        for (number, settings) in settings.enumerated() {
            var users: PatternTable?
            if let patterns = settings.users { users = try PatternTable(patterns) }
            limits.append(
                Limit(
                    settings: settings, terms: LimitTerms(settings, number: number, isShadow: isShadow),
                    clients: settings.clients.map { NetworkTable($0) }, users: users,
                    except: settings.except.isEmpty ? nil : try PatternTable(settings.except)))
        }
        self.limits = limits
        self.isShadow = isShadow
    }

    /// For the ledger's `prepare`.
    public var terms: [LimitTerms] { limits.map(\.terms) }

    /// Judges a request, and counts it.
    public func verdict(on request: PolicyRequest, ledger: some LimitLedger, now: UnixTime) -> LimitVerdict {
        let (asked, missing, _) = concerns(request)
        guard let asked else { return LimitVerdict(missing: missing) }
        return verdict(on: ledger.decide(asked, now: now), missing: missing)
    }

    /// The message that the request was about is over: accepted, refused or given up.
    public func end(_ request: PolicyRequest, ledger: some LimitLedger, now: UnixTime) {
        guard !limits.isEmpty, !request[.instance].isEmpty else { return }
        ledger.end(instance: Array(request[.instance]), client: LimitSubject(request).client, now: now)
    }

    /// What would be answered, with a finding for every limit; nothing is counted.
    public func explanation(of request: PolicyRequest, ledger: some LimitLedger, now: UnixTime) -> LimitVerdict {
        let (asked, missing, reasons) = concerns(request, telling: true)
        let decision = asked.map { ledger.foresee($0, now: now) } ?? LimitDecision(refusals: [])
        let verdict = verdict(on: decision, missing: missing)
        let findings = zip(limits, reasons).map { limit, reason in
            explained(limit, decision, skipped: reason)
        }
        return LimitVerdict(
            answer: verdict.answer, findings: findings, decision: verdict.decision, withheld: verdict.withheld,
            events: [], missing: missing, untracked: 0)
    }

    /// - Parameter reason: why the limit is not asked; nil where it is.
    private func explained(_ limit: Limit, _ decision: LimitDecision, skipped reason: String?) -> LimitFinding {
        let name = limit.settings.name
        let standings = decision.standings.filter { $0.limit == name }
        if let refusal = decision.refusals.first(where: { $0.terms.shape.name == name }) {
            let standing = standings.first { $0.key == refusal.key }
            return LimitFinding(
                limit, .over, key: refusal.key,
                reason: standing.map { LimitFinding.text(refusal, $0) } ?? LimitFinding.text(refusal),
                answer: Self.answer(limit.settings.action), standing: standing, freeIn: refusal.freeIn)
        }
        if let reason { return LimitFinding(limit, .skipped, reason: reason) }
        let standing = standings.first
        return LimitFinding(
            limit, .pass, key: standing?.key, reason: standing.map { LimitFinding.text($0) } ?? "nothing new to count",
            standing: standing, freeIn: .zero)
    }

    // MARK: What a request concerns

    /// - Returns: what to ask; nil where there is nothing. How many limits lack an attribute. With `telling`, for each limit
    ///   why it is not asked.
    private func concerns(
        _ request: PolicyRequest, telling: Bool = false
    ) -> (request: LimitRequest?, missing: Int, reasons: [String?]) {
        guard !limits.isEmpty, request.stage != .vrfy, request.stage != .etrn else {
            return (nil, 0, limits.map { _ in telling ? "\(request.stage.rawValue) is not counted" : nil })
        }
        let subject = LimitSubject(request)
        var charges: [LimitCharge] = []
        var missing = 0
        var reasons: [String?] = []
        for limit in limits {
            var reason: String?
            switch subject.concern(limit.settings, limit.clients, limit.users, limit.except) {
            case .charge(let key, let amount, let isTotal):
                charges.append(LimitCharge(limit.terms, key, amount: amount, isTotal: isTotal))
            case .missing(let attribute):
                missing += 1
                reason = telling ? "\(attribute) is not known" : nil
            case .none(let why): reason = telling ? why : nil
            }
            if telling { reasons.append(reason) }
        }
        let isEnd = request.stage == .endOfMessage
        let instance = Array(request[.instance])
        // The end of a message settles what was reserved, whatever it is charged itself.
        guard !charges.isEmpty || (isEnd && !instance.isEmpty) else { return (nil, missing, reasons) }
        let totals = isEnd ? LimitRequest.Totals(recipients: request.recipientCount, octets: request.size) : nil
        let asked = LimitRequest(
            charges: charges, instance: instance, connection: subject.connection,
            service: Array(request[.serverPort].prefix(LimitSubject.maxPortOctets)), client: subject.client,
            account: Array(request[.saslUsername].prefix(LimitKey.maxValueOctets)), totals: totals)
        return (asked, missing, reasons)
    }

    // MARK: What is answered

    private func verdict(on decision: LimitDecision, missing: Int) -> LimitVerdict {
        var findings: [LimitFinding] = []
        for refusal in decision.refusals {
            guard let limit = limits.first(where: { $0.terms === refusal.terms }) ?? named(refusal) else { continue }
            findings.append(
                LimitFinding(
                    limit, .over, key: refusal.key, reason: LimitFinding.text(refusal),
                    answer: Self.answer(limit.settings.action)))
        }
        // What refuses goes before what holds.
        let live = findings.filter { !$0.isShadow }
        let decided = live.first { $0.answer?.isRefusal ?? false } ?? live.first
        let answer = decided?.answer ?? .dunno
        let isWithheld = isShadow && answer != .dunno
        return LimitVerdict(
            answer: isWithheld ? .dunno : answer, findings: findings, decision: decided,
            withheld: isWithheld ? answer : nil, events: decision.events, missing: missing,
            untracked: decision.untracked, isUnavailable: decision.isUnavailable)
    }

    /// A message that was begun before the configuration changed.
    private func named(_ refusal: LimitRefusal) -> Limit? {
        limits.first { $0.terms.shape == refusal.terms.shape }
    }

    private static func answer(_ action: RuleAction) -> PolicyAnswer {
        switch action {
        case .defer(let reply): .defer(reply)
        case .reject(let reply): .reject(reply)
        case .hold(let text): .hold(text)
        // The configuration reads no other for a limit.
        case .accept, .prepend, .filter, .redirect, .bcc, .score, .greylist: .dunno
        }
    }
}

extension PolicyAnswer {
    fileprivate var isRefusal: Bool {
        switch self {
        case .reject, .defer, .deferIfPermit: true
        case .dunno, .hold, .prepend, .filter, .redirect, .bcc: false
        }
    }
}

extension LimitFinding {
    fileprivate init(
        _ limit: LimitJudge.Limit, _ outcome: Outcome, key: LimitKey? = nil, reason: String,
        answer: PolicyAnswer? = nil, standing: LimitEntry? = nil, freeIn: Duration? = nil
    ) {
        self.init(
            limit: limit.settings.name, outcome: outcome, key: key, reason: reason, answer: answer,
            isShadow: limit.settings.shadow, standing: standing, freeIn: freeIn)
    }
}
