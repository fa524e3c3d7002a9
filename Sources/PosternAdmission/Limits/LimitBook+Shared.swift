// The host's half of a shared store's decisions: see LimitPlan.

internal import PosternMail

extension LimitBook {
    /// A difference of clocks that is none: what a round trip takes, and how well hosts agree.
    private static let clockTolerance: Int64 = 1000
    /// What one call tells of messages that are over: as many as a message has recipients, most often.
    private static let maxReleases = 256

    /// What to ask for a request.
    /// - Parameter writes: false to foresee only.
    func propose(_ request: LimitRequest, now: UnixTime, writes: Bool) -> LimitPlan {
        tick(now)
        pinned.removeAll(keepingCapacity: true)
        connections.forget(time)
        let instanceKey = LimitInstances.key(request)
        collected.removeAll(keepingCapacity: true)
        if writes {
            route = .collected
            expire(request, instanceKey)
            route = .own
        }
        let instance = message(of: request, instanceKey)
        let service = writes ? hooks.number(request.service) : 0
        let isEnd = request.totals != nil
        let reserves = writes && !isEnd && hooks.isAttached(service)
        var room = LimitInstance.maxHoldings - (instance?.holdings.count ?? 0)
        var debts: [LimitDebt] = []
        let steps = plan(request, instance).map { step in
            var isReserved = false
            if step.digest == nil, instanceKey != nil, reserves, step.terms.shape.window == .sliding {
                isReserved = step.holding != nil || room > 0
                if step.holding == nil { room -= 1 }
            }
            if writes, let debt = self.debts.take(LimitDebts.Key(shape: step.terms.shape, key: step.key)) {
                debts.append(debt)
            }
            let ending = isEnd ? step.holding.flatMap { instance?.holdings[$0] } : nil
            return LimitPlan.Step(
                terms: step.terms, key: step.key, asked: step.delta, reserves: isReserved,
                release: ending.map { $0.reserved > 0 ? $0.shared : 0 } ?? 0,
                counts: ending?.settled(request.totals) ?? 0, digest: step.digest, awaitsItsEnd: step.awaitsItsEnd,
                holdsReservation: (ending?.reserved ?? 0) > 0)
        }
        return LimitPlan(
            request: request, steps: steps, releases: takeCollected(), debts: debts, slot: instance?.slot ?? 0,
            difference: storeDifference,
            instanceKey: instanceKey, service: service, reserves: reserves)
    }

    /// What to tell when a message is over.
    func proposeEnd(instance: [UInt8], client: IPAddress?, now: UnixTime) -> LimitPlan {
        collected.removeAll(keepingCapacity: true)
        route = .collected
        end(instance: instance, client: client, now: now)
        route = .own
        return errand(releases: takeCollected(), debts: [])
    }

    /// What is owed, a part at a time.
    func proposeDebts(atMost limit: Int) -> LimitPlan {
        let taken = debts.take(atMost: limit)
        debtsOnTheWay += taken.count
        return errand(releases: [], debts: taken)
    }

    private func errand(releases: [LimitPlan.Release], debts: [LimitDebt]) -> LimitPlan {
        LimitPlan(
            request: LimitRequest(
                charges: [], instance: [], connection: [], service: [], client: nil, account: [], totals: nil),
            steps: [], releases: releases, debts: debts, slot: 0,
            difference: storeDifference, instanceKey: nil, service: 0, reserves: false)
    }

    private func takeCollected() -> [LimitPlan.Release] {
        // What the store has nothing of, and what comes to nothing, needs not be told.
        let releases = collected.filter { $0.amount > 0 || $0.counts > 0 }
        collected.removeAll(keepingCapacity: true)
        // After a pause there are many: the others are told later, a part at a time.
        owe(releases.dropFirst(Self.maxReleases))
        return Array(releases.prefix(Self.maxReleases))
    }

    // MARK: When the store has answered

