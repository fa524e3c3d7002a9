// One message on its way through postern-dkim, from MAIL to its verdict.

import PosternAuth
import PosternDNS
import PosternMail
import PosternMilter

struct MessageState {
    var envelope: Envelope
    var header = HeaderCollector()
    var author = AuthorCollector()
    var forged: ForgedResultsCollector
    var origin = MailOrigin.stranger
    /// The keys that sign, when the message is ours and there are any.
    var keys: [DKIMSigningKey] = []
    var signing: DKIMSigning?
    var verification: DKIMVerification?
    private var hasPrefetched = false
    /// Why mail of ours is not signed.
    var unsignedReason: String?

    init(envelope: Envelope, forged: ForgedResultsCollector) {
        self.envelope = envelope
        self.forged = forged
    }

    var wantsBody: BodyInterest {
        signing?.wantsBody == true || verification?.wantsBody == true ? .wanted : .enough
    }

    // MARK: End of header

    /// Ours: signed with every key that may sign for its author.
    mutating func chooseKeys(_ service: SigningService) {
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
            keys = chosen
            signing = DKIMSigning(header: header.fields, keys: keys, settings: service.signing, now: service.now())
        case .none(let reason): unsignedReason = reason
        }
    }

    /// A stranger's.
    mutating func beginVerification(_ service: SigningService) {
        guard header.isComplete else { return }
        let domain: DomainName? = if case .one(let mailbox) = author.finding { mailbox.domain } else { nil }
        verification = DKIMVerification(
            header: header.fields, author: domain, settings: service.verification, keys: service.publicKeys,
            now: service.now())
    }

    // MARK: Body

    /// Asks for the keys while a long body comes in. Postfix sends a message only once it has it all, in chunks of
    /// 65,535 octets (POSTFIX.md 5): behind a shorter chunk the end follows at once, and asking twice would cost more
    /// than it gains.
    mutating func prefetchKeys(_ service: SigningService, chunk octets: Int) {
        guard octets >= BodyChunk.maxOctets, !hasPrefetched, let questions = verification?.questions else { return }
        hasPrefetched = true
        if !questions.isEmpty { service.dns().prefetch(questions) }
    }

    // MARK: End of message

    /// What becomes of the message, and its line in the log.
    struct Outcome {
        var verdict: Verdict
        var action: String
        var text: String
    }

    /// - Parameter isOverloaded: nothing may be waited for: no key is asked for.
    consuming func outcome(_ service: SigningService, isOverloaded: Bool = false) -> Outcome {
        if isOverloaded { service.counters.count(.overloaded) }
        guard !forged.forged.isTooMany else {
            service.counters.count(.refused)
            return Outcome(
                verdict: Verdict(.refuse(ForgedResults.refusal)), action: "reject", text: "\(ForgedResults.refusal)")
        }
        let removals = forged.forged.edits
        var outcome = isOverloaded ? judgedAtOnce(service) : judged(service)
        if !removals.isEmpty, case .accept = outcome.verdict.disposition {
            outcome.verdict.edits.insert(contentsOf: removals, at: 0)  // before insertions, which shift the numbers
            service.counters.count(.forgedRemoved, by: removals.count)
            outcome.text += ", \(removals.count) forged Authentication-Results removed"
        }
        return outcome
    }

    private mutating func judged(_ service: SigningService) -> Outcome {
        switch origin {
        case .ours: sign(service)
        case .stranger where service.verify: verified(service)
        case .stranger: pass(.verifyOff, "not verified: dkim.verify is false", service)
        case .relay: pass(.relay, "from a relay of ours", service)
        case .passthrough: pass(.passthrough, "through a service in host.passthrough", service)
        case .reinjected: pass(.reinjected, "brought back through loopback, not written here", service)
        }
    }

    /// What can be said of a message without waiting. Signing waits for nobody, so that a flood of strangers does not
    /// stop our own mail. A stranger's goes on, with a result that says nobody looked.
    private mutating func judgedAtOnce(_ service: SigningService) -> Outcome {
        switch origin {
        case .stranger where service.verify && header.fields.contains { $0.isNamed("DKIM-Signature") }:
            let finding = DKIMFinding(result: .temperror, reason: .keyUnavailable("too many messages at once"))
            service.counters.count(.verified)
            service.counters.count(.resultTemperror)
            return outcome(of: [finding], service)
        default: return judged(service)  // nothing in it waits
        }
    }

    private func pass(_ reason: DKIMCounter, _ text: String, _ service: SigningService) -> Outcome {
        service.counters.count(.passed)
        service.counters.count(reason)
        return Outcome(verdict: Verdict(), action: "pass", text: text)
    }

    private mutating func sign(_ service: SigningService) -> Outcome {
        guard signing != nil else { return pass(.unsigned, "not signed: \(unsignedReason ?? "no key")", service) }
        do {
            let signatures = try signing?.finish() ?? []
            service.counters.count(.signed)
            return Outcome(
                verdict: Verdict(.accept, edits: signatures.map { .insertOnTop($0) }), action: "sign",
                text: keys.map { "d=\($0.domain) s=\($0.selector) a=\($0.privateKey.algorithm.rawValue)" }
                    .joined(separator: ", "))
        } catch {
            // Unsigned mail under p=reject is lost mail: the sender tries again instead (DESIGN §2).
            let reply = Reply(code: 451, enhanced: "4.3.0", text: "Message could not be signed, try again later")
            service.counters.count(.deferred)
            return Outcome(verdict: Verdict(.refuse(reply)), action: "defer", text: "\(reply); \(error)")
        }
    }

    private mutating func verified(_ service: SigningService) -> Outcome {
        // A header over the caps is its sender's doing: never a pass, never a check left out (DESIGN §1, rule 7).
        let findings =
            header.isComplete
            ? verification?.finish(dns: service.dns()) ?? []
            : [DKIMFinding(result: .permerror, reason: .headerTooLarge)]
        service.counters.count(.verified)
        service.counters.count(findings)
        return outcome(of: findings, service)
    }

    private func outcome(of findings: [DKIMFinding], _ service: SigningService) -> Outcome {
        let field = AuthenticationResults(authservID: service.authservID, dkim: findings).field()
        return Outcome(
            verdict: Verdict(.accept, edits: [.insertOnTop(field)]), action: "verify",
            text: findings.isEmpty ? "dkim=none" : findings.map(\.logText).joined(separator: ", "))
    }
}
