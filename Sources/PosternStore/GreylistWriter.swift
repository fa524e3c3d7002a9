// Brings greylisting's changes to the file, many in one commit, on a thread of its own; and keeps the file small: what has
// expired goes in small batches, and under a flood the oldest triplets that wait, never what is known. A greylist that is
// not asked grows no older.
//
// Locks, in this order where several are held: `writing`, the file's, the memory's. Decisions take the memory's alone, and
// the file's only for a key that the memory cannot tell of; a commit gives the file free every few hundred rows.

import Glibc
import PosternAdmission
import PosternMail
import Synchronization

final class GreylistWriter: Sendable {
    private let file: LedgerFile
    private let memory: ShortLock<GreylistMemory>
    private let limits: GreylistStore.Limits
    private let log: any LogSink
    private let path: String

    /// Whoever holds it writes, or removes what memory and file must forget together.
    private let writing = Mutex(())
    private let worker = Worker()
    /// When a sweep found nothing more: not to be tried again within a second.
    private let sweptAt = Mutex<UnixTime?>(nil)
    private let isOverfull = Atomic<Bool>(false)
    /// There is to be a thread, and could not be.
    private let isAlone = Atomic<Bool>(false)

    /// Rows of one commit: the more, the fewer times a page of the index is written.
    static let commitRows = 16_384
    /// Rows that are written, read or removed at once: a millisecond of everybody's time.
    private static let stepRows = 256
    private static let sweepRows = 200
    private static let filterRows = 4000
    /// Of one call: decisions go on meanwhile, so there may always be more.
    private static let maxCommits = 16
    private static let maxSweeps = 50
    private static let maxFilterSteps = 64
    /// 200 ms at most: whoever asks waits.
    private static let maxPauses = 40
    private static let pause: UInt32 = 5000  // microseconds

    init(
        file: LedgerFile, memory: ShortLock<GreylistMemory>, path: String, limits: GreylistStore.Limits,
        log: any LogSink
    ) {
        self.file = file
        self.memory = memory
        self.path = path
        self.limits = limits
        self.log = log
    }

    // MARK: The thread

    func start() {
        do throws(SystemThread.Failure) {
            try worker.start { [self] in run() }
        } catch {
            isAlone.store(true, ordering: .relaxed)
            log.warning("\(path): no thread for writing; decisions write what they change themselves")
        }
    }

    /// Ends the thread, and writes what is left.
    func stop() {
        worker.end()
        guard memory.withLock({ $0.pending > 0 }) else { return }
        try? flush()  // told where it was found
        let lost = memory.withLock { $0.pending }
        if lost > 0 { log.warning("\(path): \(lost) changes could not be written, and are lost") }
    }

    /// There is something to write.
    func wake() {
        if isAlone.load(ordering: .relaxed) {
            try? flush()  // told where it was found
        } else {
            worker.wake()
        }
    }

    /// Leaves the processor to the thread for a moment: among hundreds that decide it is one, and could not keep up.
    func giveWay() {
        guard worker.isRunning else { return }
        for _ in 0..<Self.maxPauses {
            usleep(Self.pause)
            if memory.withLock({ $0.pending * 2 < limits.unwritten }) { return }
        }
    }

    private func run() {
        var wait: Duration? = .zero  // a filter may have to be made
        while !worker.isEnding {
            if wait != .zero { worker.wait(atMost: wait) }
            guard !worker.isEnding else { return }
            // More comes soon: one commit for all of it. A great many raise the signal again.
            let pending = memory.withLock { $0.pending }
            if (1..<Self.commitRows).contains(pending) { worker.wait(atMost: limits.gather) }
            wait = work()
        }
    }

    /// - Returns: when it is to be called again; nil: when there are changes.
    private func work() -> Duration? {
        do throws(DatabaseError) {
            try flush()
            let isGrown = try growFilter()
            let isSwept = try sweep()
            return isGrown && isSwept ? nil : .zero
        } catch {
            return memory.withLock { $0.pending > 0 } ? .seconds(1) : nil  // told where it was found
        }
    }