    func conclude(_ plan: LimitPlan, _ outcome: LimitOutcome, now: UnixTime) -> LimitDecision {
        tick(now)
        let request = plan.request
        var refusals: [LimitRefusal] = []
        var events: [LimitEvent] = []
        for (step, result) in zip(plan.steps, outcome.steps) {
            if let over = result.over {
                refusals.append(refusal(step, over))
                if over.isTold {
                    events.append(event(.over, step, over.span, over.used, over.reserved, result, outcome, request))
                }
            }
        }
        for (step, result) in zip(plan.steps, outcome.steps) {
            if let near = result.near {
                events.append(event(.nearing, step, near.span, near.used, near.reserved, result, outcome, request))
            }
        }
        pinned.removeAll(keepingCapacity: true)
        var records: [LimitPlace?] = []
        records.reserveCapacity(plan.steps.count)
        let difference = time - outcome.time
        if !plan.steps.isEmpty { storeDifference = abs(difference) < Self.clockTolerance ? 0 : difference }
        for (step, result) in zip(plan.steps, outcome.steps) {
            records.append(mirror(result.state, step, request.client, difference))
        }
        mirror(plan.releases, besides: plan.steps)
        route = .collected  // the store has counted it
        defer {
            route = .own
            collected.removeAll(keepingCapacity: true)
        }
        var instance = message(of: request, plan.instanceKey)
        guard !refusals.contains(where: { $0.terms.isBinding }) else {
            if request.totals != nil, let instance {
                giveBack(instance)
                instance.isSettled = true
            }
            return LimitDecision(refusals: refusals, events: events)
        }
        /// The message that is charged; nil where nothing tells one from another.
        func owner() -> LimitInstance? {
            if instance == nil { instance = begin(request, plan.instanceKey, service: plan.service) }
            if let instance, instance.slot == 0 { instance.slot = outcome.time / LimitReservations.slot }
            return instance
        }
        for (number, step) in plan.steps.enumerated() where outcome.steps[number].over == nil {
            if let digest = step.digest { connections.remember(digest) }
            guard step.asked > 0 || (plan.reserves && step.awaitsItsEnd), step.digest == nil, let owner = owner() else {
                continue
            }
            let isReserved = step.asked > 0 ? step.reserves : true
            let known = owner.holding(of: step.terms, step.key)
            let isHeld = hold(step.terms, step.key, step.asked, owner, at: known, isReserved: isReserved)
            if isHeld, let place = records[number] { slabs[place.slab][place.number].reserved += Int64(step.asked) }
        }
        if request.totals != nil, let instance { settle(instance, request) }
        return LimitDecision(refusals: refusals, events: events)
    }

    /// How the keys stand there.
    func foresee(_ plan: LimitPlan, _ outcome: LimitOutcome) -> LimitDecision {
        var refusals: [LimitRefusal] = []
        var standings: [LimitEntry] = []
        for (step, result) in zip(plan.steps, outcome.steps) {
            if let over = result.over { refusals.append(refusal(step, over)) }
            standings.append(
                result.state.entry(LimitKey(octets: step.key), amounts: step.terms.amounts, at: outcome.time))
        }
        return LimitDecision(refusals: refusals, standings: standings)
    }

    private func refusal(_ step: LimitPlan.Step, _ over: LimitOutcome.Over) -> LimitRefusal {
        LimitRefusal(
            terms: step.terms, key: LimitKey(octets: step.key), use: use(step.terms, over.span, over.used),
            reserved: over.reserved, asked: step.asked, isBlocked: over.isBlocked,
            freeIn: over.freeIn.map { .milliseconds($0) })
    }

    private func use(_ terms: LimitTerms, _ span: Int, _ used: Int) -> LimitUse {
        LimitUse(
            used: used, allowed: terms.amounts.indices.contains(span) ? terms.amounts[span] : 0,
            span: .milliseconds(terms.shape.spans.indices.contains(span) ? terms.shape.spans[span] : 0))
    }

    private func event(
        _ kind: LimitEvent.Kind, _ step: LimitPlan.Step, _ span: Int, _ used: Int, _ reserved: Int,
        _ result: LimitOutcome.Step, _ outcome: LimitOutcome, _ request: LimitRequest
    ) -> LimitEvent {
        LimitEvent(
            kind: kind, limit: step.terms.shape.name, count: step.terms.shape.count, key: LimitKey(octets: step.key),
            use: use(step.terms, span, used), reserved: reserved,
            blockedFor: .milliseconds(max(0, result.state.blockedUntil - outcome.time)), account: request.account,
            clients: result.state.clients, isBinding: step.terms.isBinding)
    }

