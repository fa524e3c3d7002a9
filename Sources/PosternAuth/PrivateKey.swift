// A private key for signing, read from PEM once when the configuration is loaded: OpenSSL takes milliseconds for that.
// RSA (RFC 8301 §3.2) in PKCS#8 or PKCS#1, Ed25519 (RFC 8463) in PKCS#8. Encrypted keys are refused: a daemon has
// nobody to ask for the passphrase.

import COpenSSL
public import PosternMail

/// Why octets are no private key that can sign mail.
public enum KeyError: Error, Hashable, Sendable, CustomStringConvertible {
    case notPEM
    case encrypted
    case publicKey
    /// A PEM block or key of another kind; the text names it.
    case unsupported(String)
    case tooSmall(bits: Int)
    case tooLarge(bits: Int)
    /// OpenSSL could not read the key.
    case malformed(String)
    /// The key was read but what it signs does not verify.
    case inconsistent
    case crypto(CryptoError)

    public var description: String {
        switch self {
        case .notPEM: "no PEM text"
        case .encrypted: "an encrypted private key; it must be stored without a passphrase"
        case .publicKey: "a public key where a private one is needed"
        case .unsupported(let kind): "neither an RSA nor an Ed25519 private key, but \(kind)"
        case .tooSmall(let bits): "an RSA key of \(bits) bits; at least \(PrivateKey.minRSABits) are needed"
        case .tooLarge(let bits): "an RSA key of \(bits) bits; verifiers take up to \(PrivateKey.maxRSABits)"
        case .malformed(let text): "no readable private key: \(text)"
        case .inconsistent: "a private key whose signatures do not verify"
        case .crypto(let error): error.description
        }
    }
}

/// One EVP_PKEY with a private key.
///
/// Unchecked: the key is never changed after `init`, OpenSSL locks what it caches inside of it (RSA's blinding), and
/// each signature has a context of its own.
public final class PrivateKey: @unchecked Sendable {
    /// What to generate.
    public enum Kind: Hashable, Sendable {
        case rsa(bits: Int)
        case ed25519
    }

    /// RFC 8301 §3.2: signers MUST use at least 1024 bits.
    public static let minRSABits = 1024
    /// RFC 8301 §3.2: verifiers must handle up to 4096 bits.
    public static let maxRSABits = 4096
    /// Longest PEM text; an RSA key of 4096 bits has 3.2 KiB.
    public static let maxPEMOctets = 64 * 1024

    public let algorithm: DKIMAlgorithm
    /// Bits of the RSA modulus; 256 for Ed25519.
    public let bits: Int
    private let key: OpaquePointer  // EVP_PKEY *, owned, never NULL

    /// Reads a key and signs with it once, so that a key that cannot sign is found when it is loaded.
    /// - Parameter pem: one PEM block of type PRIVATE KEY or RSA PRIVATE KEY, with any text around it.
    /// - Source: RFC 7468 §2, §10; RFC 8017 §A.1.2; RFC 8410 §7.
    public convenience init(pem: [UInt8]) throws(KeyError) {
        try Self.checkLabel(pem)
        try self.init(owning: try Self.read(pem))
    }

    /// - Returns: an EVP_PKEY that the caller owns.
    private static func read(_ pem: [UInt8]) throws(KeyError) -> OpaquePointer {
        try pem.withUnsafeBufferPointer { (pem) throws(KeyError) in  // the BIO reads from the array
            guard let bio = BIO_new_mem_buf(pem.baseAddress, Int32(truncatingIfNeeded: pem.count)) else {
                throw .crypto(.outOfMemory)
            }
            defer { BIO_free(bio) }
            guard let key = PEM_read_bio_PrivateKey(bio, nil, refusePassphrase, nil) else {
                throw .malformed(OpenSSLErrors.drain())
            }
            return key
        }
    }

