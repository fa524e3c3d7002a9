// Judges the DKIM signatures of one message (RFC 6376 §6, RFC 8301, RFC 8463, RFC 8616): parses them when the header is
// complete, hashes the body as it streams past, and concludes when it has ended. It decides nothing about the message.
// Several key records at one name are undefined (RFC 6376 §3.6.2.2): each one that is a key record is tried, up to a
// cap.

public import PosternDNS
public import PosternMail

/// What the admin decides about verification.
public struct DKIMVerificationSettings: Sendable, Hashable {
    /// Smallest RSA key that may pass; RFC 8301 §3.2 wants at least 1024.
    public var minRSABits: Int
    /// Signatures judged for one message. Source: RFC 6376 §8.4 warns of more work than a message is worth.
    public var maxSignatures: Int

    public init(minRSABits: Int = 1024, maxSignatures: Int = 8) {
        self.minRSABits = minRSABits
        self.maxSignatures = maxSignatures
    }
}

/// One message's signatures on their way to findings. Has one owner, the message; calls come one at a time.
public final class DKIMVerification {
    /// Largest RSA key that is used: verifying costs more with the square of its size. Source: RFC 8301 §3.2.
    public static let maxRSABits = 4096
    /// Key records tried at one name.
    public static let maxKeyRecords = 4
    /// DKIM-Signature fields that are parsed in search of those to judge; the ones below only count.
    public static let maxParsedSignatures = 1000

    /// One signature that is judged.
    private struct Subject {
        var position: Int
        /// What is known so far; the result is set when it is settled.
        var finding: DKIMFinding
        /// What is left to do; `nil` when the finding is settled.
        var work: Work?

        mutating func settle(_ problem: UnusableSignature) {
            finding.result = problem.result
            finding.reason = problem.reason
            work = nil
        }
    }
    private struct Work {
        var signature: DKIMSignature
        var question: Question
        var body: BodyDigest
        /// The hash of the header, once it is made: several key records are tried on one.
        var headerHash: [UInt8]?
    }

    private let settings: DKIMVerificationSettings
    private let keys: PublicKeyCache
    private let index: HeaderIndex
    private var subjects: [Subject] = []
    /// There were more signatures than `maxSignatures`.
    private let hasSurplus: Bool
    private var bodies = BodyDigests()

    /// Reads the signatures of a message.
    ///
    /// Those whose `d=` could align with an author come first, then the others, and those that cannot pass anyway come
    /// last, until `maxSignatures` are chosen.
    /// - Parameter header: all fields, top to bottom.
    /// - Parameter authors: domains of RFC5322.From; of several each is judged, and one that fails decides (RFC 9989
    ///   §11.5). None when there is no usable one.
    /// - Source: RFC 6376 §6.1.1.
    public init(
        header: [HeaderField], authors: [DomainName], settings: DKIMVerificationSettings, keys: PublicKeyCache,
        now: UnixTime
    ) {
        self.settings = settings
        self.keys = keys
        var found = 0
        var candidates: [(rank: Int, position: Int, signature: DKIMSignature?, finding: DKIMFinding)] = []
        for (position, field) in header.enumerated() where field.isNamed("DKIM-Signature") {
            found += 1
            guard found <= Self.maxParsedSignatures else { continue }
            var finding = DKIMFinding(result: .permerror, reason: .none)
            do throws(UnusableSignature) {
                let signature = try DKIMSignature(value: field.value, facts: &finding)
                if signature.algorithm == .rsaSHA1 { throw .refused(.sha1) }  // RFC 8301 §3.1
                if signature.isExpired(at: now) { throw .permanent(.expired) }
                candidates.append((Self.rank(signature.domain, authors), position, signature, finding))
            } catch {
                finding.result = error.result
                finding.reason = error.reason
                candidates.append((Self.unusableRank, position, nil, finding))
            }
        }
        let limit = max(0, settings.maxSignatures)
        hasSurplus = found > limit
        if hasSurplus {
            candidates.sort { ($0.rank, $0.position) < ($1.rank, $1.position) }
            candidates.removeLast(max(0, candidates.count - limit))
            candidates.sort { $0.position < $1.position }
        }
        // Nothing is looked up in a header without signatures.
        index = HeaderIndex(candidates.contains { $0.signature != nil } ? header : [])
        for (_, position, signature, finding) in candidates {
            var subject = Subject(position: position, finding: finding, work: nil)
            if let signature {
                do throws(UnusableSignature) {
                    subject.work = Work(
                        signature: signature, question: try signature.keyQuestion(), body: try digest(for: signature))
                } catch { subject.settle(error) }
            }
            subjects.append(subject)
        }
    }

    /// A rank above every other: the signature cannot pass.
    private static let unusableRank = 4

    /// How likely a SDID aligns with an author's domain; the lowest is judged first. A common ancestor of two labels
    /// is enough to be possible, since the organizational domain is not known yet (RFC 9989 §4.10).
    private static func rank(_ domain: DomainName, _ authors: [DomainName]) -> Int {
        authors.map { rank(domain, $0) }.min() ?? 3
    }
    private static func rank(_ domain: DomainName, _ author: DomainName) -> Int {
        if domain == author { return 0 }
        if author.isEqualOrBelow(domain) || domain.isEqualOrBelow(author) { return 1 }
        return domain.suffix(labels: 2) == author.suffix(labels: 2) ? 2 : 3
    }

    private func digest(for signature: DKIMSignature) throws(UnusableSignature) -> BodyDigest {
        do throws(CryptoError) {
            return try bodies.digest(signature.bodyCanonicalization, limit: signature.bodyLength)
        } catch { throw .trouble(error) }
    }

