// A Redis or Valkey server that several hosts share, for all threads of a process: a command is one round trip within
// the store's timeout, connecting included, or a failure by then. After a failure nobody waits for the store until a
// thread of its own has seen it work again (StoreKeeper). Nothing here knows what is kept in it; that is
// SharedGreylist's and SharedLimits'. Not for clusters, nor for anything that must not be lost: Redis answers before
// it has written.

internal import Glibc
public import PosternAdmission
public import PosternMail
import Synchronization

public final class SharedStore: Sendable {
    public let url: StoreURL
    public let timeout: Duration
    private let keeper: StoreKeeper
    private let counters: CounterSink<StoreCounter>
    private let histograms = HistogramSink<StoreHistogram>()
    private let log: any LogSink
    private let hasStarted = Atomic(false)

    /// Between two tries of a store that has failed: the first and the longest.
    public static let pauses = Duration.seconds(1) ... .seconds(30)
    /// Fewest seconds between two warnings about commands that it refused.
    private static let refusalWarningInterval = Duration.seconds(60)
    private let nextRefusalWarning = ShortLock(StoreDeadline(nanoseconds: .min))

    /// Begins to look for the server, on a thread of its own; commands wait for that within their time.
    ///
    /// - Parameter settings: its URL is not looked at.
    /// - Parameter startsAtOnce: false for who may never need it, and calls `start` then.
    /// - Parameter pauses: other ones for tests.
    public init(
        _ url: StoreURL, _ settings: StoreSettings, log: any LogSink, startsAtOnce: Bool = true,
        pauses: ClosedRange<Duration> = SharedStore.pauses
    ) {
        self.url = url
        self.log = log
        timeout = settings.timeout
        counters = CounterSink()
        keeper = StoreKeeper(url, settings, pauses: pauses, log: log, counters: counters)
        if startsAtOnce { start() }
    }

    deinit { keeper.end() }

    /// The first call begins to look for the server; the others do nothing.
    public func start() {
        if !hasStarted.exchange(true, ordering: .relaxed) { keeper.start() }
    }

    // MARK: Asking

    /// Runs a script, all of it as one step. Tried once: where the connection breaks after it was sent nobody knows
    /// whether it ran.
    public func run(
        _ script: StoreScript, keys: [[UInt8]], arguments: [[UInt8]]
    ) throws(StoreFailure) -> StoreReply {
        var wasSent = false
        return try run(script, keys: keys, arguments: arguments, wasSent: &wasSent)
    }

    /// Runs a script, and tells what is known of it when it fails.
    /// - Parameter wasSent: whether it left this host: then nobody knows whether it ran.
    public func run(
        _ script: StoreScript, keys: [[UInt8]], arguments: [[UInt8]], wasSent: inout Bool
    ) throws(StoreFailure) -> StoreReply {
        try run(script, keys: keys, arguments: arguments, within: timeout, wasSent: &wasSent)
    }

    /// Runs a script that no decision waits for.
    /// - Parameter limit: how long all of it may take.
    func run(
        _ script: StoreScript, keys: [[UInt8]], arguments: [[UInt8]], within limit: Duration
    ) throws(StoreFailure) -> StoreReply {
        var wasSent = false
        return try run(script, keys: keys, arguments: arguments, within: limit, wasSent: &wasSent)
    }

    private func run(
        _ script: StoreScript, keys: [[UInt8]], arguments: [[UInt8]], within limit: Duration, wasSent: inout Bool
    ) throws(StoreFailure) -> StoreReply {
        let deadline = StoreDeadline.after(limit)
        do throws(StoreFailure) {
            let call = script.call(keys: keys, arguments: arguments)
            return try self.commands([call], limit, until: deadline, &wasSent).first ?? .null  // as many as were asked
        } catch .refused(.unknownScript, _) {
            // It has restarted, or somebody else is master now. The text makes it known there, in the time that is left.
            wasSent = false
            let call = script.evaluation(keys: keys, arguments: arguments)
            return try self.commands([call], limit, until: deadline, &wasSent).first ?? .null
        }
    }

    /// One command: its name and its arguments.
    /// - Parameter limit: how long all of it may take; nil for the store's timeout. More is for who has time: an admin.
    public func command(_ words: [[UInt8]], within limit: Duration? = nil) throws(StoreFailure) -> StoreReply {
        try commands([words], within: limit).first ?? .null  // as many as were asked
    }

    /// Several commands in one round trip, which is no transaction: others' may come between them.
    /// - Throws: the first error that the server answered, when all answers are there.
    public func commands(
        _ commands: [[[UInt8]]], within limit: Duration? = nil
    ) throws(StoreFailure) -> [StoreReply] {
        var wasSent = false
        let limit = limit ?? timeout
        return try self.commands(commands, limit, until: .after(limit), &wasSent)
    }

