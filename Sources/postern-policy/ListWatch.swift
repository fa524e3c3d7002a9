// The thread that proves the DNS lists: none is asked about mail before its test entries were right, and a sick one
// comes back by itself (RFC 5782 §5).

import Glibc
import PosternAdmission
import PosternDNS
import PosternDaemon
import PosternMail
import PosternSocket
import Synchronization

final class ListWatch: Sendable {
    private let service: Snapshot<PolicyService>
    private let isStopping = Atomic<Bool>(false)

    /// How often it looks whether a list's time has come.
    private static let interval: UInt32 = 1_000_000  // microseconds
    /// More than a probe takes.
    private static let budget = Duration.seconds(4)

    init(_ service: Snapshot<PolicyService>) { self.service = service }

    func start() throws(SocketError) {
        try Thread.start(name: "lists") { [self] in
            while !isStopping.load(ordering: .relaxed) {
                // The snapshot in force: after a reload its lists are the ones to prove.
                let service = service.current
                service.health.probe(now: service.now()) { service.dns(Self.budget) }
                usleep(Self.interval)
            }
        }.detach()
    }

    /// It ends within a moment, or after the probe that is under way; nobody waits for it.
    func stop() { isStopping.store(true, ordering: .relaxed) }
}