    /// Takes over a key; it is freed also when this throws.
    private init(owning key: OpaquePointer) throws(KeyError) {
        self.key = key  // from here deinit frees it
        bits = Int(EVP_PKEY_get_bits(key))
        if EVP_PKEY_is_a(key, "RSA") == 1 {
            algorithm = .rsaSHA256
            guard bits >= Self.minRSABits else { throw .tooSmall(bits: bits) }
            guard bits <= Self.maxRSABits else { throw .tooLarge(bits: bits) }
        } else if EVP_PKEY_is_a(key, "ED25519") == 1 {
            algorithm = .ed25519SHA256
        } else {
            algorithm = .rsaSHA1  // never seen: what is thrown ends this value
            throw .unsupported(EVP_PKEY_get0_type_name(key).map { "a key of type \(String(cString: $0))" } ?? "another")
        }
        try checkThatItSigns()
    }

    deinit { EVP_PKEY_free(key) }

    /// Makes a new key. The one place here that draws random numbers: OpenSSL's own.
    /// - Parameter kind: RSA of 1024 to 4096 bits, or Ed25519.
    public static func generate(_ kind: Kind) throws(KeyError) -> PrivateKey {
        let name =
            switch kind {
            case .rsa: "RSA"
            case .ed25519: "ED25519"
            }
        if case .rsa(let bits) = kind {
            guard bits >= minRSABits else { throw .tooSmall(bits: bits) }
            guard bits <= maxRSABits else { throw .tooLarge(bits: bits) }
        }
        guard let context = EVP_PKEY_CTX_new_from_name(nil, name, nil) else {
            throw .crypto(OpenSSLErrors.drained())
        }
        defer { EVP_PKEY_CTX_free(context) }
        guard EVP_PKEY_keygen_init(context) == 1 else { throw .crypto(OpenSSLErrors.drained()) }
        if case .rsa(let bits) = kind {
            guard EVP_PKEY_CTX_set_rsa_keygen_bits(context, Int32(truncatingIfNeeded: bits)) == 1 else {
                throw .crypto(OpenSSLErrors.drained())
            }
        }
        var key: OpaquePointer?
        guard EVP_PKEY_generate(context, &key) == 1, let key else { throw .crypto(OpenSSLErrors.drained()) }
        return try PrivateKey(owning: key)
    }

    // MARK: Reading

    /// Tells by the PEM label what a file holds, for an error that says it.
    private static func checkLabel(_ pem: [UInt8]) throws(KeyError) {
        guard pem.count <= maxPEMOctets else { throw .notPEM }
        let lines = pem.split { $0 == 0x0A || $0 == 0x0D }
        let begin = Array("-----BEGIN ".utf8)
        guard let line = lines.first(where: { $0.starts(with: begin) }) else { throw .notPEM }
        let label = line.dropFirst(begin.count).prefix { $0 != 0x2D }
        if label.elementsEqual("ENCRYPTED PRIVATE KEY".utf8) { throw .encrypted }
        if label.elementsEqual("PUBLIC KEY".utf8) || label.elementsEqual("RSA PUBLIC KEY".utf8) { throw .publicKey }
        guard label.elementsEqual("PRIVATE KEY".utf8) || label.elementsEqual("RSA PRIVATE KEY".utf8) else {
            throw .unsupported("a block of type \"\(LogText.escaped(label.prefix(64)))\"")
        }
        let isEncrypted = lines.contains { $0.starts(with: Array("Proc-Type:".utf8)) && $0.ends(with: "ENCRYPTED") }
        if isEncrypted { throw .encrypted }  // RFC 1421 §4.6.1.1, OpenSSL's older form
    }

    private func checkThatItSigns() throws(KeyError) {
        let hash = [UInt8](repeating: 0x5A, count: DigestContext.octets)
        let isGood: Bool
        do throws(CryptoError) {
            isGood = try publicKey().verifies(try sign(hash: hash), ofHash: hash)
        } catch { throw .crypto(error) }
        guard isGood else { throw .inconsistent }
    }

    // MARK: Signing

