// What postern-dkim measures: its verdicts, by what was done with the message, and what they waited for DNS.

import PosternMail

enum DKIMHistogram: Int, HistogramSet {
    case sign, verify, other
    case dnsWait

    var name: CounterName {
        switch self {
        case .sign: Self.verdict("sign")
        case .verify: Self.verdict("verify")
        case .other: Self.verdict("other")
        case .dnsWait: CounterName("postern_dkim_dns_wait_seconds")
        }
    }

    /// - Parameter action: the log line's.
    init(action: String) { self = action == "sign" ? .sign : action == "verify" ? .verify : .other }

    private static func verdict(_ action: String) -> CounterName {
        CounterName("postern_dkim_verdict_seconds", "action", action)
    }
}
