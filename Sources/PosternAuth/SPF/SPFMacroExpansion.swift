// What the macros of one check stand for (RFC 7208 §7.2, §7.3), and the names that come of it. `SPFEvaluation` expands
// a target name from its right end, since only its last 253 octets can count: no macro makes it grow beyond that.

import PosternMail

/// The values of macros in one check, but for `%{d}` and `%{p}`, which differ from record to record.
struct SPFMacroValues {
    var client: IPAddress
    var localPart: [UInt8]
    var senderDomain: DomainName
    var helo: HELOIdentity
    var receiver: DomainName?
    var now: UnixTime

    /// The value of a macro with its transformers.
    /// - Parameter domain: `<domain>` of the record that the macro stands in.
    /// - Parameter validatedName: the value of `%{p}`.
    func expansion(
        of macro: SPFMacroString.Macro, domain: DomainName, validatedName: @autoclosure () -> [UInt8]
    ) -> [UInt8] {
        let value: [UInt8] =
            switch macro.letter {
            case .sender: localPart + [0x40] + senderDomain.macroText
            case .localPart: localPart
            case .senderDomain: senderDomain.macroText
            case .domain: domain.macroText
            case .address: client.macroText
            case .validatedName: validatedName()
            case .version: Array((client.isV4 ? "in-addr" : "ip6").utf8)
            case .helo: helo.domain?.macroText ?? Array(helo.text.prefix(DomainName.maxWireOctets))
            case .readableAddress: Array(client.description.utf8)
            // RFC 7208 §7.3: "unknown" where the receiver does not know its name.
            case .receiver: receiver?.macroText ?? Array("unknown".utf8)
            case .time: Array(String(now.seconds).utf8)
            }
        let transformed = Self.transform(value, by: macro)
        return macro.isURLEscaped ? Self.urlEscaped(transformed) : transformed
    }

    /// Source: RFC 7208 §7.3: split, reversed, cut to its right parts, joined by dots.
    private static func transform(_ value: [UInt8], by macro: SPFMacroString.Macro) -> [UInt8] {
        guard macro.hasTransformer else { return value }
        var parts = value.split(omittingEmptySubsequences: false) { octet in
            macro.delimiters.isEmpty ? octet == 0x2E : macro.delimiters.contains(octet)
        }
        if macro.isReversed { parts.reverse() }
        return Array(parts.suffix(macro.parts ?? parts.count).joined(separator: [0x2E]))
    }

    /// RFC 7208 §7.3: all but "unreserved" of RFC 3986 §2.3 is escaped.
    private static func urlEscaped(_ value: [UInt8]) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return value.flatMap { octet -> [UInt8] in
            switch octet {
            case 0x2D, 0x2E, 0x5F, 0x7E: [octet]
            case _ where octet.isASCIILetter || octet.isASCIIDigit: [octet]
            default: [0x25, digits[Int(octet >> 4)], digits[Int(octet & 15)]]
            }
        }
    }
}

/// The expanded form of a domain-spec as a name.
enum SPFTargetName {
    /// Source: RFC 7208 §7.3.
    static let maxOctets = 253
    /// Enough for a name and the dots at both of its ends, on which cutting depends.
    static let neededOctets = maxOctets + 2

    /// The name that a text means, cut on the left to fit; `nil` when it cannot be asked for: such a name does not
    /// exist (RFC 7208 §4.8 leaves it open; so do the conformance tests).
    static func name(_ text: some Sequence<UInt8>) -> DomainName? {
        var rest = Array(text)[...]
        if rest.last == 0x2E { rest = rest.dropLast() }
        // RFC 7208 §7.3: "the left side is truncated to fit, by removing successive domain labels".
        while rest.count > maxOctets {
            guard let dot = rest.firstIndex(of: 0x2E) else { return nil }
            rest = rest[(dot + 1)...]
        }
        // U-labels became A-labels before (RFC 8616 §4); what is left is a HELO that is no name.
        guard rest.allSatisfy({ $0 < 0x80 }) else { return nil }
        do throws(DomainNameError) {
            // Macros put spaces in names, which DNS can ask for: by labels.
            return try DomainName(labels: rest.split(separator: 0x2E, omittingEmptySubsequences: false))
        } catch { return nil }
    }
}

extension DomainName {
    /// The labels between dots, as macros expand to them.
    fileprivate var macroText: [UInt8] { Array(labels.joined(separator: [0x2E])) }

    /// The name at which DNS has the names of an address. Source: RFC 1035 §3.5, RFC 3596 §2.5.
    init?(reverseOf address: IPAddress) {
        let labels =
            address.macroText.split(separator: 0x2E).reversed() + [
                Array((address.isV4 ? "in-addr" : "ip6").utf8)[...], Array("arpa".utf8)[...],
            ]
        do throws(DomainNameError) { try self.init(labels: labels) } catch { return nil }
    }

    /// The value of `%{p}` for a validated name.
    var validatedNameText: [UInt8] { macroText }
}

extension IPAddress {
    var isV4: Bool { if case .v4 = self { true } else { false } }

    /// `%{i}`: a dotted quad, or the 32 nibbles between dots. Source: RFC 7208 §7.3.
    fileprivate var macroText: [UInt8] {
        guard !isV4 else { return Array(description.utf8) }
        let digits = Array("0123456789ABCDEF".utf8)
        return Array(octets.flatMap { [[digits[Int($0 >> 4)]], [digits[Int($0 & 15)]]] }.joined(separator: [0x2E]))
    }
}