    // MARK: Writing

    /// Brings all changes to the disk. A damaged file is replaced by a new one, which takes them.
    func flush() throws(DatabaseError) {
        try writing.withLock { _ throws(DatabaseError) in
            do throws(DatabaseError) { try writeAll() } catch {
                failed(error)
                guard error.meaning == .damaged || error.meaning == .forbidden || error == Self.openedAnew else {
                    throw error
                }
                do throws(DatabaseError) { try writeAll() } catch {
                    failed(error)
                    throw error
                }
            }
        }
    }

    /// No more can wait to be written: once for each time that it comes to that.
    func tellOverfull() {
        guard !isOverfull.exchange(true, ordering: .relaxed) else { return }
        log.warning(
            "\(path): \(limits.unwritten) changes wait to be written; mail passes without greylisting until then")
    }

    /// From now on mail passes, until the file works again.
    func failed(_ error: DatabaseError) {
        if error.meaning != .refused { memory.withLock { $0.isReady = false } }
    }

    private func writeAll() throws(DatabaseError) {
        // A disk that is nearly full takes the little that this writes.
        let isAll = memory.withLock { $0.pending == 0 }
        try file.use(isProof: isAll) { database throws(DatabaseError) in try adopt(database) }
        var hasWritten = false
        for _ in 0..<Self.maxCommits {
            let count = try commit()
            if count > 0 { hasWritten = true }
            if count < Self.commitRows { break }
        }
        guard hasWritten else { return }
        isOverfull.store(false, ordering: .relaxed)
        // Power may fail: what is only in the kernel is brought to the disk, while nobody waits.
        try file.synchronize()
    }

    /// Makes sure that memory and filter are of this opening of the file.
    func adopt(_ database: Database) throws(DatabaseError) {
        let isKnown = memory.withLock { memory in
            guard memory.file?.serial == database.serial else { return false }
            memory.isReady = true
            return true
        }
        if isKnown { return }
        let (hash, counts) = try database.transaction { () throws(DatabaseError) in
            let state = try GreylistTransaction.state(of: database)
            // A disk that takes no more, or a file that may only be read, is found out here, not after the first answer.
            try GreylistTransaction(database, state.counts).end()
            return state
        }
        let isEmpty = try database.integer("SELECT 1 FROM entry LIMIT 1") == nil
        memory.withLock {
            $0.adopt(serial: database.serial, hash: hash, isEmpty: isEmpty, capacity: Self.filterCapacity(counts))
        }
    }

    private static func filterCapacity(_ counts: GreylistCounts) -> Int { max(0, counts.total) * 2 }

    /// Writes changes in one transaction.
    /// - Returns: how many.
    private func commit() throws(DatabaseError) -> Int {
        var changes: [GreylistMemory.Change] = []
        while changes.count < Self.commitRows {
            let some = memory.withLock { $0.take(atMost: Self.stepRows) }
            if some.isEmpty { break }
            changes += some
        }
        guard !changes.isEmpty else { return 0 }
        do throws(DatabaseError) { try write(changes) } catch {
            inSteps(changes) { memory, some in memory.takeBack(some) }
            throw error
        }
        return changes.count
    }

