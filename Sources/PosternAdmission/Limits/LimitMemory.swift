// The limits' ledger in memory, for one host. One lock: a decision under it takes about a microsecond, and all limits of a
// request must be looked at together. What it counts can be taken out and put in again, for whoever keeps a journal.

public import PosternMail

public final class LimitMemory: LimitLedger {
    /// Longest time that an admin can block a key.
    public static let maxBlock = Duration.seconds(366 * 86_400)
    /// Records that one call looks at: some 100 us of everybody's time.
    private static let maxScan = 2000

    let book: ShortLock<LimitBook>

    /// - Parameter maxKeys: of all limits together, some 200 octets each with a span of their own.
    /// - Parameter tracksChanges: somebody calls `takeChanges` often.
    public init(maxKeys: Int = 1_000_000, tracksChanges: Bool = false) {
        book = ShortLock(LimitBook(maxKeys: maxKeys, tracksChanges: tracksChanges))
    }

    public func prepare(_ terms: [LimitTerms]) { book.withLock { $0.prepare(terms) } }

    public func decide(_ request: LimitRequest, now: UnixTime) -> LimitDecision {
        book.withLock { $0.decide(request, now: now, writes: true) }
    }

    public func end(instance: [UInt8], client: IPAddress?, now: UnixTime) {
        book.withLock { $0.end(instance: instance, client: client, now: now) }
    }

    public func foresee(_ request: LimitRequest, now: UnixTime) -> LimitDecision {
        book.withLock { $0.decide(request, now: now, writes: false) }
    }

    // MARK: For admins

    public func entries(onlyOver: Bool, after: String?, limit: Int, now: UnixTime) -> LimitPage {
        book.withLock { book in
            book.tick(now)
            var cursor = LimitCursor(text: after ?? "") ?? LimitCursor()
            var entries: [LimitEntry] = []
            for _ in 0..<Self.maxScan {
                guard entries.count < limit else { break }
                guard let place = book.next(&cursor) else { return LimitPage(entries: entries, next: nil) }
                let entry = book.entry(place)
                if entry.isOver || !onlyOver { entries.append(entry) }
            }
            return LimitPage(entries: entries, next: cursor.text)
        }
    }

    public func entries(for key: LimitKey, now: UnixTime) -> [LimitEntry] {
        book.withLock { book in
            book.tick(now)
            return book.places(of: key, limit: nil).map { book.entry($0) }
        }
    }

    public func clear(_ key: LimitKey, limit: String?, now: UnixTime) -> Int {
        change(key, limit, now) { book, slab, record in
            slab.empty(record)
            slab[record].blockedUntil = 0
            slab[record].warnedUntil = 0
            slab[record].toldUntil = 0
        }
    }

    public func block(_ key: LimitKey, limit: String?, for time: Duration, now: UnixTime) -> Int {
        let milliseconds = min(max(time, .zero), Self.maxBlock).nanoseconds / 1_000_000
        if let limit { book.withLock { $0.insert(key, limit: limit) } }
        return change(key, limit, now) { book, slab, record in
            slab[record].blockedUntil = book.time + milliseconds
            slab[record].isBlockedByAdmin = true
        }
    }

    public func unblock(_ key: LimitKey, limit: String?, now: UnixTime) -> Int {
        change(key, limit, now) { _, slab, record in slab[record].blockedUntil = 0 }
    }

    private func change(
        _ key: LimitKey, _ limit: String?, _ now: UnixTime, _ body: (LimitBook, LimitSlab, Int) -> Void
    ) -> Int {
        book.withLock { book in
            book.tick(now)
            let places = book.places(of: key, limit: limit)
            for place in places {
                let slab = book.slabs[place.slab]
                body(book, slab, place.number)
                if book.tracksChanges { slab.markDirty(place.number) }
            }
            return places.count
        }
    }

    public func counts() -> LimitCounts {
        book.withLock { book in
            LimitCounts(
                keys: book.keys, instances: book.instanceCount, evicted: book.evicted,
                reserving: book.reserving.map { String(decoding: $0, as: UTF8.self).printable }.sorted())
        }
    }

    // MARK: For a journal

    /// Takes up to so many keys that changed since they were taken last. Without tracking there are none.
    /// - Returns: also the ledger's time, to resume at.
    public func takeChanges(atMost limit: Int) -> (rows: [LimitRow], time: Int64) {
        book.withLock { book in
            var rows: [LimitRow] = []
            for slab in book.slabs where rows.count < limit {
                for record in slab.takeDirty(atMost: limit - rows.count) { rows.append(LimitRow(slab, record)) }
            }
            return (rows, book.time)
        }
    }

