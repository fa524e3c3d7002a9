// Judges whether a client may use a name in HELO or MAIL FROM (RFC 7208): our own evaluator, asked once for each
// identity. It decides nothing about the message, and looks at no header.

public import PosternDNS
public import PosternMail

/// The SPF judge.
public enum SPFJudge {
    /// Judges the envelope sender.
    ///
    /// - Parameter sender: the address of MAIL FROM without angle brackets, as it came; empty for the null
    ///   reverse-path, which is judged as postmaster at the HELO name (RFC 7208 §2.4).
    /// - Parameter client: IPv4-mapped addresses count as IPv4.
    /// - Parameter helo: the name that the client gave, as it came.
    /// - Parameter receiver: our name, for explanations.
    /// - Parameter dns: answers within the time for SPF; what is late is temperror (RFC 7208 §4.6.4).
    /// - Source: RFC 7208 §2.4, §4.
    public static func checkMailFrom(
        _ sender: [UInt8], client: IPAddress, helo: [UInt8], receiver: DomainName?, dns: some DNSAnswering,
        now: UnixTime
    ) -> SPFFinding {
        let helo = HELOIdentity(helo)
        let identity = MailFromIdentity(sender: sender, helo: helo)
        return check(
            .mailFrom(identity), domain: identity.domain, problem: identity.problem, localPart: identity.localPart,
            client: client, helo: helo, receiver: receiver, dns: dns, now: now)
    }

    /// Judges the name in HELO or EHLO; parameters as for `checkMailFrom`.
    /// - Source: RFC 7208 §2.3, §4.
    public static func checkHELO(
        _ helo: [UInt8], client: IPAddress, receiver: DomainName?, dns: some DNSAnswering, now: UnixTime
    ) -> SPFFinding {
        let identity = HELOIdentity(helo)
        return check(
            .helo(identity), domain: identity.domain, problem: identity.problem, localPart: Array("postmaster".utf8),
            client: client, helo: identity, receiver: receiver, dns: dns, now: now)
    }

    private static func check(
        _ identity: SPFFinding.Identity, domain: DomainName?, problem: SPFReason?, localPart: [UInt8],
        client: IPAddress, helo: HELOIdentity, receiver: DomainName?, dns: some DNSAnswering, now: UnixTime
    ) -> SPFFinding {
        guard let domain else {  // RFC 7208 §4.3
            return SPFFinding(result: .none, reason: problem ?? .noDomain, identity: identity)
        }
        let values = SPFMacroValues(
            // RFC 7208 §5: an IPv4-mapped address "MUST still be considered an IPv4 address".
            client: client.unmapped, localPart: localPart, senderDomain: domain, helo: helo, receiver: receiver,
            now: now)
        var evaluation = SPFEvaluation(dns: dns, values: values)
        var finding = SPFFinding(result: .none, reason: .noRecord, identity: identity)
        do throws(SPFStop) {
            let outcome = try evaluation.checkHost(domain)
            finding.result = outcome.result
            finding.reason = outcome.reason
            if outcome.result == .fail { finding.explanation = evaluation.explanation(of: outcome) }
        } catch {
            finding.result = error.result
            finding.reason = error.reason
        }
        finding.chain = evaluation.steps
        finding.mechanism = finding.reason == .noMatch ? nil : evaluation.decidingTerm
        finding.lookups = evaluation.lookups
        finding.voidLookups = evaluation.voidLookups
        return finding
    }
}
