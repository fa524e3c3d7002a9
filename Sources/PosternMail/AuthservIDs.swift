// Whether an Authentication-Results field speaks in our name (RFC 8601 §5). A forged field that one reader behind us
// takes for ours does its harm, so our reading is not the one that counts: a field is claimed if any plausible reader
// finds one of our authserv-ids in it. A field that parses (RFC 8601 §2.2) claims the id that it has; in one that
// does not parse, and before or inside an odd id, the mere presence of our name is a claim. To take away too much
// there costs nothing: nobody can rely on a stranger's malformed field.
// A well-formed field of another authserv-id is left alone, whatever its results say of our domain.

/// The authserv-ids that are ours.
public struct AuthservIDs: Sendable {
    private enum Pattern: Sendable {
        case any
        case id(ReadableText)
        /// Names below; its text begins with the dot.
        case below(ReadableText)
    }
    private let patterns: [Pattern]
    /// The patterns' texts, to be looked for anywhere.
    private let names: [ReadableText]

    /// - Parameter patterns: authserv-ids, in any case, as A- or U-labels. `*.example.com` is every name below
    ///   example.com, but not example.com; `*` is every authserv-id. Empty ones are nobody's.
    public init(_ patterns: [String]) {
        self.patterns = patterns.compactMap { pattern in
            if pattern == "*" { return .any }
            let isBelow = pattern.hasPrefix("*.")
            let name = pattern.utf8.dropFirst(isBelow ? 2 : 0)
            let text = ReadableText(Array(name.trimmingDots))
            guard !text.isEmpty else { return nil }
            return isBelow ? .below(text.prefixedByDot) : .id(text)
        }
        names = self.patterns.compactMap { pattern in
            switch pattern {
            case .any: nil
            case .id(let text), .below(let text): text
            }
        }
    }

    /// Whether no field can be ours.
    var isEmpty: Bool { patterns.isEmpty }

    /// Whether any plausible reader takes `field` for an Authentication-Results field of ours. Linear in the field.
    ///
    /// One that is longer than `AuthenticationResultsParser.maxFieldOctets` is no field of anybody, and counts as ours.
    /// Fields of other names are never claimed; ARC-Authentication-Results is one, since RFC 8617 signs it and its
    /// instances are only believed as a sealed set.
    public func isClaimed(by field: HeaderField) -> Bool { claim(by: field) == .made }

    /// What a field's claim on one of our ids is, and what it took to find out.
    enum Claim: Equatable {
        case none, made
        /// None, after looking through all readings of a malformed field.
        case noneInAnyReading
    }

    func claim(by field: HeaderField) -> Claim {
        guard field.isNamed("Authentication-Results"), !patterns.isEmpty else { return .none }
        if patterns.contains(where: { if case .any = $0 { true } else { false } }) { return .made }
        if field.value.count > AuthenticationResultsParser.maxFieldOctets { return .made }
        let parsed = try? AuthenticationResultsParser.parse(field.value)  // what does not parse is looked through below
        guard let parsed else { return areMentioned(in: field.value) ? .made : .noneInAnyReading }
        if isOurs(parsed.authservID) { return .made }
        // An id with other characters than a name's is read in as many ways as there are readers.
        let isName = parsed.authservID.unicodeScalars.allSatisfy(\.isNameScalar)
        if parsed.authservID.isEmpty || !isName { return areMentioned(in: field.value) ? .made : .noneInAnyReading }
        // Readers differ on where a comment ends (nesting, quoted-pairs), and so on what comes after it. Nobody who
        // speaks for himself names us in a comment before his id.
        var text = StructuredText(field.value)
        _ = try? text.skipCFWS()  // it was skipped before, when the field was parsed
        let lead = field.value.prefix(field.value.count - text.rest.count)
        guard lead.contains(0x28) else { return .none }
        return areMentioned(in: Array(lead)) ? .made : .noneInAnyReading
    }

    /// Whether an authserv-id that was read without doubt is one of ours.
    private func isOurs(_ id: String) -> Bool {
        let text = ReadableText(Array(id.utf8.trimmingDots))
        return patterns.contains { pattern in
            switch pattern {
            case .any: true
            case .id(let ours): text.unicode == ours.unicode
            case .below(let ours): text.unicode.count > ours.unicode.count && text.unicode.hasSuffix(ours.unicode)
            }
        }
    }

    /// Whether one of our ids can be found anywhere in the octets, in any of their readings.
    private func areMentioned(in octets: [UInt8]) -> Bool {
        Readings.of(octets).contains { reading in
            ReadableText(reading).mentions(anyOf: names)
        }
    }
}

extension Unicode.Scalar {
    /// A letter, mark or digit (RFC 5892 §2.1), a dot, hyphen or underscore.
    fileprivate var isNameScalar: Bool {
        if let octet = UInt8(exactly: value), octet < 0x80 { return octet.isLDH || octet == 0x2E || octet == 0x5F }
        return switch properties.generalCategory {
        case .lowercaseLetter, .uppercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .nonspacingMark,
            .spacingMark, .decimalNumber:
            true
        default: false
        }
    }
}

extension Substring.UTF8View {
    fileprivate var trimmingDots: Substring.UTF8View {
        guard let last = lastIndex(where: { $0 != 0x2E }) else { return self[endIndex...] }
        return self[...last]
    }
}
extension String.UTF8View {
    fileprivate var trimmingDots: Substring.UTF8View { self[...].trimmingDots }
}

/// The readings that lenient readers might make of the same octets.
private enum Readings {
    /// With and without encoded-words (RFC 2047) and percent-encoding decoded, each with comments kept, and taken away
    /// by readers who do or do not know nesting and quoted-pairs. At most ten, each made when it is asked for.
    static func of(_ octets: [UInt8]) -> some Sequence<[UInt8]> {
        let decoded = EncodedText.decoded(octets)
        return [octets, decoded == octets ? [] : decoded].lazy.filter { !$0.isEmpty }.flatMap { text in
            text.contains(0x28)
                ? [text]
                    + [(true, true), (false, false), (true, false), (false, true)].map {
                        withoutComments(text, nesting: $0.0, pairs: $0.1)
                    } : [text]
        }
    }

    private static func withoutComments(_ octets: [UInt8], nesting: Bool, pairs: Bool) -> [UInt8] {
        var kept: [UInt8] = []
        var depth = 0
        var isPair = false
        for octet in octets {
            if isPair {
                isPair = false
            } else if pairs, octet == 0x5C {
                isPair = true
            } else if octet == 0x28 {
                depth = nesting ? depth + 1 : 1
                continue
            } else if octet == 0x29, depth > 0 {
                depth -= 1
                continue
            }
            if depth == 0 { kept.append(octet) }
        }
        return kept
    }
}
