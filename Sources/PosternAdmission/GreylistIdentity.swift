// The domain that a client speaks for, where SPF says so by naming few addresses. A sender's pool of hosts then waits as
// one. Whoever can make SPF pass for every address of the world must not get that: `all`, `exists` and `ptr` never count,
// nor networks wider than /16 (IPv6: /32), nor names made of the client's address or of what the client says, which are
// `exists` in another form (RFC 7208 §5, §7.2).

internal import PosternMail

enum GreylistIdentity {
    /// The widest networks that a term may name.
    static let (minIPv4Prefix, minIPv6Prefix) = (16, 32)

    /// - Parameter finding: SPF's; nil where it could not be asked.
    static func of(_ finding: SPFFinding?, client: IPAddress, score: Int) -> GreylistRequest.Identity {
        guard score <= 0, let finding, finding.result == .pass, let domain = finding.domain,
            let decisive = finding.chain.last?.term, finding.mechanism != nil,
            // A `redirect` or `include` on the way leads to another record; each term on it must be one of these.
            finding.chain.dropLast().allSatisfy({ isStep($0.term) }), isNarrow(decisive, client.unmapped)
        else { return .none }
        return .domain(domain)
    }

    private static func isStep(_ term: String) -> Bool {
        let text = Array(term.utf8)[...].withoutQualifier.asciiLowercased
        return (text.starts(with: "include:".utf8) || text.starts(with: "redirect=".utf8)) && !text.isOfTheClientsMaking
    }

    /// Whether a term names few addresses. Source: RFC 7208 §5.3, §5.4, §5.6.
    static func isNarrow(_ term: String, _ client: IPAddress) -> Bool {
        let text = Array(term.utf8)[...].withoutQualifier.asciiLowercased[...]
        let name = text.prefix { $0 != UInt8(ascii: ":") && $0 != UInt8(ascii: "/") }
        switch String(decoding: name, as: UTF8.self) {
        case "a", "mx": return !text.isOfTheClientsMaking && isNarrow(lengthsOf: text, client)
        case "ip4", "ip6":
            // The judge has read it as a network: host bits may stand in it (RFC 7208 §5.6).
            let parts = text.dropFirst(name.count + 1).split(
                separator: UInt8(ascii: "/"), maxSplits: 1, omittingEmptySubsequences: false)
            guard let address = parts.first.flatMap({ IPAddress(String(decoding: $0, as: UTF8.self)) }) else {
                return false
            }
            let most = if case .v4 = address { 32 } else { 128 }
            let length = parts.dropFirst().first.map { $0.prefixLength } ?? most
            let least = if case .v4 = address { minIPv4Prefix } else { minIPv6Prefix }
            return length.map { (least...most).contains($0) } ?? false
        default: return false  // all, exists, ptr
        }
    }

    /// Whether the prefix lengths at the end of an `a` or `mx`, `/24//64`, leave a narrow network of the client's family.
    private static func isNarrow(lengthsOf term: ArraySlice<UInt8>, _ client: IPAddress) -> Bool {
        // A slash within the name's macros would stand in braces, and those with slashes are not let through.
        guard let slash = term.firstIndex(of: UInt8(ascii: "/")) else { return true }
        let lengths = term[slash...]
        var ip4 = lengths
        var ip6: ArraySlice<UInt8>? = nil
        if let double = zip(lengths.indices, zip(lengths, lengths.dropFirst())).first(where: {
            $0.1.0 == UInt8(ascii: "/") && $0.1.1 == UInt8(ascii: "/")
        })?.0 {
            ip4 = lengths[..<double]
            ip6 = lengths[double...].dropFirst(2)
        }
        switch client {
        case .v4: return ip4.isEmpty || ip4.dropFirst().prefixLength.map { $0 >= minIPv4Prefix } ?? false
        case .v6: return ip6.map { $0.prefixLength.map { $0 >= minIPv6Prefix } ?? false } ?? true
        }
    }
}

extension ArraySlice<UInt8> {
    fileprivate var withoutQualifier: ArraySlice<UInt8> { first == UInt8(ascii: "+") ? dropFirst() : self }

    fileprivate var prefixLength: Int? {
        guard (1...3).contains(count), allSatisfy(\.isASCIIDigit) else { return nil }
        return reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }
}

extension Collection<UInt8> {
    /// Whether macros other than the record's and the sender's domain stand in a term: address, HELO name, local-part.
    fileprivate var isOfTheClientsMaking: Bool {
        var rest = self[...]
        while let octet = rest.popFirst() {
            guard octet == UInt8(ascii: "%") else { continue }
            guard rest.popFirst() == UInt8(ascii: "{") else { return true }  // escapes make no name that is asked
            let body = rest.prefix { $0 != UInt8(ascii: "}") }
            guard let letter = body.first, letter == UInt8(ascii: "d") || letter == UInt8(ascii: "o"),
                !body.contains(UInt8(ascii: "/"))
            else { return true }
            rest = rest.dropFirst(body.count)
        }
        return false
    }
}
