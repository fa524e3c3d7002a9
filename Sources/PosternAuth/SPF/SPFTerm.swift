// One term of an SPF record (RFC 7208 §4.6.1, §12): a mechanism with its qualifier, or a modifier. Names are compared
// without case, as ABNF's strings are (RFC 5234 §2.3).

import PosternMail

enum SPFTerm {
    case directive(SPFDirective)
    case redirect(SPFMacroString)
    case explanation(SPFMacroString)
    case unknownModifier

    /// Octets of a term that are repeated in findings and mistakes.
    static let maxPrintedOctets = 100

    /// - Parameter text: the octets between two spaces; not empty.
    /// - Throws: the first rule that the term breaks.
    init(_ text: ArraySlice<UInt8>) throws(SPFSyntaxError) {
        // RFC 7208 §3.1: a record is US-ASCII, and terms are made of visible characters.
        if let bad = text.first(where: { !(0x21...0x7E).contains($0) }) { throw .badOctet(bad) }
        // RFC 7208 §4.6.1: modifiers have "=" "immediately after the name and before any ":" or "/"".
        let name = text.prefix { $0 != 0x3A && $0 != 0x2F && $0 != 0x3D }
        let rest = text[name.endIndex...]
        if rest.first == 0x3D {
            self = try Self.modifier(name, rest.dropFirst())
        } else {
            let qualifier = text.first.flatMap(SPFQualifier.init(rawValue:))
            self = .directive(
                SPFDirective(
                    qualifier: qualifier ?? .pass,
                    mechanism: try Self.mechanism(qualifier == nil ? name : name.dropFirst(), rest),
                    text: Self.printable(text)))
        }
    }

    /// Source: RFC 7208 §6, §12 `modifier`, `unknown-modifier`.
    private static func modifier(_ name: ArraySlice<UInt8>, _ value: ArraySlice<UInt8>) throws(SPFSyntaxError)
        -> SPFTerm
    {
        guard let first = name.first, first.isASCIILetter,
            name.allSatisfy({
                $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2D || $0 == 0x5F || $0 == 0x2E
            })
        else { throw .badModifierName }
        if name.equalsIgnoringASCIICase("redirect") { return .redirect(try domainSpec(value)) }
        if name.equalsIgnoringASCIICase("exp") { return .explanation(try domainSpec(value)) }
        _ = try SPFMacroString(value, in: .unknownModifier)  // only its syntax counts
        return .unknownModifier
    }

    /// Source: RFC 7208 §5.
    private static func mechanism(
        _ name: ArraySlice<UInt8>, _ rest: ArraySlice<UInt8>
    ) throws(SPFSyntaxError) -> SPFMechanism {
        if name.equalsIgnoringASCIICase("all") {
            guard rest.isEmpty else { throw .unexpectedArgument }  // §5.1
            return .all
        }
        if name.equalsIgnoringASCIICase("include") { return .include(try requiredDomain(rest)) }
        if name.equalsIgnoringASCIICase("exists") { return .exists(try requiredDomain(rest)) }
        if name.equalsIgnoringASCIICase("ptr") { return .ptr(try optionalDomain(rest)) }
        if name.equalsIgnoringASCIICase("a") {
            let (domain, lengths) = try dualPrefixLengths(rest)
            return .a(try optionalDomain(domain), lengths)
        }
        if name.equalsIgnoringASCIICase("mx") {
            let (domain, lengths) = try dualPrefixLengths(rest)
            return .mx(try optionalDomain(domain), lengths)
        }
        if name.equalsIgnoringASCIICase("ip4") {
            return .ip4(try network(rest, bits: 32, error: .badIPv4) { if case .v4 = $0 { true } else { false } })
        }
        if name.equalsIgnoringASCIICase("ip6") {
            return .ip6(try network(rest, bits: 128, error: .badIPv6) { if case .v6 = $0 { true } else { false } })
        }
        throw .unknownMechanism
    }

