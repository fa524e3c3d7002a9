// A script that the server runs as one step: nobody else's command comes between its own. It is sent by its SHA-1, and
// with its text where the server does not know it (EVALSHA, EVAL; Redis 2.6 and later, Valkey).

internal import CTLS

public struct StoreScript: Hashable, Sendable {
    /// For counters and messages: `greylist.decide`.
    public let name: String
    /// Lua 5.1. It touches only the keys it is given, and its clock is `redis.call('TIME')`.
    public let text: String
    /// SHA-1 of the text, in lower case hexadecimal, as EVALSHA wants it.
    let digest: [UInt8]

    public init(name: String, text: String) {
        self.name = name
        self.text = text
        digest = Self.digest(of: Array(text.utf8))
    }

    /// Source: SHA1(3).
    private static func digest(of octets: [UInt8]) -> [UInt8] {
        var sum = [UInt8](repeating: 0, count: Int(SHA_DIGEST_LENGTH))
        _ = SHA1(octets, octets.count, &sum)  // cannot fail: it allocates nothing
        let digits = Array("0123456789abcdef".utf8)
        return sum.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
    }
}

extension StoreScript {
    func call(keys: [[UInt8]], arguments: [[UInt8]]) -> [[UInt8]] {
        [Array("EVALSHA".utf8), digest, Array("\(keys.count)".utf8)] + keys + arguments
    }

    func evaluation(keys: [[UInt8]], arguments: [[UInt8]]) -> [[UInt8]] {
        [Array("EVAL".utf8), Array(text.utf8), Array("\(keys.count)".utf8)] + keys + arguments
    }
}
