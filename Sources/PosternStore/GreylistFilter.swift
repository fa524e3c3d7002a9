// Says of most keys that are not in greylist.sqlite that they are not, without asking it: a stranger's first mail costs
// three to nine look-ups that find nothing, and each would be a search in the file. A Bloom filter, all bits of a key in
// one cache line. It forgets nothing, so it is made anew when it has taken in as much as it was made for.
// Source: Bloom: Space/time trade-offs in hash coding with allowable errors (1970); Putze, Sanders, Singler: Cache-,
// hash- and space-efficient Bloom filters (2007).

struct GreylistFilter: Sendable {
    private var words: [UInt64]
    private let blocks: UInt64
    /// Keys that it was made for.
    let capacity: Int
    private(set) var count = 0

    /// With five bits set for each, about one of a hundred strange keys is taken for a known one.
    static let bitsForKey = 10
    private static let bitsSet = 5
    private static let blockWords = 8
    private static let bitsOfBlock = 9
    /// Of an empty file: 1.3 MB, so that a flood does not outrun the next one's making.
    static let leastCapacity = 1 << 20

    init(capacity: Int) {
        self.capacity = max(capacity, Self.leastCapacity)
        let blocks = self.capacity * Self.bitsForKey / (Self.blockWords * 64) + 1
        self.blocks = UInt64(blocks)
        words = Array(repeating: 0, count: blocks * Self.blockWords)
    }

    mutating func insert(_ hash: UInt64) {
        guard !mayHold(hash) else { return }
        count += 1
        let (block, bits) = place(of: hash)
        for number in 0..<Self.bitsSet {
            let bit = Int(truncatingIfNeeded: bits >> UInt64(number * Self.bitsOfBlock)) & 511
            words[block + bit >> 6] |= 1 << UInt64(bit & 63)
        }
    }

    /// - Returns: false only for what was not inserted.
    func mayHold(_ hash: UInt64) -> Bool {
        let (block, bits) = place(of: hash)
        for number in 0..<Self.bitsSet {
            let bit = Int(truncatingIfNeeded: bits >> UInt64(number * Self.bitsOfBlock)) & 511
            if words[block + bit >> 6] & 1 << UInt64(bit & 63) == 0 { return false }
        }
        return true
    }

    /// The first word of its block, and bits to choose among the block's by.
    private func place(of hash: UInt64) -> (block: Int, bits: UInt64) {
        let block = hash.multipliedFullWidth(by: blocks).high
        return (Int(truncatingIfNeeded: block) * Self.blockWords, (hash &* 0x9E37_79B9_7F4A_7C15) >> 19)
    }
}
