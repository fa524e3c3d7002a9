// What was counted here alone while a shared store did not answer, key by key, until the store is told. Adding
// commutes, so it does not matter when that is. Bounded: beyond that keys are not told, and each host goes on with what
// it knows.

/// What a store is to be told of one key.
public struct LimitDebt: Hashable, Sendable {
    public let key: LimitKey
    /// What was counted here, in the cells of its time, by this host's ledger's time.
    public fileprivate(set) var cells: LimitCells
    public fileprivate(set) var blockedUntil: Int64 = 0
    /// What it knew once and has lost, or a part of that: a copy, not counts of their own.
    public fileprivate(set) var lost: LimitCells?
    public fileprivate(set) var lostBlock: Int64 = 0
    public fileprivate(set) var isLostBlockByAdmin = false
    /// What messages had reserved there that are over since, by their slots.
    public fileprivate(set) var releases: [Int64: Int] = [:]

    public var shape: LimitShape { cells.shape }
}

struct LimitDebts {
    struct Key: Hashable {
        let shape: LimitShape
        let key: [UInt8]
    }

    /// Some 500 octets each.
    static let maxKeys = 100_000
    /// Of one key. They lapse there by themselves.
    private static let maxReleases = 32

    private var debts: [Key: LimitDebt] = [:]
    /// Keys that found no room.
    private(set) var dropped = 0
    /// Keys that the store had lost.
    private(set) var restored = 0

    var count: Int { debts.count }

    private mutating func change(_ key: Key, _ body: (inout LimitDebt) -> Void) {
        if debts[key] == nil {
            guard debts.count < Self.maxKeys else {
                dropped += 1
                return
            }
            debts[key] = LimitDebt(key: LimitKey(octets: key.key), cells: LimitCells(key.shape))
        }
        body(&debts[key, default: LimitDebt(key: LimitKey(octets: key.key), cells: LimitCells(key.shape))])
    }

    mutating func add(_ amount: Int, _ key: Key, at time: Int64) {
        change(key) { $0.cells.add(amount, at: time) }
    }

    mutating func block(until time: Int64, _ key: Key) {
        change(key) { $0.blockedUntil = max($0.blockedUntil, time) }
    }

    mutating func release(_ amount: Int, slot: Int64, _ key: Key) {
        change(key) { debt in
            guard debt.releases.count < Self.maxReleases || debt.releases[slot] != nil else { return }
            debt.releases[slot, default: 0] += amount
        }
    }

    /// The store does not know any more what this host has from it.
    mutating func restore(_ cells: LimitCells, blockedUntil: Int64, byAdmin: Bool, _ key: Key) {
        restored += 1
        change(key) { debt in
            debt.lost?.meet(cells, .most)
            debt.lost = debt.lost ?? cells
            guard blockedUntil > debt.lostBlock else { return }
            debt.lostBlock = blockedUntil
            debt.isLostBlockByAdmin = byAdmin
        }
    }

    /// Takes what is owed of a key; nil for nothing.
    mutating func take(_ key: Key) -> LimitDebt? {
        guard !debts.isEmpty else { return nil }
        return debts.removeValue(forKey: key)
    }

    mutating func take(atMost limit: Int) -> [LimitDebt] {
        let keys = Array(debts.keys.prefix(limit))
        return keys.compactMap { debts.removeValue(forKey: $0) }
    }

    /// The store was not told after all.
    mutating func putBack(_ debt: LimitDebt) {
        change(Key(shape: debt.shape, key: debt.key.octets)) { own in
            own.cells.meet(debt.cells, .sum)
            own.blockedUntil = max(own.blockedUntil, debt.blockedUntil)
            own.releases.merge(debt.releases, uniquingKeysWith: +)
            if let lost = debt.lost {
                own.lost?.meet(lost, .most)
                own.lost = own.lost ?? lost
            }
            guard debt.lostBlock > own.lostBlock else { return }
            own.lostBlock = debt.lostBlock
            own.isLostBlockByAdmin = debt.isLostBlockByAdmin
        }
    }

    /// An admin has forgotten the counts of a key, or ended its block.
    mutating func forget(_ key: LimitKey, limit: String?, counts: Bool) {
        guard !debts.isEmpty else { return }
        for (place, debt) in debts where place.key == key.octets && (limit == nil || place.shape.name == limit) {
            debts[place]?.blockedUntil = 0
            debts[place]?.lostBlock = 0
            guard counts else { continue }
            debts[place]?.cells = LimitCells(debt.shape)
            debts[place]?.lost = nil
        }
    }
}
