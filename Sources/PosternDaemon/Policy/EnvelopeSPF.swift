// SPF for postern-policy's rules and greylisting, by the judge that postern-dmarc has.

public import PosternAdmission
internal import PosternAuth
public import PosternDNS
public import PosternMail

public struct EnvelopeSPF: SenderPolicyChecking {
    /// This machine, for explanations.
    private let receiver: DomainName

    public init(receiver: DomainName) { self.receiver = receiver }

    public func senderPolicy(
        for request: PolicyRequest, client: IPAddress, dns: any DNSAnswering, now: UnixTime
    ) -> SPFFinding {
        SPFJudge.checkMailFrom(
            Array(request[.sender]), client: client.unmapped, helo: Array(request[.heloName]), receiver: receiver,
            dns: dns, now: now)
    }
}
