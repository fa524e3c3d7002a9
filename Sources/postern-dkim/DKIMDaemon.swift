// postern-dkim's own part of a daemon's life: from the configuration to a milter that serves.

import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail
import PosternMilter
import PosternSocket

struct DKIMDaemon: RunningDaemon {
    private let server: MilterServer
    /// What new sessions begin with; a session keeps what it began with (DESIGN §1, rule 6).
    private let service: Snapshot<SigningService>
    private let client: DNSClient
    private let keys: KeyWatch
    private let keeper: KeyStateKeeper
    private let log: any LogSink
    private let socket: ServedSocket

    var openTransactions: Int { server.transactions.current }
    var openSessions: Int { server.sessions.current }
    var longestTransaction: Duration { SigningService.dnsBudget }
    var counters: [CounterReading] { service.current.counters.readings }
    var gauges: [CounterReading] {
        let service = service.current
        return service.keyStandings.gauges(of: service.keys)
    }
    var histograms: [HistogramReading] { service.current.histograms.readings }

    func adopt(_ configuration: Configuration) {
        let newer = Self.service(configuration, after: service.current, client, log)
        keeper.load(into: newer.keyStandings, for: newer.keys)
        // An admin who reloads may have published a record just now.
        newer.keyStandings.lookAgain()
        service.replace(by: newer)
    }

    /// `dkim keys`: one object with what is known of each key in force.
    func answer(_ command: ControlCommand) throws(ControlRefusal) -> ControlAnswer? {
        let service = service.current
        if command.name == StateBackup.command {
            return try StateBackup.answer(ofWhole: keeper.path, log: log) { [keeper] in
                keeper.save(service.keyStandings, of: service.keys, isLast: true)
                return keeper.isThere
            }
        }
        guard command.name == "dkim keys" else { return nil }
        return .document(
            service.keyStandings.document(
                of: service.keys, isRequired: service.requirePublished, keep: service.keepPublished))
    }

    func trouble() -> String? { server.trouble() }

    func beginStop() { if socket.isKept { server.leaveDoor() } }

    func stop() {
        server.stop()
        keys.stop()
        socket.remove()
    }

    static func start(_ configuration: Configuration, _ resources: DaemonResources) throws -> any RunningDaemon {
        let log = resources.log
        let client = DNSClient(configuration.listen.dnsClientEndpoint, log: log)
        let first = service(configuration, after: nil, client, log)
        let keeper = KeyStateKeeper(folder: configuration.state.directory, log: log)
        keeper.load(into: first.keyStandings, for: first.keys)
        let service = Snapshot(first)
        let socket = try resources.milterSocket(
            at: configuration.listen.dkim, key: "listen.dkim", mode: configuration.listen.mode)
        let server = try MilterServer(listener: socket.descriptor, needs: MilterNeeds(), log: log) { session in
            SigningFilter(session: session, service: service.current)
        }
        // smfi_main takes signals for itself and must not have the main thread (PLATFORM §10).
        try Thread.start(name: "milter") {
            if !server.run() { log.critical("libmilter ended with an error; stopping") }
            DaemonSignals.raise(.stop)
        }.detach()
        let keys = KeyWatch(service, client, keeper, log: log)
        try keys.start()
        log.info("milter on \(socket.place), signing keys: \(configuration.dkim.keys.count)")
        return DKIMDaemon(
            server: server, service: service, client: client, keys: keys, keeper: keeper, log: log, socket: socket)
    }

    private static func service(
        _ configuration: Configuration, after older: SigningService?, _ client: DNSClient, _ log: any LogSink
    ) -> SigningService {
        SigningService(configuration, after: older, log: log, now: WallClock.now) {
            client.within(SigningService.dnsBudget)
        }
    }
}
