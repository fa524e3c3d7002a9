// SPF for postern-policy's rules and greylisting, by the judge that postern-dmarc has, within its share of a request's
// time: lists come after it, and a stranger's slow names must not take theirs.

public import PosternAdmission
internal import PosternAuth
public import PosternDNS
public import PosternMail
internal import PosternSocket

public struct EnvelopeSPF: SenderPolicyChecking {
    /// Of the 8 s of a request (DESIGN §2), of which lists need 3.
    static let share = Duration.seconds(4)

    /// This machine, for explanations.
    private let receiver: DomainName
    private let clock: @Sendable () -> MonotonicTime

    public init(receiver: DomainName) { self.init(receiver: receiver, clock: MonotonicTime.now) }

    init(receiver: DomainName, clock: @escaping @Sendable () -> MonotonicTime) {
        self.receiver = receiver
        self.clock = clock
    }

    public func senderPolicy(
        for request: PolicyRequest, client: IPAddress, dns: any DNSAnswering, now: UnixTime
    ) -> SPFFinding {
        SPFJudge.checkMailFrom(
            Array(request[.sender]), client: client.unmapped, helo: Array(request[.heloName]), receiver: receiver,
            dns: DNSShare(dns: dns, deadline: clock() + Self.share, clock: clock), now: now)
    }
}

/// The well until a deadline. SPF's questions come one after the other, and not all of them matter (RFC 7208 §5.5): each
/// wait takes half of what is left at most.
private struct DNSShare: DNSAnswering {
    let dns: any DNSAnswering
    let deadline: MonotonicTime
    let clock: @Sendable () -> MonotonicTime

    func answers(to questions: [Question]) -> [Answer] {
        let left = deadline - clock()
        guard left > .zero else { return questions.map { _ in .temporaryFailure("no answer in time") } }
        return dns.answers(to: questions, within: left / 2) { _ in false }
            .map { $0 ?? .temporaryFailure("no answer in time") }
    }

    func prefetch(_ questions: [Question]) { dns.prefetch(questions) }
}
