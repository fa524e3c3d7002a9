// Keeps a host's own greylist and the shared one together, on a thread of its own, so that no decision waits for it.
//
// While the store works the host's ledger learns what decisions rest upon: at most `learns` rows wait for that, what
// comes on top is not learnt (it comes again). A row that was told already is not told again, so that a busy client costs
// the ledger nothing. While the store does not work, the keys that the host decides about are kept, at most `owes`; when
// it is back their entries are merged into it (GreylistEntry.merged), except what an admin has made it forget meanwhile.
// Beyond `owes`, and at the end of the process, what is not merged stays this host's knowledge alone.
// What a store that was killed has lost goes back into it (SharedGreylistRepair). Until all that is done, and for a
// delay's time, whoever is to wait is let in where this host's ledger would.

import PosternAdmission
import PosternMail
import Synchronization

final class SharedGreylistCourier: Sendable {
    struct Limits: Sendable {
        /// Rows that wait to be learnt, some 250 octets each.
        var learns = 8192
        /// Keys that wait to be merged into the store, some 300 octets each.
        var owes = 32_768
        /// How long rows wait for others.
        var gather = Duration.milliseconds(200)
        /// Between two tries to merge.
        var pause = Duration.seconds(1)
        /// Between two pulses: what a store has lost of that time only is not noticed.
        var pulse = Duration.seconds(5)
        /// Rows of which is remembered that they were told; a power of two.
        var told = 16_384
    }

    /// An entry as the store has it.
    struct Told: Hashable, Sendable {
        let key: GreylistKey
        let text: [UInt8]
    }

    private struct State {
        var learns: [Told] = []
        /// Hashes of rows that were told, each in the place of its last digits.
        var told: [Int]
        /// Keys that the store lacks something of.
        var owed: Set<GreylistKey> = []
        /// Of these, what is just being merged.
        var moving: Set<GreylistKey> = []
        var isOverfull = false
        var last: (times: GreylistTimes, now: UnixTime)?
        /// Merged since the store was back.
        var merged = 0
    }

    private let store: SharedStore
    private let local: GreylistStore
    private let log: any LogSink
    private let limits: Limits
    private let clock: SharedGreylist.Clock
    private let state: ShortLock<State>
    private let counters = CounterSink<SharedGreylistCounter>()
    /// Whether `owed` has something: looked at by each decision, without the lock.
    private let hasDebts = Atomic<Bool>(false)
    private let hasToldStrange = Atomic<Bool>(false)
    private let worker: Worker
    /// Whoever holds it moves rows.
    private let repair: Mutex<SharedGreylistRepair>
    /// The last outage of the store's whose traces are mended; none while what it lost is being sent back.
    private let mended: Atomic<UInt64>

    /// Rows of one script: a millisecond of everybody's time.
    static let mergeRows = 64
    /// Rows that the local ledger takes at once.
    private static let learnRows = 512
    /// So many rows are learnt without waiting for more.
    private static let enough = 2048
    /// Scripts of one round: decisions go on meanwhile.
    private static let maxMerges = 1024

    init(_ store: SharedStore, _ local: GreylistStore, log: any LogSink, clock: SharedGreylist.Clock, limits: Limits) {
        (self.store, self.local, self.log, self.clock, self.limits) = (store, local, log, clock, limits)
        state = ShortLock(State(told: [Int](repeating: 0, count: limits.told)))
        mended = Atomic(0)
        repair = Mutex(SharedGreylistRepair(store, local, log: log, clock: clock, interval: limits.pulse))
        let worker = Worker()
        self.worker = worker
        store.onReturn { worker.wake() }
    }

    // MARK: By decisions

    /// What the store has told is to be known here as well.
    func learn(_ rows: [Told], _ times: GreylistTimes, _ now: UnixTime) {
        guard !rows.isEmpty else { return }
        let hashes = rows.map(\.hashValue)
        let (wakes, dropped) = state.withLock { state in
            state.last = (times, now)
            let before = state.learns.count
            var dropped = 0
            for (row, hash) in zip(rows, hashes) {
                let place = hash & (limits.told - 1)
                guard state.told.indices.contains(place), state.told[place] != hash else { continue }
                guard state.learns.count < limits.learns else {
                    dropped += 1
                    continue
                }
                state.told[place] = hash
                state.learns.append(row)
            }
            let after = state.learns.count
            return (before == 0 && after > 0 || before < Self.enough && after >= Self.enough, dropped)
        }
        if dropped > 0 { counters.count(.dropped, by: dropped) }
        if wakes { worker.wake() }
    }

    /// This host has decided about these by itself.
    func owe(_ keys: [GreylistKey], _ times: GreylistTimes, _ now: UnixTime) {
        let (lost, tells) = state.withLock { state in
            state.last = (times, now)
            var lost = 0
            for key in keys where !state.owed.contains(key) {
                if state.owed.count < limits.owes { state.owed.insert(key) } else { lost += 1 }
            }
            let tells = lost > 0 && !state.isOverfull
            if lost > 0 { state.isOverfull = true }
            hasDebts.store(true, ordering: .releasing)
            return (lost, tells)
        }
        if lost > 0 { counters.count(.unmerged, by: lost) }
        if tells {
            log.warning(
                "store \(store.url): this host has decided about \(limits.owes) entries by itself; what comes on top "
                    + "is not told to the store when it is back")
        }
    }

    /// Whether the store may lack what this host knows.
    var isMending: Bool { store.outages != mended.load(ordering: .relaxed) }

