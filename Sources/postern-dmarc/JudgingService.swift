// What all sessions of postern-dmarc share: settings that were checked, the well, the judges, the ledger, the log.

import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail
import PosternSocket

struct JudgingService: Sendable {
    /// Tells ours from strangers'.
    let origin: OriginSettings
    /// This machine, for SPF's explanations.
    let hostName: DomainName
    /// Signs our results, RFC 8601 §2.5.
    let authservID: String
    /// What no other may claim to be.
    let ownIDs: AuthservIDs
    /// Whose results the field tells, in this order.
    let identities: [SPFIdentity]
    let verification: DKIMVerificationSettings
    let judge: DMARCJudge
    let discovery: DMARCDiscovery
    let policy: LocalPolicy
    let publicKeys: PublicKeyCache
    /// `nil` when no facts are kept.
    let facts: (any FactLedger)?
    let log: any LogSink
    let clocks: Clocks
    /// A view of the well with its own budget, which begins now.
    let dns: @Sendable (Duration) -> any DNSAnswering
    var counters = CounterSink<DMARCCounter>()
    var histograms = HistogramSink<DMARCHistogram>()

    struct Clocks: Sendable {
        /// What day it is.
        let now: @Sendable () -> UnixTime
        /// What time has gone by.
        let monotonic: @Sendable () -> MonotonicTime
    }
}

extension JudgingService {
    /// - Parameter method: how organizational domains are found; it may be another than is configured.
    /// - Parameter older: the snapshot that this one takes the place of; what was counted and learned goes on.
    init(
        _ configuration: Configuration, method: DMARCDiscoveryMethod, facts: (any FactLedger)?,
        after older: JudgingService? = nil, log: any LogSink, clocks: Clocks,
        dns: @escaping @Sendable (Duration) -> any DNSAnswering
    ) {
        let host = configuration.host
        let histograms = older?.histograms ?? HistogramSink()
        let discovery: DMARCDiscovery = if case .publicSuffixList = method { .psl } else { .treewalk }
        self.init(
            origin: host.origin, hostName: host.name, authservID: host.authservID,
            ownIDs: AuthservIDs(host.stripAuthservIDs), identities: configuration.spf.identities,
            verification: configuration.dkim.verification, judge: DMARCJudge(discovery: method), discovery: discovery,
            policy: LocalPolicy(LocalPolicySettings(configuration)),
            publicKeys: older?.publicKeys ?? PublicKeyCache(), facts: facts, log: log, clocks: clocks,
            dns: { budget in MeasuredDNS(dns(budget)) { histograms.observe(.dnsWait, $0) } },
            counters: older?.counters ?? CounterSink(), histograms: histograms)
    }
}
