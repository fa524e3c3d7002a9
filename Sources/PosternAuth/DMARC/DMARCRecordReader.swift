// Reads the tags of a policy record behind `v=DMARC1` (RFC 9989 §4.7, §4.8), one after the other in one pass: syntax
// errors are discarded in favour of defaults. What the tags mean for an author is the judge's business.

import PosternMail

struct DMARCRecordReader {
    private(set) var published = DMARCPublishedPolicy(policy: .none)
    private(set) var mistakes: [DMARCRecordMistake] = []
    private var seen: Set<String> = []
    private var policy: DMARCPolicy?
    /// `sp` or `np` is there and not valid.
    private var hasBadSubdomainPolicy = false
    private var failureOptions: String?

    /// RFC 9989 §4.10.1: with an address for reports a bad policy is "none", without it the record governs nothing.
    private(set) var isUsable = false

    private static let known: Set<String> = ["p", "sp", "np", "adkim", "aspf", "psd", "t", "fo", "rua", "ruf"]
    /// RFC 9989 §C.5.2.
    private static let obsolete: Set<String> = ["pct", "rf", "ri"]
    /// Longest name of an unknown tag that is repeated in a mistake.
    private static let maxNameOctets = 20

    /// - Parameter text: empty, or a semicolon and what follows it.
    mutating func read(_ text: ArraySlice<UInt8>) {
        var rest = text.dropFirst()
        while !rest.isEmpty {
            let end = rest.firstIndex(of: 0x3B) ?? rest.endIndex
            read(spec: rest[..<end], isLast: end == rest.endIndex)
            rest = rest[end...].dropFirst()
        }
        conclude()
    }

    private mutating func note(_ mistake: DMARCRecordMistake) {
        if mistakes.count < DMARCRecord.maxMistakes { mistakes.append(mistake) }
    }

    private mutating func read(spec: ArraySlice<UInt8>, isLast: Bool) {
        guard !spec.allSatisfy(\.isWSP) else {
            if !isLast { note(.emptyTag) }
            return
        }
        guard let tag = DMARCTag(spec) else { return note(.notATag) }
        let lower = tag.name.asciiLowercased
        let name = String(decoding: lower.prefix(Self.maxNameOctets), as: UTF8.self)
        guard lower.count <= Self.maxNameOctets, Self.known.contains(name) else {
            return note(Self.obsolete.contains(name) ? .obsoleteTag(name) : .unknownTag(name))
        }
        if !lower.elementsEqual(tag.name) { note(.capitalsInName(name)) }
        guard seen.insert(name).inserted else { return note(.repeatedTag(name)) }
        // RFC 9989 §4.8, dmarc-value: printable ASCII, at least one.
        let isClean = !tag.value.isEmpty && tag.value.allSatisfy { $0 >= 0x20 && $0 <= 0x7E }
        if !take(name, isClean ? tag.value : []) { note(.badValue(name)) }
    }

    /// Takes one tag's value; empty for what is no value at all.
    /// - Returns: whether it is valid.
    private mutating func take(_ name: String, _ value: ArraySlice<UInt8>) -> Bool {
        // RFC 5234 §2.3: the words of RFC 9989 §4.8 are in any case. None of them has more than 10 letters.
        let word = String(decoding: value.prefix(11).asciiLowercased, as: UTF8.self)
        switch name {
        case "p":
            policy = DMARCPolicy(rawValue: word)
            return policy != nil
        case "sp":
            published.subdomainPolicy = DMARCPolicy(rawValue: word)
            if published.subdomainPolicy == nil { hasBadSubdomainPolicy = true }
            return published.subdomainPolicy != nil
        case "np":
            published.nonexistentPolicy = DMARCPolicy(rawValue: word)
            if published.nonexistentPolicy == nil { hasBadSubdomainPolicy = true }
            return published.nonexistentPolicy != nil
        case "adkim": return Self.set(&published.dkimAlignment, DMARCAlignment(rawValue: word))
        case "aspf": return Self.set(&published.spfAlignment, DMARCAlignment(rawValue: word))
        case "psd": return Self.set(&published.publicSuffix, DMARCPublicSuffix(rawValue: word))
        case "t": return Self.set(&published.isTesting, word == "y" ? true : word == "n" ? false : nil)
        case "rua":
            published.aggregateReports = addresses(value, of: name)
            return published.aggregateReports != nil
        case "ruf":
            published.failureReports = addresses(value, of: name)
            return published.failureReports != nil
        default:  // fo
            failureOptions = Self.failureOptions(value)
            return failureOptions != nil
        }
    }

    private static func set<Value>(_ place: inout Value, _ value: Value?) -> Bool {
        if let value { place = value }
        return value != nil
    }

