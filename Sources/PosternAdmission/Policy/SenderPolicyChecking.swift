// SPF, as rules and greylisting ask for it. PosternAuth has the judge; the daemon introduces them (DESIGN §1).

public import PosternDNS
public import PosternMail

/// Tells SPF's result for one request, when asked.
public protocol SenderPolicyChecking: Sendable {
    /// Judges the envelope sender, or postmaster at the HELO name where that is null (RFC 7208 §2.4).
    ///
    /// - Parameter request: has a client with an address.
    /// - Parameter dns: answers within the request's time; what is late is temperror.
    /// - Returns: always a finding; trouble of ours is temperror.
    func senderPolicy(for request: PolicyRequest, client: IPAddress, dns: any DNSAnswering, now: UnixTime) -> SPFFinding
}
