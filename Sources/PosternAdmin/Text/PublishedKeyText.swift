// What is wrong with a published key, for people and for programs: what was expected, what came, what to do.

internal import PosternAuth
internal import PosternDaemon
internal import PosternMail

/// One key of ours and what DNS says of it.
struct KeyTest {
    let key: NamedKey
    let found: PublishedKey
    /// The command that prints what to publish.
    let recordCommand: String
    /// Where a record lies that was meant for the key's name, if it lies elsewhere.
    var misplaced: DomainName?

    /// Whether it is the key's to sign, as far as DNS tells.
    var turn = Turn.itsOwn

    enum Turn: Equatable {
        /// The key signs by itself, or is the newest of its directory that DNS publishes, or none of them is published.
        case itsOwn
        /// An older one signs until DNS publishes this.
        case waits(behind: DKIMKeyName)
        case superseded(by: DKIMKeyName)
    }

    /// Finds whose turn it is among keys of one directory and algorithm, by postern-dkim's rule: the newest that DNS
    /// publishes signs.
    /// - Parameter tests: those of a directory oldest first.
    static func takeTurns(_ tests: inout [KeyTest]) {
        for index in tests.indices {
            guard let directory = tests[index].key.directory else { continue }
            let algorithm = tests[index].key.privateKey.algorithm
            let signer = tests.lastIndex { other in
                other.key.directory == directory && other.key.name.domain == tests[index].key.name.domain
                    && other.key.privateKey.algorithm == algorithm && other.found.problem == nil
            }
            guard let signer, signer != index else { continue }
            let name = tests[signer].key.name
            tests[index].turn = index < signer ? .superseded(by: name) : .waits(behind: name)
        }
    }

    /// One word, for programs.
    var result: String {
        switch (found.problem, turn) {
        case (.noSuchName?, .superseded), (.noText?, .superseded), (.revoked?, .superseded): return "retired"
        case (.noSuchName?, .waits), (.noText?, .waits): if misplaced == nil { return "waiting" }
        default: break
        }
        return switch found.problem {
        case nil: "ok"
        case .noSuchName?: "nxdomain"
        case .noText?: "nodata"
        case .severalRecords?: "several"
        case .syntax?: "syntax"
        case .revoked?: "revoked"
        case .hashExcluded?, .serviceExcluded?: "restricted"
        case .otherType?, .otherSize?, .otherKey?: "mismatch"
        case .temporaryFailure?: "temperror"
        }
    }

    /// What was expected, what came, what to do; nil if all is well.
    var reason: String? {
        guard let problem = found.problem else { return nil }
        if result == "retired", case .superseded(let newer) = turn {
            return "\(newer.record) has taken over, and the record is "
                + (problem == .revoked ? "revoked" : "gone; the file may go")
        }
        let reason = "expected \(expectation(problem)), found \(finding(problem)); \(remedy(problem))"
        if case .waits(let older) = turn { return "\(reason); \(older.record) signs until then" }
        return reason
    }

    private func expectation(_ problem: PublishedKey.Problem) -> String {
        switch problem {
        case .noSuchName, .noText: "a TXT record"
        case .severalRecords: "one TXT record"
        case .syntax: "a key record"
        case .revoked: "a key in p="
        case .hashExcluded: "no h=, or one with sha256"
        case .serviceExcluded: "no s=, or one with email or *"
        case .otherType: "k=\(key.privateKey.algorithm == .ed25519SHA256 ? "ed25519" : "rsa")"
        case .otherSize: "a key of \(key.privateKey.bits) bits"
        case .otherKey(let ours, _): "the key whose SHA-256 begins with \(Hexadecimal.text(ours))"
        case .temporaryFailure: "an answer"
        }
    }

    private func finding(_ problem: PublishedKey.Problem) -> String {
        switch problem {
        case .noSuchName where misplaced != nil, .noText where misplaced != nil:
            "none here, but one at \(misplaced?.description ?? "")"
        case .noSuchName: "no such name"
        case .noText: "none, though the name is there"
        case .severalRecords(let count, let includesOurs): "\(count)\(includesOurs ? "" : ", none of them this key's")"
        case .syntax(let detail): "what breaks its syntax: \(detail)\(Self.hint(on: found.record ?? []))"
        case .revoked: "it empty: the key is revoked"
        case .hashExcluded: "an h= without it"
        case .serviceExcluded: "an s= without either"
        case .otherType(let type): type.map { "k=\($0)" } ?? "a k= that nobody knows"
        case .otherSize(let bits): "one of \(bits) bits"
        case .otherKey(_, let published): "one whose begins with \(Hexadecimal.text(published))"
        case .temporaryFailure(let reason): "a temporary failure (\(reason))"
        }
    }

    private func remedy(_ problem: PublishedKey.Problem) -> String {
        let publish = "publish what `\(recordCommand)` prints"
        return switch problem {
        case .noSuchName where misplaced != nil, .noText where misplaced != nil:
            "end the name in the zone with a dot, or leave the zone's own name out"
        case .noSuchName, .noText: publish
        case .severalRecords(_, includesOurs: true): "remove the others: verifiers may try any of them"
        case .severalRecords: "remove them and \(publish)"
        case .syntax: publish
        case .revoked: "sign with another key, or \(publish)"
        case .hashExcluded: "take h= out of the record"
        case .serviceExcluded: "take s= out of the record"
        case .otherType, .otherSize, .otherKey: "\(publish), or sign with the key that is published"
        case .temporaryFailure: "nobody could tell: try again"
        }
    }

    /// Mistakes that zone editors make of a right record.
    private static func hint(on record: [UInt8]) -> String {
        if record.first == 0x22 { return " (the text itself has quotation marks)" }
        if record.contains(0x5C) { return " (the text itself has backslashes)" }
        // A value that was cut where one character-string ends (RFC 1035 §3.3).
        return record.count == ZoneText.maxStringOctets ? " (the text is cut after \(record.count) octets)" : ""
    }

    /// What is no mistake and yet worth knowing.
    var notes: [String] {
        var notes: [String] = []
        if found.isTesting {
            notes.append("t=y: receivers treat this domain's signatures as a test; take it out when that is over")
        }
        if found.isStrict {
            notes.append("t=s: signatures with an i= of a subdomain fail; postern-dkim writes no i=")
        }
        if let advice = KeyAdvice.onSize(of: key.privateKey) { notes.append(advice) }
        if found.problem == nil, case .superseded(let newer) = turn {
            notes.append("\(newer.record) has taken over; `postern dkim keys` tells when the record may go")
        }
        return notes
    }

    /// A line for the result and one for each note, with their line ends.
    var lines: String {
        let name = "\(key.name.record)"
        let size = "\(key.privateKey.algorithm.rawValue), \(key.privateKey.bits) bits"
        return (["\(result) (\(size))\(reason.map { ": \($0)" } ?? "")"] + notes.map { "note: \($0)" })
            .map { "\(name): \($0)\n" }.joined()
    }

    /// Every member is always there.
    var json: JSONValue {
        [
            "domain": .text("\(key.name.domain)"), "selector": .text("\(key.name.selector)"),
            "name": .text("\(key.name.record)"), "algorithm": .text(key.privateKey.algorithm.rawValue),
            "bits": .number(key.privateKey.bits), "result": .text(result), "reason": .optional(reason),
            "record": found.record.map(JSONValue.octets) ?? .null, "notes": .list(notes.map(JSONValue.text)),
        ]
    }
}
