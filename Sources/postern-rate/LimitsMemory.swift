// Where limits are counted: in this host's own memory and journal, and, where `[store]` names one, in a store that
// several hosts share. Which of both is settled at the start: what is connected and half told is no matter for a
// reload.

import PosternAdmission
import PosternDaemon
import PosternMail
import PosternSocket
import PosternStore

struct LimitsMemory: Sendable {
    /// This host's own.
    let local: LimitStore
    private let shared: (ledger: SharedLimits, store: SharedStore)?

    init(_ configuration: Configuration, log: any LogSink) {
        let local = LimitStore(
            path: configuration.state.directory + "/" + LimitStore.name, log: log, wall: WallClock.now)
        self.local = local
        shared = configuration.store.url.map { url in
            let store = SharedStore(url, configuration.store, log: log, startsAtOnce: false)
            return (SharedLimits(store, local: local, log: log), store)
        }
    }

    /// What decides.
    var ledger: any LimitLedger { shared?.ledger ?? local }

    /// With the terms of the limits that are in force: where there are none nobody looks for the store.
    func prepare(_ terms: [LimitTerms]) {
        if !terms.isEmpty { shared?.store.start() }
        ledger.prepare(terms)
    }

    /// To be called last.
    func close() {
        shared?.ledger.close()
        local.close()
    }

    /// For the line of the start.
    var place: String { shared.map { "\($0.store.url), and in \(local.path) while that is away" } ?? local.path }

    // MARK: What is counted

    /// Of this host: asking a shared store for all its keys would be dear.
    var counters: [CounterReading] {
        LedgerReadings.of(local) + (shared.map { $0.ledger.readings + $0.store.readings } ?? [])
    }
    var gauges: [CounterReading] { local.health.readings(of: "limits") + (shared?.store.gaugeReadings ?? []) }
    var histograms: [HistogramReading] { shared?.store.histogramReadings ?? [] }
}
