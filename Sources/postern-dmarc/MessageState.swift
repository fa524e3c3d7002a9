// One message on its way through postern-dmarc, from MAIL to its verdict.

import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail
import PosternMilter

struct MessageState {
    var envelope: Envelope
    var verification: DKIMVerification?
    private let client: IPAddress?
    private let session: SMTPSession
    private var header = HeaderCollector()
    private var author = AuthorCollector()
    private var forged: ForgedResultsCollector
    private var marks = DispositionMarkCollector()
    private var hasListID = false
    private var origin: MailOrigin
    private var mailFrom = CheckedIdentity()
    private var helo = CheckedIdentity()
    private var hasPrefetched = false
    private var tally = Tally<DMARCCounter>()

    init(_ session: SMTPSession, _ envelope: Envelope, _ service: JudgingService) {
        self.session = session
        self.envelope = envelope
        client = session.client.address?.unmapped
        forged = ForgedResultsCollector(ids: service.ownIDs)
        origin = MailOrigin(session: session, envelope: envelope, hasReceived: false, settings: service.origin)
    }

    var wantsBody: BodyInterest { verification?.wantsBody == true ? .wanted : .enough }

    // MARK: Envelope

    /// Asks SPF while the envelope comes in. What hangs on an answer that DNS did not give in time is asked again at
    /// the end of the message.
    mutating func judgeEnvelope(_ service: JudgingService) {
        guard origin == .stranger else { return }
        let dns = MessageDNS(service.dns, service.clocks.monotonic)
        dns.begin(within: VerdictTime.envelope, inSteps: true)
        judgeMailFrom(service, dns)
        judgeHELO(service, dns)
    }

    /// DMARC needs MAIL FROM whether or not it is told.
    private mutating func judgeMailFrom(_ service: JudgingService, _ dns: MessageDNS) {
        guard let client, mailFrom.isOpen else { return }
        mailFrom.check(by: dns) {
            SPFJudge.checkMailFrom(
                envelope.mailFrom, client: client, helo: session.helo ?? [], receiver: service.hostName, dns: dns,
                now: service.clocks.now())
        }
    }

    private mutating func judgeHELO(_ service: JudgingService, _ dns: MessageDNS) {
        guard let client, helo.isOpen, service.identities.contains(.helo) else { return }
        helo.check(by: dns) {
            SPFJudge.checkHELO(
                session.helo ?? [], client: client, receiver: service.hostName, dns: dns, now: service.clocks.now())
        }
    }

    // MARK: Header and body

    mutating func add(_ field: HeaderField) {
        header.add(field)
        // Looked for in every field, capped or not (DESIGN §1, rule 7).
        author.add(field)
        forged.add(field)
        marks.add(field)
        if !hasListID, field.isNamed("List-Id") { hasListID = true }
    }

    mutating func endOfHeader(queueID: String?, _ service: JudgingService) {
        envelope.queueID = queueID
        origin = MailOrigin(
            session: session, envelope: envelope, hasReceived: header.hasReceived, settings: service.origin)
        guard origin == .stranger, header.isComplete else { return }
        verification = DKIMVerification(
            header: header.fields, authors: author.finding.mailboxes.map(\.domain), settings: service.verification,
            keys: service.publicKeys, now: service.clocks.now())
    }

    /// The policies of the authors first, then the keys of the signatures, those that could align before others.
    private func questions(_ service: JudgingService) -> [Question] {
        service.judge.questions(for: author.finding) + (verification?.questions ?? [])
    }

    /// Asks for policies and keys while a long body comes in. Postfix sends a message only once it has it all
    /// (POSTFIX.md 5): behind a chunk that is not full the end follows at once, and asking twice would cost more than
    /// it gains.
    mutating func prefetch(_ service: JudgingService, chunk octets: Int) {
        guard octets >= BodyChunk.maxOctets, !hasPrefetched, origin == .stranger else { return }
        hasPrefetched = true
        let questions = questions(service)
        if !questions.isEmpty { service.dns(VerdictTime.records).prefetch(questions) }
    }

    // MARK: End of message

    /// - Parameter isOverloaded: nothing may be waited for: DNS is not asked.
    consuming func outcome(_ service: JudgingService, isOverloaded: Bool = false) -> MessageOutcome {
        var outcome = concluded(service, isOverloaded: isOverloaded)
        service.counters.count(tally)
        outcome.counted = tally.readings
        return outcome
    }

