// Where the book's keys are, and how room is made for new ones: what counts nothing any more goes with each decision, and
// under a flood of new keys those of the network that has the most.

internal import PosternMail

extension LimitBook {
    // MARK: Keys

    func prepare(_ terms: [LimitTerms]) { for terms in terms { _ = slab(for: terms) } }

    /// The slab of these terms, and what they allow now.
    func slab(for terms: LimitTerms) -> Int {
        if let known = bound.indices.contains(terms.number) ? bound[terms.number] : nil, known.terms === terms {
            return known.slab
        }
        let number = slab(of: terms)
        while bound.count <= terms.number { bound.append(nil) }
        bound[terms.number] = (terms, number)
        slabs[number].amounts = terms.amounts
        return number
    }

    func slab(of terms: LimitTerms) -> Int { slab(shaped: terms.shape) }

    func slab(shaped shape: LimitShape) -> Int {
        if let number = slabByShape[shape] { return number }
        slabs.append(LimitSlab(shape))
        slabByShape[shape] = slabs.count - 1
        return slabs.count - 1
    }

    func ensure(_ step: inout Step, _ request: LimitRequest) -> Int? {
        if let record = step.record { return record }
        step.record = insert(step.key, step.slab, bucket: Self.bucket(request.client))
        return step.record
    }

    func insert(_ key: [UInt8], _ slab: LimitSlab, bucket: UInt16) -> Int? {
        guard keys < maxKeys || makeRoom() else { return nil }
        buckets[Int(bucket)] &+= 1
        return slab.insert(key, bucket: bucket, time: time)
    }

    /// Networks that one customer of a provider has: many addresses cost nothing within them.
    static func bucket(_ client: IPAddress?) -> UInt16 {
        guard let client else { return 0 }
        var hasher = Hasher()
        switch client.unmapped {
        case .v4(let bits): hasher.combine(bits >> 8)
        case .v6(let high, _): hasher.combine(high >> 16)
        }
        return UInt16(truncatingIfNeeded: hasher.finalize())
    }

    func bucket(ofKey key: [UInt8]) -> UInt16 { UInt16(truncatingIfNeeded: LimitIndex.hash(key)) }

    func forget(_ number: Int, _ slabNumber: Int) {
        let slab = slabs[slabNumber]
        buckets[Int(slab[number].bucket)] &-= 1
        if slab[number].hasClients { clients[LimitPlace(slabNumber, number)] = nil }
        slab.remove(number)
    }

    /// Nothing is lost with it.
    func isIdle(_ number: Int, _ slab: LimitSlab) -> Bool {
        let record = slab[number]
        guard record.reserved == 0, record.blockedUntil <= time, !record.isDirty else { return false }
        guard max(record.toldUntil, record.warnedUntil) <= time else { return false }
        return slab.isEmpty(number, at: time)
    }

    /// Looks at two more records, and removes those that count nothing any more.
    func sweep() {
        for _ in 0..<2 {
            let total = slabs.reduce(0) { $0 + $1.end }
            guard total > 0 else { return }
            hand = (hand + 1) % total
            guard let place = place(hand) else { return }
            let slab = slabs[place.slab]
            if slab[place.number].isLive, isIdle(place.number, slab) { forget(place.number, place.slab) }
        }
    }

    private func place(_ position: Int) -> LimitPlace? {
        var rest = position
        for (number, slab) in slabs.enumerated() {
            if rest < slab.end { return LimitPlace(number, rest) }
            rest -= slab.end
        }
        return nil
    }

    /// Removes one key: of some that chance picks, one of the source network with the most keys, and of these the one
    /// that was used longest ago. Never one that is over its limit, blocked or reserved.
    func makeRoom() -> Bool {
        let total = slabs.reduce(0) { $0 + $1.end }
        guard total > 0 else { return false }
        var victim: (place: LimitPlace, keys: UInt32, last: Int64)?
        var picked = 0
        for _ in 0..<64 where picked < 8 {
            probes &+= 1
            guard let place = place(Int(Self.mixed(probes) % UInt64(total))) else { continue }
            let slab = slabs[place.slab]
            guard slab[place.number].isLive, !pinned.contains(place) else { continue }
            if isIdle(place.number, slab) {
                forget(place.number, place.slab)
                return true
            }
            let record = slab[place.number]
            guard record.reserved == 0, record.blockedUntil <= time else { continue }
            guard !slab.isUsedUp(place.number, at: time) else { continue }
            picked += 1
            let keys = buckets[Int(record.bucket)]
            if let victim, (victim.keys, -victim.last) >= (keys, -record.last) { continue }
            victim = (place, keys, record.last)
        }
        guard let victim else { return false }
        forget(victim.place.number, victim.place.slab)
        evicted += 1
        return true
    }

    /// Source: SplitMix64, Steele et al. 2014.
    private static func mixed(_ number: UInt64) -> UInt64 {
        var z = number &* 0x9E37_79B9_7F4A_7C15
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Where a key's record is.
struct LimitPlace: Hashable {
    let slab: Int
    let number: Int

    init(_ slab: Int, _ number: Int) {
        self.slab = slab
        self.number = number
    }
}
