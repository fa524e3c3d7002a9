// One SPF record, parsed in full before any of it is evaluated (RFC 7208 §4.6), with all its mistakes, so that an
// admin sees every one of them. It asks nothing; `SPFEvaluation` does.

public import PosternMail

/// A TXT record that begins with `v=spf1`.
public struct SPFRecord: Hashable, Sendable {
    /// Longest record that is read: twenty times what fits into one UDP reply (RFC 7208 §3.4).
    public static let maxOctets = 16 * 1024
    /// Most terms that are read; more would not be evaluated either, for they are mostly one look-up each.
    public static let maxTerms = 2000
    /// Mistakes that are listed; the ones after them only repeat it.
    public static let maxMistakes = 100

    /// The mechanisms, in their order, but those with mistakes.
    public let directives: [SPFDirective]
    /// Source: RFC 7208 §6.1.
    public let redirect: SPFMacroString?
    /// The `exp` modifier. Source: RFC 7208 §6.2.
    public let explanation: SPFMacroString?
    /// Everything that is wrong, in the order of the record. One mistake makes the record a permerror.
    public let mistakes: [SPFMistake]

    /// Whether a TXT record is an SPF record: its first term is the version, in any case, and ends there.
    /// - Source: RFC 7208 §4.5.
    public static func isRecord(_ text: [UInt8]) -> Bool {
        let version: StaticString = "v=spf1"
        return text.prefix(6).equalsIgnoringASCIICase(version) && (text.count == 6 || text.dropFirst(6).first == 0x20)
    }

    /// Reads a record; `nil` for a text that is none.
    public init?(_ text: [UInt8]) {
        guard Self.isRecord(text) else { return nil }
        var directives: [SPFDirective] = []
        var redirect: SPFMacroString?
        var explanation: SPFMacroString?
        var mistakes: [SPFMistake] = []
        guard text.count <= Self.maxOctets else {
            self.init(mistake: .tooLong)
            return
        }
        // RFC 7208 §4.6.1: terms = *( 1*SP ( directive / modifier ) )
        let terms = text.dropFirst(6).split(separator: 0x20)
        guard terms.count <= Self.maxTerms else {
            self.init(mistake: .tooManyTerms)
            return
        }
        for term in terms {
            do throws(SPFSyntaxError) {
                switch try SPFTerm(term) {
                case .directive(let directive): directives.append(directive)
                // RFC 7208 §6: these two "MUST NOT appear in a record more than once each".
                case .redirect(let target):
                    guard redirect == nil else { throw .repeatedModifier }
                    redirect = target
                case .explanation(let target):
                    guard explanation == nil else { throw .repeatedModifier }
                    explanation = target
                case .unknownModifier: break  // RFC 7208 §6: ignored
                }
            } catch {
                guard mistakes.count < Self.maxMistakes else { break }
                mistakes.append(SPFMistake(term: SPFTerm.printable(term), error: error))
            }
        }
        self.init(directives: directives, redirect: redirect, explanation: explanation, mistakes: mistakes)
    }

    private init(mistake: SPFSyntaxError) {
        self.init(directives: [], redirect: nil, explanation: nil, mistakes: [SPFMistake(term: "", error: mistake)])
    }

    private init(
        directives: [SPFDirective], redirect: SPFMacroString?, explanation: SPFMacroString?, mistakes: [SPFMistake]
    ) {
        self.directives = directives
        self.redirect = redirect
        self.explanation = explanation
        self.mistakes = mistakes
    }
}

/// A mechanism with its qualifier. Source: RFC 7208 §4.6.2.
public struct SPFDirective: Hashable, Sendable {
    public var qualifier: SPFQualifier
    public var mechanism: SPFMechanism
    /// As published.
    public var text: String

    /// Whether it counts towards the limit of 10. Source: RFC 7208 §4.6.4.
    public var causesLookup: Bool {
        switch mechanism {
        case .all, .ip4, .ip6: false
        case .include, .a, .mx, .ptr, .exists: true
        }
    }
}

/// What a match of a mechanism means. Source: RFC 7208 §4.6.2.
public enum SPFQualifier: UInt8, Hashable, Sendable, CaseIterable {
    case pass = 0x2B  // +
    case fail = 0x2D  // -
    case softfail = 0x7E  // ~
    case neutral = 0x3F  // ?

    public var result: SPFResult {
        switch self {
        case .pass: .pass
        case .fail: .fail
        case .softfail: .softfail
        case .neutral: .neutral
        }
    }
}

/// Source: RFC 7208 §5. A target of `nil` is the domain of the record itself.
public enum SPFMechanism: Hashable, Sendable {
    case all
    case include(SPFMacroString)
    case a(SPFMacroString?, SPFPrefixLengths)
    case mx(SPFMacroString?, SPFPrefixLengths)
    case ptr(SPFMacroString?)
    case ip4(Network)
    case ip6(Network)
    case exists(SPFMacroString)
}

/// How much of an address counts: the dual-cidr-length. Source: RFC 7208 §5.3.
public struct SPFPrefixLengths: Hashable, Sendable {
    public var v4 = 32
    public var v6 = 128

    /// Whether both addresses are of one kind and in one network of that length.
    func match(_ address: IPAddress, _ client: IPAddress) -> Bool {
        switch (address, client) {
        case (.v4, .v4): Network(containing: address, prefixLength: v4).contains(client)
        case (.v6, .v6): Network(containing: address, prefixLength: v6).contains(client)
        default: false
        }
    }
}

/// Something wrong in a record.
public struct SPFMistake: Hashable, Sendable, CustomStringConvertible {
    /// As published, reduced to printable ASCII and cut; empty when the record as a whole is meant.
    public var term: String
    public var error: SPFSyntaxError

    public var description: String { term.isEmpty ? error.description : "\"\(term)\": \(error)" }
}

/// Which rule a record breaks.
public enum SPFSyntaxError: Error, Hashable, Sendable {
    case tooLong, tooManyTerms, tooManyMacros
    case badOctet(UInt8)
    case unknownMechanism, badModifierName, repeatedModifier
    case emptyDomain, missingDomain, singleLabel, badTopLabel, numericTopLabel, addressForDomain
    case unexpectedArgument, badPrefixLength, badIPv4, badIPv6
    case badMacro(String)
}

extension SPFSyntaxError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .tooLong: "longer than \(SPFRecord.maxOctets) octets"
        case .tooManyTerms: "more than \(SPFRecord.maxTerms) terms"
        case .tooManyMacros: "more than \(SPFMacroString.maxMacros) macros"
        case .badOctet(let octet): "octet 0x\(String(octet, radix: 16)) where a visible character is expected"
        case .unknownMechanism: "no such mechanism"
        case .badModifierName: "no name of a modifier"
        case .repeatedModifier: "this modifier may stand only once"
        case .emptyDomain: "an empty domain"
        case .missingDomain: "expected : and a domain"
        case .singleLabel: "expected a domain of at least two labels or a macro at its end"
        case .badTopLabel: "the domain's last label is none"
        case .numericTopLabel: "the domain's last label is a number"
        case .addressForDomain: "an address where a domain is expected; is ip4: or ip6: meant?"
        case .unexpectedArgument: "nothing may follow this mechanism's name"
        case .badPrefixLength: "a prefix length that is none"
        case .badIPv4: "expected an IPv4 address, or a network as 192.0.2.0/24"
        case .badIPv6: "expected an IPv6 address, or a network as 2001:db8::/32"
        case .badMacro(let detail): detail
        }
    }
}