    /// What was made to be forgotten must not be learnt, or merged, from what waits here.
    func forget(_ key: GreylistKey) {
        func isMeant(_ one: GreylistKey) -> Bool {
            if case .origin(let origin) = key { return one.origin == origin }
            return one == key
        }
        state.withLock { state in
            state.learns.removeAll { isMeant($0.key) }
            state.owed = state.owed.filter { !isMeant($0) }
            state.told = [Int](repeating: 0, count: limits.told)
        }
    }

    /// Once: another version of the script cannot be there, since its text is its name.
    func tellStrange() {
        guard !hasToldStrange.exchange(true, ordering: .relaxed) else { return }
        log.warning("store \(store.url): its answer to a greylist decision is none; this host decides by itself")
    }

    // MARK: The thread

    func start() {
        do throws(SystemThread.Failure) {
            try worker.start { [self] in run() }
        } catch {
            log.warning("store \(store.url): no thread that keeps this host's greylist up with it")
        }
    }

    /// Ends the thread. What waits is learnt, and told to the store, which is tried once more where it has failed.
    func stop() {
        worker.end()
        let works = debts == 0 || store.retry()
        repair.withLock { repair in
            learnAll()
            if works { mergeAll(until: .after(SharedStore.farewell)) }
            repair.end()
        }
        let left = debts
        guard left > 0 else { return }
        counters.count(.unmerged, by: left)
        log.warning("store \(store.url): \(left) greylist entries that this host decided about are not told to it")
    }

    private func run() {
        var isAll = true
        while !worker.isEnding {
            let isBusy = isMending || hasDebts.load(ordering: .relaxed)
            if isAll { worker.wait(atMost: isBusy ? limits.pause : limits.pulse) }
            guard !worker.isEnding else { return }
            // More comes soon.
            let waiting = state.withLock { $0.learns.count }
            if (1..<Self.enough).contains(waiting) { worker.wait(atMost: limits.gather) }
            isAll = work()
        }
    }

    /// Learns what there is to be learnt, and brings to the store what that lacks.
    /// - Returns: false when there is more to do at once.
    @discardableResult
    func work() -> Bool {
        repair.withLock { repair in
            learnAll()
            guard store.isWorking, let last = state.withLock({ $0.last }) else { return true }
            if isMending { repair.sees(outage: store.outages) }
            switch repair.pulse(last.now) {
            case .failed: return true
            case .asLeft: break
            // It may have restarted between two decisions: then no command has failed.
            case .older: mended.store(.max, ordering: .relaxed)
            }
            mergeAll()
            let (restored, isAll) = repair.restore(last.times, last.now)
            counters.count(.restored, by: restored)
            if isAll, !hasDebts.load(ordering: .relaxed), let outage = repair.ended(after: last.times.delay) {
                mended.store(outage, ordering: .relaxed)
            }
            return isAll
        }
    }

    // MARK: Learning and merging

    private func learnAll() {
        let (rows, last) = state.withLock { state in
            defer { state.learns.removeAll() }
            return (state.learns, state.last)
        }
        guard let last else { return }
        var rest = rows[...]
        while !rest.isEmpty {
            let some = rest.prefix(Self.learnRows).compactMap { told in
                SharedGreylistEntry.decode(told.text).map { GreylistPage.Row(told.key, $0) }
            }
            rest = rest.dropFirst(Self.learnRows)
            do throws(GreylistUnavailable) {
                _ = try local.learn(some, times: last.times, now: last.now)
                counters.count(.learnt, by: some.count)
            } catch {
                counters.count(.dropped, by: some.count)  // the ledger has told why
            }
        }
    }

    /// - Parameter deadline: for the end of the process; nil goes on until that.
    private func mergeAll(until deadline: StoreDeadline? = nil) {
        for _ in 0..<Self.maxMerges {
            guard deadline.map({ $0.remaining > 0 }) ?? !worker.isEnding else { return }
            let (keys, last) = state.withLock { state in
                let some = Set(state.owed.prefix(Self.mergeRows))
                state.owed.subtract(some)
                state.moving = some
                return (some, state.last)
            }
            guard !keys.isEmpty, let last else { break }
            do throws(GreylistUnavailable) {
                let rows = try local.entries(for: Array(keys))
                let merged = try SharedGreylist.adopt(rows, into: store, last.times, clock.argument(last.now))
                counters.count(.merged, by: merged)
                state.withLock { state in
                    state.moving = []
                    state.merged += merged
                }
            } catch {
                // To be tried again: the store, or the ledger, has told why.
                state.withLock { state in
                    state.owed.formUnion(keys)
                    state.moving = []
                }
                return
            }
        }
        let merged: Int? = state.withLock { state in
            guard state.owed.isEmpty else { return nil }
            defer { (state.merged, state.isOverfull) = (0, false) }
            hasDebts.store(false, ordering: .releasing)
            return state.merged
        }
        if let merged, merged > 0 {
            log.info("store \(store.url): it has taken in \(merged) greylist entries that this host decided about")
        }
    }

    var readings: [CounterReading] { counters.readings }
    /// When the last decision was, by this host's clock.
    var lastNow: UnixTime { state.withLock { $0.last?.now } ?? UnixTime(seconds: 0) }
    /// What waits to be merged.
    var debts: Int { state.withLock { $0.owed.count + $0.moving.count } }
    func count(_ counter: SharedGreylistCounter) -> UInt64 { counters[counter] }
}

/// What becomes of entries on their way between the host's own greylist and the shared one.
enum SharedGreylistCounter: Int, CounterSet {
    case learnt, dropped, merged, unmerged, restored

    var name: CounterName { CounterName("postern_shared_greylist_entries_total", "fate", "\(self)") }
}
