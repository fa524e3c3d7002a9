// postern-rate's own part of a daemon's life: from the configuration to a policy service that limits. A reload keeps
// what is counted, and limits.journal keeps it over a restart.

import PosternAdmission
import PosternDaemon
import PosternMail
import PosternPolicy
import PosternSocket
import PosternStore

struct RateDaemon: RunningDaemon {
    private let server: PolicyServer
    /// What new messages begin with; one under way keeps what it began with (DESIGN §1, rule 6).
    private let service: Snapshot<RateService>
    private let memory: LimitsMemory
    private let recorder: RequestRecorder
    private let log: any LogSink
    private let socket: ServedSocket

    var openTransactions: Int { server.openTransactions }

    var counters: [CounterReading] {
        let service = service.current
        return server.counters(of: "rate") + service.counters.readings
            + service.limitsOver.readings(LimitVerdict.limitOver) + memory.counters + recorder.counters
    }

    var gauges: [CounterReading] { memory.gauges + recorder.gauges }
    var histograms: [HistogramReading] { server.histograms(of: "rate") + memory.histograms }

    func adopt(_ configuration: Configuration) {
        let older = service.current
        recorder.adopt(configuration.record)
        do throws(ExpressionError) {
            let next = try RateService(configuration, after: older, ledger: memory.ledger, log: log, now: older.now)
            memory.prepare(next.judge.terms)
            service.replace(by: next)
        } catch {
            // The configuration's own check has let it through: ours to mend, and no reason to stop.
            log.error("limits: \(error); going on with the limits from before")
        }
    }

    func trouble() -> String? { server.trouble() }

    func answer(_ command: ControlCommand) throws(ControlRefusal) -> ControlAnswer? {
        if command.name == StateBackup.command {
            return try StateBackup.answer(of: memory.local.path, log: log) { [memory] path, progress in
                try memory.local.copy(to: path, progress: progress)
            }
        }
        return try RateCommands(service: service.current).answer(command)
    }

    func stop() {
        server.stop()
        socket.remove()
        recorder.close()
        memory.close()
    }

    static func start(_ configuration: Configuration, _ resources: DaemonResources) throws -> any RunningDaemon {
        let log = resources.log
        let memory = LimitsMemory(configuration, log: log)
        StateBackup.removeLeftover(of: memory.local.path)
        let clock = LimitClock(wall: WallClock.now())
        let first = try RateService(configuration, after: nil, ledger: memory.ledger, log: log, now: clock.now)
        memory.local.open(now: clock.now())
        memory.prepare(first.judge.terms)
        let service = Snapshot(first)
        let socket = try resources.policySocket(
            at: configuration.listen.rate, key: "listen.rate", mode: configuration.listen.mode)
        let recorder = RequestRecorder(
            .rate, folder: configuration.state.directory, log: log, now: WallClock.now)
        recorder.adopt(configuration.record)
        let server = try PolicyServer(listener: Socket(owning: socket.descriptor), log: log) { _ in
            LimitedMessage(service: service.current, recorder: recorder)
        }
        try Thread.start(name: "policy") { server.run() }.detach()
        log.info("policy service on \(socket.place): \(configuration.limits.count) limits, counted in \(memory.place)")
        return RateDaemon(
            server: server, service: service, memory: memory, recorder: recorder, log: log, socket: socket)
    }
}
