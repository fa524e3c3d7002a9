// Greylisting's memory in greylist.sqlite, for one host (RFC 6647). Decisions that come at the same time share one
// commit. With its file in trouble it answers `.unavailable`, so that mail passes, and says so once (LedgerFile).
//
// It sweeps with the decisions it makes, in small batches, by no thread of its own: what has expired, and under a flood
// the oldest triplets that wait, never what is known. A greylist that is not asked grows no older.

public import PosternAdmission
public import PosternMail
import Synchronization

public final class GreylistStore: GreylistLedger {
    public struct Limits: Sendable {
        /// Entries in the file, some 170 octets each with their indexes. Beyond that the oldest triplets that wait go.
        /// 10 million are two days of 60 new triplets a second. What is known never goes before it expires: each such
        /// entry has cost its sender the delay and a second try.
        public var entries = 10_000_000
        /// SQLite's own memory for pages.
        public var cacheOctets = 32 << 20

        public init() {}
    }

    private struct Question: Sendable {
        let request: GreylistRequest
        let times: GreylistTimes
        let now: UnixTime
    }

    private let file: LedgerFile
    private let limits: Limits
    private let decisions: GroupCommit<Question, GreylistAnswer>

    /// Decisions in one transaction.
    private static let maxBatch = 256
    /// Expired entries that are removed along with a transaction.
    private static let sweepBatch = 100
    /// Rows that one page of a list looks at, and one step of forgetting: a few milliseconds of everybody's time.
    private static let scanRows = 5000

    /// Nothing is opened yet.
    ///
    /// - Parameter path: absolute.
    /// - Parameter now: the wall clock, for when a file in trouble is tried again.
    public init(
        path: String, limits: Limits = Limits(), log: any LogSink, now: @escaping @Sendable () -> UnixTime
    ) {
        var options = Database.Options()
        options.cacheOctets = limits.cacheOctets
        // New triplets change pages of the hash's index at random: a long log gathers what they do to each. With a
        // longer one everybody would wait longer while it is written back.
        options.logOctets = 32 << 20
        let file = LedgerFile(
            path: path, schema: GreylistSchema.schema, options: options, meanwhile: "mail passes without greylisting",
            log: log, now: now)
        self.file = file
        self.limits = limits
        let sweeper = Sweeper(limits: limits, batch: Self.sweepBatch)
        decisions = GroupCommit(maxBatch: Self.maxBatch) { questions in
            do throws(DatabaseError) {
                return try Self.decide(questions, in: file, sweeper)
            } catch {
                return questions.map { _ in .unavailable }  // told where it was found
            }
        }
    }

    /// Opens the file, so that what is wrong with it is known before the first request.
    public func open() {
        try? file.use { _ throws(DatabaseError) in }  // told where it was found
    }

    /// For metrics; waits for nobody.
    public var health: StoreHealth { file.health }

    /// To be called last; a later decision opens the file again.
    public func close() { file.close() }

    public func decide(_ request: GreylistRequest, times: GreylistTimes, now: UnixTime) -> GreylistAnswer {
        decisions.answer(to: Question(request: request, times: times, now: now))
    }

    public func foresee(_ request: GreylistRequest, times: GreylistTimes, now: UnixTime) -> GreylistAnswer {
        do throws(DatabaseError) {
            return try file.use { database throws(DatabaseError) in
                var entries = try GreylistTransaction(database)
                return try GreylistDecision.make(for: request, times: times, now: now) { key throws(DatabaseError) in
                    try entries.entry(for: key)
                }.answer
            }
        } catch {
            return .unavailable  // told where it was found
        }
    }

    private static func decide(
        _ questions: [Question], in file: LedgerFile, _ sweeper: Sweeper
    ) throws(DatabaseError) -> [GreylistAnswer] {
        do throws(DatabaseError) {
            return try decideOnce(questions, in: file, sweeper)
        } catch {
            // A damaged file has just been set aside: the new one can decide.
            guard error.meaning == .damaged || error.meaning == .forbidden else { throw error }
            return try decideOnce(questions, in: file, sweeper)
        }
    }

    private static func decideOnce(
        _ questions: [Question], in file: LedgerFile, _ sweeper: Sweeper
    ) throws(DatabaseError) -> [GreylistAnswer] {
        try file.transaction { entries throws(DatabaseError) in
            var answers: [GreylistAnswer] = []
            answers.reserveCapacity(questions.count)
            for question in questions {
                let decision = try GreylistDecision.make(
                    for: question.request, times: question.times, now: question.now
                ) { key throws(DatabaseError) in try entries.entry(for: key) }
                answers.append(decision.answer)
                for row in decision.changes { try entries.write(row.entry, for: row.key) }
                if case .wait = decision.answer { try sweeper.makeRoom(&entries) }
            }
            if let last = questions.last { try sweeper.sweep(&entries, last.times, now: last.now) }
            return answers
        }
    }
}

/// Keeps the file small. Used under the file's lock.
private final class Sweeper: Sendable {
    private let limits: GreylistStore.Limits
    private let batch: Int
    /// When a sweep found nothing more: not to be tried again within a second.
    private let doneAt = Mutex<UnixTime?>(nil)

