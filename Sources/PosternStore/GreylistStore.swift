// Greylisting's memory in greylist.sqlite, for one host (RFC 6647). Decisions are made in memory and answered at once; a
// thread of its own writes what they have changed, all of half a second in one commit. With its file in trouble it answers
// `.unavailable`, so that mail passes, and says so once (LedgerFile).
//
// The promise: `kill -9` forgets the decisions of the last second at most, and so does a loss of power as far as the disk
// keeps what fdatasync(2) was told; neither leaves half of anything. Whose first try is forgotten waits once more. What
// admins change is on the disk when they are told. At a stop everything is written.

public import PosternAdmission
public import PosternMail

public final class GreylistStore: GreylistLedger {
    public struct Limits: Sendable {
        /// Entries in the file, some 170 octets each with their indexes; what waits to be written comes on top. Beyond that
        /// the oldest triplets that wait go. 10 million are two days of 60 new triplets a second. What is known never goes
        /// before it expires: each such entry has cost its sender the delay and a second try.
        public var entries = 10_000_000
        /// SQLite's own memory for pages.
        public var cacheOctets = 32 << 20
        /// How long changes wait for others to share their commit: half of the second that may be forgotten.
        public var gather = Duration.milliseconds(500)
        /// Changes that may wait to be written, some 350 octets each; with more than that mail passes. With half of them
        /// decisions slow down: a disk that is not in trouble takes as many in a second.
        public var unwritten = 65_536
        /// Entries that are kept in memory beside those, likewise.
        public var remembered = 16_384

        public init() {}
    }

    let file: LedgerFile
    let memory: ShortLock<GreylistMemory>
    let writer: GreylistWriter

    /// Keys of one decision that the file can be asked for: client, domain, and a triplet of each.
    private static let maxLookups = 4
    /// Tries of one decision: the file may be opened anew, and once be set aside, in between.
    private static let maxTries = 6
    /// Rows that one page of a list looks at: a few milliseconds of everybody's time.
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
        // longer one a start after a crash would read more.
        options.logOctets = 64 << 20
        file = LedgerFile(
            path: path, schema: GreylistSchema.schema, options: options, meanwhile: "mail passes without greylisting",
            log: log, now: now)
        memory = ShortLock(
            GreylistMemory(
                capacity: limits.remembered, maxPending: limits.unwritten, enough: GreylistWriter.commitRows))
        writer = GreylistWriter(file: file, memory: memory, path: path, limits: limits, log: log)
    }

    /// Opens the file, so that what is wrong with it is known before the first request, and begins to write. Without it
    /// changes are written when somebody calls `flush`, `close` or asks for what is remembered.
    public func open() {
        try? writer.flush()  // told where it was found
        writer.start()
    }

    /// Brings what was decided to the disk now.
    public func flush() throws(GreylistUnavailable) {
        try admin { () throws(DatabaseError) in
            try writer.flush()
            _ = try writer.sweep()
        }
    }

    /// For metrics; waits for nobody.
    public var health: StoreHealth { file.health }

    /// Writes what is left, and closes the file. To be called last; a later decision opens the file again.
    public func close() {
        writer.stop()
        memory.withLock { $0.isReady = false }
        file.close()
    }

    // MARK: Deciding

    public func decide(_ request: GreylistRequest, times: GreylistTimes, now: UnixTime) -> GreylistAnswer {
        answer(request, times, now, writes: true)
    }

    public func foresee(_ request: GreylistRequest, times: GreylistTimes, now: UnixTime) -> GreylistAnswer {
        answer(request, times, now, writes: false)
    }

    private func answer(
        _ request: GreylistRequest, _ times: GreylistTimes, _ now: UnixTime, writes: Bool
    ) -> GreylistAnswer {
        for _ in 0..<Self.maxTries {
            do throws(DatabaseError) {
                var attempt = memory.withLock { $0.attempt(request, times, now: now, writes: writes) }
                if case .missing = attempt { attempt = try answerFromFile(request, times, now, writes: writes) }
                switch attempt {
                case .decided(let answer, let wakes, let isCrowded):
                    if wakes { writer.wake() }
                    if isCrowded { writer.giveWay() }
                    return answer
                case .full:
                    writer.tellOverfull()
                    return .unavailable
                case .notReady, .missing: try writer.flush()
                }
            } catch {
                writer.failed(error)
                // A damaged file has just been set aside: the new one can decide.
                guard error.meaning == .damaged || error.meaning == .forbidden else { return .unavailable }
            }
        }
        return .unavailable
    }

    /// The same, with what the memory misses read from the file.
    private func answerFromFile(
        _ request: GreylistRequest, _ times: GreylistTimes, _ now: UnixTime, writes: Bool
    ) throws(DatabaseError) -> GreylistMemory.Attempt {
        try file.use(isProof: false) { database throws(DatabaseError) in
            try writer.adopt(database)
            var found: [(key: GreylistRowKey, entry: GreylistEntry?, place: GreylistMemory.Place)] = []
            while true {
                let attempt = memory.withLock { memory in
                    // All of them, in case that some were let go meanwhile.
                    for row in found { memory.load(row.key, row.entry, row.place) }
                    return memory.attempt(request, times, now: now, writes: writes)
                }
                guard case .missing(let key) = attempt, found.count < Self.maxLookups else { return attempt }
                let row = try GreylistTransaction.find(key, in: database)
                found.append((key, row.entry, row.place))
            }
        }
    }
}

