// check_host() (RFC 7208 §4): one check of one identity with all that it includes and redirects to, and its limits,
// which hold for the whole of it. The independent questions of a term go out together.

import PosternDNS
import PosternMail

/// The end of a check before its end. Source: RFC 7208 §2.6.6, §2.6.7.
struct SPFStop: Error {
    var result: SPFResult
    var reason: SPFReason

    static func permanent(_ reason: SPFReason) -> SPFStop { SPFStop(result: .permerror, reason: reason) }
    static func temporary(_ name: DomainName, _ detail: String) -> SPFStop {
        SPFStop(result: .temperror, reason: .dnsFailure(name, SPFTerm.printable(Array(detail.utf8))))
    }
}

struct SPFEvaluation<DNS: DNSAnswering> {
    /// Terms that cause DNS queries, in one check. It also bounds how deep includes and redirects go.
    /// Source: RFC 7208 §4.6.4.
    static var maxLookups: Int { 10 }
    /// Source: RFC 7208 §4.6.4.
    static var maxVoidLookups: Int { 2 }
    /// Source: RFC 7208 §4.6.4, for "mx".
    static var maxMXHosts: Int { 10 }
    /// Source: RFC 7208 §4.6.4, for "ptr" and `%{p}`.
    static var maxPTRNames: Int { 10 }
    /// Longest explanation, about one line of SMTP (RFC 5321 §4.5.3.1.5); longer ones are cut.
    static var maxExplanationOctets: Int { 512 }

    /// How the evaluation of one record ended.
    struct Outcome {
        var result: SPFResult
        var reason: SPFReason
        /// Whose record decided, redirects followed.
        var domain: DomainName
        var explanation: SPFMacroString?
    }

    let dns: DNS
    let values: SPFMacroValues
    private(set) var lookups = 0
    private(set) var voidLookups = 0
    /// Records on the way to where the evaluation is, and the term of each.
    private(set) var steps: [SPFStep] = []
    /// The client's validated names, once they were needed.
    private var validated: [DomainName]?

    init(dns: DNS, values: SPFMacroValues) {
        self.dns = dns
        self.values = values
    }

    // MARK: Records

    /// Source: RFC 7208 §4.
    mutating func checkHost(_ domain: DomainName) throws(SPFStop) -> Outcome {
        guard let record = try record(of: domain) else {
            return Outcome(result: .none, reason: .noRecord, domain: domain)
        }
        let depth = steps.count
        for directive in record.directives {
            steps.append(SPFStep(domain: domain, term: directive.text))
            if try matches(directive.mechanism, domain) {
                return Outcome(
                    result: directive.qualifier.result, reason: .matched, domain: domain,
                    explanation: record.explanation)
            }
            steps.removeLast(steps.count - depth)
        }
        guard let redirect = record.redirect else {
            return Outcome(result: .neutral, reason: .noMatch, domain: domain)  // RFC 7208 §4.7
        }
        steps.append(SPFStep(domain: domain, term: SPFTerm.printable(Array("redirect=\(redirect)".utf8))))
        try countLookup()
        // RFC 7208 §6.1: no record, or a malformed name, is permerror; §6.2: `exp` of this record is not used.
        guard let target = target(redirect, domain), target.labelCount >= 2 else {
            throw .permanent(.noRedirectedRecord)
        }
        let outcome = try checkHost(target)
        guard outcome.result != .none else { throw .permanent(.noRedirectedRecord) }
        return outcome
    }

    /// The record of a domain, free of mistakes.
    /// - Source: RFC 7208 §4.4 to §4.6.
    private func record(of domain: DomainName) throws(SPFStop) -> SPFRecord? {
        let texts: [[UInt8]]
        switch dns.answer(to: Question(domain, .txt)) {
        case .records(let data, _): texts = data.texts.filter(SPFRecord.isRecord)
        case .noData, .noSuchName: return nil
        case .temporaryFailure(let detail): throw .temporary(domain, detail)  // RFC 7208 §4.4
        }
        guard texts.count <= 1 else { throw .permanent(.severalRecords(domain)) }  // RFC 7208 §4.5
        guard let record = texts.first.flatMap(SPFRecord.init) else { return nil }
        if let mistake = record.mistakes.first { throw .permanent(.syntax(domain, mistake.description)) }
        return record
    }

    private mutating func countLookup() throws(SPFStop) {
        guard lookups < Self.maxLookups else { throw .permanent(.tooManyLookups) }  // RFC 7208 §4.6.4
        lookups += 1
    }