    /// - Parameter limit: what a failure names.
    private func commands(
        _ commands: [[[UInt8]]], _ limit: Duration, until deadline: StoreDeadline, _ wasSent: inout Bool
    ) throws(StoreFailure) -> [StoreReply] {
        let started = StoreDeadline.now()
        do throws(StoreFailure) {
            let replies = try exchange(commands, limit, until: deadline, &wasSent)
            histograms.observe(.roundTrip, nanoseconds: StoreDeadline.now().nanoseconds - started.nanoseconds)
            counters.count(.roundTrips)
            var values: [StoreReply] = []
            values.reserveCapacity(replies.count)
            for reply in replies { values.append(try reply.get()) }
            return values
        } catch {
            note(error)
            throw error
        }
    }

    private func exchange(
        _ commands: [[[UInt8]]], _ limit: Duration, until deadline: StoreDeadline, _ wasSent: inout Bool
    ) throws(StoreFailure) -> [Result<StoreReply, StoreFailure>] {
        while true {
            let connection: StoreConnection
            switch try keeper.pool.take(until: deadline) {
            case .connection(let idle):
                guard idle.isQuiet else {  // closed by the server meanwhile: nothing was sent yet
                    keeper.pool.drop()
                    continue
                }
                connection = idle
            case .room(let target):
                do throws(StoreFailure) {
                    connection = try StoreConnection(to: target, until: deadline, timeout: limit)
                } catch {
                    keeper.pool.drop()
                    if error.isOfTheStore { keeper.opened(error, generation: target.generation) }
                    throw error
                }
            }
            wasSent = true
            do throws(StoreFailure) {
                let replies = try connection.exchange(commands, until: deadline, timeout: limit)
                for case .failure(let failure) in replies where failure.isOfTheStore {
                    keeper.opened(failure, generation: connection.generation)
                    break
                }
                keeper.pool.giveBack(connection)
                return replies
            } catch {
                keeper.pool.drop()
                keeper.opened(error, generation: connection.generation)
                throw error
            }
        }
    }

    private func note(_ failure: StoreFailure) {
        switch failure {
        case .timeout: counters.count(.timeouts)
        case .unreachable: counters.count(.unreachable)
        case .malformed: counters.count(.malformed)
        case .resting: counters.count(.resting)
        case .refused(.unknownScript, _): break  // it is asked once more
        case .refused:
            counters.count(.refusals)
            guard !failure.isOfTheStore else { return }  // the keeper has said it
            let isDue = nextRefusalWarning.withLock { next in
                let now = StoreDeadline.now()
                guard now > next else { return false }
                next = StoreDeadline(nanoseconds: now.nanoseconds &+ Self.refusalWarningInterval.nanoseconds)
                return true
            }
            if isDue { log.warning("store \(url): \(failure); this host decided by itself") }
        }
    }

    // MARK: What became of it

    /// A ledger calls it once for each decision that it made by itself since the store failed.
    public func countLocalDecision() { counters.count(.local) }

    /// What runs, on a thread of the store's, each time it works again after it has failed: what was decided meanwhile
    /// can be told to it. It must not keep the store alive by what it captures.
    public func onReturn(_ body: @escaping @Sendable () -> Void) { keeper.onReturn(body) }

    /// Has a store that has failed tried once more at once, and waits for that, not longer than its timeout: for who
    /// ends and has something left to tell it.
    /// - Returns: whether it works.
    func retry() -> Bool {
        guard hasStarted.load(ordering: .relaxed), !isWorking else { return isWorking }
        let tries = keeper.pool.tries
        keeper.hurry()
        return keeper.pool.awaitTry(after: tries, until: .after(timeout))
    }

    /// What the end of a process may wait for while it tells a store that works what that lacks.
    static let farewell = Duration.seconds(5)

    /// Whether it worked when it was last used, or tried.
    public var isWorking: Bool { keeper.pool.isClosed }

    /// How often it has stopped to work, failed first tries included: what was learned before may be out of date.
    public var outages: UInt64 { counters[.openings] }

    /// Connections in use and idle.
    public var connections: Int { keeper.pool.connections }

    public var readings: [CounterReading] { counters.readings }
    public var histogramReadings: [HistogramReading] { histograms.readings }
    /// How it is now; nothing before `start`, when nobody knows.
    public var gaugeReadings: [CounterReading] {
        guard hasStarted.load(ordering: .relaxed) else { return [] }
        return [
            CounterReading(CounterName("postern_shared_store_working"), isWorking ? 1 : 0),
            CounterReading(CounterName("postern_shared_store_connections"), UInt64(clamping: connections)),
        ]
    }
}