    init(limits: GreylistStore.Limits, batch: Int) {
        self.limits = limits
        self.batch = batch
    }

    /// After something was added.
    func makeRoom(_ entries: inout GreylistTransaction) throws(DatabaseError) {
        let counts = entries.counts
        // A tenth is for those that wait even where all else is known, or nobody new could ever come back in time.
        guard counts.total > limits.entries, counts.waiting > limits.entries / 10 else { return }
        _ = try entries.removeWaiting(min(batch, counts.total - limits.entries + batch / 4))
    }

    func sweep(_ entries: inout GreylistTransaction, _ times: GreylistTimes, now: UnixTime) throws(DatabaseError) {
        if let doneAt = doneAt.withLock({ $0 }), now >= doneAt, now - doneAt < .seconds(1) { return }
        let removed = try entries.removeExpired(times, now: now, atMost: batch)
        doneAt.withLock { $0 = removed < batch ? now : nil }
    }
}

extension GreylistStore {
    public func entries(
        withPrefix prefix: String, after: GreylistCursor?, limit: Int
    ) throws(GreylistUnavailable) -> GreylistPage {
        let octets = Array(prefix.utf8)
        let start = after.flatMap { Int64($0.text) } ?? 0
        return try admin { database throws(DatabaseError) in
            var rows: [GreylistPage.Row] = []
            var seen = 0
            var last: Int64 = start  // the row that the page ends with
            try database.run(
                """
                SELECT id, key, first_seen, last_seen, passed_since, allowed, triplets, networks FROM entry
                WHERE id > ?1 ORDER BY id LIMIT ?2
                """, [.integer(start), .integer(Self.scanRows)]
            ) { row in
                seen += 1
                guard rows.count < limit else { return }
                last = row.integer(0)
                let octetsOfKey = row.octets(1)
                // A key that is none was damaged, and cannot be asked for.
                guard octetsOfKey.starts(with: octets), let key = GreylistKey(octets: octetsOfKey) else { return }
                rows.append(GreylistPage.Row(key, GreylistEntry(row, from: 2)))
            }
            let isEnd = seen < Self.scanRows && rows.count < limit
            return GreylistPage(rows: rows, next: isEnd ? nil : GreylistCursor(text: String(last)))
        }
    }

    public func entry(for key: GreylistKey) throws(GreylistUnavailable) -> GreylistEntry? {
        try admin { database throws(DatabaseError) in
            var entries = try GreylistTransaction(database)
            return try entries.entry(for: key)
        }
    }

    public func allow(_ key: GreylistKey, now: UnixTime) throws(GreylistUnavailable) {
        try adminTransaction { entries throws(DatabaseError) in
            try entries.write(.allowed(try entries.entry(for: key), now: now), for: key)
        }
    }

    public func forget(_ key: GreylistKey) throws(GreylistUnavailable) -> Int {
        var removed = try adminTransaction { entries throws(DatabaseError) in try entries.remove(key) ? 1 : 0 }
        guard case .origin(let origin) = key else { return removed }
        let end = try admin { database throws(DatabaseError) in
            try database.integer("SELECT max(id) FROM entry") ?? 0
        }
        // In steps, so that mail does not wait for the whole. New rows come after `end`: they were not meant.
        var start = try admin { database throws(DatabaseError) in
            try database.integer("SELECT min(id) FROM entry") ?? 0
        }
        while start <= end {
            let range = start..<(min(start, .max - Int64(Self.scanRows)) + Int64(Self.scanRows))
            removed += try adminTransaction { entries throws(DatabaseError) in
                try entries.removeTriplets(of: origin, in: range)
            }
            start = range.upperBound
        }
        return removed
    }

    public func counts() throws(GreylistUnavailable) -> GreylistCounts {
        try admin { database throws(DatabaseError) in try GreylistTransaction(database).counts }
    }

    private func admin<Result>(
        _ body: (Database) throws(DatabaseError) -> Result
    ) throws(GreylistUnavailable) -> Result {
        do throws(DatabaseError) { return try file.use(body) } catch {
            throw GreylistUnavailable(error.description)
        }
    }

    private func adminTransaction<Result>(
        _ body: (inout GreylistTransaction) throws(DatabaseError) -> Result
    ) throws(GreylistUnavailable) -> Result {
        do throws(DatabaseError) { return try file.transaction(body) } catch {
            throw GreylistUnavailable(error.description)
        }
    }

    /// The file as it is now, for tests that break it.
    func inDatabase(_ body: (Database) throws(DatabaseError) -> Void) throws(DatabaseError) { try file.use(body) }
}

extension LedgerFile {
    fileprivate func transaction<Result>(
        _ body: (inout GreylistTransaction) throws(DatabaseError) -> Result
    ) throws(DatabaseError) -> Result {
        try use { database throws(DatabaseError) in
            try database.transaction { () throws(DatabaseError) in
                var entries = try GreylistTransaction(database)
                let result = try body(&entries)
                try entries.end()
                return result
            }
        }
    }
}

extension GreylistCounts {
    fileprivate var total: Int { waiting + passed + clients + domains }
}
