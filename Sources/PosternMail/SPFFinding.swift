// What the SPF judge concludes about one identity, with its reason, and the two identities themselves (RFC 7208 §2.3,
// §2.4). They are different types, so that a pass of the HELO name is never taken for one of the envelope sender
// (CVE-2019-20790). What is done about a finding is not here.

/// Results of SPF. Source: RFC 7208 §2.6, RFC 8601 §2.7.2.
public enum SPFResult: String, Hashable, Sendable, CaseIterable {
    case none, neutral, pass, fail, softfail, temperror, permerror
}

/// One identity, judged.
public struct SPFFinding: Hashable, Sendable {
    /// Whose permission was asked for.
    public enum Identity: Hashable, Sendable {
        case helo(HELOIdentity)
        case mailFrom(MailFromIdentity)
    }

    public var result: SPFResult
    /// Why.
    public var reason: SPFReason
    public var identity: Identity
    /// The term that decided, of the identity's own record or of the one it redirects to, as published and reduced to
    /// printable ASCII; `nil` when no mechanism matched (RFC 7208 §4.7) or none was reached.
    public var mechanism: String?
    /// From the identity's own domain inwards: each record and the term of it that decided, an `include` or `redirect`
    /// being followed by what it led to. For an error, how the judge got there.
    public var chain: [SPFStep]
    /// Terms that cause DNS queries, at most 10. Source: RFC 7208 §4.6.4.
    public var lookups: Int
    /// Those of them for which DNS had nothing. Source: RFC 7208 §4.6.4.
    public var voidLookups: Int
    /// What the domain says about a fail, printable ASCII; `nil` when it says nothing. Words of a stranger: a reply
    /// that repeats them says so. Source: RFC 7208 §6.2.
    public var explanation: String?

    public init(
        result: SPFResult, reason: SPFReason, identity: Identity, mechanism: String? = nil, chain: [SPFStep] = [],
        lookups: Int = 0, voidLookups: Int = 0, explanation: String? = nil
    ) {
        self.result = result
        self.reason = reason
        self.identity = identity
        self.mechanism = mechanism
        self.chain = chain
        self.lookups = lookups
        self.voidLookups = voidLookups
        self.explanation = explanation
    }

    /// The domain whose record was asked for; `nil` when the identity has none that can be asked.
    public var domain: DomainName? {
        switch identity {
        case .helo(let identity): identity.domain
        case .mailFrom(let identity): identity.domain
        }
    }
}

/// One record on the way to a finding, and the term of it that counted.
public struct SPFStep: Hashable, Sendable, CustomStringConvertible {
    public var domain: DomainName
    /// As published, reduced to printable ASCII.
    public var term: String

    public init(domain: DomainName, term: String) {
        self.domain = domain
        self.term = term
    }

    public var description: String { "\(domain) \(term)" }
}

/// The name that a client gives in HELO or EHLO, as an identity. Source: RFC 7208 §2.3.
public struct HELOIdentity: Hashable, Sendable {
    /// As it came.
    public let text: [UInt8]
    /// `nil` when the name is none that SPF can ask for.
    public let domain: DomainName?
    /// Why there is no domain.
    public let problem: SPFReason?

    public init(_ text: [UInt8]) {
        self.text = text
        do throws(SPFReason) {
            domain = try DomainName.checkable(text)
            problem = nil
        } catch {
            domain = nil
            problem = error
        }
    }
}

/// The envelope sender as an identity; for the null reverse-path postmaster at the HELO name. Source: RFC 7208 §2.4.
public struct MailFromIdentity: Hashable, Sendable {
    /// Octets of a local-part that are used; longer ones are cut. RFC 5321 §4.5.3.1.1 allows 64, quotes included.
    public static let maxLocalPartOctets = 512

    /// `postmaster` where the sender has none. Source: RFC 7208 §4.3.
    public let localPart: [UInt8]
    /// `nil` when the sender has no domain that SPF can ask for.
    public let domain: DomainName?
    /// Why there is no domain.
    public let problem: SPFReason?
    /// The sender is empty.
    public let isNullReversePath: Bool

