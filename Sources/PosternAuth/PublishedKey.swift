// What DNS publishes for a private key of ours, held against the key: whether verifiers would find its public half. Read
// by the parser that judges strangers' mail. It is for the admin; no message is judged here.

public import PosternDNS
import PosternMail

/// What DNS publishes in place of one private key's public half.
public struct PublishedKey: Hashable, Sendable {
    /// What keeps verifiers from using the key.
    public enum Problem: Hashable, Sendable {
        case noSuchName
        /// The name is there, without a TXT record.
        case noText
        /// Several TXT records at one name are undefined (RFC 6376 §3.6.2.2).
        /// - Parameter includesOurs: whether one of them is what it should be.
        case severalRecords(count: Int, includesOurs: Bool)
        /// No key record, or `p=` is no key of the type that `k=` says.
        case syntax(String)
        /// `p=` is empty.
        case revoked
        /// `h=` leaves out SHA-256.
        case hashExcluded
        /// `s=` leaves out email.
        case serviceExcluded
        /// `k=` is not ours. The text is the published one, `nil` where `k=` says what we do not know.
        case otherType(String?)
        case otherSize(bits: Int)
        /// The same type and size: the first octets of both keys' SHA-256 hashes, over what `p=` encodes.
        case otherKey(ours: [UInt8], published: [UInt8])
        case temporaryFailure(String)
    }

    /// `nil`: verifiers find our key.
    public let problem: Problem?
    /// Text of the record; `nil` when there is not exactly one.
    public let record: [UInt8]?
    /// `t=y`: the domain tests DKIM; verifiers must not treat its mail differently. Source: RFC 6376 §3.6.1.
    public let isTesting: Bool
    /// `t=s`: the domain of `i=` must be that of `d=`. Source: RFC 6376 §3.6.1.
    public let isStrict: Bool

    /// Octets of a hash that tell keys apart.
    static let hashOctets = 8

    /// Judges an answer to the question for the TXT records at `selector._domainkey.domain`.
    /// - Throws: when OpenSSL could not tell the public half of `key`.
    /// - Source: RFC 6376 §3.6.1, §6.1.2.
    public init(_ answer: Answer, for key: PrivateKey) throws(CryptoError) {
        var text: [UInt8]?
        var record: DKIMKeyRecord?
        switch answer {
        case .noSuchName: problem = .noSuchName
        case .noData: problem = .noText
        case .temporaryFailure(let reason): problem = .temporaryFailure(reason)
        case .records(let records, _):
            let texts = records.compactMap { if case .txt(let text) = $0 { text } else { nil } }
            if texts.count > 1 {
                var includesOurs = false
                for text in texts.prefix(DKIMVerification.maxKeyRecords) where !includesOurs {
                    includesOurs = try Self.problem(text, of: key).problem == nil
                }
                problem = .severalRecords(count: texts.count, includesOurs: includesOurs)
            } else if let only = texts.first {
                text = only
                (problem, record) = try Self.problem(only, of: key)
            } else {
                problem = .noText
            }
        }
        self.record = text
        isTesting = record?.isTesting ?? false
        isStrict = record?.isStrict ?? false
    }

    /// What is wrong with one record, which is also given if it could be parsed.
    private static func problem(_ text: [UInt8], of key: PrivateKey) throws(CryptoError) -> (
        problem: Problem?, record: DKIMKeyRecord?
    ) {
        let record: DKIMKeyRecord
        do throws(UnusableSignature) { record = try DKIMKeyRecord(text) } catch {
            return (.syntax(detail(error.reason)), nil)
        }
        let published: KeyMaterial
        do throws(UnusableSignature) { published = try record.material(for: key.algorithm) } catch {
            switch error.reason {
            case .keyRevoked: return (.revoked, record)
            case .keyForOtherHash: return (.hashExcluded, record)
            case .keyForOtherService: return (.serviceExcluded, record)
            case .keyForOtherAlgorithm: return (.otherType(record.keyType.name), record)
            default: return (.syntax(detail(error.reason)), record)
            }
        }
        guard published.bits == key.bits else { return (.otherSize(bits: published.bits), record) }
        guard published == (try key.publicMaterial()) else {
            return (.otherKey(ours: try hash(try key.publicOctets()), published: try hash(record.key)), record)
        }
        return (nil, record)
    }

    private static func detail(_ reason: DKIMReason) -> String {
        if case .keySyntax(let detail) = reason { detail } else { reason.description }
    }

    private static func hash(_ octets: [UInt8]) throws(CryptoError) -> [UInt8] {
        let digest = try DigestContext()
        try digest.update(octets.span)
        return Array(try digest.finish().prefix(hashOctets))
    }
}

extension DKIMKeyRecord.KeyType {
    /// As `k=` spells it; `nil` for a type that we do not know. Source: RFC 6376 §3.6.1, RFC 8463 §4.
    var name: String? {
        switch self {
        case .rsa: "rsa"
        case .ed25519: "ed25519"
        case .unknown: nil
        }
    }
}