    private static func requiredDomain(_ rest: ArraySlice<UInt8>) throws(SPFSyntaxError) -> SPFMacroString {
        guard rest.first == 0x3A else { throw .missingDomain }
        return try domainSpec(rest.dropFirst())
    }

    private static func optionalDomain(_ rest: ArraySlice<UInt8>) throws(SPFSyntaxError) -> SPFMacroString? {
        guard let first = rest.first else { return nil }
        guard first == 0x3A else { throw .badPrefixLength }
        return try domainSpec(rest.dropFirst())
    }

    private static func domainSpec(_ text: ArraySlice<UInt8>) throws(SPFSyntaxError) -> SPFMacroString {
        do throws(SPFSyntaxError) { return try SPFMacroString(text, in: .domainSpec) } catch {
            // The mistake that people make most: a:192.0.2.1.
            if text.count <= 45, IPAddress(String(decoding: text, as: UTF8.self)) != nil { throw .addressForDomain }
            throw error
        }
    }

    /// Takes `/24`, `//64` or `/24//64` off the end.
    /// - Source: RFC 7208 §5.3, §12 `dual-cidr-length`.
    private static func dualPrefixLengths(
        _ text: ArraySlice<UInt8>
    ) throws(SPFSyntaxError) -> (rest: ArraySlice<UInt8>, SPFPrefixLengths) {
        var lengths = SPFPrefixLengths()
        var rest = text
        if let (before, digits) = lastNumber(rest) {
            if before.last == 0x2F {
                lengths.v6 = try prefixLength(digits, bits: 128)
                rest = before.dropLast()
                guard let (before, digits) = lastNumber(rest) else { return (rest, lengths) }
                lengths.v4 = try prefixLength(digits, bits: 32)
                rest = before
            } else {
                lengths.v4 = try prefixLength(digits, bits: 32)
                rest = before
            }
        }
        return (rest, lengths)
    }

    /// The digits at the end and what stands before the slash before them.
    private static func lastNumber(
        _ text: ArraySlice<UInt8>
    ) -> (before: ArraySlice<UInt8>, digits: ArraySlice<UInt8>)? {
        let digits = text.suffix(from: text.lastIndex { !$0.isASCIIDigit }.map { $0 + 1 } ?? text.startIndex)
        let before = text[..<digits.startIndex]
        return digits.isEmpty || before.last != 0x2F ? nil : (before.dropLast(), digits)
    }

    /// RFC 7208 §12: ip4-cidr-length = "/" ("0" / %x31-39 0*1DIGIT); no leading zeros
    private static func prefixLength(_ digits: ArraySlice<UInt8>, bits: Int) throws(SPFSyntaxError) -> Int {
        guard (1...3).contains(digits.count), digits.allSatisfy(\.isASCIIDigit),
            digits.count == 1 || digits.first != 0x30
        else { throw .badPrefixLength }
        let value = digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
        guard value <= bits else { throw .badPrefixLength }
        return value
    }

    /// Source: RFC 7208 §5.6. Host bits may be set; they do not count.
    private static func network(
        _ rest: ArraySlice<UInt8>, bits: Int, error: SPFSyntaxError, isRight: (IPAddress) -> Bool
    ) throws(SPFSyntaxError) -> Network {
        guard rest.first == 0x3A else { throw error }
        let text = rest.dropFirst()
        let address = text.prefix { $0 != 0x2F }
        var length = bits
        if address.endIndex < text.endIndex {
            length = try prefixLength(text[(address.endIndex + 1)...], bits: bits)
        }
        guard let base = IPAddress(String(decoding: address, as: UTF8.self)), isRight(base) else { throw error }
        return Network(containing: base, prefixLength: length)
    }

    /// A stranger's octets for a finding: printable ASCII, cut.
    static func printable(_ text: some Collection<UInt8>) -> String {
        let visible = text.prefix(maxPrintedOctets).map { (0x20...0x7E).contains($0) ? $0 : 0x3F }
        return String(decoding: visible, as: UTF8.self) + (text.count > maxPrintedOctets ? "..." : "")
    }
}
