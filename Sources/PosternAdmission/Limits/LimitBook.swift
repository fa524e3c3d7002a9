// All that is counted, for one thread at a time: decides requests, keeps reservations until a message's end, and makes
// room. Everything that a decision does takes a bounded time, whatever is counted.
//
// Where Postfix asks at END-OF-MESSAGE (LimitHooks), what RCPT admits is reserved: part of what is used, but in no cell.
// The message's end moves it into the cell of that moment, so the sum never grows by it. A message without an end gives
// it back. Where Postfix does not ask there, and for fixed windows, RCPT counts at once and for good.

internal import PosternMail

final class LimitBook {
    /// Keys of all limits.
    let maxKeys: Int
    /// Somebody takes the changes.
    let tracksChanges: Bool

    /// The ledger's time in milliseconds: the caller's, but never backwards.
    private(set) var time: Int64 = 0
    private var offset: Int64 = 0
    /// What becomes of counts: see LimitRoute.
    var route = LimitRoute.own
    /// What is over, for the shared store.
    var collected: [LimitPlan.Release] = []
    var debts = LimitDebts()
    /// Keys of them that the store is being told.
    var debtsOnTheWay = 0
    /// What our time is ahead of a shared store's; 0 where they agree well enough.
    var storeDifference: Int64 = 0
    var slabs: [LimitSlab] = []
    var slabByShape: [LimitShape: Int] = [:]
    /// The terms that were seen last at their place among the limits, with their slab.
    var bound: [(terms: LimitTerms, slab: Int)?] = []
    var instances = LimitInstances()
    var connections = LimitConnections()
    var hooks = LimitHooks()
    /// How many keys came from each source network, by its hash.
    var buckets = [UInt32](repeating: 0, count: 1 << 16)
    var clients: [LimitPlace: [IPAddress]] = [:]
    var evicted = 0
    var hand = 0
    /// Records of the request that is decided now.
    var pinned: [LimitPlace] = []
    var probes: UInt64 = 0

    /// Callers on several processors read the clock a little out of order.
    private static let jitter: Int64 = 1000
    /// Keys whose clients are kept.
    static let maxWatched = 4096

    init(maxKeys: Int, tracksChanges: Bool) {
        self.maxKeys = maxKeys
        self.tracksChanges = tracksChanges
    }

    var keys: Int { slabs.reduce(0) { $0 + $1.count } }
    var instanceCount: Int { instances.count }
    var reserving: [[UInt8]] { hooks.attached }

    // MARK: Time

    /// Reads the caller's clock. One that was set back stands still here and goes on from there.
    func tick(_ now: UnixTime) {
        let seen = max(0, now.nanoseconds / 1_000_000) + offset
        if seen < time - Self.jitter { offset += time - seen }
        time = max(time, seen)
    }

    /// Goes on where another process has left off.
    func resume(at resumed: Int64, now: UnixTime) {
        let own = max(0, now.nanoseconds / 1_000_000)
        time = max(resumed, own)
        offset = time - own
    }

    /// Nothing was counted later than now.
    func advance(to counted: Int64) {
        guard counted > time else { return }
        offset += counted - time
        time = counted
    }

    // MARK: Decisions

    /// One key's share of a decision.
    struct Step {
        let terms: LimitTerms
        let slab: LimitSlab
        let slabNumber: Int
        let key: [UInt8]
        var record: Int?
        /// What is added to what the key and the message have.
        let delta: Int
        let holding: Int?
        /// Of a connection that is not counted yet.
        let digest: UInt64?
        var isOver = false

        /// Octets that the client has not announced: only the recipients know the key, and only the end the amount.
        var awaitsItsEnd: Bool { terms.shape.count == .octets && terms.isPerRecipient && holding == nil }
    }

