// What postern-rate counts of its limits; what it answers the door counts. Labels are closed sets, or limits' names from
// the configuration; no stranger's text is among them.

import PosternAdmission
import PosternDaemon
import PosternMail

enum LimitCounter: Int, CounterSet {
    // Limits that requests went over; a shadow's beside those that act.
    case over, overInShadow
    // What would have been answered if the whole suite did not only observe.
    case withheld
    // Keys that came to their limit, or to its `warn_at`; each once in a span of time.
    case eventOver, eventNearing
    // Followers of events that did not read them.
    case followerDropped
    // Limits that did not apply to a request for want of an attribute, and whose key found no room.
    case missing, untracked
    // Requests that the ledger could not decide: their mail passes.
    case unavailable

    var name: CounterName {
        switch self {
        case .over: CounterName("postern_rate_over_total", "mode", "live")
        case .overInShadow: CounterName("postern_rate_over_total", "mode", "shadow")
        case .withheld: CounterName("postern_rate_withheld_total")
        case .eventOver: CounterName("postern_rate_events_total", "kind", "over")
        case .eventNearing: CounterName("postern_rate_events_total", "kind", "nearing")
        case .followerDropped: CounterName("postern_rate_followers_dropped_total")
        case .missing: CounterName("postern_rate_not_applied_total", "reason", "missing_attribute")
        case .untracked: CounterName("postern_rate_not_applied_total", "reason", "no_room")
        case .unavailable: CounterName("postern_rate_unavailable_total")
        }
    }
}

extension Tally<LimitCounter> {
    /// One judged request.
    init(_ verdict: LimitVerdict) {
        self.init()
        for finding in verdict.findings where finding.outcome == .over {
            count(finding.isShadow ? .overInShadow : .over)
        }
        if verdict.withheld != nil { count(.withheld) }
        for event in verdict.events {
            switch event.kind {
            case .over: count(.eventOver)
            case .nearing: count(.eventNearing)
            }
        }
        if verdict.missing > 0 { count(.missing, by: verdict.missing) }
        if verdict.untracked > 0 { count(.untracked, by: verdict.untracked) }
        if verdict.isUnavailable { count(.unavailable) }
    }
}

extension LimitVerdict {
    /// Names of the limits that it is over.
    var limitsOver: [String] { findings.filter { $0.outcome == .over }.map(\.limit) }

    static func limitOver(_ name: String) -> CounterName {
        CounterName("postern_rate_limit_over_total", "limit", name)
    }
}

/// How much the ledger holds.
enum LedgerReadings {
    static func of(_ ledger: some LimitLedger) -> [CounterReading] {
        guard let counts = try? ledger.counts() else { return [] }  // told where it was found
        return [
            CounterReading(CounterName("postern_rate_keys"), UInt64(clamping: counts.keys)),
            CounterReading(CounterName("postern_rate_messages_remembered"), UInt64(clamping: counts.instances)),
            CounterReading(CounterName("postern_rate_evicted_total"), UInt64(clamping: counts.evicted)),
        ]
    }
}
