// Hashes of the body, made while it streams past: one canonicalization run for each form of `c=`, one digest for each
// different (form, `l=`), shared by the signatures that want the same. Source: RFC 6376 §3.4.5, §3.7.

import PosternMail

/// The hash of one canonical form, or of its first octets.
final class BodyDigest {
    /// `l=`: octets to hash; `nil` for all. Source: RFC 6376 §3.5.
    let limit: UInt64?
    /// Canonical octets seen, the unhashed ones included.
    private(set) var canonicalOctets: UInt64 = 0
    private let context: DigestContext
    private var trouble: CryptoError?
    private var hash: [UInt8]?

    init(limit: UInt64?) throws(CryptoError) {
        self.limit = limit
        context = try DigestContext()
    }

    func write(_ octets: Span<UInt8>) {
        let before = canonicalOctets
        canonicalOctets += UInt64(octets.count)
        guard trouble == nil else { return }
        do throws(CryptoError) {
            if let limit, canonicalOctets > limit {
                guard before < limit else { return }
                try context.update(octets.extracting(first: Int(truncatingIfNeeded: limit - before)))
            } else {
                try context.update(octets)
            }
        } catch { trouble = error }
    }

    /// Whether more of the body changes the hash or what is known about its length.
    var needsMore: Bool {
        guard trouble == nil else { return false }
        return limit.map { canonicalOctets <= $0 } ?? true
    }

    /// Part of the body is not covered by the hash.
    var leavesRest: Bool { limit.map { canonicalOctets > $0 } ?? false }
    /// The body has fewer octets than were hashed by the signer.
    var isShort: Bool { limit.map { canonicalOctets < $0 } ?? false }

    /// The hash, after the body's end.
    func finish() throws(CryptoError) -> [UInt8] {
        if let hash { return hash }
        if let trouble { throw trouble }
        let hash = try context.finish()
        self.hash = hash
        return hash
    }
}

/// One canonicalization of the streaming body with the digests that want it.
private final class BodyStream: OctetSink {
    let canonicalization: BodyCanonicalization
    private(set) var digests: [BodyDigest] = []
    private var simple = SimpleBody()
    private var relaxed: RelaxedBody?

    init(_ canonicalization: BodyCanonicalization) {
        self.canonicalization = canonicalization
        if canonicalization == .relaxed { relaxed = RelaxedBody() }  // only this form has a buffer
    }

    func digest(limit: UInt64?) throws(CryptoError) -> BodyDigest {
        if let known = digests.first(where: { $0.limit == limit }) { return known }
        let digest = try BodyDigest(limit: limit)
        digests.append(digest)
        return digest
    }

    func write(_ octets: Span<UInt8>) {
        for digest in digests { digest.write(octets) }
    }

    func update(_ chunk: Span<UInt8>) {
        switch canonicalization {
        case .simple: simple.update(chunk, into: self)
        case .relaxed: relaxed?.update(chunk, into: self)
        }
    }

    func finish() {
        switch canonicalization {
        case .simple: simple.finish(into: self)
        case .relaxed: relaxed?.finish(into: self)
        }
    }
}

/// All hashes that one message's signatures want of its body.
struct BodyDigests {
    private var streams: [BodyStream] = []
    private var isFinished = false

    /// The digest for a form and length; the same one for the same wish.
    mutating func digest(
        _ canonicalization: BodyCanonicalization, limit: UInt64? = nil
    ) throws(CryptoError) -> BodyDigest {
        if let known = streams.first(where: { $0.canonicalization == canonicalization }) {
            return try known.digest(limit: limit)
        }
        let stream = BodyStream(canonicalization)
        streams.append(stream)
        return try stream.digest(limit: limit)
    }

    /// Whether any digest wants more of the body.
    var needMore: Bool { !isFinished && streams.contains { $0.digests.contains(where: \.needsMore) } }

    func update(_ chunk: Span<UInt8>) {
        guard !isFinished else { return }
        for stream in streams where stream.digests.contains(where: \.needsMore) { stream.update(chunk) }
    }

    /// The body ends here. A second call changes nothing.
    mutating func finish() {
        guard !isFinished else { return }
        isFinished = true
        for stream in streams { stream.finish() }
    }
}
