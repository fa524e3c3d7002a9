// What the book tells of its keys: events for the log, and how they stand.

internal import PosternMail

extension LimitBook {
    // MARK: Events

    func markNear(_ step: Step, _ number: Int, _ request: LimitRequest) -> LimitEvent? {
        let slab = step.slab
        let reserved = Int(slab[number].reserved)
        var told: LimitEvent?
        for span in step.terms.amounts.indices {
            let allowed = step.terms.amounts[span]
            let sum = slab.used(number, span, at: time).clamped(adding: reserved)
            guard sum >= allowed / 2 else { continue }
            watch(step, number, request.client)
            guard told == nil, let share = step.terms.warnAt, slab[number].warnedUntil <= time else { continue }
            // Rounded up, without a product that could be too large.
            let least = allowed / 100 * share + (allowed % 100 * share + 99) / 100
            guard sum >= least else { continue }
            slab[number].warnedUntil = time + step.terms.shape.spans[span]
            told = event(.nearing, step, number, use(step, span), request)
        }
        return told
    }

    func event(
        _ kind: LimitEvent.Kind, _ step: Step, _ number: Int, _ use: LimitUse, _ request: LimitRequest
    ) -> LimitEvent {
        let record = step.slab[number]
        return LimitEvent(
            kind: kind, limit: step.terms.shape.name, count: step.terms.shape.count, key: LimitKey(octets: step.key),
            use: use, reserved: Int(record.reserved),
            blockedFor: .milliseconds(max(0, record.blockedUntil - time)), account: request.account,
            clients: clients[LimitPlace(step.slabNumber, number)] ?? [], isBinding: step.terms.isBinding)
    }

    /// Remembers who uses a key that is on its way to its limit.
    func watch(_ step: Step, _ number: Int, _ client: IPAddress?) {
        guard let client else { return }
        let place = LimitPlace(step.slabNumber, number)
        var seen = clients[place] ?? []
        guard seen.last != client, !seen.isEmpty || clients.count < Self.maxWatched else { return }
        seen.removeAll { $0 == client }
        if seen.count >= LimitEvent.maxClients { seen.removeFirst() }
        seen.append(client)
        clients[place] = seen
        step.slab[number].hasClients = true
    }

    // MARK: How a key stands

    func standing(of step: Step) -> LimitEntry {
        if let record = step.record { return entry(LimitPlace(step.slabNumber, record)) }
        return LimitEntry(
            limit: step.terms.shape.name, count: step.terms.shape.count, key: LimitKey(octets: step.key),
            uses: step.terms.amounts.indices.map { use(step, $0) }, reserved: 0, blockedFor: .zero,
            isBlockedByAdmin: false, clients: [])
    }

    func entry(_ place: LimitPlace) -> LimitEntry {
        let slab = slabs[place.slab]
        let record = slab[place.number]
        let uses = slab.shape.spans.indices.map { span in
            LimitUse(
                used: slab.used(place.number, span, at: time),
                allowed: slab.amounts.indices.contains(span) ? slab.amounts[span] : 0,
                span: .milliseconds(slab.shape.spans[span]))
        }
        return LimitEntry(
            limit: slab.shape.name, count: slab.shape.count, key: LimitKey(octets: slab.key(place.number)), uses: uses,
            reserved: Int(record.reserved), blockedFor: .milliseconds(max(0, record.blockedUntil - time)),
            isBlockedByAdmin: record.isBlockedByAdmin && record.blockedUntil > time, clients: clients[place] ?? [])
    }
}
