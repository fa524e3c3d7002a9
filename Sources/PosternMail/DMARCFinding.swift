// What the DMARC judge concludes about one author of a message, with its reason, and what the governing record says
// (RFC 9989), for the verdict, the Authentication-Results field and the facts for reports (RFC 9990). What is done
// about the message is no part of it.

/// Results of the method "dmarc". Source: RFC 9989 §9.2.
public enum DMARCResult: String, Hashable, Sendable, CaseIterable {
    case none, pass, fail, temperror, permerror
}

/// What a domain's owner wants done with mail that fails, mildest first. Source: RFC 9989 §4.7, `p`.
public enum DMARCPolicy: String, Hashable, Sendable, CaseIterable, Comparable {
    case none, quarantine, reject

    /// What is left of the policy under `t=y`: one level below it. Source: RFC 9989 §4.7, `t`.
    public var whileTesting: DMARCPolicy { self == .reject ? .quarantine : .none }

    public static func < (left: DMARCPolicy, right: DMARCPolicy) -> Bool { left.severity < right.severity }
    private var severity: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}

/// The tag of a policy record that governs an author. Source: RFC 9989 §4.10.1.
public enum DMARCPolicyTag: String, Hashable, Sendable, CaseIterable {
    /// For the domain that publishes the record.
    case p
    /// For a subdomain that exists.
    case sp
    /// For a subdomain that does not exist.
    case np
}

/// How alike an identifier and the author's domain must be. Source: RFC 9989 §3.2.10.
public enum DMARCAlignment: String, Hashable, Sendable, CaseIterable {
    /// They have the same organizational domain.
    case relaxed = "r"
    /// They are identical.
    case strict = "s"
}

/// The `psd` tag. Source: RFC 9989 §4.7.
public enum DMARCPublicSuffix: String, Hashable, Sendable, CaseIterable {
    /// A public suffix domain.
    case yes = "y"
    /// The organizational domain of itself and its subdomains.
    case no = "n"
    /// Not said.
    case unknown = "u"
}

/// A policy record as it is published, defaults filled in. Source: RFC 9989 §4.7.
public struct DMARCPublishedPolicy: Hashable, Sendable {
    /// The `p` tag; "none" when there is no valid one. Source: RFC 9989 §4.10.1.
    public var policy: DMARCPolicy
    public var subdomainPolicy: DMARCPolicy?
    public var nonexistentPolicy: DMARCPolicy?
    public var dkimAlignment: DMARCAlignment
    public var spfAlignment: DMARCAlignment
    public var publicSuffix: DMARCPublicSuffix
    /// `t=y`.
    public var isTesting: Bool
    /// Addresses for aggregate reports: the valid URIs of `rua` as published, between commas; printable ASCII.
    public var aggregateReports: String?
    /// Addresses for failure reports: the valid URIs of `ruf` as published, between commas; printable ASCII.
    public var failureReports: String?
    /// The `fo` tag as published, when it is valid and there is a `ruf`; its default is "0".
    public var failureOptions: String?

    public init(
        policy: DMARCPolicy, subdomainPolicy: DMARCPolicy? = nil, nonexistentPolicy: DMARCPolicy? = nil,
        dkimAlignment: DMARCAlignment = .relaxed, spfAlignment: DMARCAlignment = .relaxed,
        publicSuffix: DMARCPublicSuffix = .unknown, isTesting: Bool = false, aggregateReports: String? = nil,
        failureReports: String? = nil, failureOptions: String? = nil
    ) {
        self.policy = policy
        self.subdomainPolicy = subdomainPolicy
        self.nonexistentPolicy = nonexistentPolicy
        self.dkimAlignment = dkimAlignment
        self.spfAlignment = spfAlignment
        self.publicSuffix = publicSuffix
        self.isTesting = isTesting
        self.aggregateReports = aggregateReports
        self.failureReports = failureReports
        self.failureOptions = failureOptions
    }

    /// The policy for a subdomain, and the tag it comes from.
    /// - Source: RFC 9989 §4.7, `np` and `sp`; §4.10.1.
    public func policy(forSubdomain exists: Bool) -> (DMARCPolicy, DMARCPolicyTag) {
        if !exists, let nonexistentPolicy { return (nonexistentPolicy, .np) }
        if let subdomainPolicy { return (subdomainPolicy, .sp) }
        return (policy, .p)
    }
}

