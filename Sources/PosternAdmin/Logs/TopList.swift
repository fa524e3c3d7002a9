// The most frequent of very many, in a fixed room: space-saving counters. Until there are more different keys than
// places, counts are exact. After that a new key takes over the place and the count of the rarest one: a count is too
// high then by at most that, which is kept beside it, and whoever is frequent is in the list.
// Source: Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams, ICDT
// 2005.

internal import PosternMail

struct TopList {
    struct Entry: Equatable {
        var key: [UInt8]
        var count: Int
        /// The count is too high by at most so much.
        var error: Int
        /// When the key came last, if a time was told.
        var last: UnixTime?
        /// What was said of it last.
        var detail: [UInt8] = []
    }

    /// How many keys are counted.
    let capacity: Int
    /// Longest key that is kept, in octets; longer ones are told apart all the same.
    static let maxKeyOctets = 320

    private var entries: [Entry] = []
    /// Of each entry: its hash, and its place in the heap.
    private var hashes: [Int] = []
    private var heapPlaces: [Int] = []
    /// Entries by count, the least at the top.
    private var heap: [Int] = []
    /// A key's hash is the key: with a seed of this process's own nobody makes two the same.
    private var places: [Int: Int] = [:]
    private(set) var total = 0

    init(capacity: Int = 2000) { self.capacity = max(1, capacity) }

    /// Whether all counts are exact.
    var isExact: Bool { entries.allSatisfy { $0.error == 0 } }
    /// How many different keys there are, at least.
    var distinct: Int { entries.count }

    mutating func add(
        _ key: ArraySlice<UInt8>, _ count: Int = 1, at time: UnixTime? = nil, detail: ArraySlice<UInt8> = []
    ) {
        guard count > 0 else { return }
        total += count
        var hasher = Hasher()
        key.withUnsafeBytes { hasher.combine(bytes: $0) }
        let hash = hasher.finalize()
        let place: Int
        if let known = places[hash] {
            place = known
        } else if entries.count < capacity {
            place = entries.count
            entries.append(Entry(key: Array(key.prefix(Self.maxKeyOctets)), count: 0, error: 0))
            hashes.append(hash)
            heapPlaces.append(heap.count)
            heap.append(place)
            places[hash] = place
            rise(from: heap.count - 1)
        } else {
            guard let least = heap.first else { return }
            place = least
            places[hashes[place]] = nil
            places[hash] = place
            hashes[place] = hash
            let count = entries[place].count
            entries[place] = Entry(key: Array(key.prefix(Self.maxKeyOctets)), count: count, error: count)
        }
        entries[place].count += count
        if !detail.isEmpty { entries[place].detail = Array(detail.prefix(Self.maxKeyOctets)) }
        if let time { entries[place].last = max(time, entries[place].last ?? time) }
        sink(from: heapPlaces[place])
    }

    /// The most frequent, at most so many; of equal ones in the keys' order.
    func top(_ most: Int) -> [Entry] {
        Array(
            entries.sorted { $0.count != $1.count ? $0.count > $1.count : $0.key.lexicographicallyPrecedes($1.key) }
                .prefix(max(0, most)))
    }

    // MARK: The heap. Its indices are ours: nothing remote is a subscript here.

    private func isLess(_ one: Int, _ other: Int) -> Bool { entries[heap[one]].count < entries[heap[other]].count }

    private mutating func swap(_ one: Int, _ other: Int) {
        heap.swapAt(one, other)
        heapPlaces[heap[one]] = one
        heapPlaces[heap[other]] = other
    }

    private mutating func rise(from start: Int) {
        var place = start
        while place > 0, isLess(place, (place - 1) / 2) {
            swap(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    private mutating func sink(from start: Int) {
        var place = start
        while true {
            var least = place
            for child in [2 * place + 1, 2 * place + 2] where child < heap.count && isLess(child, least) {
                least = child
            }
            guard least != place else { return }
            swap(place, least)
            place = least
        }
    }
}
