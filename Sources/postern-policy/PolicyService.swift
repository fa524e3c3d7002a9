// What all messages of postern-policy share until a reload: the pipeline with its checked settings, the well, the clock.

import PosternAdmission
import PosternDNS
import PosternDaemon
import PosternMail
import PosternSocket

/// A class: each message takes it from the snapshot, and a copy of all its parts was measured to cost microseconds.
final class PolicyService: Sendable {
    let judge: PolicyJudge
    /// Somebody can be greylisted.
    let greylists: Bool
    let greylistSettings: GreylistSettings
    /// Of the DNS lists.
    let health: DNSBLHealth
    let now: @Sendable () -> UnixTime
    /// A view of the well with its own budget, which begins now.
    let dns: @Sendable (Duration) -> any DNSAnswering
    let counters: CounterSink<CheckCounter>
    let histograms: HistogramSink<CheckHistogram>
    /// Requests that rules have decided, by their names.
    let ruleDecisions: NamedCounts

    /// - Parameter older: the snapshot that this one takes the place of; what was counted and learned goes on.
    /// - Throws: a wrong expression of a rule, which `check` has told before.
    init(
        _ configuration: Configuration, after older: PolicyService?, greylist ledger: any GreylistLedger,
        log: any LogSink, now: @escaping @Sendable () -> UnixTime,
        dns: @escaping @Sendable (Duration) -> any DNSAnswering
    ) throws(ExpressionError) {
        greylists = configuration.mayGreylist
        greylistSettings = configuration.greylist
        let counters = older?.counters ?? CounterSink()
        let health = DNSBLHealth(configuration.dnsbl.lists, after: older?.health) { notice in
            log.write(.note(notice.level, notice.text))
            counters.count(notice.change == .suspended ? .listSuspended : .listReturned)
        }
        judge = try PolicyJudge(configuration, ledger: ledger, health: health)
        self.health = health
        self.now = now
        self.dns = dns
        self.counters = counters
        histograms = older?.histograms ?? HistogramSink()
        ruleDecisions = older?.ruleDecisions ?? NamedCounts()
        ruleDecisions.prepare(configuration.rules.map(\.name))
    }

    static func ruleDecision(_ rule: String) -> CounterName {
        CounterName("postern_policy_rule_decisions_total", "rule", rule)
    }

    /// Judges one request within its time.
    func verdict(
        on request: PolicyRequest, facts: inout InstanceFacts, telling: PolicyTelling = .outcome
    ) -> PolicyVerdict {
        let dns = MeasuredDNS(dns(PolicyJudge.requestBudget)) { [histograms] in histograms.observe(.dnsWait, $0) }
        return judge.verdict(on: request, at: .local(now()), facts: &facts, dns: dns, telling: telling)
    }
}
