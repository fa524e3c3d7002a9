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
    private let endpoint: Endpoint

    var openTransactions: Int { server.transactions.current }

    func stop() {
        server.stop()
        Socket.removeFile(of: endpoint)
    }

    static func start(_ configuration: Configuration, log: any LogSink) throws -> any RunningDaemon {
        let client = DNSClient(configuration.listen.dnsClientEndpoint, log: log)
        let service = SigningService(configuration, log: log, now: WallClock.now) {
            client.within(SigningService.dnsBudget)
        }
        let endpoint = configuration.listen.dkim
        let listener = try Socket.listen(endpoint, mode: mode_t(configuration.listen.mode))
        let server = try MilterServer(listener: listener.release(), needs: MilterNeeds(), log: log) { session in
            SigningFilter(session: session, service: service)
        }
        // smfi_main takes signals for itself and must not have the main thread (PLATFORM §10).
        try Thread.start(name: "milter") {
            if !server.run() { log.critical("libmilter ended with an error; stopping") }
            DaemonSignals.raise(.stop)
        }.detach()
        log.info("milter on \(endpoint), signing keys: \(configuration.dkim.keys.count)")
        return DKIMDaemon(server: server, endpoint: endpoint)
    }
}
