// One message on its way through postern-dkim, from MAIL to its verdict.

import PosternAuth
import PosternDNS
import PosternMail
import PosternMilter

struct MessageState {
    var envelope: Envelope
    var signing: DKIMSigning?
    var verification: DKIMVerification?
    private var header = HeaderCollector()
    private var author = AuthorCollector()
    private var forged: ForgedResultsCollector
    private var origin = MailOrigin.stranger
    /// The keys that sign, when the message is ours and there are any.
    private var keys: [DKIMSigningKey] = []
    private var hasPrefetched = false
    /// What of a message that is signed relays may alter.
    private var fragile: FragileText?
    private var tally = Tally<DKIMCounter>()
    /// Why mail of ours is not signed.
    private var unsignedReason: String?

    init(envelope: Envelope, forged: ForgedResultsCollector) {
        self.envelope = envelope
        self.forged = forged
    }

    var wantsBody: BodyInterest {
        signing?.wantsBody == true || verification?.wantsBody == true ? .wanted : .enough
    }

    // MARK: Header

    mutating func add(_ field: HeaderField) {
        header.add(field)
        // Looked for in every field, capped or not (DESIGN §1, rule 7).
        author.add(field)
        forged.add(field)
    }

    mutating func endOfHeader(queueID: String?, _ session: SMTPSession, _ service: SigningService) {
        envelope.queueID = queueID
        origin = MailOrigin(
            session: session, envelope: envelope, hasReceived: header.hasReceived, settings: service.origin)
        switch origin {
        case .ours: chooseKeys(service)
        case .stranger where service.verify: beginVerification(service)
        case .stranger, .relay, .passthrough, .reinjected: break
        }
    }

    /// Ours: signed with every key that may sign for its author.
    private mutating func chooseKeys(_ service: SigningService) {
        guard header.isComplete else {
            unsignedReason =
                "the header is over \(HeaderCollector.maxOctets) octets or \(HeaderCollector.maxFields) fields"
            return
        }
        guard case .one(let mailbox) = author.finding else {  // exactly one From with one mailbox
            unsignedReason = "\(author.finding)"
            return
        }
        switch selectKeys(
            localPart: mailbox.localPart, domain: mailbox.domain, mailFrom: envelope.mailFromDomain,
            login: envelope.login, rule: service.authorRule, from: service.keys)
        {
        case .keys(let chosen):
            keys = service.keyStandings.signing(among: chosen, isRequired: service.requirePublished)
            signing = DKIMSigning(header: header.fields, keys: keys, settings: service.signing, now: service.now())
            var fragile = FragileText(declaresEightBit: envelope.declaresEightBit)
            for field in header.fields { fragile.add(field) }
            self.fragile = fragile
        case .none(let reason): unsignedReason = reason
        }
    }

    /// A stranger's.
    private mutating func beginVerification(_ service: SigningService) {
        guard header.isComplete else { return }
        verification = DKIMVerification(
            header: header.fields, authors: author.finding.mailboxes.map(\.domain), settings: service.verification,
            keys: service.publicKeys, now: service.now())
    }

    // MARK: Body

    mutating func add(_ chunk: Span<UInt8>) {
        signing?.update(chunk)
        fragile?.update(chunk)
        verification?.update(chunk)
    }

    /// Asks for the keys while a long body comes in. Postfix sends a message only once it has it all, in chunks of
    /// 65,535 octets (POSTFIX.md 5): behind a shorter chunk the end follows at once, and asking twice would cost more
    /// than it gains.
    mutating func prefetchKeys(_ service: SigningService, chunk octets: Int) {
        guard octets >= BodyChunk.maxOctets, !hasPrefetched, let questions = verification?.questions else { return }
        hasPrefetched = true
        if !questions.isEmpty { service.dns().prefetch(questions) }
    }

    // MARK: End of message

    /// - Parameter isOverloaded: nothing may be waited for: no key is asked for.
    consuming func outcome(_ service: SigningService, isOverloaded: Bool = false) -> MessageOutcome {
        var outcome = concluded(service, isOverloaded: isOverloaded)
        service.counters.count(tally)
        outcome.counted = tally.readings
        return outcome
    }

