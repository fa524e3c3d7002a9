// A public key that OpenSSL can verify with, and the cache of them. Built by EVP_PKEY_fromdata from numbers: 15 us
// against 400 us for OpenSSL's own decoder. Verifies rsa-sha256 (RFC 8017 §8.2) and ed25519-sha256 (RFC 8463 §3) over
// a SHA-256 hash.

import COpenSSL
import Synchronization

/// One EVP_PKEY with a public key.
///
/// Unchecked: the key is never changed after `init`, and OpenSSL counts its references atomically (EVP_PKEY_up_ref(3));
/// each verification has a context of its own.
final class PublicKey: @unchecked Sendable {
    let bits: Int
    private let isRSA: Bool
    private let key: OpaquePointer  // EVP_PKEY *, owned, never NULL

    init(_ material: KeyMaterial) throws(CryptoError) {
        bits = material.bits
        switch material {
        case .rsa(let modulus, let exponent):
            isRSA = true
            key = try Self.rsa(modulus: modulus, exponent: exponent)
        case .ed25519(let octets):
            isRSA = false
            guard let key = EVP_PKEY_new_raw_public_key_ex(nil, "ED25519", nil, octets, octets.count) else {
                throw OpenSSLErrors.drained()
            }
            self.key = key
        }
    }

    deinit { EVP_PKEY_free(key) }

    /// - Returns: an EVP_PKEY that the caller owns. Source: EVP_PKEY_fromdata(3), EVP_PKEY-RSA(7).
    private static func rsa(modulus: [UInt8], exponent: [UInt8]) throws(CryptoError) -> OpaquePointer {
        guard let context = EVP_PKEY_CTX_new_from_name(nil, "RSA", nil) else { throw OpenSSLErrors.drained() }
        defer { EVP_PKEY_CTX_free(context) }
        guard EVP_PKEY_fromdata_init(context) == 1 else { throw OpenSSLErrors.drained() }
        var n = nativeOrder(modulus)
        var e = nativeOrder(exponent)
        var key: OpaquePointer?
        let status = n.withUnsafeMutableBufferPointer { n in
            e.withUnsafeMutableBufferPointer { e in
                // OSSL_PARAM keeps the pointers to the names too: both must live until fromdata is done.
                OSSL_PKEY_PARAM_RSA_N.withCString { nameOfN in
                    OSSL_PKEY_PARAM_RSA_E.withCString { nameOfE in
                        var parameters = [
                            OSSL_PARAM_construct_BN(nameOfN, n.baseAddress, n.count),
                            OSSL_PARAM_construct_BN(nameOfE, e.baseAddress, e.count),
                            OSSL_PARAM_construct_end(),
                        ]
                        return EVP_PKEY_fromdata(context, &key, postern_EVP_PKEY_PUBLIC_KEY, &parameters)
                    }
                }
            }
        }
        guard status == 1, let key else { throw OpenSSLErrors.drained() }
        return key
    }

    /// Big-endian octets in the machine's order, which OSSL_PARAM wants. Source: OSSL_PARAM(3).
    private static func nativeOrder(_ octets: [UInt8]) -> [UInt8] {
        UInt16(1).littleEndian == 1 ? octets.reversed() : octets
    }

    /// Whether `signature` is this key's signature of a SHA-256 hash.
    /// - Throws: when OpenSSL could not tell.
    /// - Source: RFC 6376 §3.3.1 (RSASSA-PKCS1-v1_5), RFC 8463 §3 (PureEdDSA of the hash).
    func verifies(_ signature: [UInt8], ofHash hash: [UInt8]) throws(CryptoError) -> Bool {
        guard signature.count == Int(EVP_PKEY_get_size(key)) else { return false }
        let status: Int32
        if isRSA {
            guard let context = EVP_PKEY_CTX_new_from_pkey(nil, key, nil) else { throw OpenSSLErrors.drained() }
            defer { EVP_PKEY_CTX_free(context) }
            guard EVP_PKEY_verify_init(context) == 1,
                EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1,
                EVP_PKEY_CTX_set_signature_md(context, DigestContext.sha256) == 1
            else { throw OpenSSLErrors.drained() }
            status = EVP_PKEY_verify(context, signature, signature.count, hash, hash.count)
        } else {
            guard let context = EVP_MD_CTX_new() else { throw .outOfMemory }
            defer { EVP_MD_CTX_free(context) }
            guard EVP_DigestVerifyInit(context, nil, nil, nil, key) == 1 else { throw OpenSSLErrors.drained() }
            status = EVP_DigestVerify(context, signature, signature.count, hash, hash.count)
        }
        if status == 1 { return true }
        let error = OpenSSLErrors.drained()  // also after a plain mismatch: the queue must be empty afterwards
        if status < 0 { throw error }
        return false
    }
}

/// Public keys in use, least recently used ones dropped; for all messages of a process.
///
/// Keyed by the keys' own numbers, so that a changed record is another key and nothing ever goes stale.
public final class PublicKeyCache: Sendable {
    /// Keys held by default: at about 2 KiB each, half a megabyte.
    public static let defaultCapacity = 256

    private struct Entry {
        var key: PublicKey
        var lastUse: UInt64
    }
    private struct State {
        var entries: [KeyMaterial: Entry] = [:]
        var uses: UInt64 = 0
    }

    private let capacity: Int
    private let state = Mutex(State())

    /// - Parameter capacity: keys held; at least 1.
    public init(capacity: Int = PublicKeyCache.defaultCapacity) { self.capacity = max(1, capacity) }

    /// Keys held now.
    public var count: Int { state.withLock { $0.entries.count } }

    /// The key for these numbers, built when it is new.
    func key(_ material: KeyMaterial) throws(CryptoError) -> PublicKey {
        let known = state.withLock { state -> PublicKey? in
            state.uses += 1
            guard let entry = state.entries[material] else { return nil }
            state.entries[material]?.lastUse = state.uses
            return entry.key
        }
        if let known { return known }
        let key = try PublicKey(material)  // outside of the lock: two threads may build one key, which does no harm
        state.withLock { state in
            if state.entries.count >= capacity,
                let oldest = state.entries.min(by: { $0.value.lastUse < $1.value.lastUse })?.key
            {
                state.entries[oldest] = nil
            }
            state.entries[material] = Entry(key: key, lastUse: state.uses)
        }
        return key
    }
}
