// The well with a clock beside it: what a daemon's checks wait for DNS is measured here, whichever judge asks.

public import PosternDNS
internal import PosternSocket

/// Answers as another does, and tells how long each batch of questions took.
public struct MeasuredDNS: DNSAnswering {
    private let dns: any DNSAnswering
    private let observe: (Duration) -> Void

    /// - Parameter observe: called once a batch, by whoever asks.
    public init(_ dns: any DNSAnswering, observe: @escaping (Duration) -> Void) {
        self.dns = dns
        self.observe = observe
    }

    public func answers(to questions: [Question]) -> [Answer] {
        measured { dns.answers(to: questions) }
    }

    public func answers(
        to questions: [Question], within limit: Duration, until isEnough: ([Answer?]) -> Bool
    ) -> [Answer?] {
        measured { dns.answers(to: questions, within: limit, until: isEnough) }
    }

    /// Nobody waits for it.
    public func prefetch(_ questions: [Question]) { dns.prefetch(questions) }

    private func measured<Result>(_ body: () -> Result) -> Result {
        let began = MonotonicTime.now()
        let result = body()
        observe(MonotonicTime.now() - began)
        return result
    }
}