    private func write(_ changes: [GreylistMemory.Change]) throws(DatabaseError) {
        guard let opening = memory.withLock({ $0.file }) else { return }
        // In the order of the index each of its pages is visited once.
        let order = changes.indices.sorted {
            Int64(bitPattern: changes[$0].key.hash) < Int64(bitPattern: changes[$1].key.hash)
        }
        var written: [(key: GreylistRowKey, place: GreylistMemory.Place)] = []
        written.reserveCapacity(changes.count)
        var removed: [GreylistRowKey] = []
        var counts = try use(opening.serial) { database throws(DatabaseError) in
            try database.begin()
            return try GreylistTransaction.state(of: database).counts
        }
        do throws(DatabaseError) {
            var rest = order[...]
            while !rest.isEmpty {
                let some = rest.prefix(Self.stepRows)
                rest = rest.dropFirst(some.count)
                counts = try step(opening.serial, counts) { entries throws(DatabaseError) in
                    for number in some {
                        written.append((changes[number].key, try entries.write(changes[number])))
                    }
                }
            }
            while let excess = excess(counts) {
                var isNone = false
                counts = try step(opening.serial, counts) { entries throws(DatabaseError) in
                    let some = try entries.removeWaiting(min(excess, Self.stepRows), opening.hash)
                    isNone = some.isEmpty
                    removed += some
                }
                if isNone { break }  // the counts are wrong
            }
            _ = try step(opening.serial, counts, isProof: true) { entries throws(DatabaseError) in
                try entries.end()
                try entries.commit()
            }
        } catch {
            // SQLite may have rolled back by itself, or the file is closed: then this one says so, which is no news.
            try? use(opening.serial) { database throws(DatabaseError) in try database.rollBack() }
            throw error
        }
        inSteps(written) { memory, some in memory.wrote(some, opening.serial) }
        inSteps(removed) { memory, some in memory.removed(some, evenChanged: false) }
    }

    /// How many of those that wait must go; nil for none. A tenth is for them even where all else is known, or nobody new
    /// could ever come back in time.
    private func excess(_ counts: GreylistCounts) -> Int? {
        guard counts.total > limits.entries, counts.waiting > limits.entries / 10 else { return nil }
        return min(counts.total - limits.entries, counts.waiting - limits.entries / 10)
    }

    private func step(
        _ serial: UInt64, _ counts: GreylistCounts, isProof: Bool = false,
        _ body: (inout GreylistTransaction) throws(DatabaseError) -> Void
    ) throws(DatabaseError) -> GreylistCounts {
        try use(serial, isProof: isProof) { database throws(DatabaseError) in
            var entries = GreylistTransaction(database, counts)
            try body(&entries)
            return entries.counts
        }
    }

    /// Works with one opening of the file: a transaction is that one's.
    private func use<Result>(
        _ serial: UInt64, isProof: Bool = false, _ body: (Database) throws(DatabaseError) -> Result
    ) throws(DatabaseError) -> Result {
        let result: Result? = try file.use(isProof: isProof) { database throws(DatabaseError) in
            database.serial == serial ? try body(database) : nil
        }
        guard let result else {
            throw Self.openedAnew
        }
        return result
    }

    private static let openedAnew = DatabaseError(.busy, "the file was opened anew meanwhile", operation: "write")

    private func inSteps<Element>(_ elements: [Element], _ body: (inout GreylistMemory, ArraySlice<Element>) -> Void) {
        var rest = elements[...]
        while !rest.isEmpty {
            memory.withLock { body(&$0, rest.prefix(Self.stepRows)) }
            rest = rest.dropFirst(Self.stepRows)
        }
    }

    // MARK: Keeping it small

    /// Removes what has expired.
    /// - Returns: false when there may be more.
    func sweep() throws(DatabaseError) -> Bool {
        for _ in 0..<Self.maxSweeps { if try sweepStep() { return true } }
        return false
    }

    /// - Returns: whether that was all.
    private func sweepStep() throws(DatabaseError) -> Bool {
        guard let asked = memory.withLock({ $0.asked }) else { return true }
        if let sweptAt = sweptAt.withLock({ $0 }), asked.now >= sweptAt, asked.now - sweptAt < .seconds(1) {
            return true
        }
        let isAll = try remove(evenChanged: false) { entries, hash throws(DatabaseError) in
            try entries.removeExpired(asked.times, now: asked.now, atMost: Self.sweepRows, hash)
        }.isAll
        sweptAt.withLock { $0 = isAll ? asked.now : nil }
        return isAll
    }

