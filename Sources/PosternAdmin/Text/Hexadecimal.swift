// Octets as hexadecimal digits.

enum Hexadecimal {
    /// Two lower-case digits an octet.
    static func text(_ octets: [UInt8]) -> String {
        octets.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
