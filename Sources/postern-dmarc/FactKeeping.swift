// facts.sqlite and the thread that writes it, for as long as the daemon runs.

import Glibc
import PosternDaemon
import PosternMail
import PosternSocket
import PosternStore
import Synchronization

final class FactKeeping: Sendable {
    private let store: FactStore
    private let log: any LogSink
    private let hasEnded = Atomic<Bool>(false)

    /// How long the end waits for the last facts: a disk that hangs must not keep the daemon from stopping.
    static let stopLimit = Duration.seconds(5)

    /// Nothing is opened before the first fact.
    init(_ configuration: Configuration, log: any LogSink) throws(SocketError) {
        let store = FactStore(
            path: configuration.state.directory + "/facts.sqlite", keep: configuration.dmarc.facts, log: log,
            now: WallClock.now)
        self.store = store
        self.log = log
        StateBackup.removeLeftover(of: store.path)
        try Thread.start(name: "facts") { [self] in
            store.run()
            hasEnded.store(true, ordering: .releasing)
        }.detach()
    }

    var counters: [CounterReading] { store.counters.readings }

    /// How the store is.
    var gauges: [CounterReading] {
        [CounterReading(CounterName("postern_dmarc_facts_waiting"), UInt64(clamping: store.waitingCount))]
            + store.health.readings(of: "facts")
    }

    /// Keeps facts as long as a configuration says.
    /// - Returns: where facts go; nil where none are kept.
    func ledger(_ configuration: Configuration) -> (any FactLedger)? {
        store.keep(configuration.dmarc.facts)
        return configuration.dmarc.facts > .zero ? store : nil
    }

    /// A copy of the facts for a backup.
    func backup() throws(ControlRefusal) -> ControlAnswer {
        try StateBackup.answer(of: store.path, log: log) { [store] path, progress in
            try store.copy(to: path, progress: progress)
        }
    }

    /// Writes what is there.
    func stop() {
        store.stop()
        let deadline = MonotonicTime.after(Self.stopLimit)
        while !hasEnded.load(ordering: .acquiring), !deadline.isPast { usleep(5000) }
    }
}
