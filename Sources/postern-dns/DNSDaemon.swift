// postern-dns's own part of a daemon's life: from the configuration to a forwarder that serves.

import PosternDNS
import PosternDaemon
import PosternForwarder
import PosternMail
import PosternSocket
import Synchronization

final class DNSDaemon: RunningDaemon {
    private let server: ForwarderServer
    /// nil where no pipe or thread was to be had.
    private let snapshots: SnapshotKeeper?
    private let keys: Mutex<QueryKeys>
    /// Heartbeats that the event loop was asked for and has answered.
    private let heartbeats = Atomic<Int>(0)
    private let answered = Atomic<Int>(0)

    private init(_ server: ForwarderServer, _ snapshots: SnapshotKeeper?, _ settings: ForwarderSettings) {
        self.server = server
        self.snapshots = snapshots
        keys = Mutex(settings.queryKeys)
    }

    /// A question in flight is asked again by its client: nothing to wait for.
    var openTransactions: Int { 0 }

    var counters: [CounterReading] { server.counters.readings + server.statistics.readings }

    var gauges: [CounterReading] { server.statistics.gauges + (snapshots?.gauges ?? []) }
    var histograms: [HistogramReading] {
        [server.counters.lookups.reading(CounterName("postern_dns_lookup_seconds"))]
    }

    func adopt(_ configuration: Configuration) {
        let settings = ForwarderSettings(configuration)
        server.reload(settings)
        keys.withLock { $0 = settings.queryKeys }
    }

    func stop() {
        snapshots?.stop()
        server.stop()
    }

    func answer(_ command: ControlCommand) throws(ControlRefusal) -> ControlAnswer? {
        if command.name == StateBackup.command, let snapshots { return try snapshots.backup() }
        let commands = DNSCommands(server: server, keys: keys.withLock { $0 }) { [self] in snapshots?.saveSoon() }
        return try commands.answer(command)
    }

    /// The event loop is not waited for: what it has not answered since the last call, seconds ago, it will not.
    func trouble() -> String? {
        let asked = heartbeats.load(ordering: .relaxed)
        guard answered.load(ordering: .relaxed) == asked else { return "its event loop does not answer" }
        heartbeats.store(asked + 1, ordering: .relaxed)
        server.heartbeat { [self] in answered.store(asked + 1, ordering: .relaxed) }
        return nil
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
        return DNSDaemon(server, keeper(configuration.state.directory, server, log), settings)
    }

    /// Whoever keeps the cache over restarts; it has taken in what the last one left.
    private static func keeper(_ folder: String, _ server: ForwarderServer, _ log: any LogSink) -> SnapshotKeeper? {
        do throws(SocketError) {
            let keeper = try SnapshotKeeper(folder: folder, server: server, log: log)
            keeper.load()
            try keeper.start()
            return keeper
        } catch {
            log.warning("\(error); the cache will not outlive a restart")
            return nil
        }
    }
}
