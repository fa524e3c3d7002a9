// DMARC (RFC 9989): policy records, read and written again; whole judgements against zone data of the fuzzer's own,
// with the tree walk told again as the RFC tells it; the public suffix list against its algorithm read rule by rule.

import PosternDNS
import PosternMail

@testable import PosternAuth

/// A record without its version or with it.
@Sendable func fuzzDMARC(_ input: inout FuzzInput) {
    let octets = input.remainder()
    for text in [octets, Array("v=DMARC1;".utf8) + octets] {
        guard let record = DMARCRecord(text) else { continue }
        require(record.mistakes.count <= DMARCRecord.maxMistakes, "\(record.mistakes.count) mistakes")
        for mistake in record.mistakes {
            require(mistake.description.isOnePlainLine && mistake.description.count < 100, "mistake \(mistake)")
        }
        let policy = record.published
        for addresses in [policy.aggregateReports, policy.failureReports].compactMap(\.self) {
            let uris = addresses.utf8.split(separator: 0x2C, omittingEmptySubsequences: false)
            require(addresses.isOnePlainLine && uris.count <= DMARCRecordReader.maxURIs, "addresses \(addresses)")
            require(uris.allSatisfy { (3...DMARCRecordReader.maxURIOctets).contains($0.count) }, "URIs \(addresses)")
        }
        let written = Array(published(record).utf8)
        let again = DMARCRecord(written)
        require(again?.published == policy, "\(shown(written)) reads as \(String(describing: again?.published))")
        require(again?.isUsable == record.isUsable, "usable: \(shown(written))")
        require(again?.mistakes == (record.isUsable ? [] : [.noPolicy]), "mistakes of \(shown(written))")
    }
}

/// The record as its owner might write it; without a policy when it governs nothing.
private func published(_ record: DMARCRecord) -> String {
    let policy = record.published
    let tags: [(String, String?)] = [
        ("p", record.isUsable ? policy.policy.rawValue : nil), ("sp", policy.subdomainPolicy?.rawValue),
        ("np", policy.nonexistentPolicy?.rawValue), ("adkim", policy.dkimAlignment.rawValue),
        ("aspf", policy.spfAlignment.rawValue), ("psd", policy.publicSuffix.rawValue),
        ("t", policy.isTesting ? "y" : "n"), ("rua", policy.aggregateReports), ("ruf", policy.failureReports),
        ("fo", policy.failureOptions),
    ]
    return "v=DMARC1" + tags.compactMap { name, value in value.map { "; \(name)=\($0)" } }.joined()
}

