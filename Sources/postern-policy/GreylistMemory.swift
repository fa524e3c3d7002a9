// Where greylisting's memory is: in this host's own file, and, where `[store]` names one, in a store that several hosts
// share. Which of both is settled at the start: what is connected and half told is no matter for a reload.

import PosternAdmission
import PosternDaemon
import PosternMail
import PosternSocket
import PosternStore

struct GreylistMemory: Sendable {
    /// This host's own.
    let local: GreylistStore
    private let shared: (ledger: SharedGreylist, store: SharedStore)?

    init(_ configuration: Configuration, log: any LogSink) {
        let local = GreylistStore(
            path: configuration.state.directory + "/greylist.sqlite", log: log, now: WallClock.now)
        self.local = local
        shared = configuration.store.url.map { url in
            let store = SharedStore(url, configuration.store, log: log, startsAtOnce: false)
            return (SharedGreylist(store, local: local, log: log), store)
        }
    }

    /// What decides.
    var ledger: any GreylistLedger { shared?.ledger ?? local }

    /// For the line of the start.
    var place: String { shared.map { ", shared at \($0.store.url)" } ?? "" }

    /// As soon as somebody may be greylisted.
    func open() {
        guard let shared else { return local.open() }
        shared.store.start()
        shared.ledger.open()
    }

    func close() {
        if let shared { shared.ledger.close() } else { local.close() }
    }

    // MARK: What is counted

    var counters: [CounterReading] {
        GreylistReadings.of(local) + (shared.map { $0.ledger.readings + $0.store.readings } ?? [])
    }
    var gauges: [CounterReading] { local.health.readings(of: "greylist") + (shared?.store.gaugeReadings ?? []) }
    var histograms: [HistogramReading] { shared?.store.histogramReadings ?? [] }
}
