// What all messages of postern-rate share until a reload: the limits, the ledger that counts for them, the clock. The
// ledger outlives reloads: a limit whose amounts change goes on with its counts.

import PosternAdmission
import PosternDaemon
import PosternMail

struct RateService: Sendable {
    let judge: LimitJudge
    let ledger: any LimitLedger
    /// Of the limits that are in force.
    let names: Set<String>
    let now: @Sendable () -> UnixTime
    let counters: CounterSink<LimitCounter>
    /// Requests over a limit, by its name.
    let limitsOver: NamedCounts
    let events: EventLog
    let log: any LogSink

    /// - Parameter older: the snapshot that this one takes the place of; what was counted goes on.
    /// - Throws: a wrong expression of a limit, which `check` has told before.
    init(
        _ configuration: Configuration, after older: RateService?, ledger: any LimitLedger, log: any LogSink,
        now: @escaping @Sendable () -> UnixTime
    ) throws(ExpressionError) {
        judge = try LimitJudge(configuration.limits, isShadow: configuration.host.shadow)
        self.ledger = ledger
        names = Set(configuration.limits.map(\.name))
        self.now = now
        counters = older?.counters ?? CounterSink()
        limitsOver = older?.limitsOver ?? NamedCounts()
        limitsOver.prepare(configuration.limits.map(\.name))
        events = older?.events ?? EventLog(run: "\(now().nanoseconds)")
        self.log = log
    }

    /// Judges one request, counts it, and tells of what an admin wants to hear.
    func verdict(on request: PolicyRequest) -> LimitVerdict {
        let now = now()
        let verdict = judge.verdict(on: request, ledger: ledger, now: now)
        counters.count(Tally(verdict))
        for name in verdict.limitsOver { limitsOver.count(name) }
        // One line a key in a span of time, so that an account that goes on does not fill the log.
        for event in verdict.events {
            log.warning("\(event)")
            events.add(RateEvent(event), at: now)
        }
        return verdict
    }
}