    func decide(_ request: LimitRequest, now: UnixTime, writes: Bool) -> LimitDecision {
        tick(now)
        pinned.removeAll(keepingCapacity: true)
        connections.forget(time)
        let instanceKey = LimitInstances.key(request)
        if writes {
            let asked = route
            if asked == .presumed { route = .owed }  // what is over by now was in nothing that was sent
            expire(request, instanceKey)
            route = asked
        }
        let instance = message(of: request, instanceKey)
        var steps = plan(request, instance)
        var refusals: [LimitRefusal] = []
        var overs: [(step: Int, refusal: LimitRefusal)] = []
        for number in steps.indices {
            guard let refusal = refusal(of: steps[number], request) else { continue }
            steps[number].isOver = true
            refusals.append(refusal)
            overs.append((number, refusal))
        }
        guard writes else {
            return LimitDecision(refusals: refusals, standings: steps.map { standing(of: $0) })
        }
        var events: [LimitEvent] = []
        for (number, refusal) in overs {
            if let event = markOver(&steps[number], refusal, request) { events.append(event) }
        }
        var untracked = 0
        if !refusals.contains(where: { $0.terms.isBinding }) {
            untracked = apply(&steps, request, instance, instanceKey, &events)
        } else if request.totals != nil, let instance {
            giveBack(instance)  // the whole message is refused
            instance.isSettled = true
        }
        return LimitDecision(refusals: refusals, events: events, untracked: untracked)
    }

    /// What is known of the message that a request is about.
    func message(of request: LimitRequest, _ instanceKey: UInt64?) -> LimitInstance? {
        let instance = instanceKey.flatMap { instances.find($0) }
        // After its end a message has no more recipients: it is another's, of a client that repeats itself.
        return request.totals == nil && instance?.isSettled == true ? nil : instance
    }

    func plan(_ request: LimitRequest, _ instance: LimitInstance?) -> [Step] {
        var steps: [Step] = []
        steps.reserveCapacity(request.charges.count)
        if let totals = request.totals, let instance {
            for (number, holding) in instance.holdings.enumerated() {
                let total: Int? =
                    switch holding.terms.shape.count {
                    case .connections, .messages: 1
                    case .octets: totals.octets
                    case .recipients: holding.terms.isPerRecipient ? holding.asked : totals.recipients
                    }
                steps.append(step(holding.terms, holding.key, max(0, (total ?? 0) - holding.held), number, nil))
            }
        }
        for charge in request.charges {
            let key = charge.key.octets
            if charge.terms.shape.count == .connections {
                let digest = LimitConnections.digest(charge.terms, key, request.connection)
                let isKnown = connections.contains(digest)
                steps.append(step(charge.terms, key, isKnown ? 0 : charge.amount, nil, digest))
                continue
            }
            // At its end a message is charged where its recipients were: their keys may not be known any more.
            if request.totals != nil, let instance, instance.hasHolding(of: charge.terms) { continue }
            let holding = instance?.holding(of: charge.terms, key)
            let held = holding.flatMap { instance?.holdings[$0].held } ?? 0
            let delta = charge.isTotal ? max(0, charge.amount - held) : max(0, charge.amount)
            steps.append(step(charge.terms, key, delta, holding, nil))
        }
        return steps
    }

    private func step(
        _ terms: LimitTerms, _ key: [UInt8], _ delta: Int, _ holding: Int?, _ digest: UInt64?
    ) -> Step {
        let number = slab(for: terms)
        let slab = slabs[number]
        let record = slab.find(key)
        if let record { pinned.append(LimitPlace(number, record)) }
        return Step(
            terms: terms, slab: slab, slabNumber: number, key: key, record: record, delta: delta, holding: holding,
            digest: digest)
    }

    /// Why a step cannot be made; nil if it can.
    private func refusal(of step: Step, _ request: LimitRequest) -> LimitRefusal? {
        let record = step.record.map { step.slab[$0] }
        let reserved = Int(record?.reserved ?? 0)
        // What was admitted before the block goes through; not past an admin's.
        let isBlocked = record.map { $0.blockedUntil > time && (step.delta > 0 || $0.isBlockedByAdmin) } ?? false
        guard isBlocked || step.delta > 0 else { return nil }
        // Of the spans that are over, the one that is so for longest: that is what the sender waits for.
        var worst: (span: Int, wait: Int64)?
        for span in step.terms.amounts.indices where step.delta > 0 {
            guard let wait = wait(step, span, reserved: reserved), wait >= worst?.wait ?? 0 else { continue }
            worst = (span, wait)
        }
        guard isBlocked || worst != nil else { return nil }
        let rest = isBlocked ? (record?.blockedUntil ?? time) - time : step.terms.block.nanoseconds / 1_000_000
        let free = max(rest, worst?.wait ?? 0)
        let spans = step.terms.shape.spans
        let longest = spans.indices.max { spans[$0] < spans[$1] } ?? 0
        return LimitRefusal(
            terms: step.terms, key: LimitKey(octets: step.key), use: use(step, worst?.span ?? longest),
            reserved: reserved, asked: step.delta, isBlocked: isBlocked,
            freeIn: free == Self.never ? nil : .milliseconds(free))
    }

