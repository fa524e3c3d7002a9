// The `p=` of a key record, read into numbers: RSA from DER (RFC 8017 §A.1.1, RFC 5280 §4.1), Ed25519 raw (RFC 8463
// §4). A small DER reader of our own, since OpenSSL 3's decoders cost ten times the verification that follows them.
// RFC 6376 §3.6.1 says RSAPublicKey where it means SubjectPublicKeyInfo (erratum 3017); both are in use and both are
// read.

import PosternMail

/// A public key as numbers; not yet OpenSSL's.
enum KeyMaterial: Hashable {
    /// Big-endian, without leading zero octets.
    case rsa(modulus: [UInt8], exponent: [UInt8])
    case ed25519([UInt8])

    /// Octets of an Ed25519 public key. Source: RFC 8032 §5.1.5.
    static let ed25519Octets = 32

    /// Longest RSA exponent that is taken.
    private static let maxExponentOctets = 8

    /// Size of the key: bits of the modulus; 256 for Ed25519.
    var bits: Int {
        switch self {
        case .rsa(let modulus, _): modulus.count * 8 - (modulus.first?.leadingZeroBitCount ?? 0)
        case .ed25519: 256
        }
    }

    /// Reads RSA's DER, a SubjectPublicKeyInfo or a bare RSAPublicKey.
    init(rsaDER der: [UInt8]) throws(KeyMaterialError) {
        var reader = DERReader(der[...])
        var body = try reader.constructed(.sequence)
        guard reader.isAtEnd else { throw .trailingOctets }
        guard body.nextIs(.integer) else {
            // SubjectPublicKeyInfo ::= SEQUENCE { algorithm AlgorithmIdentifier, subjectPublicKey BIT STRING }
            var algorithm = try body.constructed(.sequence)
            guard try algorithm.primitive(.objectIdentifier).elementsEqual(Self.rsaEncryption) else {
                throw .notRSA
            }
            let bitString = try body.primitive(.bitString)
            guard body.isAtEnd, bitString.first == 0 else { throw .notDER }  // no unused bits
            var inner = DERReader(bitString.dropFirst())
            body = try inner.constructed(.sequence)
            guard inner.isAtEnd else { throw .trailingOctets }
            try self.init(rsaNumbers: &body)
            return
        }
        try self.init(rsaNumbers: &body)
    }

    /// RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }. Source: RFC 8017 §A.1.1.
    private init(rsaNumbers body: inout DERReader) throws(KeyMaterialError) {
        let modulus = try body.positiveInteger()
        let exponent = try body.positiveInteger()
        guard body.isAtEnd else { throw .trailingOctets }
        // RFC 8017 §3.1: n is a product of odd primes, e is odd and 3 <= e < n. What breaks this is no RSA key, and an
        // exponent of 1 would let anyone sign. Nobody has an exponent over 64 bits; it would cost fifty times 65537.
        guard let low = modulus.last, low & 1 == 1, let lowest = exponent.last, lowest & 1 == 1,
            exponent.count > 1 || lowest >= 3, exponent.count <= min(Self.maxExponentOctets, modulus.count)
        else { throw .badNumbers }
        self = .rsa(modulus: Array(modulus), exponent: Array(exponent))
    }

    init(ed25519 octets: [UInt8]) throws(KeyMaterialError) {
        guard octets.count == Self.ed25519Octets else { throw .badEd25519Length }
        self = .ed25519(octets)
    }

    /// 1.2.840.113549.1.1.1. Source: RFC 8017 §A.1.
    private static let rsaEncryption: [UInt8] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01]
}

/// Why octets are no public key.
enum KeyMaterialError: Error, Hashable, CustomStringConvertible {
    case notDER, trailingOctets, notRSA, badNumbers, badEd25519Length

    var description: String {
        switch self {
        case .notDER: "p= is no DER"
        case .trailingOctets: "octets after the key in p="
        case .notRSA: "p= holds no RSA key"
        case .badNumbers: "p= holds numbers that are no RSA key"
        case .badEd25519Length: "an Ed25519 key that has not 32 octets"
        }
    }
}

/// Walks DER's tag-length-value triples. Source: X.690 §8.1, §10.1.
struct DERReader {
    enum Tag: UInt8 {
        case integer = 0x02
        case bitString = 0x03
        case objectIdentifier = 0x06
        case sequence = 0x30
    }

    private var rest: ArraySlice<UInt8>

    init(_ octets: ArraySlice<UInt8>) { rest = octets }

    var isAtEnd: Bool { rest.isEmpty }
    func nextIs(_ tag: Tag) -> Bool { rest.first == tag.rawValue }

    mutating func constructed(_ tag: Tag) throws(KeyMaterialError) -> DERReader { DERReader(try primitive(tag)) }

    /// The content of the next element, which must have this tag.
    mutating func primitive(_ tag: Tag) throws(KeyMaterialError) -> ArraySlice<UInt8> {
        guard rest.popFirst() == tag.rawValue, let first = rest.popFirst() else { throw .notDER }
        var length = Int(first)
        if first & 0x80 != 0 {
            // X.690 §10.1: the shortest form. Four octets of length are more than any name's TXT record can hold.
            let count = Int(first & 0x7F)
            guard (1...4).contains(count), rest.count >= count, rest.first != 0 else { throw .notDER }
            length = rest.prefix(count).reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(count)
            guard length >= 0x80 else { throw .notDER }
        }
        guard rest.count >= length else { throw .notDER }
        defer { rest = rest.dropFirst(length) }
        return rest.prefix(length)
    }

    /// An INTEGER over zero, without leading zero octets.
    mutating func positiveInteger() throws(KeyMaterialError) -> ArraySlice<UInt8> {
        let octets = try primitive(.integer)
        guard let first = octets.first, first & 0x80 == 0 else { throw .notDER }  // X.690 §8.3.3: two's complement
        let number = octets.drop { $0 == 0 }
        guard !number.isEmpty else { throw .badNumbers }
        return number
    }
}