/// Settings; a From field; what SPF found, and up to an empty piece what DKIM found, each `LETTERdomain` with p (pass),
/// t (temperror) or another letter (fail); zone data.
@Sendable func fuzzDMARCJudge(_ input: inout FuzzInput) {
    let choice = input.octet()
    let author = AuthorFinding.author(of: [HeaderField(name: Array("From".utf8), value: input.piece())])
    let spf = identifier(input.piece()).flatMap { letter, domain in
        switch letter {
        case 0x70: DMARCIdentifier(domain)
        case 0x74: DMARCIdentifier(domain, trouble: "no reply")
        default: nil
        }
    }
    var dkim: [DKIMFinding] = []
    while dkim.count < 40 {
        let piece = input.piece()
        if piece.isEmpty { break }
        guard let (letter, domain) = identifier(piece) else { continue }
        let result: DKIMResult = letter == 0x70 ? .pass : letter == 0x74 ? .temperror : .fail
        dkim.append(DKIMFinding(result: result, reason: result == .pass ? .none : .noKey, domain: domain))
    }
    let zone = HostileZone(&input, isBroken: choice & 1 != 0)
    let judge = DMARCJudge()
    let asked = judge.questions(for: author)
    let policies = judge.policies(for: author, dns: zone)
    require(zone.questions == asked && zone.batches <= 1, "asked \(zone.questions), foretold \(asked)")
    // RFC 9989 §4.10: at most 8 names for each author, and whether it exists.
    require(asked.count <= AuthorFinding.maxMailboxes * (TreeWalk.maxNames + 1), "\(asked.count) questions")
    zone.forget()
    let findings = judge.findings(policies, spf: spf, dkim: dkim, dns: zone)
    require(zone.batches <= 1, "\(zone.batches) batches")
    require(zone.questions.count <= DMARCJudge.maxIdentifiers * TreeWalk.maxNames, "\(zone.questions.count) questions")
    let walked = zone.questions
    let governing = judge.finding(policies, spf: spf, dkim: dkim, dns: zone)
    require(findings.contains(governing), "\(governing) is none of \(findings)")

    let passed = Set(([spf] + dkim.map { DMARCIdentifier($0) }).compactMap { $0?.trouble == nil ? $0?.domain : nil })
    for finding in findings {
        check(finding, passed)
        guard choice & 1 == 0, let domain = finding.authorDomain, let expected = organizational(domain, zone) else {
            continue
        }
        require(finding.organizationalDomain == expected, "\(domain): \(finding), expected \(expected)")
    }

    // A stranger's identifiers of which nobody can tell change nothing and ask for nothing.
    let stranger = certain("a stranger") { try DomainName("a.stranger") }
    guard !policies.domains.contains(where: { $0.suffix(labels: 1) == stranger.suffix(labels: 1) }) else { return }
    let strangers = (0..<40).map { _ in DKIMFinding(result: .temperror, reason: .noKey, domain: stranger) }
    zone.forget()
    let blurred = judge.findings(policies, spf: spf, dkim: strangers + dkim + strangers, dns: zone)
    require(blurred == findings && zone.questions == walked, "strangers make \(blurred) of \(findings)")
}

private func identifier(_ piece: [UInt8]) -> (UInt8, DomainName)? {
    guard let letter = piece.first, let domain = try? DomainName(text: piece.dropFirst()) else { return nil }  // none
    return domain.isHostname() ? (letter, domain) : nil
}

private func check(_ finding: DMARCFinding, _ passed: Set<DomainName>) {
    require(finding.reason.description.isOnePlainLine, "reason \(finding.reason)")
    require(finding.reason.publicDescription.isOnePlainLine, "reason \(finding.reason)")
    let aligned = finding.alignedDKIM + [finding.alignedSPF].compactMap(\.self)
    require((finding.result == .pass) == !aligned.isEmpty, "\(finding.result) with \(aligned)")
    require(finding.result == .fail || finding.applied == .none, "\(finding.applied) for \(finding.result)")
    require(finding.result != .fail || finding.applied <= finding.policy ?? .none, "more than \(finding)")
    require(aligned.allSatisfy { passed.contains($0) }, "aligned without a pass: \(aligned)")
    require((finding.policyDomain == nil) == (finding.published == nil), "a policy from nowhere: \(finding)")
    guard let author = finding.authorDomain else {
        require(finding.result == .permerror, "\(finding.result) without an author")
        return
    }
    require(author.isEqualOrBelow(finding.policyDomain ?? author), "policy of \(finding)")
    require(author.isEqualOrBelow(finding.organizationalDomain ?? author), "organizational domain of \(finding)")
    func check(_ domain: DomainName, _ mode: DMARCAlignment?) {
        // Where the organizational domain is not known, one label is common at least.
        let common = finding.organizationalDomain ?? author.suffix(labels: 1)
        require(domain == author || (mode == .relaxed && domain.isEqualOrBelow(common)), "\(domain) in \(finding)")
    }
    for domain in finding.alignedDKIM { check(domain, finding.published?.dkimAlignment) }
    if let domain = finding.alignedSPF { check(domain, finding.published?.spfAlignment) }
}

