// postern-dns's own part of a daemon's life: from the configuration to a forwarder that serves.

import PosternDNS
import PosternDaemon
import PosternForwarder
import PosternMail
import PosternSocket
import Synchronization

final class DNSDaemon: RunningDaemon {
    private let server: ForwarderServer
    /// Heartbeats that the event loop was asked for and has answered.
    private let heartbeats = Atomic<Int>(0)
    private let answered = Atomic<Int>(0)

    private init(_ server: ForwarderServer) { self.server = server }

    /// A question in flight is asked again by its client: nothing to wait for.
    var openTransactions: Int { 0 }

    var counters: [CounterReading] { server.counters.readings }
    func adopt(_ configuration: Configuration) { server.reload(ForwarderSettings(configuration)) }
    func stop() { server.stop() }

    /// The event loop is not waited for: what it has not answered since the last call, seconds ago, it will not.
    func isAlive() -> Bool {
        let asked = heartbeats.load(ordering: .relaxed)
        let isAlive = answered.load(ordering: .relaxed) == asked
        if isAlive {
            heartbeats.store(asked + 1, ordering: .relaxed)
            server.heartbeat { [self] in answered.store(asked + 1, ordering: .relaxed) }
        }
        return isAlive
    }

    static func start(_ configuration: Configuration, _ resources: DaemonResources) throws -> any RunningDaemon {
        let log = resources.log
        var settings = ForwarderSettings(configuration)
        let activated = resources.sockets.take("dns")
        settings.take(activated, log)
        let places = settings.listen.map(\.description) + activated.map(\.place)
        let server = ForwarderServer(settings, log: log)
        try server.start()
        let upstreams = settings.upstreams.map(\.description).joined(separator: ", ")
        log.info(
            "listening on \(places.joined(separator: ", ")), asking \(upstreams.isEmpty ? "nobody" : upstreams), "
                + "static records: \(settings.staticZone.recordCount)")
        if upstreams.isEmpty {
            log.warning(
                "no upstream: expected dns.upstream or a nameserver in /etc/resolv.conf; "
                    + "only the static zone is answered")
        }
        return DNSDaemon(server)
    }
}