    private static let never = Int64.max

    /// How long until a step fits into a span, in milliseconds; nil where it does.
    private func wait(_ step: Step, _ span: Int, reserved: Int) -> Int64? {
        let allowed = step.terms.amounts[span]
        let used = step.record.map { step.slab.used($0, span, at: time) } ?? 0
        let sum = used.clamped(adding: reserved).clamped(adding: step.delta)
        guard sum > allowed else { return nil }
        guard step.delta <= allowed else { return Self.never }
        if let record = step.record, let wait = step.slab.wait(for: sum - allowed, record, span, at: time) {
            return wait
        }
        // Messages on their way are in the way: at most until they lapse, and what they count then is over.
        return LimitInstances.lapse + step.terms.shape.longest(span)
    }

    func use(_ step: Step, _ span: Int) -> LimitUse {
        LimitUse(
            used: step.record.map { step.slab.used($0, span, at: time) } ?? 0, allowed: step.terms.amounts[span],
            span: .milliseconds(step.terms.shape.spans[span]))
    }

    /// Remembers that a key went over: blocks it, and tells so once in a time.
    private func markOver(_ step: inout Step, _ refusal: LimitRefusal, _ request: LimitRequest) -> LimitEvent? {
        guard let number = ensure(&step, request) else { return nil }
        watch(step, number, request.client)
        let slab = step.slab
        let block = step.terms.block.nanoseconds / 1_000_000
        if !refusal.isBlocked, block > 0 {
            slab[number].blockedUntil = time + block
            slab[number].isBlockedByAdmin = false
            if tracksChanges { slab.markDirty(number) }
            if route == .owed { debts.block(until: time + block, LimitDebts.Key(shape: slab.shape, key: step.key)) }
        }
        guard slab[number].toldUntil <= time else { return nil }
        slab[number].toldUntil = time + max(refusal.use.span.nanoseconds / 1_000_000, block)
        return event(.over, step, number, refusal.use, request)
    }

    /// - Returns: for how many limits there was no room.
    private func apply(
        _ steps: inout [Step], _ request: LimitRequest, _ known: LimitInstance?, _ instanceKey: UInt64?,
        _ events: inout [LimitEvent]
    ) -> Int {
        var instance = known
        var untracked = 0
        let isEnd = request.totals != nil
        let service = hooks.number(request.service)
        let reserves = !isEnd && hooks.isAttached(service)
        /// The message that is charged; nil where nothing tells one from another.
        func owner() -> LimitInstance? {
            if instance == nil { instance = begin(request, instanceKey, service: service) }
            return instance
        }
        for number in steps.indices where !steps[number].isOver {
            if let digest = steps[number].digest { connections.remember(digest) }
            guard steps[number].delta > 0 else {
                if reserves, steps[number].awaitsItsEnd, let owner = owner() {
                    // Nothing yet, but its end knows the key.
                    let step = steps[number]
                    _ = hold(step.terms, step.key, 0, owner, at: step.holding, isReserved: true)
                }
                continue
            }
            guard let record = ensure(&steps[number], request) else {
                untracked += 1
                continue
            }
            let step = steps[number]
            var isReserved = false
            if step.digest == nil, let owner = owner() {
                isReserved = reserves && step.terms.shape.window == .sliding
                isReserved = hold(step.terms, step.key, step.delta, owner, at: step.holding, isReserved: isReserved)
            }
            if isReserved {
                step.slab[record].reserved += Int64(step.delta)
            } else {
                count(step.delta, record, step.slabNumber, step.key)
            }
            if let event = markNear(step, record, request) { events.append(event) }
        }
        if isEnd, let instance { settle(instance, request) }
        return untracked
    }

    func begin(_ request: LimitRequest, _ instanceKey: UInt64?, service: Int) -> LimitInstance? {
        guard let instanceKey else { return nil }
        let begun = LimitInstance(key: instanceKey, request, service: service, time: time)
        instances.begin(begun)
        return begun
    }

