// What the DKIM judge concludes about one signature, with its reason.

/// Results of the method "dkim". Source: RFC 8601 §2.7.1.
public enum DKIMResult: String, Hashable, Sendable, CaseIterable {
    case none, pass, fail, policy, neutral, temperror, permerror
}

/// One DKIM-Signature field, judged.
public struct DKIMFinding: Hashable, Sendable {
    public var result: DKIMResult
    /// Why; `.none` only with `.pass`.
    public var reason: DKIMReason
    /// SDID, the `d=` tag; `nil` when it could not be read.
    public var domain: DomainName?
    /// The `s=` tag as a name; `nil` when it could not be read.
    public var selector: DomainName?
    /// AUID, the `i=` tag, unquoted; `nil` when the signature has none (it is then `@` and the SDID). Octets of a stranger.
    public var auid: [UInt8]?
    /// The `a=` tag, e.g. `rsa-sha256`, when it is one that we know.
    public var algorithm: DKIMAlgorithm?
    /// Size of the public key in bits; `nil` when no key was read.
    public var keyBits: Int?
    /// First octets of the `b=` tag's base64, for `header.b` (RFC 6008); empty when it could not be read.
    public var signaturePrefix: String
    /// The key record says `t=y`: the domain tests DKIM. Source: RFC 6376 §3.6.1.
    public var isTesting: Bool

    public init(
        result: DKIMResult, reason: DKIMReason, domain: DomainName? = nil, selector: DomainName? = nil,
        auid: [UInt8]? = nil, algorithm: DKIMAlgorithm? = nil, keyBits: Int? = nil, signaturePrefix: String = "",
        isTesting: Bool = false
    ) {
        self.result = result
        self.reason = reason
        self.domain = domain
        self.selector = selector
        self.auid = auid
        self.algorithm = algorithm
        self.keyBits = keyBits
        self.signaturePrefix = signaturePrefix
        self.isTesting = isTesting
    }
}

/// Signature algorithms. Source: RFC 6376 §3.3, RFC 8301, RFC 8463.
public enum DKIMAlgorithm: String, Hashable, Sendable, CaseIterable {
    case rsaSHA256 = "rsa-sha256"
    case ed25519SHA256 = "ed25519-sha256"
    /// Never passes and is never made. Source: RFC 8301 §3.1.
    case rsaSHA1 = "rsa-sha1"
}

/// Why a DKIM finding is what it is.
public enum DKIMReason: Hashable, Sendable {
    case none
    // The signature field (permerror, or neutral where RFC 8601 says so).
    case syntax(String)
    case missingTag(String)
    case unknownVersion
    case unknownAlgorithm
    case unknownCanonicalization
    case unknownQueryMethod
    case fromNotSigned
    case auidNotInDomain
    case expired
    case timestampAfterExpiry
    // Local policy (policy).
    case sha1
    case partOfBodyUnsigned
    case keyTooSmall(bits: Int)
    case keyTooLarge(bits: Int)
    case tooManySignatures
    // The key (permerror, temperror).
    case noKey
    case keyUnavailable(String)
    case nameTooLong
    case keySyntax(String)
    case keyRevoked
    case keyForOtherService
    case keyForOtherHash
    case keyForOtherAlgorithm
    case auidMustBeDomain
    // The cryptography (fail), and our own trouble (temperror).
    case bodyHashMismatch
    case bodyShorterThanSigned
    case signatureMismatch
    case headerTooLarge
    case internalError(String)
}

extension DKIMReason: CustomStringConvertible {
    /// A few words for logs and header comments. What came from outside was already reduced to printable ASCII.
    public var description: String {
        switch self {
        case .none: "good signature"
        case .syntax(let detail): "signature syntax: \(detail)"
        case .missingTag(let tag): "signature without \(tag)="
        case .unknownVersion: "unknown signature version"
        case .unknownAlgorithm: "unknown signature algorithm"
        case .unknownCanonicalization: "unknown canonicalization"
        case .unknownQueryMethod: "unknown query method"
        case .fromNotSigned: "From is not signed"
        case .auidNotInDomain: "i= is not in d="
        case .expired: "signature expired"
        case .timestampAfterExpiry: "x= is not after t="
        case .sha1: "SHA-1 is not accepted"
        case .partOfBodyUnsigned: "l= leaves part of the body unsigned"
        case .keyTooSmall(let bits): "key of \(bits) bits is too small"
        case .keyTooLarge(let bits): "key of \(bits) bits is too large"
        case .tooManySignatures: "too many signatures"
        case .noKey: "no key in DNS"
        case .keyUnavailable(let detail): "key not available: \(detail)"
        case .nameTooLong: "key's name cannot be asked"
        case .keySyntax(let detail): "key record syntax: \(detail)"
        case .keyRevoked: "key is revoked"
        case .keyForOtherService: "key is not for email"
        case .keyForOtherHash: "key is for other hashes"
        case .keyForOtherAlgorithm: "key is of another type"
        case .auidMustBeDomain: "t=s and i= is a subdomain"
        case .bodyHashMismatch: "body hash did not verify"
        case .bodyShorterThanSigned: "body is shorter than l="
        case .signatureMismatch: "signature did not verify"
        case .headerTooLarge: "signed header is too large"
        case .internalError(let detail): "internal error: \(detail)"
        }
    }

    /// The same for strangers, in a header field: nothing of our paths, addresses and libraries.
    public var publicDescription: String {
        switch self {
        case .keyUnavailable: "key not available"
        case .internalError: "internal error"
        default: description
        }
    }
}
