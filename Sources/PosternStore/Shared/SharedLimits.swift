// The limits' ledger of several hosts: counted in a store that they share, so that what is allowed is allowed once, at
// whichever host a client comes in. A decision is one step of the store's, by its clock (SharedLimitScript).
//
// What belongs to one host only stays here (LimitPlan), with a copy of every key that this host has asked for: when the
// store does not answer, decisions go on from that copy in the host's own ledger (LimitStore), its journal included.
// Nothing is refused for the store's absence, and nothing waits for it longer than its timeout. What is counted
// meanwhile is told to the store when it is back, by cells, so that it counts for when it happened; where it is not
// known whether a call was carried out it is taken for done (LimitSilence). Other hosts' reservations are not looked at
// meanwhile. What the store has lost, each host gives back of the keys that it knows. What waits to be told is in
// memory only. A daemon that ends tells it if the store answers then; else the store gets what the journal has, as if it
// had lost it.
//
// Time: keys live by the store's clock. The `now` that callers pass is for this host's messages and connections, and
// for its own ledger, and may differ from the store's by any amount.

internal import Glibc
public import PosternAdmission
public import PosternMail
import Synchronization

public final class SharedLimits: LimitLedger {
    let store: SharedStore
    let local: LimitStore
    private let log: any LogSink
    /// For tests, whose clock is scripted; nil for the store's.
    private let scripted: (@Sendable () -> UnixTime)?
    private let changes = Mutex<[SharedLimitChange]>([])
    private let isSettling = Atomic<Bool>(false)
    private let lines = Mutex(Lines())
    /// Something is to be told to the store.
    private let owes = Atomic<Bool>(false)

    /// Keys that one call tells the store of.
    private static let batch = 64

    /// - Parameter local: this host's own; opened and closed by whoever made it.
    public convenience init(_ store: SharedStore, local: LimitStore, log: any LogSink) {
        self.init(store, local: local, log: log, scripted: nil)
    }

    init(_ store: SharedStore, local: LimitStore, log: any LogSink, scripted: (@Sendable () -> UnixTime)?) {
        self.store = store
        self.local = local
        self.log = log
        self.scripted = scripted
        store.onReturn { [weak self] in _ = self?.settle() }
    }

    private var memory: LimitMemory { local.memory }

    // MARK: Decisions

    public func prepare(_ terms: [LimitTerms]) { local.prepare(terms) }

    public func decide(_ request: LimitRequest, now: UnixTime) -> LimitDecision {
        let plan = memory.propose(request, now: now, writes: true)
        guard !plan.isEmpty else {
            // Nothing is counted, but the end of a message is seen.
            return memory.conclude(plan, LimitOutcome(time: now.nanoseconds / 1_000_000, steps: []), now: now).decision
        }
        switch ask(plan, writes: true) {
        case .success(let outcome):
            let concluded = memory.conclude(plan, outcome, now: now)
            if concluded.owes || owes.load(ordering: .relaxed) { settle(atMost: 1) }
            return concluded.decision
        case .failure(let silence):
            store.countLocalDecision()
            owes.store(true, ordering: .relaxed)
            return memory.decideAlone(plan, silence.reason, now: now)
        }
    }

    public func foresee(_ request: LimitRequest, now: UnixTime) -> LimitDecision {
        let plan = memory.propose(request, now: now, writes: false)
        guard case .success(let outcome) = ask(plan, writes: false) else {
            return local.foresee(request, now: now)
        }
        return memory.foresee(plan, outcome)
    }

    public func end(instance: [UInt8], client: IPAddress?, now: UnixTime) {
        let plan = memory.proposeEnd(instance: instance, client: client, now: now)
        guard !plan.isEmpty else { return }
        switch ask(plan, writes: true) {
        case .success: memory.concludeEnd(plan)
        case .failure(let silence):
            owes.store(true, ordering: .relaxed)
            memory.takeBack(plan, silence.reason)
        }
    }

    private struct Silence: Error {
        let reason: LimitSilence
    }