    /// - Returns: whether it is reserved: not where the message holds too much already.
    func hold(
        _ terms: LimitTerms, _ key: [UInt8], _ delta: Int, _ instance: LimitInstance, at known: Int?, isReserved: Bool
    ) -> Bool {
        var number = known
        if number == nil {
            guard instance.holdings.count < LimitInstance.maxHoldings else { return false }
            number = instance.holdings.count
            instance.holdings.append(LimitInstance.Holding(terms: terms, key: key))
        }
        guard let number else { return false }
        instance.holdings[number].asked += delta
        if isReserved {
            instance.holdings[number].reserved += delta
            if route == .collected || route == .presumed { instance.holdings[number].shared += delta }
            if route == .presumed, instance.slot == 0 { instance.slot = time / LimitReservations.slot }
        } else {
            instance.holdings[number].charged += delta
        }
        return isReserved
    }

    /// Counts here, and remembers it where a shared store is to be told later.
    func count(_ amount: Int, _ record: Int, _ slabNumber: Int, _ key: [UInt8]) {
        let slab = slabs[slabNumber]
        slab.add(amount, to: record, at: time)
        if tracksChanges { slab.markDirty(record) }
        if route == .owed { debts.add(amount, LimitDebts.Key(shape: slab.shape, key: key), at: time) }
    }

    /// A message has come to its end and is accepted: what it had reserved and needs is counted now, the rest goes back.
    func settle(_ instance: LimitInstance, _ request: LimitRequest) {
        instance.isSettled = true
        for number in instance.holdings.indices {
            let holding = instance.holdings[number]
            guard holding.reserved > 0 else { continue }
            let counted = instance.holdings[number].settled(request.totals)
            instance.holdings[number].charged += counted
            release(number, instance, counting: counted)
        }
    }

    /// A message without an end.
    func giveBack(_ instance: LimitInstance) {
        for number in instance.holdings.indices where instance.holdings[number].reserved > 0 {
            release(number, instance, counting: 0)
        }
    }

    /// Ends what a message had reserved of one key.
    func release(_ number: Int, _ instance: LimitInstance, counting amount: Int) {
        let holding = instance.holdings[number]
        instance.holdings[number].reserved = 0
        instance.holdings[number].shared = 0
        let slabNumber = slab(of: holding.terms)
        let slab = slabs[slabNumber]
        // A key with reservations is never removed.
        let record = slab.find(holding.key)
        if let record { slab[record].reserved = max(0, slab[record].reserved - Int64(holding.reserved)) }
        switch route {
        case .collected:
            collected.append(
                LimitPlan.Release(
                    terms: holding.terms, key: holding.key, slot: instance.slot, amount: holding.shared, counts: amount)
            )
            return
        case .owed where holding.shared > 0:
            debts.release(holding.shared, slot: instance.slot, LimitDebts.Key(shape: slab.shape, key: holding.key))
        default: break
        }
        if amount > 0, let record { count(amount, record, slabNumber, holding.key) }
    }

    // MARK: Ends of messages that are not seen

    func end(instance: [UInt8], client: IPAddress?, now: UnixTime) {
        tick(now)
        guard let key = LimitInstances.key(instance, client), let over = instances.find(key) else { return }
        finish(over)
    }

    func expire(_ request: LimitRequest, _ instanceKey: UInt64?) {
        // Each was begun by a decision of its own, so this is a bounded time for each; after a pause there are many.
        for _ in 0..<64 {
            guard let lapsed = instances.popLapsed(time) else { break }
            finish(lapsed)
        }
        instances.forgetOldest(time)
        // A client has one message at a time on a connection.
        if let instanceKey, let previous = instances.previous(on: request.connection, before: instanceKey) {
            finish(previous)
        }
        if request.totals != nil { hooks.sawEnd(hooks.number(request.service)) }
        sweep()
    }

    func finish(_ instance: LimitInstance) {
        guard !instance.isSettled else { return }
        instance.isSettled = true
        guard instance.holdings.contains(where: { $0.reserved > 0 }) else { return }
        if hooks.isAttached(instance.service) {
            hooks.missedEnd(instance.service)
            giveBack(instance)
        } else {
            // Nobody tells the end any more: it may have been accepted.
            for number in instance.holdings.indices where instance.holdings[number].reserved > 0 {
                let reserved = instance.holdings[number].reserved
                instance.holdings[number].charged += reserved
                release(number, instance, counting: reserved)
            }
        }
    }
}
