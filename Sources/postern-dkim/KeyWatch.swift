// The thread that looks from time to time whether DNS publishes the keys that sign, sees whose turn it is, and keeps what
// is known of them.

import Glibc
import PosternDaemon
import PosternMail
import PosternSocket
import Synchronization

final class KeyWatch: Sendable {
    private let service: Snapshot<SigningService>
    private let client: DNSClient
    private let keeper: KeyStateKeeper
    private let log: any LogSink
    private let isStopping = Atomic<Bool>(false)

    /// How often it looks whether a key's time has come.
    private static let interval: UInt32 = 1_000_000  // microseconds
    private static let budget = Duration.seconds(8)

    init(_ service: Snapshot<SigningService>, _ client: DNSClient, _ keeper: KeyStateKeeper, log: any LogSink) {
        self.service = service
        self.client = client
        self.keeper = keeper
        self.log = log
    }

    func start() throws(SocketError) {
        try Thread.start(name: "keys") { [self] in
            while !isStopping.load(ordering: .relaxed) {
                usleep(Self.interval)
                // The snapshot in force: after a reload its keys are the ones to look at.
                let service = service.current
                service.reviewKeys()
                service.keyStandings.look(
                    at: service.keys, isRequired: service.requirePublished,
                    dns: { [client] in client.within(Self.budget) }, clock: service.now(), log: log)
                service.reviewKeys()
                keeper.save(service.keyStandings, of: service.keys)
            }
        }.detach()
    }

    /// It ends within a moment, or after the look that is under way; nobody waits for it.
    func stop() {
        isStopping.store(true, ordering: .relaxed)
        let service = service.current
        keeper.save(service.keyStandings, of: service.keys, isLast: true)
    }
}
