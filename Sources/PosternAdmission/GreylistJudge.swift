// Asks strangers to come back later (RFC 6647): the triplet of client network, sender and recipient waits for the delay.
// What is remembered, and what follows from it, is the ledger's and GreylistDecision's; here is whom it concerns, by
// which identity, and what Postfix is told. The null sender waits as others do: at RCPT its recipient tells it apart
// (RFC 6647 §2.4); callbacks and bounces come again, or were not worth it.

public import PosternMail

public struct GreylistJudge: GreylistChecking {
    private let settings: GreylistSettings
    private let ledger: any GreylistLedger
    private let skipClients: PatternTable
    private let skipSenders: PatternTable
    private let skipRecipients: PatternTable

    /// - Throws: a wrong expression of a skip list, which `check` has told before.
    public init(_ settings: GreylistSettings, ledger: any GreylistLedger) throws(ExpressionError) {
        self.settings = settings
        self.ledger = ledger
        skipClients = try PatternTable(settings.skipClients)
        skipSenders = try PatternTable(settings.skipSenders)
        skipRecipients = try PatternTable(settings.skipRecipients)
    }

    public func concerns(_ request: PolicyRequest, score: Int?, isForced: Bool) -> Bool {
        // Without an address there is no triplet; without a recipient too (RFC 6647 §2.4).
        guard let client = request.client, !request[.recipient].isEmpty else { return false }
        if !isForced {
            switch settings.clients {
            case .none: return false
            case .suspicious: if let score, score < settings.suspiciousScore { return false }
            case .all: break
            }
        }
        return !skips(request, client)
    }

    /// RFC 6647 §5: an exemption by address, name, sender or recipient.
    private func skips(_ request: PolicyRequest, _ client: IPAddress) -> Bool {
        skipClients.contains(.address(client)) || skipClients.contains(.name(request[.clientName]))
            || skipSenders.contains(.mailbox(request[.sender]))
            || skipRecipients.contains(.mailbox(request[.recipient]))
    }

    public func finding(
        for request: PolicyRequest, score: Int, isForced: Bool, telling: PolicyTelling, now: UnixTime,
        senderPolicy: () -> SPFFinding?
    ) -> PolicyFinding {
        guard let client = request.client?.unmapped else {
            return PolicyFinding(.greylist, .skipped, reason: "the client has no address", isShadow: settings.shadow)
        }
        let length = if case .v4 = client { settings.ipv4Prefix } else { settings.ipv6Prefix }
        var asked = GreylistRequest(
            client: Network(containing: client, prefixLength: length), sender: request[.sender],
            recipient: request[.recipient],
            // Who is on a list has no identity: SPF need not be asked.
            identity: score <= 0 ? .notAsked : .none)
        var answer = ask(asked, telling, now)
        if answer == .needsIdentity {
            let policy = senderPolicy()
            asked.identity = GreylistIdentity.of(policy, client: client, score: score)
            answer = ask(asked, telling, now)
            if case .wait(let remaining, _) = answer, policy?.result == .temperror, let domain = policy?.domain {
                answer = spared(answer, remaining, asked, domain, now)
            }
        }
        return finding(answer, asked)
    }

    /// Trouble with SPF does not make a sender wait anew whose other host has tried before: the wait counts from then.
    /// Nothing is learned from it, and nobody is known by it.
    private func spared(
        _ answer: GreylistAnswer, _ remaining: Duration, _ request: GreylistRequest, _ domain: DomainName,
        _ now: UnixTime
    ) -> GreylistAnswer {
        var presumed = request
        presumed.identity = .domain(domain)
        let foreseen = ledger.foresee(presumed, times: settings.times, now: now)
        switch foreseen {
        // Only the same sender's mail to the same recipient; a known domain is for whom SPF passes.
        case .pass(.domainTriplet, _): return foreseen
        case .wait(let shorter, _) where shorter < remaining: return foreseen
        default: return answer
        }
    }

    private func ask(_ request: GreylistRequest, _ telling: PolicyTelling, _ now: UnixTime) -> GreylistAnswer {
        telling == .everything
            ? ledger.foresee(request, times: settings.times, now: now)
            : ledger.decide(request, times: settings.times, now: now)
    }

    // MARK: Telling

    private func finding(_ answer: GreylistAnswer, _ asked: GreylistRequest) -> PolicyFinding {
        let domain = if case .domain(let name) = asked.identity { "\(name)" } else { "the domain" }
        switch answer {
        case .pass(let reason, let waited):
            let wait = waited.map { ", after \($0.wholeSeconds) s" } ?? ""
            let text =
                switch reason {
                case .knownClient: "\(asked.client) is known"
                case .knownDomain: "\(domain) is known, by SPF"
                case .triplet: "this client has come back with this sender and recipient\(wait)"
                case .domainTriplet: "\(domain) has come back with this sender and recipient, by SPF\(wait)"
                }
            return PolicyFinding(.greylist, .pass, reason: text, isShadow: settings.shadow, memory: answer)
        case .wait(let remaining, _):
            let isNew = remaining >= settings.delay
            // Rounded up: who comes back then has waited long enough.
            let seconds = max(1, (remaining + .nanoseconds(999_999_999)).wholeSeconds)
            let identity = if case .domain(let name) = asked.identity { ", or of \(name) by SPF" } else { "" }
            let reply = Reply(
                code: 450, enhanced: "4.2.0",
                text: "Greylisted, try again in \(seconds) second\(seconds == 1 ? "" : "s")")
            return PolicyFinding(
                .greylist, .defer,
                reason: "\(isNew ? "first try" : "too early") of \(asked.client)\(identity); \(seconds) s left",
                answer: .deferIfPermit(reply), isShadow: settings.shadow, memory: answer)
        case .needsIdentity, .unavailable:
            // Fail safe for mail: the ledger has said in the log what is wrong.
            return PolicyFinding(
                .greylist, .pass, reason: "greylisting's memory is not available", isShadow: settings.shadow,
                memory: answer)
        }
    }
}

extension Duration {
    fileprivate var wholeSeconds: Int64 { nanoseconds / 1_000_000_000 }
}