    private func ask(_ plan: LimitPlan, writes: Bool) -> Result<LimitOutcome, Silence> {
        var call = SharedLimitCall(plan)
        let argument = call.argument(plan, now: clock, writes: writes)
        var wasSent = false
        do throws(StoreFailure) {
            let reply = try store.run(
                SharedLimitScript.decide, keys: call.keys, arguments: [argument], wasSent: &wasSent)
            if let outcome = SharedLimitCall.outcome(reply, plan) { return .success(outcome) }
            if lines.withLock({ $0.complaint.isDue() }) {
                log.warning("store \(store.url): its answer is none to what was asked; this host decides by itself")
            }
        } catch .refused {
            wasSent = false  // nothing of it was done: what a server refuses, it refuses from a script's first write on
        } catch {
            // The store has said what is wrong.
        }
        return .failure(Silence(reason: wasSent ? .sent : .unasked))
    }

    /// What the script is told of the time: nothing, but in tests.
    var clock: Int64? { scripted.map { $0().nanoseconds / 1_000_000 } }

    // MARK: Afterwards

    /// Tells the store what admins changed and what was counted while it did not answer.
    /// - Parameter batches: so many calls at most; what is left is told with later decisions.
    /// - Parameter deadline: no call begins after it.
    /// - Returns: false where another thread is at it.
    @discardableResult
    func settle(atMost batches: Int = .max, until deadline: StoreDeadline? = nil) -> Bool {
        guard isSettling.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged else {
            return false
        }
        defer { isSettling.store(false, ordering: .releasing) }
        owes.store(false, ordering: .relaxed)
        for _ in 0..<min(batches, Self.maxChanges) {
            guard let change = changes.withLock({ $0.first }) else { break }
            if let deadline, deadline.remaining == 0 { break }
            do throws(StoreFailure) {
                _ = try apply(change)
            } catch {
                owes.store(true, ordering: .relaxed)
                return true
            }
            changes.withLock { if !$0.isEmpty { $0.removeFirst() } }
        }
        var told = 0
        for _ in 0..<batches {
            if let deadline, deadline.remaining == 0 { break }
            let plan = memory.proposeDebts(atMost: Self.batch)
            guard !plan.isEmpty else {
                memory.concludeDebts(plan, nil)
                break
            }
            if case .failure(let silence) = ask(plan, writes: true) {
                memory.concludeDebts(plan, silence.reason)
                owes.store(true, ordering: .relaxed)
                return true
            }
            memory.concludeDebts(plan, nil)
            told += plan.debts.count
        }
        if memory.debts.keys > 0 || changes.withLock({ !$0.isEmpty }) { owes.store(true, ordering: .relaxed) }
        tellOfLosses()
        if told > 0, batches > 1 {
            log.info("limits: the store was told of \(told) keys that were counted here meanwhile")
        }
        return true
    }

    /// To be called last, before the host's own ledger is closed. What waits for the store goes there, if it answers now.
    public func close() {
        guard waiting > 0 else { return }
        let deadline = StoreDeadline.after(SharedStore.farewell)
        // The store's own thread may be at it, since it is back.
        while store.retry(), !settle(until: deadline), deadline.remaining > 0 { usleep(1000) }
        let (keys, changed) = (memory.debts.keys, changes.withLock { $0.count })
        if keys > 0 {
            log.warning(
                "store \(store.url): keys of limits that it was not told of: \(keys); what limits.journal has of them "
                    + "goes there with later decisions")
        }
        if changed > 0 {
            log.warning("store \(store.url): changes of limits by an admin that it was not told of: \(changed)")
        }
    }

    /// Keys that were counted here by itself and what an admin has changed: what the store is to be told of yet.
    public var waiting: Int { memory.debts.keys + changes.withLock { $0.count } }

    public var readings: [CounterReading] { [.waiting(waiting, in: "limits")] }

    private func tellOfLosses() {
        let restored = memory.restored
        let isDue = lines.withLock { lines in
            defer { lines.restored = restored }
            return lines.restored < restored && lines.loss.isDue()
        }
        guard isDue else { return }
        log.info("store \(store.url): it lacks counts of limits that this host knows; it gets them, key by key")
    }

    /// Lines that would fill the log: one of a kind a minute.
    private struct Lines {
        struct Pace {
            var next = StoreDeadline(nanoseconds: .min)

            mutating func isDue() -> Bool {
                let now = StoreDeadline.now()
                guard now > next else { return false }
                next = StoreDeadline(nanoseconds: now.nanoseconds &+ 60_000_000_000)
                return true
            }
        }
        /// What `memory` had counted when they were looked at last.
        var restored = 0
        var loss = Pace()
        var complaint = Pace()
    }

