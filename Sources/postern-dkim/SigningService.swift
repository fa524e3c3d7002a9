// What all sessions of postern-dkim share: settings that were checked, the well, public keys already read, the log.

import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail

struct SigningService: Sendable {
    /// Tells ours from strangers'.
    let origin: OriginSettings
    /// Signs our results, RFC 8601 §2.5.
    let authservID: String
    /// What no other may claim to be.
    let ownIDs: AuthservIDs
    let verify: Bool
    let verification: DKIMVerificationSettings
    var signing: DKIMSigningSettings
    let authorRule: AuthorRule
    var keys: [DKIMSigningKey]
    /// Keys that DNS positively does not publish rest.
    var requirePublished = true
    /// How long the record of a key stays after a newer one of its series took over.
    var keepPublished = Duration.seconds(7 * 86_400)
    let publicKeys: PublicKeyCache
    let log: any LogSink
    /// The clock.
    let now: @Sendable () -> UnixTime
    /// A view of the well for one message, with its own budget.
    let dns: @Sendable () -> any DNSAnswering
    var counters = CounterSink<DKIMCounter>()
    var histograms = HistogramSink<DKIMHistogram>()
    var keyStandings = KeyStandings()

    /// Postfix waits 30 s for the verdict (command_timeout); it comes within 20 (DESIGN §2).
    static let dnsBudget = Duration.seconds(20)

    /// Sees whose turn it is among keys that take turns.
    func reviewKeys() { keyStandings.review(keys, keep: keepPublished, at: now(), log: log) }
}

extension SigningService {
    /// - Parameter older: the snapshot that this one takes the place of; what was counted and learned goes on.
    init(
        _ configuration: Configuration, after older: SigningService? = nil, log: any LogSink,
        now: @escaping @Sendable () -> UnixTime,
        dns: @escaping @Sendable () -> any DNSAnswering
    ) {
        let host = configuration.host
        let dkim = configuration.dkim
        let histograms = older?.histograms ?? HistogramSink()
        self.init(
            origin: host.origin, authservID: host.authservID, ownIDs: AuthservIDs(host.stripAuthservIDs),
            verify: dkim.verify, verification: dkim.verification, signing: dkim.signing, authorRule: dkim.author,
            keys: dkim.keys, requirePublished: dkim.requirePublished, keepPublished: dkim.keepPublished,
            publicKeys: older?.publicKeys ?? PublicKeyCache(), log: log, now: now,
            dns: { MeasuredDNS(dns()) { histograms.observe(.dnsWait, $0) } },
            counters: older?.counters ?? CounterSink(), histograms: histograms,
            keyStandings: older?.keyStandings ?? KeyStandings())
    }
}