    /// Takes over what the store knows of a key. Answers may come out of order: one that was given before another that
    /// is known already changes nothing.
    /// - Parameter difference: what our clock is ahead of the store's.
    private func mirror(
        _ state: LimitState, _ step: LimitPlan.Step, _ client: IPAddress?, _ difference: Int64
    ) -> LimitPlace? {
        let slabNumber = slab(for: step.terms)
        let slab = slabs[slabNumber]
        let known = slab.find(step.key)
        guard let number = known ?? insert(step.key, slab, bucket: Self.bucket(client)) else { return nil }
        let place = LimitPlace(slabNumber, number)
        pinned.append(place)
        // Clocks that disagree: what the store says is told by ours, so that it lasts as long here as there.
        let isNear = abs(difference) < Self.clockTolerance
        let shift = isNear ? 0 : difference
        var cells = state.cells.shifted(by: shift)
        var blockedUntil = state.blockedUntil
        if known != nil, isNear, isLost(state, slab, number) {
            let row = LimitRow(slab, number)
            if let own = LimitCells(row) {
                debts.restore(
                    own, blockedUntil: row.blockedUntil, byAdmin: row.isBlockedByAdmin,
                    LimitDebts.Key(shape: slab.shape, key: step.key))
                cells.meet(own, .most)
                blockedUntil = max(blockedUntil, row.blockedUntil)
            }
        }
        guard known == nil || !isNear || cells.last >= slab[number].last else { return place }
        // A clock of the store's that went back a little is waited for there too.
        if cells.last > time + 5 * Self.clockTolerance { cells = cells.shifted(by: time - cells.last) }
        advance(to: cells.last)
        func moved(_ time: Int64) -> Int64 { time > 0 ? max(0, time + shift) : 0 }
        slab[number].last = cells.last
        slab[number].blockedUntil = moved(blockedUntil)
        slab[number].isBlockedByAdmin = state.isBlockedByAdmin
        slab[number].warnedUntil = moved(state.warnedUntil)
        slab[number].toldUntil = moved(state.toldUntil)
        _ = slab.setContents(cells.words, number)  // as many as they are: of the same shape
        if !state.clients.isEmpty, clients[place] != nil || clients.count < Self.maxWatched {
            clients[place] = state.clients
            slab[number].hasClients = true
        }
        if tracksChanges { slab.markDirty(number) }
        return place
    }

    /// Whether the store knows less than it has told us: it was killed and had not written all of it, or it had to make
    /// room. What it has of a key lives for as long as any of it counts, so that none of it goes by itself. Several
    /// hosts may know the same, so the greater counts, cell by cell: what was lost of the cell that it was lost in may
    /// be less.
    private func isLost(_ state: LimitState, _ slab: LimitSlab, _ number: Int) -> Bool {
        let record = slab[number]
        // Answers that come out of order are not that late.
        guard record.last > 0, debtsOnTheWay == 0,
            state.since > record.last || state.cells.last + Self.clockTolerance < record.last
        else { return false }
        return record.blockedUntil > time || !slab.isEmpty(number, at: time)
    }

    // MARK: When it has not

    /// Decides alone, from what is known here.
    func decideAlone(_ plan: LimitPlan, _ silence: LimitSilence, now: UnixTime) -> LimitDecision {
        tick(now)
        route = silence == .sent ? .presumed : .owed
        defer { route = .own }
        takeBack(plan, silence)
        return decide(plan.request, now: now, writes: true)
    }

    /// What the store was to be told beside the decision.
    func takeBack(_ plan: LimitPlan, _ silence: LimitSilence) {
        let isOwed = silence == .unasked
        mirror(plan.releases, besides: [])
        if isOwed { owe(plan.releases[...]) }
        if isOwed { for debt in plan.debts { debts.putBack(debt) } }
    }

    /// What messages that are over have counted.
    /// - Parameter steps: these keys are known with it already.
    func mirror(_ releases: [LimitPlan.Release], besides steps: [LimitPlan.Step]) {
        for release in releases where release.counts > 0 {
            let slab = slabs[slab(for: release.terms)]
            let isKnown = steps.contains { $0.key == release.key && $0.terms.shape == release.terms.shape }
            guard !isKnown, let number = slab.find(release.key) else { continue }
            slab.add(release.counts, to: number, at: time)
            if tracksChanges { slab.markDirty(number) }
        }
    }

    private func owe(_ releases: ArraySlice<LimitPlan.Release>) {
        for release in releases {
            let key = LimitDebts.Key(shape: release.terms.shape, key: release.key)
            if release.amount > 0 { debts.release(release.amount, slot: release.slot, key) }
            if release.counts > 0 { debts.add(release.counts, key, at: time) }
        }
    }
}
