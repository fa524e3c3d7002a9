// One term of an SPF record as a lint looks at it, and what can be said of terms without DNS (RFC 7208 §5, §6).

internal import PosternAuth
internal import PosternDNS
internal import PosternMail

struct SPFLintTerm {
    enum Kind { case a, mx, exists, ptr, include, redirect, other }

    /// As published, reduced to printable ASCII and cut.
    let text: String
    let kind: Kind
    let directive: SPFDirective?
    let mistakes: [SPFMistake]
    /// The target as published; `nil` for the domain of the record itself, or none.
    private let spec: String?

    /// The terms of a record that can be read, in its order.
    static func all(_ record: [UInt8]) -> [SPFLintTerm] {
        record.dropFirst(6).split(separator: 0x20).map { SPFLintTerm($0) }
    }

    /// Each term is read as a record of its own, by the parser that judges.
    private init(_ term: ArraySlice<UInt8>) {
        text = String(decoding: term.prefix(100).map { (0x20...0x7E).contains($0) ? $0 : 0x3F }, as: UTF8.self)
        let record = SPFRecord(Array("v=spf1 ".utf8) + term)
        mistakes = record?.mistakes ?? []
        directive = record?.directives.first
        if let redirect = record?.redirect {
            kind = .redirect
            spec = "\(redirect)"
            return
        }
        switch directive?.mechanism {
        case .a(let target, _): (kind, spec) = (.a, target.map { "\($0)" })
        case .mx(let target, _): (kind, spec) = (.mx, target.map { "\($0)" })
        case .exists(let target): (kind, spec) = (.exists, "\(target)")
        case .ptr(let target): (kind, spec) = (.ptr, target.map { "\($0)" })
        case .include(let target): (kind, spec) = (.include, "\(target)")
        case .all, .ip4, .ip6, nil: (kind, spec) = (.other, nil)
        }
    }

    var isAll: Bool { directive?.mechanism == .all }
    var isInclude: Bool { kind == .include }
    var isRedirect: Bool { kind == .redirect }
    var causesLookup: Bool { isRedirect || directive?.causesLookup == true }
    var isUnknownModifier: Bool { mistakes.isEmpty && directive == nil && !isRedirect && !isExplanation }
    var isExplanation: Bool { mistakes.isEmpty && text.lowercased().hasPrefix("exp=") }
    var hasCapitals: Bool {
        text.prefix { $0 != ":" && $0 != "=" && $0 != "/" }.contains { $0.isUppercase }
    }

    /// The name that the term means; `nil` where it depends on the message.
    func target(at domain: DomainName) -> DomainName? {
        guard let spec else { return domain }
        if spec.contains("%") { return nil }
        let octets = spec.utf8.last == 0x2E ? spec.utf8.dropLast() : spec.utf8[...]
        return try? DomainName(labels: octets.split(separator: 0x2E, omittingEmptySubsequences: false).map(Array.init))
    }

    /// What is asked about it, apart from the hosts of an MX.
    func questions(at domain: DomainName) -> [Question] {
        guard let target = target(at: domain) else { return [] }
        switch kind {
        case .a: return [Question(target, .a), Question(target, .aaaa)]
        case .mx: return [Question(target, .mx)]
        case .exists: return [Question(target, .a)]
        case .include, .redirect: return [Question(target, .txt)]
        case .ptr, .other: return []
        }
    }
}

/// What can be said of a record without DNS.
enum SPFAdvice {
    /// Octets of all TXT records of a name that fit into one UDP reply. Source: RFC 7208 §3.4.
    static let maxReplyOctets = 450
    static let maxUDPOctets = 512
    /// Octets of one character-string. Source: RFC 1035 §3.3.
    static let maxStringOctets = 255
    /// The widest networks that one operator has for mail; a wider one is rather a slip.
    static let widestV4 = 16
    static let widestV6 = 32

    static func onSize(_ texts: [[UInt8]]) -> [SPFLint.Problem] {
        let octets = texts.reduce(0) { $0 + $1.count }
        var problems: [SPFLint.Problem] = []
        if octets > maxUDPOctets {
            problems.append(
                .warning("its TXT records have \(octets) octets: more than \(maxUDPOctets) need TCP (RFC 7208 §3.4)"))
        } else if octets > maxReplyOctets {
            problems.append(
                .warning("its TXT records have \(octets) octets, \(maxReplyOctets) fit one reply (RFC 7208 §3.4)"))
        }
        if texts.contains(where: { SPFRecord.isRecord($0) && $0.count > maxStringOctets }) {
            problems.append(
                .warning(
                    "more than \(maxStringOctets) octets: its strings are joined without a space between (RFC 7208 "
                        + "§3.3)"))
        }
        return problems
    }

    static func onTerms(_ terms: [SPFLintTerm]) -> [SPFLint.Problem] {
        var problems: [SPFLint.Problem] = []
        var seen: Set<String> = []
        var isAfterAll = false
        let isClosed = terms.contains { $0.isAll }
        for term in terms {
            problems += term.mistakes.map { .error($0.error.description, term.text) }
            if term.isUnknownModifier {
                problems.append(.warning("a modifier that nobody knows, ignored (RFC 7208 §6)", term.text))
            }
            if term.isRedirect, isClosed {
                problems.append(.warning("ignored beside all (RFC 7208 §6.1)", term.text))
            } else if isAfterAll, term.directive != nil {
                problems.append(.warning("never reached behind all (RFC 7208 §5.1)", term.text))
            }
            // RFC 7208 §6: "MUST NOT appear in a record more than once each".
            let name = term.isRedirect ? "redirect" : term.isExplanation ? "exp" : nil
            if let name, !seen.insert(name).inserted {
                problems.append(.error(SPFSyntaxError.repeatedModifier.description, term.text))
            } else if term.directive != nil, !seen.insert(term.text.lowercased()).inserted {
                problems.append(.warning("stands twice", term.text))
            }
            if term.hasCapitals { problems.append(.warning("capitals, which some readers do not take", term.text)) }
            if let directive = term.directive { problems += onMechanism(directive) }
            isAfterAll = isAfterAll || term.isAll
        }
        if !isClosed, !terms.contains(where: \.isRedirect) {
            problems.append(
                .warning("neither all nor redirect at its end: who is not listed is neutral (RFC 7208 §4.7)"))
        }
        return problems
    }

    private static func onMechanism(_ directive: SPFDirective) -> [SPFLint.Problem] {
        let term = directive.text
        var problems: [SPFLint.Problem] = []
        if term.contains("%{p") || term.contains("%{P") {
            problems.append(.warning("%{p} is discouraged, slow and not reliable (RFC 7208 §7.2)", term))
        }
        switch (directive.mechanism, directive.qualifier) {
        case (.all, .pass): problems.append(.warning("lets everybody send", term))
        case (.all, .neutral): problems.append(.warning("says nothing about who is not listed", term))
        case (.ptr, _): problems.append(.warning("ptr must not be published (RFC 7208 §5.5)", term))
        case (.ip4(let network), .pass):
            problems += onWidth(network.prefixLength, widestV4, term)
        case (.ip6(let network), .pass):
            problems += onWidth(network.prefixLength, widestV6, term)
        case (.a(_, let lengths), .pass), (.mx(_, let lengths), .pass):
            problems += onWidth(lengths.v4, widestV4, term) + onWidth(lengths.v6, widestV6, term)
        default: break
        }
        return problems
    }

    private static func onWidth(_ length: Int, _ widest: Int, _ term: String) -> [SPFLint.Problem] {
        length < widest ? [.warning("a network as wide as /\(length)", term)] : []
    }
}
