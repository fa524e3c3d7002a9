// A set of short octet strings that is made once and asked often: a hash table over one blob, so that a hundred thousand
// names cost their octets and 12 more each, and a look-up makes nothing. Letters are compared without regard to case,
// ASCII only. Keys come from the admin and never change, so strangers cannot make it slow.

internal import PosternMail

struct OctetTable: Sendable {
    /// All keys in lower case, one after another.
    private var keys: [UInt8] = []
    /// Where each key ends.
    private var ends: [UInt32] = []
    /// Open addressing: numbers of keys counted from 1; 0 for none. A power of two of them, at most half full.
    private var slots: [UInt32] = [0, 0]

    var isEmpty: Bool { ends.isEmpty }

    init(_ texts: some Collection<ArraySlice<UInt8>>) {
        var capacity = 2
        while capacity < texts.count * 2 { capacity *= 2 }
        slots = Array(repeating: 0, count: capacity)
        for text in texts {
            var hash = Hash()
            for octet in text.reversed() { hash.combine(octet.asciiLowercased) }
            guard !contains(text, hash) else { continue }
            for octet in text { keys.append(octet.asciiLowercased) }
            ends.append(UInt32(keys.count))  // list files have 16 MiB at most
            var slot = hash.slot(capacity)
            while slots[slot] != 0 { slot = (slot + 1) & (capacity - 1) }
            slots[slot] = UInt32(ends.count)
        }
    }

    /// A hash of octets that are given from the last to the first, in lower case: so one walk over a name gives the hash
    /// of every name above it. Source: Fowler, Noll, Vo (FNV-1a, 64 bits).
    struct Hash {
        private var state: UInt64 = 0xCBF2_9CE4_8422_2325

        mutating func combine(_ octet: UInt8) { state = (state ^ UInt64(octet)) &* 0x100_0000_01B3 }

        /// - Parameter capacity: a power of two.
        func slot(_ capacity: Int) -> Int {
            Int(truncatingIfNeeded: (state ^ state >> 32) &* 0x9E37_79B9_7F4A_7C15 >> 32) & (capacity - 1)
        }
    }

    func contains(_ text: ArraySlice<UInt8>) -> Bool {
        guard !isEmpty else { return false }
        var hash = Hash()
        for octet in text.reversed() { hash.combine(octet.asciiLowercased) }
        return contains(text, hash)
    }

    /// - Parameter hash: of that text.
    func contains(_ text: ArraySlice<UInt8>, _ hash: Hash) -> Bool {
        var slot = hash.slot(slots.count)
        while slots[slot] != 0 {
            if isKey(Int(slots[slot]) - 1, text) { return true }
            slot = (slot + 1) & (slots.count - 1)
        }
        return false
    }

    private func isKey(_ number: Int, _ text: ArraySlice<UInt8>) -> Bool {
        let start = number == 0 ? 0 : Int(ends[number - 1])
        guard Int(ends[number]) - start == text.count else { return false }
        var place = start
        for octet in text {
            guard keys[place] == octet.asciiLowercased else { return false }
            place += 1
        }
        return true
    }
}
