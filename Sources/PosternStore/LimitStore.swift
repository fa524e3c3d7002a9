// The limits' ledger of one host: in memory, with a journal from which a restart goes on. A thread of its own brings
// changes to the disk, so that no request waits for one; kill -9 forgets what was counted in the last second at most.
// Reservations of messages that are on their way are not kept: at their end they are counted as if there had been none.

public import PosternAdmission
public import PosternMail
import Synchronization

public final class LimitStore: LimitLedger {
    /// The file's name in the state folder.
    public static let name = "limits.journal"
    /// Twice in a second: what a write itself takes is within the second too.
    private static let interval = Duration.milliseconds(500)

    let memory: LimitMemory
    private let journal: Mutex<LimitJournal>
    private let worker = Worker()
    public let path: String
    private let wall: @Sendable () -> UnixTime
    /// How the last write went, and when one last went well: told without the journal's lock.
    private let isWorking = Atomic<Bool>(true)
    private let savedSeconds = Atomic<Int64>(0)

    /// Nothing is opened yet.
    ///
    /// - Parameter path: absolute.
    /// - Parameter maxKeys: of all limits together.
    /// - Parameter wall: the wall clock, for how long we were down. Decisions get their `now` from LimitClock, which
    ///   nobody sets.
    public init(
        path: String, maxKeys: Int = 1_000_000, log: any LogSink, wall: @escaping @Sendable () -> UnixTime
    ) {
        let memory = LimitMemory(maxKeys: maxKeys, tracksChanges: true)
        self.memory = memory
        self.path = path
        self.wall = wall
        journal = Mutex(LimitJournal(path: path, memory: memory, log: log, wall: wall))
    }

    /// Reads the file, and begins to write it; to be called before the first decision.
    ///
    /// - Parameter now: of the clock that decisions get.
    /// - Parameter writes: false where the caller calls `flush`.
    public func open(now: UnixTime, writes: Bool = true) {
        journal.withLock { $0.load(now: now) }
        guard writes else { return }
        try? worker.start { [self] in run() }  // without it `close` still writes
    }

    /// Brings what has changed to the disk now.
    public func flush() {
        let isSaved = journal.withLock { journal in
            journal.write()
            return journal.isSaved
        }
        isWorking.store(isSaved, ordering: .relaxed)
        if isSaved { savedSeconds.store(wall().seconds, ordering: .relaxed) }
    }

    /// The journal with all that was counted, to be read; nil where there is none.
    /// - Returns: its descriptor, the caller's to close, and how many of its octets are whole records.
    func openForCopy() throws(DatabaseError) -> (descriptor: CInt, octets: Int)? {
        try journal.withLock { journal throws(DatabaseError) in
            journal.write()
            return try journal.openForCopy()
        }
    }

    /// For metrics; waits for nobody.
    public var health: StoreHealth {
        let saved = savedSeconds.load(ordering: .relaxed)
        return StoreHealth(
            isWorking: isWorking.load(ordering: .relaxed), octets: StoreHealth.octets(of: [path]),
            saved: saved > 0 ? UnixTime(seconds: saved) : nil)
    }

    /// Ends writing; to be called last.
    public func close() {
        worker.end()
        journal.withLock { journal in
            journal.write()
            journal.letGo()
        }
    }

    private func run() {
        while !worker.isEnding {
            flush()
            worker.wait(atMost: Self.interval)
        }
    }

    // MARK: LimitLedger

    public func prepare(_ terms: [LimitTerms]) { memory.prepare(terms) }

    public func decide(_ request: LimitRequest, now: UnixTime) -> LimitDecision { memory.decide(request, now: now) }

    public func end(instance: [UInt8], client: IPAddress?, now: UnixTime) {
        memory.end(instance: instance, client: client, now: now)
    }

    public func foresee(_ request: LimitRequest, now: UnixTime) -> LimitDecision { memory.foresee(request, now: now) }

    public func entries(onlyOver: Bool, after: String?, limit: Int, now: UnixTime) -> LimitPage {
        memory.entries(onlyOver: onlyOver, after: after, limit: limit, now: now)
    }

    public func entries(for key: LimitKey, now: UnixTime) -> [LimitEntry] { memory.entries(for: key, now: now) }

    public func clear(_ key: LimitKey, limit: String?, now: UnixTime) -> Int {
        memory.clear(key, limit: limit, now: now)
    }

    public func block(_ key: LimitKey, limit: String?, for time: Duration, now: UnixTime) -> Int {
        memory.block(key, limit: limit, for: time, now: now)
    }

    public func unblock(_ key: LimitKey, limit: String?, now: UnixTime) -> Int {
        memory.unblock(key, limit: limit, now: now)
    }

    public func counts() -> LimitCounts { memory.counts() }
}
