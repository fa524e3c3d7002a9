// Keeps facts of judged messages for reports in facts.sqlite (RFC 9990). Mail never waits for it: facts go into a queue
// in memory, and one thread writes what has gathered in one transaction a second. What does not fit into the queue is
// lost, counted and told once.
//
// Bounds: the queue holds `Limits.queued` facts, some 2 KB each, which is what a disk that is full or stuck costs in
// memory. The file is pruned by age, and by size to `Limits.octets`; both a few hundred rows at a time, so that no
// transaction is long.

public import PosternMail
import Synchronization

/// What became of facts.
public enum FactCounter: Int, CounterSet {
    case written, lost, pruned

    public var name: CounterName {
        switch self {
        case .written: CounterName("postern_dmarc_facts_total", "outcome", "written")
        case .lost: CounterName("postern_dmarc_facts_total", "outcome", "lost")
        case .pruned: CounterName("postern_dmarc_facts_total", "outcome", "pruned")
        }
    }
}

public final class FactStore: FactLedger {
    public struct Limits: Sendable {
        /// Facts in memory.
        public var queued = 4096
        /// Facts in one transaction.
        public var batch = 256
        /// How long the first of them waits for others.
        public var gather = Duration.seconds(1)
        /// Of the file: some two million messages, days of a large host. A report needs one day.
        public var octets = 1 << 30

        public init() {}
    }

    public let counters = CounterSink<FactCounter>()
    private let limits: Limits
    private let log: any LogSink
    private let now: @Sendable () -> UnixTime
    private let queue: Mutex<Queue>
    private let file: LedgerFile
    private let signal = Signal()

    private struct Queue {
        var facts: [MessageFacts] = []
        var keep: Duration
        var isStopping = false
        /// Lost since the queue has been full.
        var lost = 0
    }

    /// How often expired facts are looked for while nothing is written.
    private static let pruneEvery = Duration.seconds(60)
    /// Expired facts that go in one transaction, and transactions in a row.
    private static let pruneBatch = 500
    private static let maxPruneBatches = 20

    /// Nothing is opened yet.
    ///
    /// - Parameter path: absolute.
    /// - Parameter keep: older facts are pruned; with zero none are taken.
    /// - Parameter now: the wall clock.
    public init(
        path: String, keep: Duration, limits: Limits = Limits(), log: any LogSink,
        now: @escaping @Sendable () -> UnixTime
    ) {
        self.limits = limits
        self.log = log
        self.now = now
        queue = Mutex(Queue(keep: keep))
        var options = Database.Options()
        options.maxOctets = limits.octets + limits.octets / 8  // pruning comes first; this is what holds if it cannot
        file = LedgerFile(
            path: path, schema: FactSchema.schema, options: options, meanwhile: "facts for reports wait in memory",
            log: log, now: now)
    }

    /// From any thread; returns at once.
    public func append(_ facts: MessageFacts) {
        let facts = facts.cutForQueue
        enum Outcome { case quiet, wake, lost, firstLost }
        let outcome = queue.withLock { queue -> Outcome in
            guard queue.keep > .zero else { return .quiet }
            guard !queue.isStopping, queue.facts.count < limits.queued else {
                queue.lost += 1
                return queue.lost == 1 ? .firstLost : .lost
            }
            queue.facts.append(facts)
            // The first one begins a batch, the last one ends it.
            return queue.facts.count == 1 || queue.facts.count == limits.batch ? .wake : .quiet
        }
        switch outcome {
        case .quiet: break
        case .wake: signal.raise()
        case .lost: counters.count(.lost)
        case .firstLost:
            counters.count(.lost)
            log.warning("\(limits.queued) facts for reports wait to be written: more are lost, mail goes on")
        }
    }

    /// For metrics; waits for nobody.
    public var health: StoreHealth { file.health }
    /// Facts that are not written yet.
    public var waitingCount: Int { queue.withLock { $0.facts.count } }

    /// How long facts are kept from now on.
    public func keep(_ duration: Duration) { queue.withLock { $0.keep = duration } }

    /// Writes what is appended, until `stop`; on a thread of its own.
    public func run() {
        work()  // what is wrong with the file is told at the start, not with the first message
        while true {
            let (waiting, isStopping) = queue.withLock { ($0.facts.count, $0.isStopping) }
            if !isStopping {
                // With facts that could not be written the next try comes as soon as the file may be tried again.
                signal.wait(atMost: waiting > 0 ? LedgerFile.rest(after: .full) : Self.pruneEvery)
                let (gathered, isStopping) = queue.withLock { ($0.facts.count, $0.isStopping) }
                if (1..<limits.batch).contains(gathered), !isStopping { signal.wait(atMost: limits.gather) }
            }
            work()
            if isStopping { break }
        }
        file.close()
        let left = queue.withLock { queue in
            defer { queue.facts.removeAll() }
            return queue.facts.count
        }
        guard left > 0 else { return }
        counters.count(.lost, by: left)
        log.warning("\(left) facts for reports could not be written before the end and are lost")
    }

    /// Ends `run`, which first writes what is there. What cannot be written is lost and counted.
    public func stop() {
        queue.withLock { $0.isStopping = true }
        signal.raise()
    }