/// RFC 9989 §4.10 and §4.10.2, one name after the other; `nil` when DNS fails on the way.
private func organizational(_ start: DomainName, _ zone: HostileZone) -> DomainName? {
    var name = start
    var shortest = start
    while name != .root {
        // `try?`: a name too long to be asked has no record.
        let question = (try? name.prefixed("_dmarc")).map { Question($0, .txt) }
        let answer = question.map { zone.answer($0) } ?? .noData
        if case .temporaryFailure = answer { return nil }
        var records: [DMARCRecord] = []
        if case .records(let data, _) = answer {
            for case .txt(let text) in data { records += [DMARCRecord(text)].compactMap(\.self) }
        }
        if records.count == 1, let policy = records.first?.published {
            if policy.publicSuffix == .no { return name }
            if policy.publicSuffix == .yes { return name == start ? start : start.suffix(labels: name.labelCount + 1) }
            shortest = name
        }
        // Step 4: of eight labels or more, seven are next.
        name = name.labelCount >= 8 ? name.suffix(labels: 7) : name.parent ?? .root
    }
    return shortest
}

/// A list; then the names in it, and names below them.
@Sendable func fuzzPSL(_ input: inout FuzzInput) {
    let octets = input.remainder()
    let list = PublicSuffixList(text: octets)
    let lines = octets.split { $0 == 0x0A || $0 == 0x0D }
    require(list.count + list.unreadableLines <= lines.count, "\(list.count) rules of \(lines.count) lines")
    let rules = lines.prefix(200).compactMap(Rule.init)
    guard lines.count <= 200 else { return }
    for word in octets.split(whereSeparator: { $0 <= 0x20 || $0 == 0x21 || $0 == 0x2A }).prefix(40) {
        let text = word.first == 0x2E ? word.dropFirst() : word
        guard let name = try? DomainName(text: text), name != .root else { continue }  // no name: nobody asks for it
        // `try?`: too long a name is not asked for.
        let below = try? name.prefixed("x")
        for asked in [name, below, try? below?.prefixed("y"), name.parent].compactMap(\.self) where asked != .root {
            let found = list.registrableDomain(of: asked)
            let expected = Rule.registrable(asked, rules)
            require(found == expected, "\(asked): \(String(describing: found)), not \(String(describing: expected))")
        }
    }
}

/// One rule. Source: publicsuffix.org, "Algorithm".
private struct Rule {
    var labels: [ArraySlice<UInt8>]
    var isException: Bool

    init?(_ line: ArraySlice<UInt8>) {
        var text = line.prefix { ![0x20, 0x09, 0x0D, 0x0A].contains($0) }
        guard !text.isEmpty, !text.starts(with: "//".utf8) else { return nil }
        isException = text.first == 0x21
        if isException { text = text.dropFirst() }
        let isWildcard = !isException && text.starts(with: "*.".utf8)
        if isWildcard { text = text.dropFirst(2) }
        guard let name = try? DomainName(text: text) else { return nil }  // an unreadable line
        labels = (isWildcard ? [[0x2A]] : []) + name.labels
        hasWildcard = isWildcard
    }
    private var hasWildcard = false

    private func matches(_ domain: [ArraySlice<UInt8>]) -> Bool {
        guard !labels.isEmpty, domain.count >= labels.count else { return false }
        return zip(domain.suffix(labels.count), labels).enumerated().allSatisfy { index, pair in
            (hasWildcard && index == 0) || pair.0.elementsEqual(pair.1)
        }
    }

    static func registrable(_ domain: DomainName, _ rules: [Rule]) -> DomainName? {
        let labels = domain.labels
        let matching = rules.filter { $0.matches(labels) }
        let exceptions = matching.filter(\.isException).map { $0.labels.count - 1 }
        let suffix = exceptions.max() ?? matching.map(\.labels.count).max() ?? 1
        return labels.count > suffix ? domain.suffix(labels: suffix + 1) : nil
    }
}