extension GreylistStore {
    public func entries(
        withPrefix prefix: String, after: GreylistCursor?, limit: Int
    ) throws(GreylistUnavailable) -> GreylistPage {
        let octets = Array(prefix.utf8)
        let start = after.flatMap { Int64($0.text) } ?? 0
        return try inWrittenFile { database throws(DatabaseError) in
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
        try inWrittenFile { database throws(DatabaseError) in
            let hash = try GreylistTransaction.state(of: database).hash
            return try GreylistTransaction.find(GreylistRowKey(key, hash: hash), in: database).entry
        }
    }

    public func allow(_ key: GreylistKey, now: UnixTime) throws(GreylistUnavailable) {
        _ = try admin { () throws(DatabaseError) in try writer.change(key) { .allowed($0, now: now) } }
    }

    public func forget(_ key: GreylistKey) throws(GreylistUnavailable) -> Int {
        try admin { () throws(DatabaseError) in
            let one = try writer.change(key) { _ in nil } == nil ? 0 : 1
            guard case .origin(let origin) = key else { return one }
            return one + (try writer.forgetTriplets(of: Array(origin.description.utf8)))
        }
    }

    public func counts() throws(GreylistUnavailable) -> GreylistCounts {
        try inWrittenFile { database throws(DatabaseError) in try GreylistTransaction.state(of: database).counts }
    }

    /// Reads the file when it has all that was decided.
    func inWrittenFile<Result>(
        _ body: (Database) throws(DatabaseError) -> Result
    ) throws(GreylistUnavailable) -> Result {
        try flush()
        return try admin { () throws(DatabaseError) in try file.use(body) }
    }

    func admin<Result>(_ body: () throws(DatabaseError) -> Result) throws(GreylistUnavailable) -> Result {
        do throws(DatabaseError) { return try body() } catch {
            writer.failed(error)
            throw GreylistUnavailable(error.description)
        }
    }

    var fileForCopy: LedgerFile { file }
    /// Brings what was decided to the file; one that is not there is not made.
    func writeForCopy() throws(DatabaseError) { if file.isThere { try writer.flush() } }

    /// The file as it is now, for tests that break it.
    func inDatabase(_ body: (Database) throws(DatabaseError) -> Void) throws(DatabaseError) { try file.use(body) }
    /// As the writer's thread does, for tests.
    func buildFilterForTests() { _ = try? writer.growFilter() }  // a test finds out
    /// Changes that are not written, for tests.
    var pendingForTests: Int { memory.withLock { $0.pending } }
}
