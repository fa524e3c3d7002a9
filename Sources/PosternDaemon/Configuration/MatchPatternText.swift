// How patterns are written in rules, limits and exceptions. What matches them is the judges'.

internal import PosternAdmission
internal import PosternMail

extension TextType<MatchPattern> {
    private init(pattern expectation: String, parse: @escaping @Sendable (String) throws(Unfit) -> MatchPattern) {
        self.init(expectation, parse: parse) { $0.description }
    }

    /// `example.com` or `*.example.com`.
    static let domainPattern = TextType(pattern: "a domain such as \"example.com\" or \"*.example.com\"") {
        text throws(Unfit) in
        guard let name = nameOrBelow(text) else {
            throw Unfit(expected: "a domain such as \"example.com\" or \"*.example.com\"", found: text)
        }
        return name
    }

    /// The same or an expression: the domain of an address.
    static let domainCondition = TextType(pattern: domains) { text throws(Unfit) in
        if let expression = try expression(text) { return expression }
        let bare = text.hasPrefix("@") ? String(text.dropFirst()) : text
        guard let name = nameOrBelow(bare) else { throw Unfit(expected: domains, found: text) }
        return name
    }
    private static let domains = "a domain such as \"example.com\", \"*.example.com\" or \"/EXPRESSION/\""

