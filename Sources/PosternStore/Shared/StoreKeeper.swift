// The thread that looks after a shared store's circuit: it finds the server (StoreFinder), and while the circuit is
// open it tries it from time to time, so that no decision ever does. One warning when the circuit opens, one line when
// it closes again.

internal import Glibc
internal import PosternAdmission
internal import PosternMail
import Synchronization

final class StoreKeeper: Sendable {
    private let url: StoreURL
    private let settings: StoreSettings
    private let pauses: ClosedRange<Duration>
    private let log: any LogSink
    let pool: StorePool
    let counters: CounterSink<StoreCounter>
    private let trouble = Signal()
    private let isEnding = Atomic(false)
    /// Somebody waits for the next try.
    private let isHurried = Atomic(false)
    private let finder: StoreFinder
    private let outage = Mutex(Outage())
    private let returns = Mutex<[@Sendable () -> Void]>([])

    private struct Outage {
        var localBefore: UInt64 = 0
        var pause: Duration?
        var closed: StoreDeadline?
    }

    /// What one try may take for connecting and logging in; the command itself has the store's timeout.
    static let findingTime = Duration.seconds(5)
    /// What a try does: that writes are taken and scripts run is seen only by one that writes.
    static let probe = StoreScript(
        name: "probe", text: "redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000) return redis.call('TIME')")
    static let probeKey = Array("postern:probe".utf8)
    /// The second one is never written. It lies in another slot, and nodes of a Redis Cluster refuse a script whose keys
    /// do: as they would a decision, but then each try would find the store in order.
    static let probeKeys = [probeKey, probeKey + Array(":2".utf8)]

    init(
        _ url: StoreURL, _ settings: StoreSettings, pauses: ClosedRange<Duration>, log: any LogSink,
        counters: CounterSink<StoreCounter>
    ) {
        (self.url, self.settings, self.pauses, self.log, self.counters) = (url, settings, pauses, log, counters)
        pool = StorePool(timeout: settings.timeout)
        finder = StoreFinder(url, settings)
    }

    /// Starts the thread, which ends some time after `end`.
    func start() {
        do throws(SystemThread.Failure) {
            pthread_detach(try SystemThread.start(stackOctets: nil) { self.run() })
        } catch {
            opened(.unreachable("no thread to reach it (\(String(cString: strerror(error.code))))"), generation: nil)
        }
    }

    func end() {
        isEnding.store(true, ordering: .relaxed)
        _ = pool.open(.unreachable("it is no longer used"), generation: nil)
        trouble.raise()
    }

    /// The next try comes at once.
    func hurry() {
        isHurried.store(true, ordering: .relaxed)
        trouble.raise()
    }

    func onReturn(_ body: @escaping @Sendable () -> Void) { returns.withLock { $0.append(body) } }

    /// A command has failed in a way that the next would too.
    func opened(_ failure: StoreFailure, generation: UInt64?) {
        switch pool.open(failure, generation: generation) {
        case .ignored: return
        case .still(let before):
            if !failure.isLike(before) { log.info("store \(url): now \(failure)") }
            return
        case .new: break
        }
        counters.count(.openings)
        outage.withLock { $0.localBefore = counters[.local] }
        log.warning(
            "store \(url): \(failure); this host decides by itself until it answers, which is tried every "
                + "\(pauses.lowerBound.inWords) to \(pauses.upperBound.inWords)")
        trouble.raise()
    }

    private func run() {
        tryOnce()
        while !isEnding.load(ordering: .relaxed) {
            if pool.failure == nil {
                trouble.wait(atMost: nil)
            } else {
                let isWaitedFor = rest(nextPause())
                tryOnce()
                if isWaitedFor { pool.noteTry() }
            }
        }
    }

    /// Until the time is over, whatever is raised meanwhile; or the end has come.
    /// - Returns: whether it was cut short, since somebody waits for the next try.
    private func rest(_ pause: Duration) -> Bool {
        let end = StoreDeadline.after(pause)
        while !isEnding.load(ordering: .relaxed) {
            if isHurried.exchange(false, ordering: .relaxed) { return true }
            let left = end.remaining
            guard left > 0 else { return false }
            trouble.wait(atMost: .nanoseconds(left))
        }
        return false
    }

    /// Twice as long each time; what failed again soon after it came back is not trusted sooner than before.
    private func nextPause() -> Duration {
        outage.withLock { outage in
            if let closed = outage.closed, StoreDeadline.now() > closed { outage.pause = nil }
            let pause = outage.pause.map { min($0 * 2, pauses.upperBound) } ?? pauses.lowerBound
            outage.pause = pause
            outage.closed = nil
            return pause
        }
    }

    private func tryOnce() {
        guard !isEnding.load(ordering: .relaxed) else { return }
        do throws(StoreFailure) {
            var target = try finder.find()
            let connection = try StoreConnection(
                to: target, until: .after(Self.findingTime), timeout: Self.findingTime)
            // The others of its addresses come after the one that works.
            target.addresses.removeAll { $0 == connection.address }
            target.addresses.insert(connection.address, at: 0)
            try probe(connection)
            target.isProven = true
            guard !isEnding.load(ordering: .relaxed) else { return }
            works(target)
        } catch {
            finder.forget()
            guard !isEnding.load(ordering: .relaxed) else { return }
            counters.count(.failedTries)
            opened(error, generation: nil)
        }
    }

    /// With the time that a decision has: a store that is too slow for them stays away.
    private func probe(_ connection: StoreConnection) throws(StoreFailure) {
        var words = [Self.probe.evaluation(keys: Self.probeKeys, arguments: [Array("\(getpid())".utf8)])]
        if url.scheme.asksSentinels { words.append([Array("ROLE".utf8)]) }
        let replies = try connection.exchange(words, until: .after(settings.timeout), timeout: settings.timeout)
        for reply in replies { _ = try reply.get() }
        guard url.scheme.asksSentinels else { return }
        // A server that was the master until a moment ago still takes writes, which nobody will ever see.
        let role = try replies.last?.get().array?.first?.text
        guard role == "master" else {
            throw .unreachable("the Sentinels name a server whose role is \(role ?? "unknown"): they may be choosing")
        }
    }

    private func works(_ target: StoreTarget) {
        let since = pool.close(target)
        outage.withLock { $0.closed = .after(pauses.upperBound) }
        guard let since else { return }
        let local = counters[.local] &- outage.withLock { $0.localBefore }
        let time = Duration.nanoseconds(StoreDeadline.now().nanoseconds - since.nanoseconds)
        log.info("store \(url): it answers again after \(time.inWords); \(local) decisions were this host's own")
        for body in returns.withLock({ $0 }) { body() }
    }
}
