// A DKIM-Signature field, parsed and held against every rule that needs neither DNS nor hashing (RFC 6376 §3.5,
// §6.1.1). `z=` is for diagnosis and is not read.

import PosternDNS
import PosternMail

/// Why a signature does not pass; with the result that the reason stands for.
struct UnusableSignature: Error, Hashable {
    var result: DKIMResult
    var reason: DKIMReason

    static func permanent(_ reason: DKIMReason) -> Self { Self(result: .permerror, reason: reason) }
    static func temporary(_ reason: DKIMReason) -> Self { Self(result: .temperror, reason: reason) }
    static func failed(_ reason: DKIMReason) -> Self { Self(result: .fail, reason: reason) }
    static func refused(_ reason: DKIMReason) -> Self { Self(result: .policy, reason: reason) }
    /// Our own trouble.
    static func trouble(_ error: CryptoError) -> Self { temporary(.internalError(error.description)) }
}

struct DKIMSignature {
    var algorithm: DKIMAlgorithm
    /// `b=`, decoded.
    var signature: [UInt8]
    /// `bh=`, decoded.
    var bodyHash: [UInt8]
    var headerCanonicalization: HeaderCanonicalization
    var bodyCanonicalization: BodyCanonicalization
    /// SDID, `d=`.
    var domain: DomainName
    /// `s=`.
    var selector: DomainName
    /// Domain of the AUID; that of `d=` when there is no `i=`.
    var auidDomain: DomainName
    /// `h=`, in order, lower case.
    var fields: [[UInt8]]
    /// `l=`; a number beyond 64 bits is the largest one: no body is that long.
    var bodyLength: UInt64?
    /// `t=` and `x=`, in seconds since 1970.
    var timestamp: UInt64?
    var expiry: UInt64?
    /// The field's value without that of `b=`: what is hashed. Source: RFC 6376 §3.7.
    var emptiedValue: [UInt8]

    /// Most names in `h=`. Real ones have up to about 60.
    static let maxFields = 1000
    /// Digits of `l=`. Source: RFC 6376 §3.5.
    static let maxLengthDigits = 76

    /// Reads a field's value and checks it.
    /// - Parameter facts: gets what could be read, for the finding, also when the signature cannot be used.
    /// - Throws: the first rule that the signature breaks.
    /// - Source: RFC 6376 §3.5, §6.1.1; RFC 8616 §4 for U-labels.
    init(value: [UInt8], facts: inout DKIMFinding) throws(UnusableSignature) {
        let tags: DKIMTagList
        do throws(DKIMTagListError) { tags = try DKIMTagList(value) } catch {
            throw .permanent(.syntax(error.description))
        }
        Self.note(tags, in: &facts)

        guard let version = tags["v"] else { throw .permanent(.missingTag("v")) }
        guard version.elementsEqual("1".utf8) else { throw .permanent(.unknownVersion) }
        // RFC 6376 §6.1.1: required tags
        guard let algorithmTag = tags["a"] else { throw .permanent(.missingTag("a")) }
        guard let signatureTag = tags.tag("b") else { throw .permanent(.missingTag("b")) }
        guard let bodyHashTag = tags["bh"] else { throw .permanent(.missingTag("bh")) }
        guard let domainTag = tags["d"] else { throw .permanent(.missingTag("d")) }
        guard let fieldsTag = tags["h"] else { throw .permanent(.missingTag("h")) }
        guard let selectorTag = tags["s"] else { throw .permanent(.missingTag("s")) }

        guard let algorithm = Self.algorithm(algorithmTag) else { throw .permanent(.unknownAlgorithm) }
        self.algorithm = algorithm
        guard let signature = Base64.decode(signatureTag.value), !signature.isEmpty else {
            throw .permanent(.syntax("b= is no base64"))
        }
        self.signature = signature
        guard let bodyHash = Base64.decode(bodyHashTag), !bodyHash.isEmpty else {
            throw .permanent(.syntax("bh= is no base64"))
        }
        self.bodyHash = bodyHash
        domain = try Self.name(domainTag, minLabels: 2, tag: "d")
        selector = try Self.name(selectorTag, minLabels: 1, tag: "s")
        fields = try Self.fields(fieldsTag)
        auidDomain = try Self.auidDomain(tags["i"], in: domain)
        (headerCanonicalization, bodyCanonicalization) = try Self.canonicalizations(tags["c"])
        bodyLength = try tags["l"].map { (digits) throws(UnusableSignature) in
            try Self.number(digits, maxDigits: Self.maxLengthDigits, tag: "l")
        }
        // RFC 6376 §3.5, q=: unknown methods are ignored, there must be one that we know.
        if let methods = tags["q"], !methods.colonSeparated.contains(where: { $0.equalsIgnoringASCIICase("dns/txt") }) {
            throw .permanent(.unknownQueryMethod)
        }
        timestamp = try Self.time(tags["t"], tag: "t")
        expiry = try Self.time(tags["x"], tag: "x")
        if let timestamp, let expiry, expiry <= timestamp {  // RFC 6376 §3.5, x=
            throw .permanent(.timestampAfterExpiry)
        }
        emptiedValue = value
        emptiedValue.removeSubrange(signatureTag.rawValue)
    }