    private mutating func conclude() {
        if !seen.contains("p") { note(.noPolicy) }
        if seen.contains("fo"), !seen.contains("ruf") { note(.failureOptionsWithoutAddress) }
        // RFC 9989 §4.7, fo: ignored without ruf.
        if published.failureReports != nil { published.failureOptions = failureOptions }
        if let policy, !hasBadSubdomainPolicy {
            published.policy = policy
            isUsable = true
        } else {
            // RFC 9989 §4.10.1: as if a record containing "p=none" was retrieved, if reports can be sent.
            published.policy = .none
            published.subdomainPolicy = nil
            published.nonexistentPolicy = nil
            isUsable = published.aggregateReports != nil
        }
    }

    /// The value of `fo`, when it is valid: 0, 1, d and s between colons, each once and not both digits.
    /// - Source: RFC 9989 §4.7, §4.8, `dmarc-fo`.
    private static func failureOptions(_ value: ArraySlice<UInt8>) -> String? {
        // "0:d:s" has the most members that there can be; white space is not in the grammar but in use.
        let members = value.split(separator: 0x3A, maxSplits: 4, omittingEmptySubsequences: false)
            .map { $0.trimmingWSP.asciiLowercased }
        let words = members.map { String(decoding: $0, as: UTF8.self) }
        guard words.count <= 3, Set(words).count == words.count,
            words.allSatisfy({ ["0", "1", "d", "s"].contains($0) }), !(words.contains("0") && words.contains("1"))
        else { return nil }
        return words.joined(separator: ":")
    }

    // MARK: Report addresses

    /// Most URIs of one tag; published records have one to four.
    static let maxURIs = 32
    /// Longest URI that is taken, in octets.
    static let maxURIOctets = 1024

    /// The valid URIs of a list, between commas and without their obsolete sizes; `nil` when there is none.
    /// - Source: RFC 9989 §4.8, `dmarc-urilist`.
    private mutating func addresses(_ value: ArraySlice<UInt8>, of tag: String) -> String? {
        var addresses: [String] = []
        var rest = value
        while !rest.isEmpty {
            guard addresses.count < Self.maxURIs else {
                note(.tooManyURIs(tag))
                break
            }
            let end = rest.firstIndex(of: 0x2C) ?? rest.endIndex
            var uri = rest[..<end].trimmingWSP
            rest = rest[end...].dropFirst()
            if let mark = uri.firstIndex(of: 0x21) {  // "!"; a real one would be %21
                guard Self.isSize(uri[mark...].dropFirst()) else {
                    note(.badURI(tag))
                    continue
                }
                note(.obsoleteSize(tag))
                uri = uri[..<mark]
            }
            guard uri.count <= Self.maxURIOctets, ReportURI.isValid(uri) else {
                note(.badURI(tag))
                continue
            }
            addresses.append(String(decoding: uri, as: UTF8.self))
        }
        return addresses.isEmpty ? nil : addresses.joined(separator: ",")
    }

    /// RFC 9989 §4.8, obs-dmarc-report-size.
    private static func isSize(_ text: ArraySlice<UInt8>) -> Bool {
        var digits = text
        if let unit = digits.last, [0x6B, 0x6D, 0x67, 0x74].contains(unit | 0x20), unit.isASCIILetter {
            digits.removeLast()
        }
        return !digits.isEmpty && digits.allSatisfy(\.isASCIIDigit)
    }
}

/// Whether octets are a URI that reports could go to: RFC 3986 in outline, and for `mailto` an address.
enum ReportURI {
    static func isValid(_ uri: ArraySlice<UInt8>) -> Bool {
        guard let colon = uri.firstIndex(of: 0x3A) else { return false }
        let scheme = uri[..<colon]
        let rest = uri[(colon + 1)...]
        // RFC 3986 §3.1: scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )
        guard let first = scheme.first, first.isASCIILetter,
            scheme.allSatisfy({ $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2B || $0 == 0x2D || $0 == 0x2E }),
            hasURICharacters(rest), !rest.isEmpty
        else { return false }
        guard scheme.equalsIgnoringASCIICase("mailto") else { return true }
        // RFC 6068 §2: an addr-spec, and header fields behind "?".
        let address = rest.prefix { $0 != 0x3F }
        guard let at = address.lastIndex(of: 0x40), at > address.startIndex else { return false }
        // `try?`: what is no name is no address, whatever is wrong with it.
        return (try? DomainName(text: address[(at + 1)...]))?.isHostname(minLabels: 1) ?? false
    }

    /// RFC 3986 §2: unreserved, reserved and percent-encoded characters; RFC 9989 §4.8: no "," and no "!".
    private static func hasURICharacters(_ text: ArraySlice<UInt8>) -> Bool {
        var rest = text
        while let octet = rest.popFirst() {
            if octet == 0x25 {
                guard rest.popFirst()?.isHexDigit == true, rest.popFirst()?.isHexDigit == true else { return false }
            } else {
                guard octet.isASCIILetter || octet.isASCIIDigit || others.contains(octet) else { return false }
            }
        }
        return true
    }
    private static let others = Set("-._~:/?#[]@$&'()*+;=".utf8)
}

extension UInt8 {
    fileprivate var isHexDigit: Bool { isASCIIDigit || ((self | 0x20) >= 0x61 && (self | 0x20) <= 0x66) }
}