    /// - Parameter sender: the address of MAIL FROM without angle brackets, as it came; empty for the null
    ///   reverse-path.
    /// - Parameter helo: stands in for a null reverse-path.
    public init(sender: [UInt8], helo: HELOIdentity) {
        isNullReversePath = sender.isEmpty
        guard !sender.isEmpty else {
            localPart = Array("postmaster".utf8)
            domain = helo.domain
            problem = helo.problem
            return
        }
        guard let at = sender.lastIndex(of: 0x40) else {
            localPart = Array(sender.prefix(Self.maxLocalPartOctets))
            domain = nil
            problem = .noDomain
            return
        }
        // RFC 7208 §4.3: "If the <sender> has no local-part, substitute the string "postmaster""
        localPart = at == 0 ? Array("postmaster".utf8) : Array(sender[..<at].prefix(Self.maxLocalPartOctets))
        do throws(SPFReason) {
            domain = try DomainName.checkable(sender[(at + 1)...])
            problem = nil
        } catch {
            domain = nil
            problem = error
        }
    }
}

extension MailFromIdentity {
    /// One that was judged before, as a ledger has kept it.
    public init(localPart: [UInt8], domain: DomainName?, problem: SPFReason?, isNullReversePath: Bool) {
        self.localPart = localPart
        self.domain = domain
        self.problem = problem
        self.isNullReversePath = isNullReversePath
    }
}

extension DomainName {
    /// A domain that `check_host()` may begin with: multi-label and well formed, U-labels made A-labels.
    /// - Source: RFC 7208 §4.3, RFC 8616 §4.
    fileprivate static func checkable(_ text: some Collection<UInt8>) throws(SPFReason) -> DomainName {
        // RFC 5321 §4.1.3: an address literal is no name. Nor is an address that somebody forgot to put in brackets.
        guard text.first != 0x5B, text.count > 45 || IPAddress(String(decoding: text, as: UTF8.self)) == nil else {
            throw .badDomain("an address, not a domain")
        }
        let domain: DomainName
        do throws(DomainNameError) { domain = try DomainName(text: text) } catch {
            throw .badDomain(text.isEmpty ? "no name" : error.description)
        }
        guard domain.labelCount >= 2 else { throw .badDomain("a single label") }
        return domain
    }
}

/// Why an SPF finding is what it is.
public enum SPFReason: Error, Hashable, Sendable {
    // Evaluated to the end (pass, fail, softfail, neutral).
    case matched
    case noMatch
    // Nothing to evaluate (none).
    case noRecord
    case noDomain
    case badDomain(String)
    // The record (permerror).
    case severalRecords(DomainName)
    case syntax(DomainName, String)
    case noIncludedRecord
    case noRedirectedRecord
    case tooManyLookups
    case tooManyVoidLookups
    case tooManyMXHosts(DomainName)
    // DNS (temperror).
    case dnsFailure(DomainName, String)
}

extension SPFReason: CustomStringConvertible {
    /// A few words for logs and header comments. What came from outside was already reduced to printable ASCII.
    public var description: String {
        switch self {
        case .matched: "a mechanism matched"
        case .noMatch: "no mechanism matched"
        case .noRecord: "no SPF record"
        case .noDomain: "the sender has no domain"
        case .badDomain(let detail): "no domain that can be asked: \(detail)"
        case .severalRecords(let domain): "several SPF records at \(domain)"
        case .syntax(let domain, let detail): "SPF record of \(domain): \(detail)"
        case .noIncludedRecord: "an included domain has no SPF record"
        case .noRedirectedRecord: "the redirect's domain has no SPF record"
        case .tooManyLookups: "more than 10 DNS look-ups"
        case .tooManyVoidLookups: "more than 2 DNS look-ups without an answer"
        case .tooManyMXHosts(let domain): "\(domain) has more than 10 MX hosts"
        case .dnsFailure(let domain, let detail): "\(domain) not available: \(detail)"
        }
    }

    /// The same for strangers, in a header field: nothing of our paths, addresses and libraries.
    public var publicDescription: String {
        if case .dnsFailure(let domain, _) = self { return "\(domain) not available" }
        return description
    }
}
