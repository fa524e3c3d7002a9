// The reasons of findings as they are kept: a word that never changes, and what belongs to it. Every case has one word;
// a new case does not compile until it has one here.

import PosternMail

/// A reason, taken apart.
struct ReasonWords: Hashable {
    let word: String
    var name: DomainName?
    var number: Int?
    var text: String?

    init(_ word: String, name: DomainName? = nil, number: Int? = nil, text: String? = nil) {
        self.word = word
        self.name = name
        self.number = number
        self.text = text
    }
}

extension SPFReason {
    static let plainCases: [SPFReason] = [
        .matched, .noMatch, .noRecord, .noDomain, .noIncludedRecord, .noRedirectedRecord, .tooManyLookups,
        .tooManyVoidLookups,
    ]

    var words: ReasonWords {
        switch self {
        case .matched: ReasonWords("matched")
        case .noMatch: ReasonWords("no_match")
        case .noRecord: ReasonWords("no_record")
        case .noDomain: ReasonWords("no_domain")
        case .badDomain(let text): ReasonWords("bad_domain", text: text)
        case .severalRecords(let name): ReasonWords("several_records", name: name)
        case .syntax(let name, let text): ReasonWords("syntax", name: name, text: text)
        case .noIncludedRecord: ReasonWords("no_included_record")
        case .noRedirectedRecord: ReasonWords("no_redirected_record")
        case .tooManyLookups: ReasonWords("too_many_lookups")
        case .tooManyVoidLookups: ReasonWords("too_many_void_lookups")
        case .tooManyMXHosts(let name): ReasonWords("too_many_mx_hosts", name: name)
        case .dnsFailure(let name, let text): ReasonWords("dns_failure", name: name, text: text)
        }
    }

    init?(_ words: ReasonWords) {
        let text = words.text ?? ""
        switch (words.word, words.name) {
        case ("bad_domain", _): self = .badDomain(text)
        case ("several_records", let name?): self = .severalRecords(name)
        case ("syntax", let name?): self = .syntax(name, text)
        case ("too_many_mx_hosts", let name?): self = .tooManyMXHosts(name)
        case ("dns_failure", let name?): self = .dnsFailure(name, text)
        default:
            guard let plain = Self.plainCases.first(where: { $0.words.word == words.word }) else { return nil }
            self = plain
        }
    }
}

extension DKIMReason {
    static let plainCases: [DKIMReason] = [
        .none, .unknownVersion, .unknownAlgorithm, .unknownCanonicalization, .unknownQueryMethod, .fromNotSigned,
        .auidNotInDomain, .expired, .timestampAfterExpiry, .sha1, .partOfBodyUnsigned, .tooManySignatures, .noKey,
        .nameTooLong, .keyRevoked, .keyForOtherService, .keyForOtherHash, .keyForOtherAlgorithm, .auidMustBeDomain,
        .bodyHashMismatch, .bodyShorterThanSigned, .signatureMismatch, .headerTooLarge,
    ]

    var words: ReasonWords {
        switch self {
        case .none: ReasonWords("none")
        case .syntax(let text): ReasonWords("syntax", text: text)
        case .missingTag(let tag): ReasonWords("missing_tag", text: tag)
        case .unknownVersion: ReasonWords("unknown_version")
        case .unknownAlgorithm: ReasonWords("unknown_algorithm")
        case .unknownCanonicalization: ReasonWords("unknown_canonicalization")
        case .unknownQueryMethod: ReasonWords("unknown_query_method")
        case .fromNotSigned: ReasonWords("from_not_signed")
        case .auidNotInDomain: ReasonWords("auid_not_in_domain")
        case .expired: ReasonWords("expired")
        case .timestampAfterExpiry: ReasonWords("timestamp_after_expiry")
        case .sha1: ReasonWords("sha1")
        case .partOfBodyUnsigned: ReasonWords("part_of_body_unsigned")
        case .keyTooSmall(let bits): ReasonWords("key_too_small", number: bits)
        case .keyTooLarge(let bits): ReasonWords("key_too_large", number: bits)
        case .tooManySignatures: ReasonWords("too_many_signatures")
        case .noKey: ReasonWords("no_key")
        case .keyUnavailable(let text): ReasonWords("key_unavailable", text: text)
        case .nameTooLong: ReasonWords("name_too_long")
        case .keySyntax(let text): ReasonWords("key_syntax", text: text)
        case .keyRevoked: ReasonWords("key_revoked")
        case .keyForOtherService: ReasonWords("key_for_other_service")
        case .keyForOtherHash: ReasonWords("key_for_other_hash")
        case .keyForOtherAlgorithm: ReasonWords("key_for_other_algorithm")
        case .auidMustBeDomain: ReasonWords("auid_must_be_domain")
        case .bodyHashMismatch: ReasonWords("body_hash_mismatch")
        case .bodyShorterThanSigned: ReasonWords("body_shorter_than_signed")
        case .signatureMismatch: ReasonWords("signature_mismatch")
        case .headerTooLarge: ReasonWords("header_too_large")
        case .internalError(let text): ReasonWords("internal_error", text: text)
        }
    }

    init?(_ words: ReasonWords) {
        let text = words.text ?? ""
        switch (words.word, words.number) {
        case ("syntax", _): self = .syntax(text)
        case ("missing_tag", _): self = .missingTag(text)
        case ("key_too_small", let bits?): self = .keyTooSmall(bits: bits)
        case ("key_too_large", let bits?): self = .keyTooLarge(bits: bits)
        case ("key_unavailable", _): self = .keyUnavailable(text)
        case ("key_syntax", _): self = .keySyntax(text)
        case ("internal_error", _): self = .internalError(text)
        default:
            guard let plain = Self.plainCases.first(where: { $0.words.word == words.word }) else { return nil }
            self = plain
        }
    }
}

extension DMARCReason {
    static let plainCases: [DMARCReason] = [
        .aligned, .noRecord, .unusableRecord, .noIdentifier, .notAligned, .noAuthor, .repeatedAuthor,
    ]

    var words: ReasonWords {
        switch self {
        case .aligned: ReasonWords("aligned")
        case .noRecord: ReasonWords("no_record")
        case .unusableRecord: ReasonWords("unusable_record")
        case .noIdentifier: ReasonWords("no_identifier")
        case .notAligned: ReasonWords("not_aligned")
        case .recordUnavailable(let name, let text): ReasonWords("record_unavailable", name: name, text: text)
        case .identifierUnavailable(let name, let text): ReasonWords("identifier_unavailable", name: name, text: text)
        case .existenceUnknown(let name, let text): ReasonWords("existence_unknown", name: name, text: text)
        case .noAuthor: ReasonWords("no_author")
        case .repeatedAuthor: ReasonWords("repeated_author")
        case .invalidAuthor(let text): ReasonWords("invalid_author", text: text)
        }
    }

    init?(_ words: ReasonWords) {
        let text = words.text ?? ""
        switch (words.word, words.name) {
        case ("record_unavailable", let name?): self = .recordUnavailable(name, text)
        case ("identifier_unavailable", let name?): self = .identifierUnavailable(name, text)
        case ("existence_unknown", let name?): self = .existenceUnknown(name, text)
        case ("invalid_author", _): self = .invalidAuthor(text)
        default:
            guard let plain = Self.plainCases.first(where: { $0.words.word == words.word }) else { return nil }
            self = plain
        }
    }
}
