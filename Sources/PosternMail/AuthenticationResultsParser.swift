// Reads an Authentication-Results field by the grammar of RFC 8601 §2.2, and nothing that is merely near to it: what
// does not parse here is malformed to ForgedResults. Linear in the field: every step moves forwards.
// Deliberately not here: belief. Nothing in Postern acts on a stranger's results.

public enum AuthenticationResultsParser {
    /// Longest field that is read, in octets.
    public static let maxFieldOctets = 65_536
    /// Most results in one field; real ones have fewer than ten.
    public static let maxResults = 100
    /// Most properties in one field.
    public static let maxProperties = 500

    /// The content of an Authentication-Results field. UTF-8 is taken in values (RFC 8616 §5).
    ///
    /// - Parameter value: what stands after the colon, folds as CRLF WSP.
    /// - Returns: words unquoted; of comments only the one right after a result is kept.
    /// - Source: RFC 8601 §2.2.
    public static func parse(_ value: [UInt8]) throws(AuthenticationResultsError) -> AuthenticationResults {
        guard value.count <= maxFieldOctets else { throw .tooLong }
        do {
            var reader = Reader(text: StructuredText(value))
            return try reader.payload()
        } catch let error as AuthenticationResultsError {
            throw error
        } catch {
            throw .syntax("\(error)")
        }
    }

    private struct Reader {
        var text: StructuredText
        var propertiesLeft = maxProperties

        /// `authres-payload`
        mutating func payload() throws -> AuthenticationResults {
            try text.skipCFWS()
            var found = AuthenticationResults(authservID: try Self.string(try value(expected: "an authserv-id")))
            if try text.skipCFWS() {
                let version = text.run(where: \.isASCIIDigit)
                if !version.isEmpty { found.version = try Self.string(version) }
                try text.skipCFWS()
            }
            guard text.take(0x3B) else { throw AuthenticationResultsError.expected("; after the authserv-id") }
            try text.skipCFWS()
            var method = try keyword(expected: "a method")
            try text.skipCFWS()
            if text.isAtEnd, method.asciiLowercased.elementsEqual("none".utf8) { return found }  // `no-result`
            while true {
                guard found.results.count < maxResults else { throw AuthenticationResultsError.tooMany }
                found.results.append(try resinfo(method: method))
                if text.isAtEnd { return found }
                guard text.take(0x3B) else { throw AuthenticationResultsError.expected("; between results") }
                try text.skipCFWS()
                method = try keyword(expected: "a method")
                try text.skipCFWS()
            }
        }

        /// `methodspec [CFWS reasonspec] [CFWS 1*propspec]`, after the method.
        mutating func resinfo(method: ArraySlice<UInt8>) throws -> AuthenticationResults.MethodResult {
            var version: String?
            if text.take(0x2F) {
                try text.skipCFWS()
                let digits = text.run(where: \.isASCIIDigit)
                guard !digits.isEmpty else { throw AuthenticationResultsError.expected("a method's version") }
                version = try Self.string(digits)
                try text.skipCFWS()
            }
            guard text.take(0x3D) else { throw AuthenticationResultsError.expected("= after a method") }
            try text.skipCFWS()
            var found = AuthenticationResults.MethodResult(
                try Self.string(method), try Self.string(try keyword(expected: "a result")), methodVersion: version)
            var comment: [UInt8]?
            var isSeparate = try text.skipCFWS(comment: &comment)
            found.comment = try comment.map { (octets) throws in try Self.string(octets) }
            while let next = text.rest.first, next != 0x3B {
                guard isSeparate else { throw AuthenticationResultsError.expected("white space before a property") }
                let ptype = try keyword(expected: "a property")
                try text.skipCFWS()
                if found.reason == nil, found.properties.isEmpty, text.take(0x3D) {
                    guard ptype.equalsIgnoringASCIICase("reason") else {
                        throw AuthenticationResultsError.expected("reason=")
                    }
                    try text.skipCFWS()
                    found.reason = try Self.string(try value(expected: "a reason"))
                    isSeparate = try text.skipCFWS()
                } else {
                    found.properties.append(try property(ptype: ptype))
                    // `pvalue` holds the CFWS after it, so none is needed before the next one.
                    try text.skipCFWS()
                }
            }
            return found
        }

        /// The rest of a `propspec`.
        mutating func property(ptype: ArraySlice<UInt8>) throws -> AuthenticationResults.Property {
            guard propertiesLeft > 0 else { throw AuthenticationResultsError.tooMany }
            propertiesLeft -= 1
            guard text.take(0x2E) else { throw AuthenticationResultsError.expected(". after a property type") }
            try text.skipCFWS()
            let property = try keyword(expected: "a property")
            try text.skipCFWS()
            guard text.take(0x3D) else { throw AuthenticationResultsError.expected("= after a property") }
            try text.skipCFWS()
            return .init(try Self.string(ptype), try Self.string(property), try pvalue())
        }

        /// `value / [[local-part] "@"] domain-name`
        mutating func pvalue() throws -> [UInt8] {
            var local: [UInt8]
            let isQuoted: Bool
            if let content = try text.quotedString() {
                (local, isQuoted) = (content, true)
            } else {
                (local, isQuoted) = (Array(text.run { $0.isAtomText || $0 == 0x2E }), false)
            }
            if text.take(0x40) {
                guard isQuoted || local.isEmpty || local.isDotAtom else {
                    throw AuthenticationResultsError.expected("a local-part")
                }
                let domain = text.run { $0.isLDH || $0 == 0x2E || $0 >= 0x80 }
                let labels = domain.split(separator: 0x2E, omittingEmptySubsequences: false)
                guard labels.count > 1, labels.allSatisfy({ !$0.isEmpty }) else {
                    throw AuthenticationResultsError.expected("a domain")
                }
                local.append(0x40)
                return local + domain
            }
            guard isQuoted || (!local.isEmpty && local.allSatisfy { $0.isTokenText || $0 >= 0x80 }) else {
                throw AuthenticationResultsError.expected("a value")
            }
            return local
        }

        /// RFC 2045 §5.1, `value`: a token or a quoted-string.
        mutating func value(expected: StaticString) throws -> [UInt8] {
            if let content = try text.quotedString() { return content }
            let token = text.run { $0.isTokenText || $0 >= 0x80 }
            guard !token.isEmpty else { throw AuthenticationResultsError.expected("\(expected)") }
            return Array(token)
        }

        /// RFC 5321 §4.1.1.1, `Keyword`: letters, digits and hyphens, no hyphen at its end.
        mutating func keyword(expected: StaticString) throws -> ArraySlice<UInt8> {
            let word = text.run(where: \.isLDH)
            guard let last = word.last, last != 0x2D else { throw AuthenticationResultsError.expected("\(expected)") }
            return word
        }

        static func string(_ octets: some Collection<UInt8>) throws -> String {
            guard let text = String(validating: octets, as: UTF8.self) else {
                throw AuthenticationResultsError.syntax("octets that are no UTF-8")
            }
            return text
        }
    }
}

/// Why a field is no Authentication-Results field.
public enum AuthenticationResultsError: Error, Hashable, Sendable, CustomStringConvertible {
    case tooLong, tooMany
    case expected(String)
    case syntax(String)

    public var description: String {
        switch self {
        case .tooLong: "longer than \(AuthenticationResultsParser.maxFieldOctets) octets"
        case .tooMany: "too many results or properties"
        case .expected(let what): "expected \(what)"
        case .syntax(let what): "found \(what)"
        }
    }
}
