// postern-policy's own part of a daemon's life: from the configuration to a policy service that serves.

import PosternAdmission
import PosternDaemon
import PosternMail
import PosternPolicy
import PosternSocket
import PosternStore

struct PolicyDaemon: RunningDaemon {
    private let server: PolicyServer
    /// What new messages begin with; one under way keeps what it began with (DESIGN §1, rule 6).
    private let service: Snapshot<PolicyService>
    private let greylist: GreylistMemory
    private let recorder: RequestRecorder
    private let lists: ListWatch
    private let client: DNSClient
    private let log: any LogSink
    private let socket: ServedSocket

    var openTransactions: Int { server.openTransactions }

    var counters: [CounterReading] {
        let service = service.current
        return server.counters(of: "policy") + service.counters.readings
            + service.ruleDecisions.readings(PolicyService.ruleDecision) + recorder.counters
            + (service.greylists ? greylist.counters : [])
    }

    var gauges: [CounterReading] {
        let service = service.current
        return ListReadings.of(service.health) + recorder.gauges
            + (service.greylists ? greylist.gauges : [])
    }

    var histograms: [HistogramReading] {
        server.histograms(of: "policy") + service.current.histograms.readings + greylist.histograms
    }

    func adopt(_ configuration: Configuration) {
        PolicyTime.refreshZone()
        recorder.adopt(configuration.record)
        do throws(ExpressionError) {
            let next = try Self.service(configuration, after: service.current, greylist, client, log)
            if next.greylists, !service.current.greylists { greylist.open() }
            service.replace(by: next)
        } catch {
            // The configuration's own check has let it through: ours to mend, and no reason to stop.
            log.error("rules: \(error); going on with the rules from before")
        }
    }

    func trouble() -> String? { server.trouble() }

    func answer(_ command: ControlCommand) throws(ControlRefusal) -> ControlAnswer? {
        if command.name == StateBackup.command {
            return try StateBackup.answer(of: greylist.local.path, log: log) { [greylist] path, progress in
                try greylist.local.copy(to: path, progress: progress)
            }
        }
        return try PolicyCommands(service: service.current, greylist: greylist.ledger, log: log).answer(command)
    }

    func stop() {
        server.stop()
        lists.stop()
        socket.remove()
        recorder.close()
        greylist.close()
    }

    static func start(_ configuration: Configuration, _ resources: DaemonResources) throws -> any RunningDaemon {
        let log = resources.log
        let client = DNSClient(configuration.listen.dnsClientEndpoint, log: log)
        let greylist = GreylistMemory(configuration, log: log)
        StateBackup.removeLeftover(of: greylist.local.path)
        let first = try service(configuration, after: nil, greylist, client, log)
        if first.greylists { greylist.open() }
        let service = Snapshot(first)
        let socket = try resources.policySocket(
            at: configuration.listen.policy, key: "listen.policy", mode: configuration.listen.mode)
        let recorder = RequestRecorder(
            .policy, folder: configuration.state.directory, log: log, now: WallClock.now)
        recorder.adopt(configuration.record)
        let server = try PolicyServer(listener: Socket(owning: socket.descriptor), log: log) { _ in
            JudgedMessage(service: service.current, recorder: recorder)
        }
        let lists = ListWatch(service)
        try lists.start()
        try Thread.start(name: "policy") { server.run() }.detach()
        log.info(
            "policy service on \(socket.place): \(configuration.rules.count) rules, "
                + "\(configuration.dnsbl.lists.count) DNS lists, greylisting "
                + "\(configuration.greylist.clients.rawValue)\(greylist.place)"
        )
        return PolicyDaemon(
            server: server, service: service, greylist: greylist, recorder: recorder, lists: lists, client: client,
            log: log, socket: socket)
    }

    private static func service(
        _ configuration: Configuration, after older: PolicyService?, _ greylist: GreylistMemory, _ client: DNSClient,
        _ log: any LogSink
    ) throws(ExpressionError) -> PolicyService {
        try PolicyService(configuration, after: older, greylist: greylist.ledger, log: log, now: WallClock.now) {
            client.within($0)
        }
    }
}
