// Which of our keys sign a message: decided by its author, and by who handed it in (DESIGN §4, `dkim.author`).
// It judges nobody's honesty: a message that no key may sign goes out unsigned, with the reason for the log.

public import PosternMail

/// A key of ours with what it signs for. One `[[dkim.key]]` of the configuration.
public struct DKIMSigningKey: Sendable {
    /// SDID, `d=`.
    public let domain: DomainName
    /// `s=`.
    public let selector: DomainName
    public let privateKey: PrivateKey
    /// Authors that it signs for, as `AuthorPattern` reads them; none: the domain and its subdomains. What is no
    /// pattern matches nobody.
    public let from: [String]
    /// Logins that may use it under `AuthorRule.login`, octet for octet; none: nobody then.
    public let users: [String]
    /// Keys of one series take turns, each algorithm for itself: only one of them signs. nil: it signs by itself. In a
    /// list of keys a series stands oldest first.
    public let series: String?
    private let patterns: [AuthorPattern]

    public init(
        domain: DomainName, selector: DomainName, privateKey: PrivateKey, from: [String] = [], users: [String] = [],
        series: String? = nil
    ) {
        self.domain = domain
        self.selector = selector
        self.privateKey = privateKey
        self.from = from
        self.users = users
        self.series = series
        patterns = from.compactMap { try? AuthorPattern($0) }  // bad ones match nobody
    }

    /// Whether the key signs for this author.
    public func signs(for localPart: some Collection<UInt8>, at authorDomain: DomainName) -> Bool {
        if from.isEmpty { return authorDomain.isEqualOrBelow(domain) }
        return patterns.contains { $0.matches(localPart, at: authorDomain) }
    }

    /// Whether this login may use the key.
    public func admits(_ login: [UInt8]) -> Bool { users.contains { $0.utf8.elementsEqual(login) } }
}

/// Authors, by a pattern: `ann@example.com`, `*@example.com` or `@example.com` (any local part), and `*.example.com`
/// in place of the domain (any name below it, not itself). Local parts match in any case, since senders write them
/// so.
public struct AuthorPattern: Sendable, Hashable {
    /// `nil` for any; lower case.
    private let localPart: [UInt8]?
    private let domain: DomainName
    private let isBelow: Bool

    /// - Throws: when the text has no `@` or no domain name after it.
    public init(_ text: String) throws(AuthorPatternError) {
        let octets = Array(text.utf8)
        guard let at = octets.lastIndex(of: 0x40) else { throw .noAt }
        let local = octets[..<at]
        localPart = local.isEmpty || local.elementsEqual("*".utf8) ? nil : local.asciiLowercased
        var name = octets[(at + 1)...]
        isBelow = name.starts(with: Array("*.".utf8))
        if isBelow { name = name.dropFirst(2) }
        do throws(DomainNameError) { domain = try DomainName(text: name) } catch { throw .domain(error) }
        guard domain.isHostname() else { throw .domain(.badOctet) }
    }

    /// Whether this mailbox is one of the pattern's.
    public func matches(_ localPart: some Collection<UInt8>, at domain: DomainName) -> Bool {
        guard self.localPart.map({ localPart.equalsIgnoringASCIICase($0) }) ?? true else { return false }
        return isBelow ? domain != self.domain && domain.isEqualOrBelow(self.domain) : domain == self.domain
    }
}

/// Why a text is no `AuthorPattern`.
public enum AuthorPatternError: Error, Hashable, Sendable, CustomStringConvertible {
    case noAt
    case domain(DomainNameError)

    public var description: String {
        switch self {
        case .noAt: "no @"
        case .domain(let error): "no domain name after the @: \(error)"
        }
    }
}

/// Whose RFC5322.From may be signed. The configuration's `dkim.author`.
public enum AuthorRule: String, Sendable, Hashable, CaseIterable {
    /// Any author that a key signs for.
    case any
    /// Only an author whose domain is that of the envelope sender.
    case envelope
    /// Only for a login that a key's `users` names.
    case login
}

/// Which keys sign.
public enum KeyChoice: Sendable {
    /// At least one key, all with the same `d=`: one signature each.
    case keys([DKIMSigningKey])
    /// None, and why: for a line of the log.
    case none(String)
}

/// Chooses the keys for a message.
///
/// Of the keys that sign for the author and that `rule` admits, all of the domain nearest to the author's: the
/// longest one that is equal to or above it. A key whose patterns name an author outside of its own domain is used
/// when there is no other.
/// - Parameter localPart: of the author's one mailbox.
/// - Parameter mailFrom: domain of the envelope sender; `nil` for the null reverse-path.
/// - Parameter login: SASL login name, if the client has one.
public func selectKeys(
    localPart: some Collection<UInt8>, domain: DomainName, mailFrom: DomainName?, login: [UInt8]?, rule: AuthorRule,
    from keys: [DKIMSigningKey]
) -> KeyChoice {
    var fitting = keys.filter { $0.signs(for: localPart, at: domain) }
    guard !fitting.isEmpty else { return .none("no key for \(domain)") }
    switch rule {
    case .any: break
    case .envelope:
        guard mailFrom == domain else {
            return .none("author's domain \(domain) is not the envelope sender's, \(mailFrom?.description ?? "<>")")
        }
    case .login:
        guard let login else { return .none("no login to sign for \(domain)") }
        fitting = fitting.filter { $0.admits(login) }
        guard !fitting.isEmpty else { return .none("login \(LogText.escaped(login)) may not sign for \(domain)") }
    }
    /// Labels that the key's domain shares with the author's as its ancestor; -1 for a key of another domain.
    func nearness(_ key: DKIMSigningKey) -> Int { domain.isEqualOrBelow(key.domain) ? key.domain.labelCount : -1 }
    guard let nearest = fitting.max(by: { nearness($0) < nearness($1) })?.domain else {
        return .none("no key for \(domain)")
    }
    return .keys(fitting.filter { $0.domain == nearest })
}
