// Patterns of the configuration, compiled once for each snapshot: what they match is found by hash and binary search, in
// about a microsecond however many they are; only expressions are tried one by one. Texts of strangers are looked at as
// octets; a look-up that finds nothing makes nothing.

public import PosternMail

/// What is looked for among patterns.
public enum PatternSubject: Hashable, Sendable {
    /// Any text: equal texts and expressions. A pattern that is a name is compared as a text.
    case text(ArraySlice<UInt8>)
    /// What is or should be a host's or domain's name: names and the names below them too.
    case name(ArraySlice<UInt8>)
    /// An address of the envelope, empty for the null reverse-path: a domain's addresses too, and its domain as a name.
    case mailbox(ArraySlice<UInt8>)
    case address(IPAddress)
}

/// A set of patterns.
public struct PatternTable: Sendable {
    /// Most expressions of one set: each costs up to a microsecond or so a look-up.
    public static let maxExpressions = 1_000

    private let exact: OctetTable
    private let names: OctetTable
    /// The names whose lower ones are meant.
    private let parents: OctetTable
    private let mailDomains: OctetTable
    private let networks: NetworkTable
    private let expressions: [TextExpression]

    /// - Throws: what is wrong with an expression.
    public init(_ patterns: [MatchPattern]) throws(ExpressionError) {
        var exact: [ArraySlice<UInt8>] = []
        var names: [ArraySlice<UInt8>] = []
        var parents: [ArraySlice<UInt8>] = []
        var mailDomains: [ArraySlice<UInt8>] = []
        var networks: [Network] = []
        var expressions: [TextExpression] = []
        for pattern in patterns {
            switch pattern {
            case .exact(let text): exact.append(ArraySlice(text.utf8))
            case .domain(let name): names.append(name.text)
            case .below(let name): parents.append(name.text)
            case .addresses(let name): mailDomains.append(name.text)
            case .network(let network): networks.append(network)
            case .expression(let text): expressions.append(try TextExpression(text))
            }
        }
        guard expressions.count <= Self.maxExpressions else {
            throw ExpressionError("expected at most \(Self.maxExpressions) expressions, found \(expressions.count)")
        }
        self.exact = OctetTable(exact)
        self.names = OctetTable(names)
        self.parents = OctetTable(parents)
        self.mailDomains = OctetTable(mailDomains)
        self.networks = NetworkTable(networks)
        self.expressions = expressions
    }

    /// Whether one of the patterns matches.
    public func contains(_ subject: PatternSubject) -> Bool { find(subject) != nil }

    /// The pattern that matches, for explanations: a network is the widest that holds the address; nil for none.
    public func match(_ subject: PatternSubject) -> MatchPattern? {
        switch find(subject) {
        case nil: nil
        case .exact(let text): .exact(String(decoding: text, as: UTF8.self))
        // What was found is equal to a pattern's name, so it is one.
        case .name(let text): (try? DomainName(text: text)).map { .domain($0) }
        case .below(let text): (try? DomainName(text: text)).map { .below($0) }
        case .addresses(let text): (try? DomainName(text: text)).map { .addresses(at: $0) }
        case .network(let network): .network(network)
        case .expression(let number): .expression(expressions[number].text)
        }
    }

    private enum Match {
        case exact(ArraySlice<UInt8>)
        case name(ArraySlice<UInt8>)
        case below(ArraySlice<UInt8>)
        case addresses(ArraySlice<UInt8>)
        case network(Network)
        case expression(Int)
    }

    private func find(_ subject: PatternSubject) -> Match? {
        switch subject {
        case .address(let address): return networks.network(of: address).map { .network($0) }
        case .text(let text):
            if names.contains(text) { return .name(text) }
            return find(text)
        case .name(let text): return find(name: text, isMailDomain: false) ?? find(text)
        case .mailbox(let text):
            if let at = text.lastIndex(of: UInt8(ascii: "@")),
                let match = find(name: text[(at + 1)...], isMailDomain: true)
            {
                return match
            }
            return find(text)
        }
    }

    private func find(_ text: ArraySlice<UInt8>) -> Match? {
        if exact.contains(text) { return .exact(text) }
        for (number, expression) in expressions.enumerated() where expression.matches(text) {
            return .expression(number)
        }
        return nil
    }

    // MARK: Names

    private func find(name: ArraySlice<UInt8>, isMailDomain: Bool) -> Match? {
        guard !(names.isEmpty && parents.isEmpty && (mailDomains.isEmpty || !isMailDomain)) else { return nil }
        if name.contains(where: { $0 >= 0x80 }) {
            // RFC 8616 §4: U-labels are A-labels here. What is no name matches no pattern that is one.
            guard let text = (try? DomainName(text: name))?.text else { return nil }
            return walk(text, isMailDomain: isMailDomain)
        }
        let text = name.last == UInt8(ascii: ".") ? name.dropLast() : name
        return text.isName ? walk(text, isMailDomain: isMailDomain) : nil
    }

    /// Looks for a name, and on the way for each name above it.
    private func walk(_ name: ArraySlice<UInt8>, isMailDomain: Bool) -> Match? {
        var hash = OctetTable.Hash()
        var index = name.endIndex
        while index > name.startIndex {
            index -= 1
            let octet = name[index]
            if octet == UInt8(ascii: "."), parents.contains(name[(index + 1)...], hash) {
                return .below(name[(index + 1)...])
            }
            hash.combine(octet.asciiLowercased)
        }
        if names.contains(name, hash) { return .name(name) }
        return isMailDomain && mailDomains.contains(name, hash) ? .addresses(name) : nil
    }
}

extension DomainName {
    /// The labels between dots, nothing escaped.
    fileprivate var text: ArraySlice<UInt8> { ArraySlice(labels.joined(separator: CollectionOfOne(UInt8(ascii: ".")))) }
}

extension ArraySlice<UInt8> {
    /// Whether it is a name as `DomainName(text:)` takes it, ASCII and without a dot at the end.
    fileprivate var isName: Bool {
        guard !isEmpty, count < DomainName.maxWireOctets - 1 else { return false }  // the first label's length counts
        var label = 0
        for octet in self {
            if octet == UInt8(ascii: ".") {
                guard label > 0 else { return false }
                label = 0
            } else {
                guard octet > 0x20, octet != 0x7F, label < DomainName.maxLabelOctets else { return false }
                label += 1
            }
        }
        return label > 0
    }
}