    /// The key record's question.
    /// - Throws: `.nameTooLong` when no such name can exist.
    /// - Source: RFC 6376 §3.6.2.1.
    func keyQuestion() throws(UnusableSignature) -> Question {
        do throws(DomainNameError) {
            return Question(try domain.prefixed("_domainkey").prefixed(selector), .txt)
        } catch { throw .permanent(.nameTooLong) }
    }

    /// Whether `x=` has passed. Source: RFC 6376 §3.5, §6.1.1.
    func isExpired(at now: UnixTime) -> Bool {
        guard let expiry, let seconds = UInt64(exactly: now.seconds) else { return false }
        return seconds > expiry
    }

    // MARK: Tags

    /// Fills in the facts that can be read, whatever else is wrong.
    private static func note(_ tags: DKIMTagList, in facts: inout DKIMFinding) {
        // A name that cannot be read is left out here and reported where it is used.
        facts.domain = tags["d"].flatMap { try? name($0, minLabels: 2, tag: "d") }
        facts.selector = tags["s"].flatMap { try? name($0, minLabels: 1, tag: "s") }  // as above
        facts.auid = tags["i"].flatMap(quotedPrintable)
        facts.algorithm = tags["a"].flatMap(algorithm)
        let text = tags["b"]?.lazy.filter { !$0.isFoldingWhiteSpace }.prefix(SignaturePrefixes.maxOctets)
        // Only base64 may be shown to others.
        if let text, text.allSatisfy({ $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2B || $0 == 0x2F || $0 == 0x3D })
        {
            facts.signaturePrefix = String(decoding: Array(text), as: UTF8.self)
        }
    }

    private static func algorithm(_ value: ArraySlice<UInt8>) -> DKIMAlgorithm? {
        DKIMAlgorithm.allCases.first { value.equalsIgnoringASCIICase(Array($0.rawValue.utf8)) }
    }

    /// A domain name in A-labels.
    private static func name(
        _ value: ArraySlice<UInt8>, minLabels: Int, tag: StaticString
    ) throws(UnusableSignature) -> DomainName {
        do throws(DomainNameError) {
            let name = try DomainName(text: value)
            // RFC 6376 §3.5: sub-domain *( "." sub-domain ) of RFC 5321, which has no dot at the end.
            if name.isHostname(minLabels: minLabels), value.last != 0x2E { return name }
        } catch .labelTooLong, .nameTooLong {
            throw .permanent(.nameTooLong)  // such a name cannot be asked, so it has no key
        } catch {}
        throw .permanent(.syntax("\(tag)= is no domain name"))
    }

    /// RFC 6376 §3.5, h=: names between colons; From must be one of them.
    private static func fields(_ value: ArraySlice<UInt8>) throws(UnusableSignature) -> [[UInt8]] {
        let names = value.colonSeparated
        guard names.count <= maxFields else { throw .permanent(.syntax("h= of more than \(maxFields) names")) }
        // RFC 5322 §3.6.8: ftext is any printable octet but the colon.
        guard names.allSatisfy({ !$0.isEmpty && $0.allSatisfy { $0 > 0x20 && $0 < 0x7F } }) else {
            throw .permanent(.syntax("h= holds what is no field name"))
        }
        let lowered = names.map(\.asciiLowercased)
        guard lowered.contains(Array("from".utf8)) else { throw .permanent(.fromNotSigned) }
        return lowered
    }