    /// Changes one entry, whatever is decided meanwhile, and writes it.
    /// - Parameter body: from what there is to what there is to be; nil for nothing.
    /// - Returns: what there was.
    func change(
        _ key: GreylistKey, _ body: (GreylistEntry?) -> GreylistEntry?
    ) throws(DatabaseError) -> GreylistEntry? {
        try flush()
        let before = try file.use { database throws(DatabaseError) in
            try adopt(database)
            guard let opening = memory.withLock({ $0.file }) else { return nil as GreylistEntry? }
            let row = GreylistRowKey(key, hash: opening.hash)
            let found = try GreylistTransaction.find(row, in: database)
            return memory.withLock { memory in
                memory.load(row, found.entry, found.place)
                let before = memory.entry(row)
                let after = body(before)
                if after != before { _ = memory.set(after, for: row) }
                return before
            }
        }
        try flush()
        return before
    }

    /// Removes the triplets of a client or a domain.
    /// - Returns: how many.
    func forgetTriplets(of origin: [UInt8]) throws(DatabaseError) -> Int {
        try flush()
        let (first, last) = try file.use { database throws(DatabaseError) in
            (
                try database.integer("SELECT min(id) FROM entry") ?? 0,
                try database.integer("SELECT max(id) FROM entry") ?? -1
            )
        }
        // In steps, so that mail does not wait for the whole. New rows come after `last`: they were not meant.
        var count = 0
        var start = first
        while start <= last {
            let range = start..<(min(start, .max - Self.scanRows) + Self.scanRows)
            count += try remove(evenChanged: true) { entries, hash throws(DatabaseError) in
                (try entries.removeTriplets(of: origin, in: range, hash), true)
            }.count
            start = range.upperBound
        }
        return count
    }

    /// Rows that one step of forgetting looks at.
    private static let scanRows: Int64 = 5000

    /// - Parameter evenChanged: what a decision has changed meanwhile goes too.
    private func remove(
        evenChanged: Bool,
        _ body: (inout GreylistTransaction, SipHash) throws(DatabaseError) -> (keys: [GreylistRowKey], isAll: Bool)
    ) throws(DatabaseError) -> (count: Int, isAll: Bool) {
        try writing.withLock { _ throws(DatabaseError) in
            let removed = try file.use { database throws(DatabaseError) in
                try adopt(database)
                return try database.transaction { () throws(DatabaseError) in
                    let state = try GreylistTransaction.state(of: database)
                    var entries = GreylistTransaction(database, state.counts)
                    let removed = try body(&entries, state.hash)
                    if !removed.keys.isEmpty { try entries.end() }
                    return removed
                }
            }
            memory.withLock { $0.removed(removed.keys, evenChanged: evenChanged) }
            return (removed.keys.count, removed.isAll)
        }
    }
}

// MARK: - The filter

extension GreylistWriter {
    /// Goes on with the filter that is being made, or begins one where the one in use is full.
    /// - Returns: false when there is more to do.
    func growFilter() throws(DatabaseError) -> Bool {
        for _ in 0..<Self.maxFilterSteps {
            let (serial, after, isFull) = memory.withLock { ($0.file?.serial, $0.growsAfter, $0.filterIsFull) }
            guard let serial, after != nil || isFull else { return true }
            var hashes: [Int64] = []
            let counts = try use(serial) { database throws(DatabaseError) in
                guard let after else { return try GreylistTransaction.state(of: database).counts as GreylistCounts? }
                try database.run(
                    "SELECT hash FROM entry WHERE hash > ?1 ORDER BY hash LIMIT ?2",
                    [.integer(after), .integer(Self.filterRows)]
                ) { row in hashes.append(row.integer(0)) }
                return nil
            }
            memory.withLock { memory in
                if let counts {
                    memory.growFilter(capacity: Self.filterCapacity(counts))
                } else {
                    memory.growFilter(by: hashes, isEnd: hashes.count < Self.filterRows, serial)
                }
            }
        }
        return memory.withLock { $0.growsAfter == nil }
    }
}