    private mutating func concluded(_ service: JudgingService, isOverloaded: Bool) -> MessageOutcome {
        if isOverloaded { tally.count(.overloaded) }
        let (results, marks) = (forged.forged.count, marks.count)
        guard results + marks <= ForgedResults.maxRemovals else {
            tally.count(.refused)
            return MessageOutcome(refusal: ForgedResults.refusal)
        }
        let removals = forged.forged.edits + self.marks.edits
        var removed: [String] = []
        // Among them may be the field of postern-dkim on this host: it cannot be told from a forged one.
        if results > 0 { removed.append("\(results) Authentication-Results removed") }
        if marks > 0 { removed.append("\(marks) \(DispositionMark.name) removed") }
        var outcome =
            if let reason = DMARCCounter(passed: origin) {
                pass(reason, removed)
            } else {
                judged(service, removed, isOverloaded: isOverloaded)
            }
        if case .refuse = outcome.verdict.disposition { return outcome }
        outcome.verdict.edits.insert(contentsOf: removals, at: 0)  // before insertions, which shift the numbers
        tally.count(.resultsRemoved, by: results)
        tally.count(.marksRemoved, by: marks)
        return outcome
    }

    private mutating func pass(_ reason: DMARCCounter, _ removed: [String]) -> MessageOutcome {
        tally.count(.passed)
        tally.count(reason)
        return MessageOutcome(action: "pass", text: ([origin.passText] + removed).joined(separator: ", "))
    }

    private mutating func judged(
        _ service: JudgingService, _ removed: [String], isOverloaded: Bool
    ) -> MessageOutcome {
        let message = findings(service, isOverloaded: isOverloaded)
        let decision = service.policy.decision(on: message)
        tally.count(message, decision)
        if !isOverloaded { keep(message, decision, service) }
        return MessageOutcome(message, decision, removed, service)
    }

    /// What the judges find, within the time for it.
    private mutating func findings(_ service: JudgingService, isOverloaded: Bool) -> JudgedMessage {
        let time = VerdictTime(service.clocks.monotonic)
        let view = isOverloaded ? { _ in NoDNS(reason: "too many messages at once") } : service.dns
        let dns = MessageDNS(view, service.clocks.monotonic)
        dns.begin(within: VerdictTime.records)
        _ = dns.answers(to: questions(service))  // in one batch; the judges find the answers below
        let policies = service.judge.policies(for: author.finding, dns: dns)
        // A header over the caps is its sender's doing: never a pass, never a check left out (DESIGN §1, rule 7).
        let dkim =
            header.isComplete
            ? verification?.finish(dns: dns) ?? []
            : [DKIMFinding(result: .permerror, reason: .headerTooLarge)]
        // Without DNS a second look could only know less than the first.
        if !isOverloaded || mailFrom.finding == nil {
            dns.begin(within: time.left(keeping: VerdictTime.walks), inSteps: true)
            judgeMailFrom(service, dns)
        }
        if !isOverloaded || helo.finding == nil {
            dns.begin(within: min(VerdictTime.helo, time.left(keeping: VerdictTime.walks)), inSteps: true)
            judgeHELO(service, dns)
        }
        dns.begin(within: time.left())
        let dmarc = service.judge.findings(
            policies, spf: mailFrom.finding.flatMap { DMARCIdentifier($0) }, dkim: dkim, dns: dns)
        return JudgedMessage(
            client: client, spf: [mailFrom.finding, helo.finding].compactMap(\.self), dkim: dkim, dmarc: dmarc,
            hasListID: hasListID)
    }

    /// Keeps the facts for reports. A message that comes again is judged again: a deferral is no verdict.
    private func keep(_ message: JudgedMessage, _ decision: LocalDecision, _ service: JudgingService) {
        guard let facts = service.facts, let client, decision.measure.action != .defer else { return }
        let now = service.clocks.now()
        for (finding, applied) in zip(message.dmarc, decision.applied) {
            facts.append(
                MessageFacts(
                    time: now, queueID: envelope.queueID, client: client, dmarc: finding, discovery: service.discovery,
                    spf: message.spf, dkim: message.dkim, disposition: applied.disposition, override: applied.override))
        }
    }
}

/// What SPF has found of an identity.
private struct CheckedIdentity {
    private(set) var finding: SPFFinding?
    /// Whether there is none yet, or one that another answer of DNS could change: it was trouble, or nothing passed and
    /// DNS had nothing to say of a name that may be left out (RFC 7208 §5.5, "ptr").
    private(set) var isOpen = true

    mutating func check(by dns: MessageDNS, _ judge: () -> SPFFinding) {
        let failures = dns.failures
        let found = judge()
        isOpen = found.result == .temperror || (found.result != .pass && dns.failures > failures)
        finding = found
    }
}
