// Greylisting's rows that are in memory, before those of the file: what was changed and is not written yet, and what was
// read or written lately. Every decision is made here, so that one which follows another sees what that has changed,
// written or not; a key that is not here is asked of the filter, and only where that cannot tell, of the file.
//
// It reads no file and knows no thread: GreylistStore holds the lock around it, GreylistWriter brings its changes to the
// file and says when they are there.

import PosternAdmission
import PosternMail

struct GreylistMemory {
    /// What is known of a key's row in the file.
    enum Place: Hashable, Sendable {
        /// It has to be looked for: the file was opened anew.
        case unknown
        case none
        case row(id: Int64, kind: Int)
    }

    private struct Row {
        /// Nil: there is none, or it is to be removed.
        var entry: GreylistEntry?
        var place: Place
        /// In `queue`.
        var isQueued = false
        var isBeingWritten = false
        /// Since the clock's hand came by.
        var wasUsed = false

        var canBeLetGo: Bool { !isQueued && !isBeingWritten }
    }

    /// One row on its way into the file.
    struct Change: Sendable {
        let key: GreylistRowKey
        /// Nil: it is to be removed.
        let entry: GreylistEntry?
        let place: Place
    }

    struct Missing: Error { let key: GreylistRowKey }

    enum Attempt {
        /// - Parameter wakes: the writer has something to do that it does not know of.
        /// - Parameter isCrowded: half of what may wait to be written does.
        case decided(GreylistAnswer, wakes: Bool = false, isCrowded: Bool = false)
        /// The file must be asked first.
        case missing(GreylistRowKey)
        /// There is no file that can be relied on.
        case notReady
        /// Too much waits to be written.
        case full
    }

    /// Rows that are kept although the file has them: some 350 octets each.
    private let capacity: Int
    private let maxPending: Int
    /// So many changes are written without waiting for more.
    private let enough: Int

    private var rows: [GreylistRowKey: Row] = [:]
    /// Rows in the order of their coming; what was used since the hand's last visit stays (CLOCK, Corbató 1968).
    private var ring = Queue<GreylistRowKey>()
    private var queue = Queue<GreylistRowKey>()
    private var beingWritten = 0

    /// Which opening of the file the rows' places are of.
    private(set) var file: (serial: UInt64, hash: SipHash)?
    var isReady = false
    private var filter: GreylistFilter?
    private var growing: (filter: GreylistFilter, after: Int64)?
    /// By the last decision: what the sweep goes by.
    private(set) var asked: (times: GreylistTimes, now: UnixTime)?

    init(capacity: Int, maxPending: Int, enough: Int) {
        self.capacity = capacity
        self.maxPending = maxPending
        self.enough = enough
    }

    /// Changes that the file does not have yet.
    var pending: Int { queue.count + beingWritten }

    // MARK: Deciding

    /// - Parameter writes: what is decided is remembered.
    mutating func attempt(
        _ request: GreylistRequest, _ times: GreylistTimes, now: UnixTime, writes: Bool
    ) -> Attempt {
        guard isReady, let hash = file?.hash else { return .notReady }
        var looked: [(key: GreylistKey, row: GreylistRowKey)] = []
        let decision: GreylistDecision
        do throws(Missing) {
            decision = try GreylistDecision.make(for: request, times: times, now: now) { key throws(Missing) in
                let row = GreylistRowKey(key, hash: hash)
                looked.append((key, row))
                return try recall(row)
            }
        } catch {
            return .missing(error.key)
        }
        guard writes else { return .decided(decision.answer) }
        asked = (times, now)
        guard !decision.changes.isEmpty else { return .decided(decision.answer) }
        guard pending < maxPending else { return .full }
        var wakes = false
        for change in decision.changes {
            guard let key = looked.first(where: { $0.key == change.key })?.row else { continue }  // all were looked for
            if set(change.entry, for: key) { wakes = true }
        }
        return .decided(decision.answer, wakes: wakes, isCrowded: isCrowded)
    }