    /// What a client calls itself, or is called: a name, the names below one, any word, or an expression.
    static let hostCondition = TextType(pattern: hosts) { text throws(Unfit) in
        if let expression = try expression(text) { return expression }
        if let name = nameOrBelow(text, minLabels: 1) { return name }
        guard !text.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F || "*@/".utf8.contains($0) }) else {
            throw Unfit(expected: hosts, found: text)
        }
        return .exact(text)
    }
    private static let hosts = "a name such as \"mx1.example.com\", \"*.example.com\" or \"/EXPRESSION/\""

    /// An address, a domain's addresses, the null sender `<>`, or an expression.
    static let addressCondition = TextType(pattern: addresses) { text throws(Unfit) in
        if let expression = try expression(text) { return expression }
        if text.isEmpty || text == "<>" { return .exact("") }
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        if parts.count > 1, let last = parts.last, case .domain(let domain)? = nameOrBelow(String(last), minLabels: 1) {
            if parts.count == 2, parts.first?.isEmpty == true { return .addresses(at: domain) }
            if let address = MailAddress(text) { return .exact(address.text) }
        }
        let hint = nameOrBelow(text).map { pattern in
            if case .domain = pattern { return "; do you mean \"@\(pattern)\"?" }
            return "; domains and names below them go with the key for the domain"
        }
        throw Unfit("expected \(addresses), found \(quoted(text))\(hint ?? "")")
    }
    private static let addresses =
        "an address such as \"ann@example.com\", \"@example.com\", \"<>\" or \"/EXPRESSION/\""

    /// Any text on one line, or an expression. An empty one stands for an attribute that is empty.
    static func textCondition(_ expectation: String) -> TextType {
        TextType(pattern: "\(expectation) or \"/EXPRESSION/\"") { text throws(Unfit) in
            if let expression = try expression(text) { return expression }
            guard !text.utf8.contains(where: \.isASCIIControl) else {
                throw Unfit(expected: "\(expectation) or \"/EXPRESSION/\"", found: text)
            }
            return .exact(text)
        }
    }

    /// A network or an address.
    static let networkCondition = TextType(pattern: TextType<Network>.network.expectation) { text throws(Unfit) in
        .network(try TextType<Network>.network.parse(text))
    }

    /// A client by its address or its verified name.
    static let clientCondition = TextType(pattern: clients) { text throws(Unfit) in
        if let expression = try expression(text) { return expression }
        if text.contains("/") || IPAddress(text) != nil {
            return .network(try TextType<Network>.network.parse(text))
        }
        guard let name = nameOrBelow(text, minLabels: 1) else { throw Unfit(expected: clients, found: text) }
        return name
    }
    private static let clients =
        "an address, a network, or a name such as \"mx1.example.com\", \"*.example.com\" or \"/EXPRESSION/\""

    /// A mailbox by its address or its domain.
    static let mailboxCondition = TextType(pattern: mailboxes) { text throws(Unfit) in
        if let expression = try expression(text) { return expression }
        if text.contains("@") || text == "<>" { return try addressCondition.parse(text) }
        guard let name = nameOrBelow(text) else { throw Unfit(expected: mailboxes, found: text) }
        return name
    }
    private static let mailboxes =
        "an address such as \"ann@example.com\", \"@example.com\", \"*.example.com\", \"<>\" or \"/EXPRESSION/\""

    /// Whatever identifies a client or a mailbox: for lists of those that are left alone.
    static let anyCondition = TextType(pattern: anything) { text throws(Unfit) in
        if let expression = try expression(text) { return expression }
        // A text of digits, colons and slashes is meant as an address: say what is wrong with it as such.
        if text.contains("/") || IPAddress(text) != nil {
            return .network(try TextType<Network>.network.parse(text))
        }
        if text.contains("@") || text == "<>" { return try addressCondition.parse(text) }
        if let name = nameOrBelow(text) { return name }
        guard !text.isEmpty, !text.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F || $0 == 0x2A }) else {
            throw Unfit(expected: anything, found: text)
        }
        return .exact(text)
    }
    private static let anything =
        "an address, a network, a name, \"*.example.com\", \"@example.com\", a login or \"/EXPRESSION/\""

    private static func nameOrBelow(_ text: String, minLabels: Int = 2) -> MatchPattern? {
        let isBelow = text.hasPrefix("*.")
        // Why it is no name does not help who mistyped a pattern.
        guard let name = try? DomainName(isBelow ? String(text.dropFirst(2)) : text),
            name.isHostname(minLabels: isBelow ? 1 : minLabels), IPAddress(text) == nil
        else { return nil }
        return isBelow ? .below(name) : .domain(name)
    }

    /// `/…/`, in which a slash is written `\/`; nil for a text that begins otherwise.
    private static func expression(_ text: String) throws(Unfit) -> MatchPattern? {
        guard text.hasPrefix("/") else { return nil }
        let inner = text.utf8.dropFirst().dropLast()
        var isEscaped = false
        for octet in inner {
            guard isEscaped || octet != 0x2F else {
                throw Unfit("expected \\/ for a slash within /…/, found \(quoted(text))")
            }
            isEscaped = !isEscaped && octet == 0x5C
        }
        guard text.hasSuffix("/"), !inner.isEmpty, !isEscaped else {
            throw Unfit("expected an expression between two slashes, found \(quoted(text))")
        }
        guard !text.utf8.contains(where: \.isASCIIControl) else {
            throw Unfit("expected an expression without control characters, found \(quoted(text))")
        }
        do throws(ExpressionError) {
            return .expression(try TextExpression(String(text.dropFirst().dropLast())).text)
        } catch {
            throw Unfit("\(error), in the expression \(quoted(text))")
        }
    }
}

/// An address as an SMTP envelope has it, for keys that name one.
struct MailAddress: Hashable, Sendable {
    let text: String

    /// Longest local part and address, in octets. Source: RFC 5321 §4.5.3.1.1, §4.5.3.1.3.
    private static let maxLocalOctets = 64
    private static let maxOctets = 254

    /// - Returns: nil for a text without a local part and a domain.
    init?(_ text: String) {
        guard let at = text.lastIndex(of: "@"), text.utf8.count <= Self.maxOctets else { return nil }
        let local = text[..<at]
        let domain = try? DomainName(String(text[text.index(after: at)...]))  // no name: no address
        guard let domain, domain.isHostname(), (1...Self.maxLocalOctets).contains(local.utf8.count),
            !local.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F || "<>,;".utf8.contains($0) })
        else { return nil }
        self.text = text
    }
}
