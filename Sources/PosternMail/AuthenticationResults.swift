// The Authentication-Results field (RFC 8601) as a value, and the writer of ours. The reader is
// AuthenticationResultsParser; who may write in our name is the matter of ForgedResults.
// Much of what stands in a field of ours comes from the message. It is reduced to printable ASCII without `"`, `\`,
// `(`, `)` and `;` (each octet becomes `?`): no octet of a message can end the field, begin another one, or look like
// another result even to those many readers who split at `;` without a thought for quotes. Not RFC 8616 §5: UTF-8 in
// values is for internationalized messages only, and a milter is not told whether a message is one; domains are
// written as A-labels anyway. Deliberately not here: authres-version, since 1 is the default.

/// What one host found out about a message.
public struct AuthenticationResults: Hashable, Sendable {
    /// The name under which the results are vouched for. Source: RFC 8601 §2.5.
    public var authservID: String
    /// Digits; `nil` means 1, and is what we write. Source: RFC 8601 §2.2.
    public var version: String?
    /// In the order of the field; none at all is written as `none`.
    public var results: [MethodResult]

    public init(authservID: String, version: String? = nil, results: [MethodResult] = []) {
        self.authservID = authservID
        self.version = version
        self.results = results
    }

    /// One `resinfo`. Source: RFC 8601 §2.2.
    public struct MethodResult: Hashable, Sendable {
        /// `dkim`, `spf`, `dmarc` ...; written as a Keyword.
        public var method: String
        /// Digits; `nil` means 1.
        public var methodVersion: String?
        /// `pass`, `fail` ...; written as a Keyword.
        public var result: String
        /// Why, for machines that look for it.
        public var reason: String?
        /// What stands in a comment after the result.
        public var comment: String?
        public var properties: [Property]

        public init(
            _ method: String, _ result: String, methodVersion: String? = nil, reason: String? = nil,
            comment: String? = nil, properties: [Property] = []
        ) {
            self.method = method
            self.methodVersion = methodVersion
            self.result = result
            self.reason = reason
            self.comment = comment
            self.properties = properties
        }
    }

    /// One `propspec`, e.g. `header.d=example.com`. Source: RFC 8601 §2.2, §2.3.
    public struct Property: Hashable, Sendable {
        /// `header`, `smtp`, `body`, `policy`.
        public var ptype: String
        public var property: String
        /// Octets of a stranger, unquoted.
        public var value: [UInt8]

        public init(_ ptype: String, _ property: String, _ value: [UInt8]) {
            self.ptype = ptype
            self.property = property
            self.value = value
        }
        public init(_ ptype: String, _ property: String, _ value: String) {
            self.init(ptype, property, Array(value.utf8))
        }
    }
}

// MARK: What judges found

extension AuthenticationResults {
    /// DKIM results in one field; a message with more signatures has tried something, and the judge names that.
    public static let maxDKIMResults = 32

    /// The field for DKIM findings; `dkim=none` when there are none.
    public init(authservID: String, dkim findings: [DKIMFinding]) {
        self.init(authservID: authservID, results: MethodResult.dkim(findings))
    }
}

extension AuthenticationResults.MethodResult {
    /// Results of the method `dkim`, one a signature, at most `maxDKIMResults`; `dkim=none` without any.
    /// - Source: RFC 8601 §2.7.1, RFC 6008 §4.
    public static func dkim(_ findings: [DKIMFinding]) -> [Self] {
        guard !findings.isEmpty else { return [Self("dkim", DKIMResult.none.rawValue)] }
        return findings.prefix(AuthenticationResults.maxDKIMResults).map(Self.init(dkim:))
    }

    /// The result of one signature.
    public init(dkim finding: DKIMFinding) {
        var properties: [AuthenticationResults.Property] = []
        if let domain = finding.domain { properties.append(.init("header", "d", domain.description)) }
        if let auid = finding.auid { properties.append(.init("header", "i", auid)) }
        if let selector = finding.selector { properties.append(.init("header", "s", selector.description)) }
        if let algorithm = finding.algorithm { properties.append(.init("header", "a", algorithm.rawValue)) }
        if !finding.signaturePrefix.isEmpty { properties.append(.init("header", "b", finding.signaturePrefix)) }
        var remarks = finding.keyBits.map { ["\($0)-bit key"] } ?? []
        if finding.isTesting { remarks.append("testing") }
        self.init(
            "dkim", finding.result.rawValue, reason: finding.reason == .none ? nil : finding.reason.publicDescription,
            comment: remarks.isEmpty ? nil : remarks.joined(separator: ", "), properties: properties)
    }
}