/// One author's domain, judged.
public struct DMARCFinding: Hashable, Sendable {
    public var result: DMARCResult
    public var reason: DMARCReason
    /// The domain of RFC5322.From; `nil` when there is no usable one.
    public var authorDomain: DomainName?
    /// The author's organizational domain; `nil` when it could not be told.
    public var organizationalDomain: DomainName?
    /// Where the governing record was found; `nil` when none was.
    public var policyDomain: DomainName?
    /// What the governing record says.
    public var published: DMARCPublishedPolicy?
    /// The policy that governs this author; `nil` when none was found.
    public var policy: DMARCPolicy?
    /// The tag that the policy comes from.
    public var policyTag: DMARCPolicyTag?
    /// What the owner wants done with this message: "none" unless it fails, one level below the policy under `t=y`.
    public var applied: DMARCPolicy
    /// The domain that SPF passed for, when it aligns.
    public var alignedSPF: DomainName?
    /// The SDIDs of passing signatures that align, each once.
    public var alignedDKIM: [DomainName]

    /// The record says `t=y`.
    public var isTesting: Bool { published?.isTesting ?? false }

    public init(
        result: DMARCResult, reason: DMARCReason, authorDomain: DomainName? = nil,
        organizationalDomain: DomainName? = nil, policyDomain: DomainName? = nil,
        published: DMARCPublishedPolicy? = nil, policy: DMARCPolicy? = nil, policyTag: DMARCPolicyTag? = nil,
        applied: DMARCPolicy = .none, alignedSPF: DomainName? = nil, alignedDKIM: [DomainName] = []
    ) {
        self.result = result
        self.reason = reason
        self.authorDomain = authorDomain
        self.organizationalDomain = organizationalDomain
        self.policyDomain = policyDomain
        self.published = published
        self.policy = policy
        self.policyTag = policyTag
        self.applied = applied
        self.alignedSPF = alignedSPF
        self.alignedDKIM = alignedDKIM
    }
}

/// Why a DMARC finding is what it is.
public enum DMARCReason: Hashable, Sendable {
    /// An identifier aligns (pass).
    case aligned
    // No policy (none).
    case noRecord
    /// The record has no valid `p`, or an invalid `sp` or `np`, and no address for reports. RFC 9989 §4.10.1.
    case unusableRecord
    // The message (fail).
    /// Neither SPF nor a signature passed.
    case noIdentifier
    case notAligned
    // DNS (temperror). The name that was asked, and what came instead of an answer.
    case recordUnavailable(DomainName, String)
    /// SPF or a signature of a domain that aligns ended in temperror.
    case identifierUnavailable(DomainName, String)
    /// It could not be told whether the author's domain exists, and `np` is another policy.
    case existenceUnknown(DomainName, String)
    // The author (permerror).
    case noAuthor
    case repeatedAuthor
    case invalidAuthor(String)
}

extension DMARCReason: CustomStringConvertible {
    /// A few words for logs and header comments. What came from outside was already reduced to printable ASCII.
    public var description: String {
        switch self {
        case .recordUnavailable(let name, let detail): "no answer for \(name): \(detail)"
        case .identifierUnavailable(let domain, let detail): "\(domain) could not be authenticated: \(detail)"
        case .existenceUnknown(let name, let detail): "cannot tell whether \(name) exists: \(detail)"
        case .invalidAuthor(let detail): "bad From field: \(detail)"
        default: publicDescription
        }
    }

    /// The same for strangers, in a header field: nothing of our paths, addresses and libraries.
    public var publicDescription: String {
        switch self {
        case .aligned: "aligned"
        case .noRecord: "no policy record"
        case .unusableRecord: "policy record without a usable policy"
        case .noIdentifier: "neither SPF nor DKIM passed"
        case .notAligned: "nothing that passed is aligned"
        case .recordUnavailable: "policy record not available"
        case .identifierUnavailable: "an aligned domain could not be authenticated"
        case .existenceUnknown: "existence of the domain not known"
        case .noAuthor: "no From field"
        case .repeatedAuthor: "several From fields"
        case .invalidAuthor: "bad From field"
        }
    }
}
