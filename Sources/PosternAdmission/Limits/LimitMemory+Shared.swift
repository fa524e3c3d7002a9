// The limits' ledger in memory as one host's part of a shared store: see LimitPlan; and copying between ledgers.

public import PosternMail

extension LimitMemory {
    /// What to ask the shared store for a request.
    /// - Parameter writes: false to foresee only.
    public func propose(_ request: LimitRequest, now: UnixTime, writes: Bool) -> LimitPlan {
        book.withLock { $0.propose(request, now: now, writes: writes) }
    }

    /// What to tell it when a message is over.
    public func proposeEnd(instance: [UInt8], client: IPAddress?, now: UnixTime) -> LimitPlan {
        book.withLock { book in
            book.tick(now)
            return book.proposeEnd(instance: instance, client: client, now: now)
        }
    }

    /// What it was not told of yet, so many keys of it; taken out with this.
    public func proposeDebts(atMost limit: Int) -> LimitPlan { book.withLock { $0.proposeDebts(atMost: limit) } }

    /// Ends that.
    /// - Parameter silence: nil where the store was told.
    public func concludeDebts(_ plan: LimitPlan, _ silence: LimitSilence?) {
        book.withLock { book in
            book.debtsOnTheWay -= plan.debts.count
            guard let silence else { return }
            book.takeBack(plan, silence)
        }
    }

    /// Takes over what the store has decided.
    /// - Returns: also whether something is to be told to the store.
    public func conclude(
        _ plan: LimitPlan, _ outcome: LimitOutcome, now: UnixTime
    ) -> (decision: LimitDecision, owes: Bool) {
        book.withLock { book in
            let decision = book.conclude(plan, outcome, now: now)
            return (decision, book.debts.count > 0)
        }
    }

    /// What the store foresees.
    public func foresee(_ plan: LimitPlan, _ outcome: LimitOutcome) -> LimitDecision {
        book.withLock { $0.foresee(plan, outcome) }
    }

    /// Decides without the store, from what was last known of it; what is counted is owed to it.
    public func decideAlone(_ plan: LimitPlan, _ silence: LimitSilence, now: UnixTime) -> LimitDecision {
        book.withLock { $0.decideAlone(plan, silence, now: now) }
    }

    /// The store was told that a message is over.
    public func concludeEnd(_ plan: LimitPlan) { book.withLock { $0.mirror(plan.releases, besides: []) } }

    /// The store was not told what a plan without a decision says.
    public func takeBack(_ plan: LimitPlan, _ silence: LimitSilence) {
        book.withLock { book in
            book.route = silence == .sent ? .presumed : .owed
            book.takeBack(plan, silence)
            book.route = .own
        }
    }

    /// An admin has forgotten the counts of a key, or only ended its block: the store is not told of them any more.
    public func forgive(_ key: LimitKey, limit: String?, counts: Bool) {
        book.withLock { $0.debts.forget(key, limit: limit, counts: counts) }
    }

    /// How many keys the store is to be told of, and how often one found no room among them.
    public var debts: (keys: Int, dropped: Int) {
        book.withLock { ($0.debts.count + $0.debtsOnTheWay, $0.debts.dropped) }
    }

    /// Keys of which the store had lost something that this host knew, since the start.
    public var restored: Int { book.withLock { $0.debts.restored } }

    /// Limits that a configuration has named since the start, and what their spans allow.
    public var limits: [(shape: LimitShape, amounts: [Int])] {
        book.withLock { book in book.slabs.filter { !$0.amounts.isEmpty }.map { ($0.shape, $0.amounts) } }
    }
}

/// A part of a ledger, to be copied into another.
public struct LimitRowPage: Sendable {
    public let rows: [LimitRow]
    /// The ledger's time, in milliseconds: what the rows' times are told by.
    public let time: Int64
    /// Where the next page begins; nil at the end. May be there although this page is empty.
    public let next: String?

    public init(rows: [LimitRow], time: Int64, next: String?) {
        self.rows = rows
        self.time = time
        self.next = next
    }
}

/// A ledger whose counts can be copied into another's: a page at a time, and as often as one likes. Each cell becomes
/// the greater of both, so that a page that is copied twice counts once. What both have counted since on their own in
/// the same cell counts once too: copy before, not while, mail comes in at both.
public protocol LimitCopying: Sendable {
    /// A page of all keys. A key that moves meanwhile may be on two pages; one that was there all the time is on one.
    /// - Parameter after: the `next` of the page before.
    func rows(after: String?, atMost limit: Int, now: UnixTime) throws(LimitUnavailable) -> LimitRowPage

    /// Puts a page of another ledger in.
    /// - Returns: how many keys counted something still.
    func merge(_ page: LimitRowPage, now: UnixTime) throws(LimitUnavailable) -> Int
}

extension LimitMemory: LimitCopying {
    public func rows(after: String?, atMost limit: Int, now: UnixTime) -> LimitRowPage {
        var cursor = after.flatMap { LimitCursor(text: $0) }
        if after == nil || cursor == nil { cursor = LimitCursor() }
        let time = book.withLock { book in
            book.tick(now)
            return book.time
        }
        let rows = rows(after: &cursor, atMost: limit)
        return LimitRowPage(rows: rows, time: time, next: cursor?.text)
    }

    public func merge(_ page: LimitRowPage, now: UnixTime) -> Int {
        book.withLock { book in
            book.tick(now)
            let shift = LimitRow.shift(from: page.time, to: book.time)
            return page.rows.count { book.merge($0.shifted(by: shift)) }
        }
    }
}

extension LimitRow {
    /// Hosts' clocks differ a little; cells are moved only where they differ by more.
    public static func shift(from time: Int64, to other: Int64) -> Int64 {
        abs(other - time) < 5000 ? 0 : other - time
    }

    /// The same by a clock that shows something else.
    public func shifted(by milliseconds: Int64) -> LimitRow {
        guard milliseconds != 0, let cells = LimitCells(self)?.shifted(by: milliseconds) else { return self }
        return LimitRow(
            shape: shape, key: key, last: cells.last,
            blockedUntil: blockedUntil > 0 ? max(0, blockedUntil + milliseconds) : 0,
            isBlockedByAdmin: isBlockedByAdmin, words: cells.words)
    }
}

extension LimitBook {
    /// - Returns: whether it counts something still, and found room.
    fileprivate func merge(_ row: LimitRow) -> Bool {
        guard var cells = LimitCells(row) else { return false }
        let isCounting = row.shape.spans.indices.contains { cells.used($0, at: time) > 0 }
        guard isCounting || row.blockedUntil > time else { return false }
        let slab = slabs[slab(shaped: row.shape)]
        guard
            let number = slab.find(row.key.octets)
                ?? insert(row.key.octets, slab, bucket: bucket(ofKey: row.key.octets))
        else { return false }
        // Nothing was counted later than now.
        if cells.last > time { cells = cells.shifted(by: time - cells.last) }
        let own = LimitRow(slab, number)
        if var met = LimitCells(own) {
            met.meet(cells, .most)
            cells = met
        }
        slab[number].last = cells.last
        _ = slab.setContents(cells.words, number)  // as many as they are: of the same shape
        let most = time + LimitMemory.maxBlock.nanoseconds / 1_000_000
        if row.blockedUntil > max(own.blockedUntil, time) {
            slab[number].blockedUntil = min(row.blockedUntil, most)
            slab[number].isBlockedByAdmin = row.isBlockedByAdmin
        }
        if tracksChanges { slab.markDirty(number) }
        return true
    }
}
