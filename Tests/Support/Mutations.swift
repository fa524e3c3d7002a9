// Seeded mutations for the tests which show that a parser never traps, whatever it is fed.

/// A small generator with a seed, so that a failure can be repeated. Source: SplitMix64, Steele et al. 2014.
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64
    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

public enum Mutations {
    /// `count` damaged copies of the samples: flipped, dropped, doubled, cut and spliced octets, with `tokens` mixed in.
    public static func of(
        _ samples: [[UInt8]], tokens: [[UInt8]] = [], count: Int, seed: UInt64, body: ([UInt8]) throws -> Void
    ) rethrows {
        var random = SeededRandom(seed: seed)
        for _ in 0..<count {
            guard var text = samples.randomElement(using: &random) else { return }
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let at = Int.random(in: 0...text.count, using: &random)
                let end = min(text.count, at + Int.random(in: 0...8, using: &random))
                switch Int.random(in: 0..<7, using: &random) {
                case 0 where at < text.count: text[at] = UInt8.random(in: 0...255, using: &random)
                case 1 where at < text.count: text[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                case 2: text.removeSubrange(at..<end)
                case 3: text.insert(contentsOf: text[at..<end], at: at)
                case 4:
                    text.insert(
                        contentsOf: tokens.randomElement(using: &random) ?? [UInt8.random(in: 0...255, using: &random)],
                        at: at)
                case 5: text.removeSubrange(at...)
                default:
                    let other = samples.randomElement(using: &random) ?? []
                    text = Array(text.prefix(at)) + other.dropFirst(Int.random(in: 0...other.count, using: &random))
                }
            }
            try body(text)
        }
    }
}