    /// Signs a SHA-256 hash.
    /// - Returns: RSASSA-PKCS1-v1_5 over the hash, or PureEdDSA of the hash's octets.
    /// - Source: RFC 6376 §3.3.1, RFC 8463 §3.
    func sign(hash: [UInt8]) throws(CryptoError) -> [UInt8] {
        var signature = [UInt8](repeating: 0, count: max(0, Int(EVP_PKEY_get_size(key))))
        var length = signature.count
        let status: Int32
        if algorithm == .rsaSHA256 {
            guard let context = EVP_PKEY_CTX_new_from_pkey(nil, key, nil) else { throw OpenSSLErrors.drained() }
            defer { EVP_PKEY_CTX_free(context) }
            guard EVP_PKEY_sign_init(context) == 1,
                EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1,
                EVP_PKEY_CTX_set_signature_md(context, DigestContext.sha256) == 1
            else { throw OpenSSLErrors.drained() }
            status = EVP_PKEY_sign(context, &signature, &length, hash, hash.count)
        } else {
            guard let context = EVP_MD_CTX_new() else { throw .outOfMemory }
            defer { EVP_MD_CTX_free(context) }
            guard EVP_DigestSignInit(context, nil, nil, nil, key) == 1 else { throw OpenSSLErrors.drained() }
            status = EVP_DigestSign(context, &signature, &length, hash, hash.count)
        }
        guard status == 1, length <= signature.count else { throw OpenSSLErrors.drained() }
        return Array(signature.prefix(length))
    }

    // MARK: Showing

    /// The key as PKCS#8 PEM, unencrypted.
    public var pem: [UInt8] {
        get throws(CryptoError) {
            guard let bio = BIO_new(BIO_s_secmem()) else { throw .outOfMemory }
            defer { BIO_free(bio) }
            guard PEM_write_bio_PKCS8PrivateKey(bio, key, nil, nil, 0, nil, nil) == 1 else {
                throw OpenSSLErrors.drained()
            }
            var text = [UInt8](repeating: 0, count: BIO_ctrl_pending(bio))
            var length = 0
            guard BIO_read_ex(bio, &text, text.count, &length) == 1 else { throw OpenSSLErrors.drained() }
            return Array(text.prefix(length))
        }
    }

    /// The `p=` of the key record, decoded: SubjectPublicKeyInfo, or Ed25519's 32 octets.
    /// - Source: RFC 6376 §3.6.1, RFC 8463 §4.
    func publicOctets() throws(CryptoError) -> [UInt8] {
        if algorithm == .ed25519SHA256 {
            var octets = [UInt8](repeating: 0, count: KeyMaterial.ed25519Octets)
            var length = octets.count
            guard EVP_PKEY_get_raw_public_key(key, &octets, &length) == 1, length == octets.count else {
                throw OpenSSLErrors.drained()
            }
            return octets
        }
        let length = i2d_PUBKEY(key, nil)
        guard length > 0 else { throw OpenSSLErrors.drained() }
        var der = [UInt8](repeating: 0, count: Int(length))
        let written = der.withUnsafeMutableBufferPointer { der in
            var end = der.baseAddress
            return i2d_PUBKEY(key, &end)
        }
        guard written == length else { throw OpenSSLErrors.drained() }
        return der
    }

    private func publicKey() throws(CryptoError) -> PublicKey { try PublicKey(try publicMaterial()) }

    /// The public half as numbers.
    func publicMaterial() throws(CryptoError) -> KeyMaterial {
        let octets = try publicOctets()
        do throws(KeyMaterialError) {
            return try algorithm == .ed25519SHA256 ? KeyMaterial(ed25519: octets) : KeyMaterial(rsaDER: octets)
        } catch { throw .openSSL(error.description) }
    }

    /// The text of the key record to publish. Source: RFC 6376 §3.6.1.
    public var publicKeyRecord: String {
        get throws(CryptoError) {
            let type = algorithm == .ed25519SHA256 ? "ed25519" : "rsa"
            return "v=DKIM1; k=\(type); p=\(String(decoding: Base64.encode(try publicOctets()), as: UTF8.self))"
        }
    }
}

/// OpenSSL's question for a passphrase, answered with none. Source: pem_password_cb(3).
private func refusePassphrase(
    _: UnsafeMutablePointer<CChar>?, _: Int32, _: Int32, _: UnsafeMutableRawPointer?
) -> Int32 { -1 }

extension ArraySlice<UInt8> {
    fileprivate func ends(with text: String) -> Bool { suffix(text.utf8.count).elementsEqual(text.utf8) }
}
