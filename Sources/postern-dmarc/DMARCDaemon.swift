// postern-dmarc's own part of a daemon's life: from the configuration to a milter that serves.

import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail
import PosternMilter
import PosternSocket

struct DMARCDaemon: RunningDaemon {
    private let server: MilterServer
    /// What new sessions begin with; a session keeps what it began with (DESIGN §1, rule 6).
    private let service: Snapshot<JudgingService>
    private let facts: FactKeeping
    private let client: DNSClient
    private let log: any LogSink
    private let socket: ServedSocket

    var openTransactions: Int { server.transactions.current }
    var openSessions: Int { server.sessions.current }
    var longestTransaction: Duration { VerdictTime.longest }
    var counters: [CounterReading] { service.current.counters.readings + facts.counters }
    var gauges: [CounterReading] { facts.gauges }
    var histograms: [HistogramReading] { service.current.histograms.readings }

    func adopt(_ configuration: Configuration) {
        service.replace(by: Self.service(configuration, after: service.current, facts, client, log))
    }

    func answer(_ command: ControlCommand) throws(ControlRefusal) -> ControlAnswer? {
        command.name == StateBackup.command ? try facts.backup() : nil
    }

    func trouble() -> String? { server.trouble() }

    func beginStop() { if socket.isKept { server.leaveDoor() } }

    func stop() {
        server.stop()
        socket.remove()
        facts.stop()
    }

    static func start(_ configuration: Configuration, _ resources: DaemonResources) throws -> any RunningDaemon {
        let log = resources.log
        let client = DNSClient(configuration.listen.dnsClientEndpoint, log: log)
        let facts = try FactKeeping(configuration, log: log)
        let service = Snapshot(service(configuration, after: nil, facts, client, log))
        let socket = try resources.milterSocket(
            at: configuration.listen.dmarc, key: "listen.dmarc", mode: configuration.listen.mode)
        let server = try MilterServer(
            listener: socket.descriptor, needs: MilterNeeds(recipients: true, quarantine: true), log: log
        ) { session in
            JudgingFilter(session: session, service: service.current)
        }
        // smfi_main takes signals for itself and must not have the main thread (PLATFORM §10).
        try Thread.start(name: "milter") {
            if !server.run() { log.critical("libmilter ended with an error; stopping") }
            DaemonSignals.raise(.stop)
        }.detach()
        log.info("milter on \(socket.place), discovery: \(service.current.discovery.rawValue)")
        return DMARCDaemon(
            server: server, service: service, facts: facts, client: client, log: log, socket: socket)
    }

    private static func service(
        _ configuration: Configuration, after older: JudgingService?, _ facts: FactKeeping, _ client: DNSClient,
        _ log: any LogSink
    ) -> JudgingService {
        JudgingService(
            configuration, method: method(configuration, log), facts: facts.ledger(configuration), after: older,
            log: log,
            clocks: JudgingService.Clocks(now: WallClock.now, monotonic: MonotonicTime.now)
        ) { client.within($0) }
    }

    /// How organizational domains are found; without the list as RFC 9989 has it, which is better than not at all.
    private static func method(_ configuration: Configuration, _ log: any LogSink) -> DMARCDiscoveryMethod {
        guard configuration.dmarc.discovery == .psl else { return .treeWalk }
        do throws(PublicSuffixFileError) { return .publicSuffixList(try PublicSuffixFile.load()) } catch {
            log.warning("\(error); organizational domains are found by the tree walk of RFC 9989")
            return .treeWalk
        }
    }
}