    /// RFC 7208 §4.6.4 limits the *terms* for which DNS has nothing: several hosts of one `mx` count once.
    private mutating func countVoidLookup() throws(SPFStop) {
        voidLookups += 1
        guard voidLookups <= Self.maxVoidLookups else { throw .permanent(.tooManyVoidLookups) }
    }

    // MARK: Mechanisms

    /// Source: RFC 7208 §5.
    private mutating func matches(_ mechanism: SPFMechanism, _ domain: DomainName) throws(SPFStop) -> Bool {
        switch mechanism {
        case .all: return true
        case .ip4(let network), .ip6(let network): return network.contains(values.client)
        case .include(let spec):
            try countLookup()
            return try includes(spec, domain)
        case .a(let spec, let lengths):
            try countLookup()
            guard let name = target(spec, domain) else { return false }
            let client = values.client
            return try records(name, client.isV4 ? .a : .aaaa).addresses.contains { lengths.match($0, client) }
        case .mx(let spec, let lengths):
            try countLookup()
            guard let name = target(spec, domain) else { return false }
            return try mxMatches(name, lengths)
        case .ptr(let spec):
            try countLookup()
            guard let name = target(spec, domain) else { return false }
            let (names, isVoid) = validatedNames()
            if isVoid { try countVoidLookup() }
            return names.contains { $0.isEqualOrBelow(name) }
        case .exists(let spec):
            try countLookup()
            guard let name = target(spec, domain) else { return false }
            return try !records(name, .a).addresses.isEmpty  // RFC 7208 §5.7: A, whatever the client has
        }
    }

    /// Source: RFC 7208 §5.2, the table.
    private mutating func includes(_ spec: SPFMacroString, _ domain: DomainName) throws(SPFStop) -> Bool {
        if spec.mentionsLocalPart, !hasASCIILocalPart { return false }  // RFC 8616 §4
        guard let name = target(spec, domain), name.labelCount >= 2 else { throw .permanent(.noIncludedRecord) }
        switch try checkHost(name).result {
        case .pass: return true
        case .none: throw .permanent(.noIncludedRecord)
        case .fail, .softfail, .neutral, .temperror, .permerror: return false  // the errors were thrown
        }
    }

    /// Source: RFC 7208 §5.4.
    private mutating func mxMatches(_ name: DomainName, _ lengths: SPFPrefixLengths) throws(SPFStop) -> Bool {
        let exchanges = try records(name, .mx).exchanges.filter { $0 != .root }  // RFC 7505 §3: "." is no host
        guard exchanges.count <= Self.maxMXHosts else { throw .permanent(.tooManyMXHosts(name)) }
        var seen: Set<DomainName> = []
        let client = values.client
        let questions = exchanges.filter { seen.insert($0).inserted }.map { Question($0, client.isV4 ? .a : .aaaa) }
        guard !questions.isEmpty else { return false }
        let answers = dns.answers(to: questions)
        guard !answers.contains(where: { $0.data.addresses.contains { lengths.match($0, client) } }) else {
            return true
        }
        for (question, answer) in zip(questions, answers) {
            if case .temporaryFailure(let detail) = answer { throw .temporary(question.name, detail) }
        }
        if answers.allSatisfy(\.isVoid) { try countVoidLookup() }
        return false
    }

    /// The records of one question of a term. Source: RFC 7208 §5: trouble with DNS is temperror.
    private mutating func records(_ name: DomainName, _ type: RecordType) throws(SPFStop) -> [RecordData] {
        let answer = dns.answer(to: Question(name, type))
        if case .temporaryFailure(let detail) = answer { throw .temporary(name, detail) }
        if answer.isVoid { try countVoidLookup() }
        return answer.data
    }

    /// The client's names whose addresses hold the client's; trouble with DNS only leaves names out.
    /// - Returns: whether DNS was asked and had no name, too.
    /// - Source: RFC 7208 §5.5.
    private mutating func validatedNames() -> (names: [DomainName], isVoid: Bool) {
        if let validated { return (validated, false) }
        validated = []
        let client = values.client
        guard let reverse = DomainName(reverseOf: client) else { return ([], false) }
        let answer = dns.answer(to: Question(reverse, .ptr))
        // RFC 7208 §4.6.4: names beyond the first ten are ignored.
        var seen: Set<DomainName> = []
        let names = answer.data.names.prefix(Self.maxPTRNames).filter { $0 != .root && seen.insert($0).inserted }
        guard !names.isEmpty else { return ([], answer.isVoid) }
        let answers = dns.answers(to: names.map { Question($0, client.isV4 ? .a : .aaaa) })
        let good = zip(names, answers).filter { $0.1.data.addresses.contains(client) }.map(\.0)
        validated = good
        return (good, false)
    }