    private mutating func recall(_ key: GreylistRowKey) throws(Missing) -> GreylistEntry? {
        if let index = rows.index(forKey: key) {
            rows.values[index].wasUsed = true
            return rows.values[index].entry
        }
        if filter?.mayHold(key.hash) == false { return nil }
        throw Missing(key: key)
    }

    /// - Parameter entry: nil removes it.
    /// - Returns: whether the writer is to be woken.
    mutating func set(_ entry: GreylistEntry?, for key: GreylistRowKey) -> Bool {
        if let index = rows.index(forKey: key) {
            rows.values[index].entry = entry
            guard !rows.values[index].isQueued else { return false }
            rows.values[index].isQueued = true
        } else {
            let isNowhere = filter?.mayHold(key.hash) == false
            insert(Row(entry: entry, place: isNowhere ? .none : .unknown, isQueued: true), key)
        }
        queue.append(key)
        return queue.count == 1 || queue.count == enough
    }

    /// Takes in what another ledger has under a key.
    /// - Returns: whether that added something; nil where the file must be asked first.
    mutating func merge(
        _ row: GreylistPage.Row, _ key: GreylistRowKey, _ times: GreylistTimes, now: UnixTime
    ) -> Bool? {
        let before: GreylistEntry?
        do throws(Missing) { before = try recall(key) } catch { return nil }
        asked = (times, now)
        let after = GreylistEntry.merged(before, row.entry, under: row.key, times: times, now: now)
        guard after != before else { return false }
        _ = set(after, for: key)
        return true
    }

    /// Half of what may wait to be written does.
    var isCrowded: Bool { pending * 2 > maxPending }

    /// Puts in what the file has, unless something newer is here.
    mutating func load(_ key: GreylistRowKey, _ entry: GreylistEntry?, _ place: Place) {
        if let index = rows.index(forKey: key) {
            if rows.values[index].place == .unknown { rows.values[index].place = place }
        } else {
            insert(Row(entry: entry, place: place, wasUsed: true), key)
        }
    }

    /// - Parameter key: of a row that was put in under the same lock.
    func entry(_ key: GreylistRowKey) -> GreylistEntry? { rows[key]?.entry }

    private mutating func insert(_ row: Row, _ key: GreylistRowKey) {
        rows[key] = row
        ring.append(key)
        // A few steps for each row that comes: nobody waits while thousands go.
        for _ in 0..<4 where rows.count > capacity {
            guard let oldest = ring.popFirst() else { return }
            guard let index = rows.index(forKey: oldest) else { continue }
            if rows.values[index].canBeLetGo, !rows.values[index].wasUsed, oldest != key {
                rows.remove(at: index)
            } else {
                rows.values[index].wasUsed = false
                ring.append(oldest)
            }
        }
    }

    // MARK: Writing

    /// The next changes to be written, in the order they came; none of what is being written already.
    mutating func take(atMost count: Int) -> [Change] {
        var changes: [Change] = []
        changes.reserveCapacity(min(count, queue.count))
        for _ in 0..<queue.count {
            guard changes.count < count, let key = queue.popFirst() else { break }
            guard let index = rows.index(forKey: key) else { continue }
            guard !rows.values[index].isBeingWritten else {
                queue.append(key)  // where its row is going to be is not known yet
                continue
            }
            rows.values[index].isQueued = false
            rows.values[index].isBeingWritten = true
            beingWritten += 1
            changes.append(Change(key: key, entry: rows.values[index].entry, place: rows.values[index].place))
        }
        return changes
    }

