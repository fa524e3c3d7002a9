// SipHash-2-4, by which greylisting's keys are found in their index: eight octets instead of eighty. The key is random
// for each file, so that no sender can choose addresses that hash alike.
// Source: Aumasson, Bernstein: SipHash, a fast short-input PRF (2012).

struct SipHash: Sendable {
    private let k0: UInt64
    private let k1: UInt64

    static let keyOctets = 16

    /// - Returns: nil unless there are 16 octets.
    init?(key: [UInt8]) {
        guard key.count == Self.keyOctets else { return nil }
        k0 = Self.word(key.prefix(8))
        k1 = Self.word(key.suffix(8))
    }

    func callAsFunction(_ octets: [UInt8]) -> UInt64 {
        var state = State(k0, k1)
        octets.withUnsafeBytes { octets in
            let whole = octets.count & ~7
            for offset in stride(from: 0, to: whole, by: 8) {
                let word = octets.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                state.mix(UInt64(littleEndian: word))
            }
            var last = UInt64(octets.count & 0xFF) << 56
            for (place, octet) in octets.dropFirst(whole).enumerated() { last |= UInt64(octet) << UInt64(8 * place) }
            state.mix(last)
        }
        return state.end()
    }

    /// A value of its own: variables that a nested function shares are checked at each access, which took longer than
    /// the hash.
    private struct State {
        private var v0, v1, v2, v3: UInt64

        init(_ k0: UInt64, _ k1: UInt64) {
            v0 = k0 ^ 0x736F_6D65_7073_6575
            v1 = k1 ^ 0x646F_7261_6E64_6F6D
            v2 = k0 ^ 0x6C79_6765_6E65_7261
            v3 = k1 ^ 0x7465_6462_7974_6573
        }

        mutating func mix(_ word: UInt64) {
            v3 ^= word
            round()
            round()
            v0 ^= word
        }

        mutating func end() -> UInt64 {
            v2 ^= 0xFF
            for _ in 0..<4 { round() }
            return v0 ^ v1 ^ v2 ^ v3
        }

        private mutating func round() {
            v0 &+= v1
            v1 = v1 << 13 | v1 >> 51
            v1 ^= v0
            v0 = v0 << 32 | v0 >> 32
            v2 &+= v3
            v3 = v3 << 16 | v3 >> 48
            v3 ^= v2
            v0 &+= v3
            v3 = v3 << 21 | v3 >> 43
            v3 ^= v0
            v2 &+= v1
            v1 = v1 << 17 | v1 >> 47
            v1 ^= v2
            v2 = v2 << 32 | v2 >> 32
        }
    }

    private static func word(_ octets: ArraySlice<UInt8>) -> UInt64 {
        octets.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