    /// RFC 6376 §3.5, i=: [ local-part ] "@" domain-name, and that domain must be `d=` or below it.
    private static func auidDomain(
        _ value: ArraySlice<UInt8>?, in domain: DomainName
    ) throws(UnusableSignature) -> DomainName {
        guard let value else { return domain }
        guard let auid = quotedPrintable(value), let at = auid.lastIndex(of: 0x40) else {
            throw .permanent(.syntax("i= is no address"))
        }
        let auidDomain = try name(auid[(at + 1)...], minLabels: 2, tag: "i")
        guard auidDomain.isEqualOrBelow(domain) else { throw .permanent(.auidNotInDomain) }
        return auidDomain
    }

    /// RFC 6376 §3.5, c=: header [ "/" body ], both simple where they are missing.
    private static func canonicalizations(
        _ value: ArraySlice<UInt8>?
    ) throws(UnusableSignature) -> (HeaderCanonicalization, BodyCanonicalization) {
        guard let value else { return (.simple, .simple) }
        let halves = value.split(separator: 0x2F, maxSplits: 1, omittingEmptySubsequences: false)
        let header = HeaderCanonicalization.allCases.first { form in
            halves.first?.equalsIgnoringASCIICase(Array(form.rawValue.utf8)) ?? false
        }
        let bodyText = halves.dropFirst().first ?? Array("simple".utf8)[...]
        let body = BodyCanonicalization.allCases.first { bodyText.equalsIgnoringASCIICase(Array($0.rawValue.utf8)) }
        guard let header, let body else { throw .permanent(.unknownCanonicalization) }
        return (header, body)
    }

    /// RFC 6376 §3.5, t= and x=: 1*12DIGIT; a longer number may be taken as infinite.
    private static func time(
        _ value: ArraySlice<UInt8>?, tag: StaticString
    ) throws(UnusableSignature) -> UInt64? {
        guard let value else { return nil }
        return try number(value, maxDigits: maxLengthDigits, tag: tag)
    }

    /// A decimal number; one that does not fit 64 bits is `UInt64.max`.
    private static func number(
        _ digits: ArraySlice<UInt8>, maxDigits: Int, tag: StaticString
    ) throws(UnusableSignature) -> UInt64 {
        guard !digits.isEmpty, digits.count <= maxDigits, digits.allSatisfy(\.isASCIIDigit) else {
            throw .permanent(.syntax("\(tag)= is no number"))
        }
        var number: UInt64 = 0
        for digit in digits {
            let (product, overflow) = number.multipliedReportingOverflow(by: 10)
            let (sum, overflow2) = product.addingReportingOverflow(UInt64(digit - 0x30))
            if overflow || overflow2 { return .max }
            number = sum
        }
        return number
    }

    /// Decodes dkim-quoted-printable: FWS is dropped, `=HH` is an octet. Source: RFC 6376 §2.11.
    static func quotedPrintable(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        var octets: [UInt8] = []
        var rest = text
        while let octet = rest.popFirst() {
            if octet == 0x3D {
                guard let high = hexDigit(rest.popFirst()), let low = hexDigit(rest.popFirst()) else { return nil }
                octets.append(high << 4 | low)
            } else if !octet.isFoldingWhiteSpace {
                octets.append(octet)
            }
        }
        return octets
    }

    private static func hexDigit(_ octet: UInt8?) -> UInt8? {
        switch octet {
        case let digit? where digit.isASCIIDigit: digit - 0x30
        case let letter? where (0x41...0x46).contains(letter): letter - 0x41 + 10
        case let letter? where (0x61...0x66).contains(letter): letter - 0x61 + 10  // not the ABNF, but unmistakable
        default: nil
        }
    }
}

/// How many octets of each `b=` tell a message's signatures apart, for `header.b`. Source: RFC 6008 §4.
enum SignaturePrefixes {
    static let minOctets = 8
    /// Longest that is kept; signatures equal up to here are copies of each other.
    static let maxOctets = 64

    /// Cuts each text to the fewest octets, at least eight, that no other one begins with.
    static func shorten(_ findings: inout [DKIMFinding]) {
        let texts = findings.map { Array($0.signaturePrefix.utf8) }
        for index in findings.indices {
            let own = texts[index]
            let common = texts.lazy.filter { $0 != own }.map { zip($0, own).prefix { $0 == $1 }.count }.max() ?? 0
            findings[index].signaturePrefix = String(
                decoding: own.prefix(max(minOctets, common + 1)), as: UTF8.self)
        }
    }
}