    /// The file has them.
    /// - Parameter serial: of the opening that has.
    mutating func wrote(_ written: some Sequence<(key: GreylistRowKey, place: Place)>, _ serial: UInt64) {
        guard file?.serial == serial else { return }  // they wait again, see `adopt`
        for (key, place) in written {
            filter?.insert(key.hash)
            growing?.filter.insert(key.hash)
            guard let index = rows.index(forKey: key), rows.values[index].isBeingWritten else { continue }
            beingWritten -= 1
            rows.values[index].isBeingWritten = false
            rows.values[index].place = place
            if rows.values[index].entry == nil, !rows.values[index].isQueued { rows.remove(at: index) }
        }
    }

    /// The file could not take them: they wait again.
    mutating func takeBack(_ changes: some Sequence<Change>) {
        for change in changes {
            guard let index = rows.index(forKey: change.key), rows.values[index].isBeingWritten else { continue }
            beingWritten -= 1
            rows.values[index].isBeingWritten = false
            guard !rows.values[index].isQueued else { continue }
            rows.values[index].isQueued = true
            queue.append(change.key)
        }
    }

    /// The file has them no more.
    /// - Parameter evenChanged: what waits to be written goes too; otherwise it begins a new row.
    mutating func removed(_ keys: some Sequence<GreylistRowKey>, evenChanged: Bool) {
        for key in keys {
            guard let index = rows.index(forKey: key), !rows.values[index].isBeingWritten else { continue }
            if rows.values[index].isQueued {
                rows.values[index].place = .none
                if evenChanged { rows.values[index].entry = nil }
            } else {
                rows.remove(at: index)
            }
        }
    }

    // MARK: The file

    /// From now on the file is this opening of it. What waits to be written still does; what was read of another is
    /// forgotten.
    mutating func adopt(serial: UInt64, hash: SipHash, isEmpty: Bool, capacity: Int) {
        let waiting = rows.filter { !$0.value.canBeLetGo }
        rows.removeAll(keepingCapacity: true)
        ring = Queue()
        queue = Queue()
        beingWritten = 0
        for (key, row) in waiting {
            let key = GreylistRowKey(octets: key.octets, form: key.form, hash: hash)
            rows[key] = Row(entry: row.entry, place: .unknown, isQueued: true)
            ring.append(key)
            queue.append(key)
        }
        file = (serial, hash)
        isReady = true
        filter = isEmpty ? GreylistFilter(capacity: capacity) : nil
        growing = nil
        if !isEmpty { growFilter(capacity: capacity) }
    }

    /// Where the filter that is being made goes on; nil where there is none.
    var growsAfter: Int64? { growing?.after }

    var filterIsFull: Bool { growing == nil && filter.map { $0.count > $0.capacity * 3 / 4 } ?? false }

    /// Begins another filter, since the one that is in use has taken in enough.
    mutating func growFilter(capacity: Int) {
        var filter = GreylistFilter(capacity: capacity)
        filter.insert(UInt64(bitPattern: Int64.min))  // nothing comes before it
        growing = (filter, Int64.min)
    }

    /// - Parameter hashes: ascending, all that the file has behind `growsAfter`, or the first of them.
    mutating func growFilter(by hashes: some Sequence<Int64>, isEnd: Bool, _ serial: UInt64) {
        guard file?.serial == serial, var (filter, after) = growing else { return }
        growing = nil  // so that there is one owner of its words
        for hash in hashes {
            filter.insert(UInt64(bitPattern: hash))
            after = hash
        }
        if isEnd {
            self.filter = filter
        } else {
            growing = (filter, after)
        }
    }
}

/// First in, first out; without moving what stays.
private struct Queue<Element> {
    private var elements: [Element] = []
    private var head = 0

    var count: Int { elements.count - head }

    mutating func append(_ element: Element) { elements.append(element) }

    mutating func popFirst() -> Element? {
        guard head < elements.count else { return nil }
        let element = elements[head]
        head += 1
        if head == elements.count {
            elements.removeAll(keepingCapacity: true)
            head = 0
        } else if head > 1024, head * 2 > elements.count {  // half are gone: each of the others moves once at most
            elements.removeFirst(head)
            head = 0
        }
        return element
    }
}
