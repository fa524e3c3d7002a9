// SHA-256 through OpenSSL's EVP, the only hash that DKIM still has (RFC 8301 §3.1). It is fetched once for the process:
// EVP_sha256() would look the algorithm up at each use.

import COpenSSL

/// One SHA-256 computation in OpenSSL; freed once, when this value ends. Source: EVP_DigestInit_ex(3).
struct DigestContext: ~Copyable {
    /// Size of a SHA-256 hash. Source: FIPS 180-4.
    static let octets = 32

    /// EVP_MD of SHA-256, fetched once and never freed. Immutable and counted by OpenSSL, hence safe to share.
    nonisolated(unsafe) static let sha256: OpaquePointer? = EVP_MD_fetch(nil, "SHA256", nil)

    private let context: OpaquePointer  // EVP_MD_CTX *, owned, never NULL

    init() throws(CryptoError) {
        guard let algorithm = Self.sha256 else { throw .openSSL("SHA-256 is not available") }
        guard let context = EVP_MD_CTX_new() else { throw .outOfMemory }
        guard EVP_DigestInit_ex(context, algorithm, nil) == 1 else {
            EVP_MD_CTX_free(context)  // deinit does not run: self was never complete
            throw OpenSSLErrors.drained()
        }
        self.context = context
    }

    deinit { EVP_MD_CTX_free(context) }

    /// Adds octets to what is hashed. At least 4 KiB at once keeps the call's own cost small.
    func update(_ octets: Span<UInt8>) throws(CryptoError) {
        guard !octets.isEmpty else { return }
        let status = octets.withUnsafeBytes { EVP_DigestUpdate(context, $0.baseAddress, $0.count) }
        guard status == 1 else { throw OpenSSLErrors.drained() }
    }

    /// The hash; asked once, after the last `update`.
    func finish() throws(CryptoError) -> [UInt8] {
        var hash = [UInt8](repeating: 0, count: Self.octets)
        var length: UInt32 = 0
        guard EVP_DigestFinal_ex(context, &hash, &length) == 1 else { throw OpenSSLErrors.drained() }
        guard length == UInt32(Self.octets) else { throw .openSSL("SHA-256 of \(length) octets") }
        return hash
    }
}