    private mutating func concluded(_ service: SigningService, isOverloaded: Bool) -> MessageOutcome {
        if isOverloaded { tally.count(.overloaded) }
        guard !forged.forged.isTooMany else {
            tally.count(.refused)
            return MessageOutcome(refusal: ForgedResults.refusal)
        }
        let removals = forged.forged.edits
        var outcome = isOverloaded ? judgedAtOnce(service) : judged(service)
        if !removals.isEmpty, case .accept = outcome.verdict.disposition {
            outcome.verdict.edits.insert(contentsOf: removals, at: 0)  // before insertions, which shift the numbers
            tally.count(.forgedRemoved, by: removals.count)
            outcome.text += Self.told(removals.count)
        }
        return outcome
    }

    private static func told(_ removals: Int) -> String {
        removals == 0 ? "" : ", \(removals) forged Authentication-Results removed"
    }

    private mutating func judged(_ service: SigningService) -> MessageOutcome {
        switch origin {
        case .ours: sign(service)
        case .stranger where service.verify: verified(service)
        case .stranger: pass(.verifyOff, "not verified: dkim.verify is false")
        case .relay: pass(.relay, origin.passText)
        case .passthrough: pass(.passthrough, origin.passText)
        case .reinjected: pass(.reinjected, origin.passText)
        }
    }

    /// What can be said of a message without waiting. Signing waits for nobody, so that a flood of strangers does not
    /// stop our own mail. A stranger's goes on, with a result that says nobody looked.
    private mutating func judgedAtOnce(_ service: SigningService) -> MessageOutcome {
        switch origin {
        case .stranger where service.verify && header.fields.contains { $0.isNamed("DKIM-Signature") }:
            let finding = DKIMFinding(result: .temperror, reason: .keyUnavailable("too many messages at once"))
            tally.count(.verified)
            tally.count(.resultTemperror)
            return outcome(of: [finding], service)
        default: return judged(service)  // nothing in it waits
        }
    }

    private mutating func pass(_ reason: DKIMCounter, _ text: String) -> MessageOutcome {
        tally.count(.passed)
        tally.count(reason)
        return MessageOutcome(action: "pass", text: text)
    }

    private mutating func sign(_ service: SigningService) -> MessageOutcome {
        guard signing != nil else { return pass(.unsigned, "not signed: \(unsignedReason ?? "no key")") }
        do {
            let signatures = try signing?.finish() ?? []
            service.keyStandings.used(keys, at: service.now())
            tally.count(.signed)
            let text = keys.map { "d=\($0.domain) s=\($0.selector) a=\($0.privateKey.algorithm.rawValue)" }
            return MessageOutcome(
                Verdict(.accept, edits: signatures.map { .insertOnTop($0) }), action: "sign",
                text: (text + toldFragile()).joined(separator: ", "))
        } catch {
            // Unsigned mail under p=reject is lost mail: the sender tries again instead (DESIGN §2).
            let reply = Reply(code: 451, enhanced: "4.3.0", text: "Message could not be signed, try again later")
            tally.count(.deferred)
            return MessageOutcome(Verdict(.refuse(reply)), action: "defer", text: "\(reply); \(error)")
        }
    }

    /// RFC 6376 §5.3: what relays may convert breaks the signature. It is told and never refused.
    private mutating func toldFragile() -> [String] {
        let findings = fragile?.findings ?? []
        for finding in findings { tally.count(DKIMCounter(finding)) }
        return findings.isEmpty ? [] : ["fragile: " + findings.map(\.logText).joined(separator: " and ")]
    }

    private mutating func verified(_ service: SigningService) -> MessageOutcome {
        // A header over the caps is its sender's doing: never a pass, never a check left out (DESIGN §1, rule 7).
        let findings =
            header.isComplete
            ? verification?.finish(dns: service.dns()) ?? []
            : [DKIMFinding(result: .permerror, reason: .headerTooLarge)]
        tally.count(.verified)
        tally.count(findings)
        return outcome(of: findings, service)
    }

    private func outcome(of findings: [DKIMFinding], _ service: SigningService) -> MessageOutcome {
        let field = AuthenticationResults(authservID: service.authservID, dkim: findings).field()
        let room = OutcomeLine.maxTextOctets - Self.told(forged.forged.count).utf8.count
        return MessageOutcome(
            Verdict(.accept, edits: [.insertOnTop(field)]), action: "verify", text: findings.logText(within: room))
    }
}

extension Fragility {
    /// What may be altered on the way.
    fileprivate var logText: String {
        switch self {
        case .eightBit: "8-bit text without BODY=8BITMIME"
        case .longLine: "a line over \(FragileText.maxLineOctets) octets"
        case .bareLineEnd: "a bare CR or LF"
        }
    }
}