    // MARK: Macros

    private var hasASCIILocalPart: Bool { values.localPart.allSatisfy { $0 < 0x80 } }

    /// The name that a term means; `nil` when it cannot be asked for and so matches nothing.
    private mutating func target(_ spec: SPFMacroString?, _ domain: DomainName) -> DomainName? {
        guard let spec else { return domain }
        // RFC 8616 §4: terms with a local-part that is not ASCII match nothing.
        if spec.mentionsLocalPart, !hasASCIILocalPart { return nil }
        var parts: [[UInt8]] = []
        var count = 0
        for piece in spec.pieces.reversed() {
            let part = expansion(of: piece, domain)
            parts.append(part)
            count += part.count
            if count >= SPFTargetName.neededOctets { break }
        }
        return SPFTargetName.name(parts.reversed().joined())
    }

    private mutating func expansion(of piece: SPFMacroString.Piece, _ domain: DomainName) -> [UInt8] {
        switch piece {
        case .literal(let octets), .escape(let octets): return octets
        case .macro(let macro):
            let name = macro.letter == .validatedName ? validatedName(domain) : []
            return values.expansion(of: macro, domain: domain, validatedName: name)
        }
    }

    /// The value of `%{p}`: the domain itself, else a name below it, else any, else "unknown". Source: RFC 7208 §7.3.
    private mutating func validatedName(_ domain: DomainName) -> [UInt8] {
        let names = validatedNames().names
        let best = names.first { $0 == domain } ?? names.first { $0.isEqualOrBelow(domain) } ?? names.first
        return best?.validatedNameText ?? Array("unknown".utf8)
    }

    /// What the domain says about a fail; `nil` when it says nothing that can be used. Counts as no look-up.
    /// - Source: RFC 7208 §6.2.
    mutating func explanation(of outcome: Outcome) -> String? {
        guard let spec = outcome.explanation, let name = target(spec, outcome.domain),
            case .records(let data, _) = dns.answer(to: Question(name, .txt)), data.texts.count == 1,
            let text = data.texts.first, text.count <= SPFRecord.maxOctets
        else { return nil }
        let explanation: SPFMacroString
        do throws(SPFSyntaxError) { explanation = try SPFMacroString(text, in: .explanation) } catch { return nil }
        var octets: [UInt8] = []
        for piece in explanation.pieces {
            octets += expansion(of: piece, outcome.domain)
            if octets.count >= Self.maxExplanationOctets { break }
        }
        guard !octets.isEmpty else { return nil }
        // The sender's own octets may be in it, and it goes into a reply and a header field.
        let visible = octets.prefix(Self.maxExplanationOctets).map { (0x20...0x7E).contains($0) ? $0 : 0x3F }
        return String(decoding: visible, as: UTF8.self)
    }

    /// The term that decided in the identity's own record, or in that which it redirects to: not what an include led
    /// to, but the include.
    var decidingTerm: String? {
        steps.first { !$0.term.hasPrefix("redirect=") }?.term ?? steps.last?.term
    }
}

extension Answer {
    /// DNS has nothing: no such name, or no record of the type. Source: RFC 7208 §4.6.4, "void lookups".
    fileprivate var isVoid: Bool {
        switch self {
        case .noData, .noSuchName: true
        case .records, .temporaryFailure: false
        }
    }

    fileprivate var data: [RecordData] { if case .records(let data, _) = self { data } else { [] } }
}

extension [RecordData] {
    fileprivate var texts: [[UInt8]] { compactMap { if case .txt(let text) = $0 { text } else { nil } } }
    fileprivate var exchanges: [DomainName] { compactMap { if case .mx(_, let name) = $0 { name } else { nil } } }
    fileprivate var names: [DomainName] { compactMap { if case .ptr(let name) = $0 { name } else { nil } } }
    fileprivate var addresses: [IPAddress] {
        compactMap {
            switch $0 {
            case .a(let address), .aaaa(let address): address
            default: nil
            }
        }
    }
}
