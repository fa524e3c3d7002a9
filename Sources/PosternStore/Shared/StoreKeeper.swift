// The thread that looks after a shared store's circuit: it finds the server, and while the circuit is open it tries it
// from time to time, so that no decision ever does. Names are looked up, Sentinels asked and the password read here.

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
    private let outage = Mutex(Outage())
    private let returns = Mutex<[@Sendable () -> Void]>([])

    private struct Outage {
        var localBefore: UInt64 = 0
        var pause: Duration?
        var closed: StoreDeadline?
    }

    /// What one try may take for finding the server and connecting to it; the command itself has the store's timeout.
    static let findingTime = Duration.seconds(5)
    /// What a try does: that writes are taken and scripts run is seen only by one that writes.
    static let probe = StoreScript(
        name: "probe", text: "redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000) return redis.call('TIME')")
    static let probeKey = Array("postern:probe".utf8)

    init(
        _ url: StoreURL, _ settings: StoreSettings, pauses: ClosedRange<Duration>, log: any LogSink,
        counters: CounterSink<StoreCounter>
    ) {
        (self.url, self.settings, self.pauses, self.log, self.counters) = (url, settings, pauses, log, counters)
        pool = StorePool(timeout: settings.timeout)
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

    func onReturn(_ body: @escaping @Sendable () -> Void) { returns.withLock { $0.append(body) } }

    /// A command has failed in a way that the next would too.
    func opened(_ failure: StoreFailure, generation: UInt64?) {
        guard pool.open(failure, generation: generation) else { return }
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
            }
            guard pool.failure != nil, !isEnding.load(ordering: .relaxed) else { continue }
            trouble.wait(atMost: nextPause())
            guard !isEnding.load(ordering: .relaxed) else { return }
            tryOnce()
        }
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
        do throws(StoreFailure) {
            let target = try find()
            let connection = try StoreConnection(
                to: target, until: .after(Self.findingTime), timeout: Self.findingTime)
            // With the time that a decision has: a store that is too slow for them stays away.
            let words = Self.probe.evaluation(keys: [Self.probeKey], arguments: [Array("\(getpid())".utf8)])
            let replies = try connection.exchange(
                [words], until: .after(settings.timeout), timeout: settings.timeout)
            for reply in replies { _ = try reply.get() }
            guard !isEnding.load(ordering: .relaxed) else { return }
            let since = pool.close(target)
            outage.withLock { $0.closed = .after(pauses.upperBound) }
            guard let since else { return }
            let local = counters[.local] &- outage.withLock { $0.localBefore }
            let time = Duration.nanoseconds(StoreDeadline.now().nanoseconds - since.nanoseconds)
            log.info("store \(url): it answers again after \(time.inWords); \(local) decisions were this host's own")
            for body in returns.withLock({ $0 }) { body() }
        } catch {
            counters.count(.probeFailures)
            opened(error, generation: nil)
        }
    }

    private func find() throws(StoreFailure) -> StoreTarget {
        guard let server = url.servers.first else { throw .unreachable("no server is named") }
        return StoreTarget(
            addresses: try StoreAddress.of(server), tls: nil, password: nil, user: settings.user,
            database: url.database)
    }
}