    /// A page of all keys, so that nobody waits for a whole copy. A key that changes after its page is among the changes.
    public func rows(after cursor: inout LimitCursor?, atMost limit: Int) -> [LimitRow] {
        book.withLock { book in
            var place = cursor ?? LimitCursor()
            var rows: [LimitRow] = []
            for _ in 0..<limit {
                guard let next = book.next(&place) else {
                    cursor = nil
                    return rows
                }
                rows.append(LimitRow(book.slabs[next.slab], next.number))
            }
            cursor = place
            return rows
        }
    }

    /// Goes on where another process has left off; to be called after it was restored, before anything is decided.
    /// - Parameter time: the ledger's time that the other had, and what has passed since.
    public func resume(at time: Int64, now: UnixTime) { book.withLock { $0.resume(at: time, now: now) } }

    /// Puts keys in, as they were taken out. A later row of a key takes the place of an earlier one.
    public func restore(_ rows: some Sequence<LimitRow>) {
        book.withLock { book in for row in rows { book.restore(row) } }
    }
}

/// Where a page of keys begins.
public struct LimitCursor: Hashable, Sendable {
    fileprivate(set) var slab = 0
    fileprivate(set) var number = 0

    public init() {}

    init?(text: String) {
        let parts = text.split(separator: ":")
        guard parts.count == 2, let slab = parts.first.flatMap({ Int($0) }),
            let number = parts.last.flatMap({ Int($0) }),
            slab >= 0, number >= 0
        else { return nil }
        self.slab = slab
        self.number = number
    }

    var text: String { "\(slab):\(number)" }
}

/// One key's counts, as a journal keeps them.
public struct LimitRow: Hashable, Sendable {
    public let shape: LimitShape
    public let key: LimitKey
    /// In milliseconds of the ledger's time.
    public let last: Int64
    public let blockedUntil: Int64
    public let isBlockedByAdmin: Bool
    /// Its cells; as many as the shape has.
    public let words: [UInt32]

    public init(
        shape: LimitShape, key: LimitKey, last: Int64, blockedUntil: Int64, isBlockedByAdmin: Bool, words: [UInt32]
    ) {
        self.shape = shape
        self.key = key
        self.last = last
        self.blockedUntil = blockedUntil
        self.isBlockedByAdmin = isBlockedByAdmin
        self.words = words
    }

    init(_ slab: LimitSlab, _ number: Int) {
        let record = slab[number]
        self.init(
            shape: slab.shape, key: LimitKey(octets: slab.key(number)), last: record.last,
            blockedUntil: record.blockedUntil,
            isBlockedByAdmin: record.isBlockedByAdmin, words: slab.contents(number))
    }
}

extension LimitShape {
    /// How many words a key's cells are.
    public var words: Int {
        spans.count * ((window == .fixed ? 2 : 0) + (window == .fixed ? 1 : 13) * (isWide ? 2 : 1))
    }
}

extension LimitBook {
    /// The next record that is used; nil at the end. The cursor is behind it then.
    fileprivate func next(_ cursor: inout LimitCursor) -> LimitPlace? {
        while cursor.slab < slabs.count {
            let slab = slabs[cursor.slab]
            while cursor.number < slab.end {
                cursor.number += 1
                if slab[cursor.number - 1].isLive { return LimitPlace(cursor.slab, cursor.number - 1) }
            }
            cursor.slab += 1
            cursor.number = 0
        }
        return nil
    }

    fileprivate func places(of key: LimitKey, limit: String?) -> [LimitPlace] {
        slabs.indices.compactMap { number in
            guard limit == nil || slabs[number].shape.name == limit else { return nil }
            return slabs[number].find(key.octets).map { LimitPlace(number, $0) }
        }
    }

    /// Makes a key that nothing was counted for, in limits of that name which the configuration has.
    fileprivate func insert(_ key: LimitKey, limit: String) {
        for slab in slabs where slab.shape.name == limit && !slab.amounts.isEmpty && slab.find(key.octets) == nil {
            _ = insert(key.octets, slab, bucket: bucket(ofKey: key.octets))  // found or not, the count tells
        }
    }

    func restore(_ row: LimitRow) {
        guard row.words.count == row.shape.words, row.last >= 0 else { return }
        let slab = slabs[slab(shaped: row.shape)]
        guard
            let number = slab.find(row.key.octets)
                ?? insert(row.key.octets, slab, bucket: bucket(ofKey: row.key.octets))
        else { return }
        advance(to: row.last)
        slab[number].last = row.last
        slab[number].blockedUntil = min(row.blockedUntil, time + LimitMemory.maxBlock.nanoseconds / 1_000_000)
        slab[number].isBlockedByAdmin = row.isBlockedByAdmin
        _ = slab.setContents(row.words, number)  // as many as they are, see above
    }
}