    /// The key records that will be asked for, each once; for `prefetch` while the body streams.
    public var questions: [Question] {
        var seen: Set<Question> = []
        return subjects.compactMap { $0.work?.question }.filter { seen.insert($0).inserted }
    }

    /// Whether a hash needs more of the body. With `l=` this ends as soon as the body is known to be longer.
    public var wantsBody: Bool { bodies.needMore }

    /// Takes the next octets of the body: CRLF line ends, cut anywhere.
    public func update(_ chunk: Span<UInt8>) { bodies.update(chunk) }

    /// The body has ended: asks for all keys at once and concludes.
    ///
    /// - Returns: a finding for each signature judged, in the order of the fields, and one `.tooManySignatures` at
    ///   the end for all that were not; empty for a message without signatures. Trouble of our own reads as
    ///   temperror.
    /// - Source: RFC 6376 §6.1.2, §6.1.3.
    public func finish(dns: some DNSAnswering) -> [DKIMFinding] {
        bodies.finish()
        let questions = questions
        let answers = questions.isEmpty ? [] : dns.answers(to: questions)
        let byQuestion = Dictionary(zip(questions, answers)) { first, _ in first }
        for at in subjects.indices {
            guard let work = subjects[at].work else { continue }
            subjects[at].work = nil
            judge(work, of: &subjects[at], by: byQuestion[work.question] ?? .temporaryFailure("no answer"))
        }
        var findings = subjects.map(\.finding)
        SignaturePrefixes.shorten(&findings)
        if hasSurplus {
            findings.append(DKIMFinding(result: .permerror, reason: .tooManySignatures))
        }
        return findings
    }

    // MARK: One signature

    private func judge(_ work: Work, of subject: inout Subject, by answer: Answer) {
        do throws(UnusableSignature) {
            let records = try Self.keyRecords(answer)
            let undecided = subject
            var work = work
            var firstProblem: (UnusableSignature, Subject)?
            for record in records {
                subject = undecided
                do throws(UnusableSignature) {
                    try verify(&work, position: subject.position, by: record, facts: &subject.finding)
                    subject.finding.result = .pass
                    subject.finding.reason = .none
                    return
                } catch {
                    if firstProblem == nil { firstProblem = (error, subject) }
                }
            }
            if let firstProblem {
                subject = firstProblem.1
                throw firstProblem.0
            }
        } catch {
            var problem = error
            // A body that was changed is changed whatever the key would have been.
            if error.result == .temperror, let mismatch = bodyProblem(work) { problem = mismatch }
            subject.settle(problem)
        }
    }

    /// The key records in an answer; at least one.
    /// - Source: RFC 6376 §6.1.2 steps 1 to 4.
    private static func keyRecords(_ answer: Answer) throws(UnusableSignature) -> [DKIMKeyRecord] {
        let texts: [[UInt8]]
        switch answer {
        case .records(let records, _):
            texts = records.compactMap { if case .txt(let text) = $0 { text } else { nil } }
        case .noData, .noSuchName: throw .permanent(.noKey)
        case .temporaryFailure(let detail): throw .temporary(.keyUnavailable(detail))
        }
        var records: [DKIMKeyRecord] = []
        var firstProblem = UnusableSignature.permanent(.noKey)
        for (number, text) in texts.prefix(maxKeyRecords).enumerated() {
            do throws(UnusableSignature) { records.append(try DKIMKeyRecord(text)) } catch {
                if number == 0 { firstProblem = error }
            }
        }
        guard !records.isEmpty else { throw firstProblem }
        return records
    }

    /// Verifies a signature by one key record.
    /// - Source: RFC 6376 §6.1.2 steps 5 to 8, §6.1.3.
    private func verify(
        _ work: inout Work, position: Int, by record: DKIMKeyRecord, facts: inout DKIMFinding
    ) throws(UnusableSignature) {
        let signature = work.signature
        facts.isTesting = record.isTesting
        let material = try record.material(for: signature)
        facts.keyBits = material.bits
        if case .rsa = material {  // RFC 8301 §3.2
            guard material.bits >= max(1024, settings.minRSABits) else {
                throw .refused(.keyTooSmall(bits: material.bits))
            }
            guard material.bits <= Self.maxRSABits else { throw .refused(.keyTooLarge(bits: material.bits)) }
        }
        if let problem = bodyProblem(work) { throw problem }
        let isGood: Bool
        do throws(CryptoError) {
            if work.headerHash == nil { work.headerHash = try headerHash(signature, position: position) }
            isGood =
                if let hash = work.headerHash {
                    try keys.key(material).verifies(signature.signature, ofHash: hash)
                } else { false }
        } catch { throw .trouble(error) }
        guard work.headerHash != nil else { throw .permanent(.headerTooLarge) }
        guard isGood else { throw .failed(.signatureMismatch) }
        // Good, but not for the whole message: anyone may have added the rest. Source: RFC 6376 §8.2.
        guard !work.body.leavesRest else { throw .refused(.partOfBodyUnsigned) }
    }

    /// The hash that was signed; `nil` when there is too much to hash. Source: RFC 6376 §3.7.
    private func headerHash(_ signature: DKIMSignature, position: Int) throws(CryptoError) -> [UInt8]? {
        var own = index.header[position]
        own.value = signature.emptiedValue
        return try SignedHeader.hash(
            index.fields(named: signature.fields, except: position), signature: own,
            canonicalization: signature.headerCanonicalization)
    }

    /// What is wrong with the body, as far as it was signed.
    private func bodyProblem(_ work: Work) -> UnusableSignature? {
        if work.body.isShort { return .failed(.bodyShorterThanSigned) }  // RFC 6376 §3.5, l=
        do throws(CryptoError) {
            return try work.body.finish() == work.signature.bodyHash ? nil : .failed(.bodyHashMismatch)
        } catch { return .trouble(error) }
    }
}
