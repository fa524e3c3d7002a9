// What all sessions of postern-dkim share: settings that were checked, the well, public keys already read, the log.

import PosternAuth
import PosternDNS
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
    let signing: DKIMSigningSettings
    let authorRule: AuthorRule
    let keys: [DKIMSigningKey]
    let publicKeys: PublicKeyCache
    let log: any LogSink
    /// The clock.
    let now: @Sendable () -> UnixTime
    /// A view of the well for one message, with its own budget.
    let dns: @Sendable () -> any DNSAnswering

    /// Postfix waits 30 s for the verdict (command_timeout); it comes within 20 (DESIGN §2).
    static let dnsBudget = Duration.seconds(20)
}
