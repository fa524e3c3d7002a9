// Networks in CIDR notation (RFC 4632, RFC 4291 §2.3) and lists of them, as `host.networks` holds.

public struct Network: Hashable, Sendable {
    /// The first address; all host bits are zero.
    public let base: IPAddress
    /// 0 to 32, or 0 to 128.
    public let prefixLength: Int

    /// - Throws: what is wrong with the text, for the admin: `expected …, found …`.
    public init(_ text: String) throws(NetworkError) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(first) else { throw .notAnAddress(text) }
        let bits = if case .v4 = address { 32 } else { 128 }
        var length = bits
        if let last = parts.dropFirst().first {
            guard last.utf8.allSatisfy(\.isASCIIDigit), let value = Int(last), (0...bits).contains(value) else {
                throw .badPrefixLength(text, maximum: bits)
            }
            length = value
        }
        let network = Network(containing: address, prefixLength: length)
        guard network.base == address else { throw .hostBits(text, meant: "\(network)") }
        self = network
    }

    /// The network of that prefix length which holds `address`; the length is clamped to the address's bits.
    public init(containing address: IPAddress, prefixLength: Int) {
        switch address {
        case .v4(let bits):
            self.prefixLength = min(max(prefixLength, 0), 32)
            base = .v4(self.prefixLength == 0 ? 0 : bits & (~0 << UInt32(32 - self.prefixLength)))
        case .v6(let high, let low):
            self.prefixLength = min(max(prefixLength, 0), 128)
            let upper = min(self.prefixLength, 64)
            let lower = max(self.prefixLength - 64, 0)
            base = .v6(
                upper == 0 ? 0 : high & (~0 << UInt64(64 - upper)), lower == 0 ? 0 : low & (~0 << UInt64(64 - lower)))
        }
    }

    /// IPv4-mapped IPv6 addresses count as IPv4.
    public func contains(_ address: IPAddress) -> Bool {
        let address = address.unmapped
        switch (base, address) {
        case (.v4, .v4), (.v6, .v6): return Network(containing: address, prefixLength: prefixLength).base == base
        default: return false
        }
    }
}

extension Network: CustomStringConvertible {
    public var description: String { "\(base)/\(prefixLength)" }
}

/// Why a text is no network; says what was expected and what came.
public enum NetworkError: Error, Hashable, Sendable, CustomStringConvertible {
    case notAnAddress(String)
    case badPrefixLength(String, maximum: Int)
    case hostBits(String, meant: String)

    public var description: String {
        switch self {
        case .notAnAddress(let text): "expected an address or ADDRESS/LENGTH, found \"\(text)\""
        case .badPrefixLength(let text, let maximum): "expected a prefix length of 0 to \(maximum), found \"\(text)\""
        case .hostBits(let text, let meant):
            "expected a network without host bits, found \"\(text)\"; do you mean \"\(meant)\"?"
        }
    }
}

extension Sequence<Network> {
    /// Whether any of the networks holds `address`.
    public func contain(_ address: IPAddress) -> Bool { contains { $0.contains(address) } }
}
