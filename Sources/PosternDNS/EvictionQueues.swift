// What goes first when the cache is full, so that millions of names that are asked once (DNS lists) cannot push out the
// few thousand that are asked again and again. Three queues, first in first out (S3-FIFO: Yang and others, SOSP 2023):
// newcomers pass through a small one, a tenth of the whole, and leave the cache at its end unless they were asked again
// meanwhile; who was goes to the main one, where each use buys another round. A table of fingerprints remembers who left
// the small queue lately: coming back is being asked again. A hit costs one addition; nothing is relinked.

struct EvictionQueues: Sendable {
    /// Who came and was not yet asked often enough; who was.
    private var small = PlaceList()
    private var main = PlaceList()
    private var smallOctets = 0
    private var mainOctets = 0
    private var states: [State] = []

    /// Fingerprints of those that left the small queue, by the lower bits of their hash; newer overwrite older.
    private var departed: [UInt32] = []
    private let departedCount: Int

    private struct State {
        var octets: Int32 = 0
        var hash: UInt64 = 0
        var uses: UInt8 = 0
        var isMain = false
    }

    /// The small queue's share of all octets: one in so many.
    static let smallShare = 10
    /// Uses that are counted: each lets an entry pass the end of the main queue once.
    static let maxUses: UInt8 = 3
    /// Uses in the small queue that lead to the main one: a retry of the same client alone is no reason.
    static let usesForMain: UInt8 = 2
    /// One fingerprint for so many octets of the cache: about as many as it has entries.
    static let octetsPerFingerprint = 512

    /// - Parameter octets: the bound of the whole cache.
    init(octets: Int) {
        let wanted = max(1, octets / Self.octetsPerFingerprint)
        departedCount = 1 << (Int.bitWidth - 1 - wanted.leadingZeroBitCount)  // the power of two not above it
    }

    /// Takes a new entry's place in.
    mutating func insert(_ place: Int, octets: Int, hash: Int) {
        let hash = UInt64(truncatingIfNeeded: UInt(bitPattern: hash))
        while states.count <= place { states.append(State()) }
        states[place] = State(octets: Int32(clamping: octets), hash: hash, isMain: forget(hash))
        enqueue(place)
    }

    /// The entry was asked for.
    mutating func use(_ place: Int) {
        if states[place].uses < Self.maxUses { states[place].uses += 1 }
    }

    /// The entry has another size now; where it stands stays.
    mutating func resize(_ place: Int, octets: Int) {
        let change = octets - Int(states[place].octets)
        if states[place].isMain { mainOctets += change } else { smallOctets += change }
        states[place].octets = Int32(clamping: octets)
    }

    /// Whether it was asked for again.
    func isProven(_ place: Int) -> Bool { states[place].isMain || states[place].uses > 0 }

    mutating func remove(_ place: Int) {
        let state = states[place]
        if state.isMain {
            main.remove(place)
            mainOctets -= Int(state.octets)
        } else {
            small.remove(place)
            smallOctets -= Int(state.octets)
        }
    }

    /// The place that must go; it has left the queues. `nil` when they are empty.
    mutating func evict() -> Int? {
        // Each round moves an entry to the main queue or takes away one of its at most three uses.
        while true {
            let isSmallsTurn = smallOctets > (smallOctets + mainOctets) / Self.smallShare
            if isSmallsTurn || main.oldest == nil, let place = small.oldest {
                remove(place)
                guard states[place].uses >= Self.usesForMain else {
                    remember(states[place].hash)
                    return place
                }
                states[place].isMain = true
                states[place].uses = 0
                enqueue(place)
            } else if let place = main.oldest {
                remove(place)
                guard states[place].uses > 0 else { return place }
                states[place].uses -= 1
                enqueue(place)
            } else {
                return nil
            }
        }
    }

    private mutating func enqueue(_ place: Int) {
        let state = states[place]
        if state.isMain {
            main.insert(place)
            mainOctets += Int(state.octets)
        } else {
            small.insert(place)
            smallOctets += Int(state.octets)
        }
    }

    // MARK: Those that left

    private mutating func remember(_ hash: UInt64) {
        if departed.isEmpty { departed = [UInt32](repeating: 0, count: departedCount) }
        departed[slot(hash)] = fingerprint(hash)
    }

    /// Whether it left lately; asked once, forgotten.
    private mutating func forget(_ hash: UInt64) -> Bool {
        guard !departed.isEmpty, departed[slot(hash)] == fingerprint(hash) else { return false }
        departed[slot(hash)] = 0
        return true
    }

    private func slot(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: hash & UInt64(departedCount - 1)) }
    /// Never 0, which stands for none.
    private func fingerprint(_ hash: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: hash >> 32) | 1 }
}
