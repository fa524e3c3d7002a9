// A key record: the TXT record at selector._domainkey.domain (RFC 6376 §3.6.1), parsed. `n=` is for people and
// unknown tags are for later; both are ignored. `g=` of RFC 4870 is gone and ignored too.

import PosternMail

struct DKIMKeyRecord: Hashable {
    /// The `k=` tag.
    enum KeyType: Hashable {
        case rsa, ed25519, unknown
    }

    var keyType: KeyType
    /// The `p=` tag, decoded; empty for a revoked key.
    var key: [UInt8]
    /// `h=` allows SHA-256, or there is no `h=`.
    var allowsSHA256: Bool
    /// `s=` allows email, or there is no `s=`.
    var allowsEmail: Bool
    /// `t=y`: the domain tests DKIM.
    var isTesting: Bool
    /// `t=s`: the domain of `i=` must be that of `d=`.
    var isStrict: Bool

    /// Reads one TXT record.
    /// - Throws: `.keySyntax` for what is no key record.
    /// - Source: RFC 6376 §3.6.1.
    init(_ text: [UInt8]) throws(UnusableSignature) {
        let tags: DKIMTagList
        do throws(DKIMTagListError) { tags = try DKIMTagList(text) } catch {
            throw .permanent(.keySyntax(error.description))
        }
        if let version = tags["v"] {
            // RFC 6376 §3.6.1: "This tag MUST be the first tag in the record. Records beginning with a "v=" tag with
            // any other value MUST be discarded."
            guard tags.tags.first?.name.elementsEqual("v".utf8) == true else {
                throw .permanent(.keySyntax("v= is not the first tag"))
            }
            guard version.elementsEqual("DKIM1".utf8) else { throw .permanent(.keySyntax("v= is not DKIM1")) }
        }
        guard let encoded = tags["p"] else { throw .permanent(.keySyntax("no p=")) }
        guard let key = Base64.decode(encoded) else { throw .permanent(.keySyntax("p= is no base64")) }
        self.key = key
        switch tags["k"] {
        case nil: keyType = .rsa
        case let type? where type.equalsIgnoringASCIICase("rsa"): keyType = .rsa
        case let type? where type.equalsIgnoringASCIICase("ed25519"): keyType = .ed25519
        default: keyType = .unknown
        }
        allowsSHA256 = tags["h"]?.colonSeparated.contains { $0.equalsIgnoringASCIICase("sha256") } ?? true
        allowsEmail =
            tags["s"]?.colonSeparated.contains { $0.elementsEqual("*".utf8) || $0.equalsIgnoringASCIICase("email") }
            ?? true
        let flags = tags["t"]?.colonSeparated ?? []
        isTesting = flags.contains { $0.elementsEqual("y".utf8) }
        isStrict = flags.contains { $0.elementsEqual("s".utf8) }
    }

    /// The key, when this record allows `signature` to be verified by it.
    /// - Throws: the first of the rules of RFC 6376 §6.1.2 that forbids it.
    func material(for signature: DKIMSignature) throws(UnusableSignature) -> KeyMaterial {
        let material = try material(for: signature.algorithm)
        if isStrict, signature.auidDomain != signature.domain {  // RFC 6376 §3.6.1, t=s
            throw .permanent(.auidMustBeDomain)
        }
        return material
    }

    /// The key, when this record allows signatures of this algorithm to be verified by it.
    /// - Throws: the first of the rules of RFC 6376 §6.1.2 that forbids it.
    func material(for algorithm: DKIMAlgorithm) throws(UnusableSignature) -> KeyMaterial {
        guard allowsSHA256 else { throw .permanent(.keyForOtherHash) }  // RFC 6376 §6.1.2 step 6
        guard !key.isEmpty else { throw .permanent(.keyRevoked) }  // step 7
        guard allowsEmail else { throw .permanent(.keyForOtherService) }  // RFC 6376 §3.6.1, s=
        let material: KeyMaterial?
        do throws(KeyMaterialError) {
            switch (keyType, algorithm) {
            case (.rsa, .rsaSHA256): material = try KeyMaterial(rsaDER: key)
            case (.ed25519, .ed25519SHA256): material = try KeyMaterial(ed25519: key)
            default: material = nil
            }
        } catch { throw .permanent(.keySyntax(error.description)) }
        guard let material else { throw .permanent(.keyForOtherAlgorithm) }  // step 8
        return material
    }
}