    /// Writes what has gathered and prunes what has expired; for `run`, and for tests.
    func work() {
        while writeBatch() {}
        prune()
        let lost = queue.withLock { queue in
            guard queue.facts.count < limits.queued / 2 else { return 0 }
            defer { queue.lost = 0 }
            return queue.lost
        }
        if lost > 0 { log.warning("\(lost) facts for reports were lost; new ones are kept again") }
    }

    /// - Returns: whether there may be more to write now.
    private func writeBatch() -> Bool {
        // The facts stay in the queue until they are safe: only this thread takes any out.
        let batch = queue.withLock { Array($0.facts.prefix(limits.batch)) }
        guard !batch.isEmpty else { return false }
        do throws(DatabaseError) {
            try write(batch)
            counters.count(.written, by: batch.count)
        } catch {
            guard error.meaning == .refused else { return false }
            counters.count(.lost, by: batch.count)  // SQLite does not take them, now or later
        }
        queue.withLock { $0.facts.removeFirst(min(batch.count, $0.facts.count)) }
        return true
    }

    private func write(_ batch: [MessageFacts]) throws(DatabaseError) {
        do throws(DatabaseError) {
            try transaction { database throws(DatabaseError) in try insert(batch, into: database) }
        } catch {
            // A damaged file has just been set aside: the same facts go into the new one.
            guard error.meaning == .damaged || error.meaning == .forbidden else { throw error }
            try transaction { database throws(DatabaseError) in try insert(batch, into: database) }
        }
    }

    private func insert(_ batch: [MessageFacts], into database: Database) throws(DatabaseError) {
        let used = try database.usedOctets
        if used > limits.octets {
            let removed = try database.removeOldestFacts(batch.count * 2)
            counters.count(.pruned, by: removed)
        }
        for facts in batch { try database.insert(facts) }
    }

    private func prune() {
        let end = queue.withLock { now() + (.zero - $0.keep) }
        for _ in 0..<Self.maxPruneBatches {
            var removed = 0
            do throws(DatabaseError) {
                removed = try transaction { database throws(DatabaseError) in
                    try database.removeFacts(before: end, atMost: Self.pruneBatch)
                }
            } catch {
                return  // the file's trouble was told where it was found
            }
            counters.count(.pruned, by: removed)
            guard removed == Self.pruneBatch else { return }
        }
    }

    /// What is not written yet, for tests.
    var waiting: [MessageFacts] { queue.withLock { $0.facts } }

    var fileForCopy: LedgerFile { file }

    /// The file as it is now, for tests that break it.
    func inDatabase(_ body: (Database) throws(DatabaseError) -> Void) throws(DatabaseError) { try file.use(body) }

    private func transaction<Result>(
        _ body: (Database) throws(DatabaseError) -> Result
    ) throws(DatabaseError) -> Result {
        try file.use { database throws(DatabaseError) in
            try database.transaction { () throws(DatabaseError) in try body(database) }
        }
    }
}

extension FactStore {
    /// Facts of a span of time, oldest first; for reports and the CLI.
    ///
    /// - Parameter after: the `next` of the page before.
    /// - Parameter limit: of one page.
    /// - Throws: where the file cannot be read now.
    public func facts(
        since: UnixTime, before: UnixTime, after: FactCursor? = nil, limit: Int = 500
    ) throws(DatabaseError) -> FactPage {
        try file.use { database throws(DatabaseError) in
            try database.facts(since: since, before: before, after: after, limit: limit)
        }
    }

    /// How many messages' facts the file has.
    public func count() throws(DatabaseError) -> Int {
        try file.use { database throws(DatabaseError) in
            Int(clamping: try database.integer("SELECT count(*) FROM fact") ?? 0)
        }
    }
}

extension Database {
    /// Without the pages that are free to be used again.
    fileprivate var usedOctets: Int {
        get throws(DatabaseError) {
            let pages = try integer("PRAGMA page_count") ?? 0
            let free = try integer("PRAGMA freelist_count") ?? 0
            return Int(clamping: pages - free) * Database.pageOctets
        }
    }

    fileprivate func removeOldestFacts(_ count: Int) throws(DatabaseError) -> Int {
        var policies: [Int64?] = []
        try run(
            "DELETE FROM fact WHERE id IN (SELECT id FROM fact ORDER BY id LIMIT ?1) RETURNING policy",
            [.integer(count)]
        ) { row in policies.append(row.optionalInteger(0)) }
        try removeUnused(policies)
        return policies.count
    }

    fileprivate func removeFacts(before end: UnixTime, atMost count: Int) throws(DatabaseError) -> Int {
        var policies: [Int64?] = []
        try run(
            """
            DELETE FROM fact WHERE id IN (SELECT id FROM fact WHERE time < ?1 ORDER BY time LIMIT ?2)
            RETURNING policy
            """, [.integer(end.nanoseconds), .integer(count)]
        ) { row in policies.append(row.optionalInteger(0)) }
        try removeUnused(policies)
        return policies.count
    }

    /// A policy goes with its last fact.
    private func removeUnused(_ policies: [Int64?]) throws(DatabaseError) {
        for case let policy? in Set(policies) {
            try run(
                "DELETE FROM policy WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM fact WHERE policy = ?1)",
                [.integer(policy)])
        }
    }
}