    // MARK: For admins

    /// More than a decision has: an admin waits.
    static let patience = Duration.seconds(2)
    /// Changes that wait for the store.
    private static let maxChanges = 1000

    // Limits that a configuration has named since the start are looked at: a key's name has all of its limit in it.

    public func clear(_ key: LimitKey, limit: String?, now: UnixTime) throws(LimitUnavailable) -> Int {
        try change(SharedLimitChange(key, limit, .clear), now: now)
    }

    public func block(
        _ key: LimitKey, limit: String?, for time: Duration, now: UnixTime
    ) throws(LimitUnavailable) -> Int {
        let time = min(max(time, .zero), LimitMemory.maxBlock)
        return try change(SharedLimitChange(key, limit, .block(time)), now: now)
    }

    public func unblock(_ key: LimitKey, limit: String?, now: UnixTime) throws(LimitUnavailable) -> Int {
        try change(SharedLimitChange(key, limit, .unblock), now: now)
    }

    /// Here and in the store; here at once and in the store later, where it does not answer.
    private func change(_ change: SharedLimitChange, now: UnixTime) throws(LimitUnavailable) -> Int {
        let isWaiting = changes.withLock { !$0.isEmpty }
        if !isWaiting {
            do throws(StoreFailure) {
                let found = try apply(change)
                for limit in found { _ = local(change, limit, now: now) }
                // What is known here only goes too.
                _ = local(change, change.limit, now: now)
                return found.count
            } catch {
                // Known to the log. This host goes on with it, and tells it later.
            }
        }
        let isKept = changes.withLock { changes in
            guard changes.count < Self.maxChanges else { return false }
            var later = change
            later.made = .now()
            changes.append(later)
            return true
        }
        guard isKept else { throw LimitUnavailable("too many changes wait for the store already") }
        owes.store(true, ordering: .relaxed)
        return local(change, change.limit, now: now)
    }

    private func local(_ change: SharedLimitChange, _ limit: String?, now: UnixTime) -> Int {
        switch change.kind {
        case .clear:
            memory.forgive(change.key, limit: limit, counts: true)
            return local.clear(change.key, limit: limit, now: now)
        case .block: return local.block(change.key, limit: limit, for: change.rest, now: now)
        case .unblock:
            memory.forgive(change.key, limit: limit, counts: false)
            return local.unblock(change.key, limit: limit, now: now)
        }
    }

    /// - Returns: the limits in which the store had the key, or has it now.
    private func apply(_ change: SharedLimitChange) throws(StoreFailure) -> [String] {
        var found: [String] = []
        for (shape, _) in memory.limits where change.limit == nil || change.limit == shape.name {
            var call = SharedLimitCall()
            call.append({ number in change.errand(number) }, shape, change.key)
            let argument = call.argument(nil, now: clock, writes: true)
            let reply = try store.run(SharedLimitScript.decide, keys: call.keys, arguments: [argument])
            if SharedLimitCall.found(reply) == 1 { found.append(shape.name) }
        }
        return found
    }

    /// As this host knows them: how many keys the store has only a look at all of them would tell.
    public func counts() -> LimitCounts { local.counts() }

    /// Keys that the store is to be told of yet, and those that found no room among them.
    public var debts: (keys: Int, dropped: Int) { memory.debts }
}

/// What an admin has changed.
struct SharedLimitChange: Sendable {
    enum Kind: Sendable {
        case clear, unblock
        case block(Duration)
    }

    let key: LimitKey
    let limit: String?
    let kind: Kind
    /// When it was put off; nil for now.
    var made: StoreDeadline?

    init(_ key: LimitKey, _ limit: String?, _ kind: Kind) {
        self.key = key
        self.limit = limit
        self.kind = kind
    }

    /// What is left of a block.
    var rest: Duration {
        guard case .block(let time) = kind else { return .zero }
        guard let made else { return time }
        return max(.zero, time - .nanoseconds(StoreDeadline.now().nanoseconds - made.nanoseconds))
    }

    func errand(_ key: Int) -> SharedLimitCodec.Errand {
        switch kind {
        case .clear: .clear(key: key)
        case .unblock: .unblock(key: key)
        case .block: .block(key: key, milliseconds: rest.nanoseconds / 1_000_000, creates: limit != nil)
        }
    }
}
