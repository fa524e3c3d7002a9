// postern-dkim's own part of a daemon's life: from the configuration to a milter that serves.

import Glibc
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
    private let log: any LogSink
    /// The socket's file, when we made it; systemd's stays.
    private let file: Endpoint?

    var openTransactions: Int { server.transactions.current }
    var counters: [CounterReading] { service.current.counters.readings }

    func adopt(_ configuration: Configuration) {
        service.replace(by: Self.service(configuration, after: service.current, client, log))
    }

    func isAlive() -> Bool { server.answers() }

    func stop() {
        server.stop()
        if let file { Socket.removeFile(of: file) }
    }

    static func start(_ configuration: Configuration, _ resources: DaemonResources) throws -> any RunningDaemon {
        let log = resources.log
        let client = DNSClient(configuration.listen.dnsClientEndpoint, log: log)
        let service = Snapshot(service(configuration, after: nil, client, log))
        let endpoint = configuration.listen.dkim
        let activated = resources.sockets.takeOne("milter", log: log)
        let server = try MilterServer(
            listener: try activated?.descriptor ?? listen(configuration.listen), needs: MilterNeeds(), log: log
        ) { session in
            SigningFilter(session: session, service: service.current)
        }
        // smfi_main takes signals for itself and must not have the main thread (PLATFORM §10).
        try Thread.start(name: "milter") {
            if !server.run() { log.critical("libmilter ended with an error; stopping") }
            DaemonSignals.raise(.stop)
        }.detach()
        activated?.tell(in: log, instead: endpoint, key: "listen.dkim")
        log.info("milter on \(activated?.place ?? "\(endpoint)"), signing keys: \(configuration.dkim.keys.count)")
        return DKIMDaemon(
            server: server, service: service, client: client, log: log, file: activated == nil ? endpoint : nil)
    }

    private static func listen(_ settings: ListenSettings) throws(SocketError) -> Int32 {
        try Socket.listen(settings.dkim, mode: mode_t(settings.mode)).release()
    }

    private static func service(
        _ configuration: Configuration, after older: SigningService?, _ client: DNSClient, _ log: any LogSink
    ) -> SigningService {
        SigningService(configuration, after: older, log: log, now: WallClock.now) {
            client.within(SigningService.dnsBudget)
        }
    }
}
