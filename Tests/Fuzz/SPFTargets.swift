// SPF (RFC 7208): records and macro-strings, read and written again; whole checks against zone data of the fuzzer's
// own.

import PosternDNS
import PosternMail

@testable import PosternAuth

/// A record without its version or with it, and the same octets as a macro-string.
@Sendable func fuzzSPF(_ input: inout FuzzInput) {
    let octets = input.remainder()
    for text in [octets, Array("v=spf1 ".utf8) + octets] {
        guard let record = SPFRecord(text) else {
            require(!SPFRecord.isRecord(text), "a record that is none")
            continue
        }
        require(record.mistakes.count <= SPFRecord.maxMistakes, "\(record.mistakes.count) mistakes")
        require(record.directives.count <= SPFRecord.maxTerms, "\(record.directives.count) directives")
        for mistake in record.mistakes {
            require(mistake.description.isOnePlainLine && mistake.description.count < 300, "mistake \(mistake)")
        }
        for directive in record.directives {
            require(directive.text.isOnePlainLine, "directive \(directive.text)")
            require(directive.text.count <= SPFTerm.maxPrintedOctets + 3, "directive of \(directive.text.count) octets")
        }
        let written = Array(published(record).utf8)
        guard written.count <= SPFRecord.maxOctets else { continue }  // numbers may become longer
        let again = SPFRecord(written)
        require(again?.mistakes == [], "\(shown(written)): \(again?.mistakes.first?.description ?? "no record")")
        require(
            again?.directives.map(\.qualifier) == record.directives.map(\.qualifier)
                && again?.directives.map(\.mechanism) == record.directives.map(\.mechanism)
                && again?.redirect == record.redirect && again?.explanation == record.explanation,
            "a record written again reads differently: \(shown(written))")
    }
    for place in [SPFMacroString.Place.domainSpec, .unknownModifier, .explanation] {
        guard let string = try? SPFMacroString(octets, in: place) else { continue }  // most inputs are none
        let again = certain("\(string) written again") { try SPFMacroString(Array(string.description.utf8), in: place) }
        require(again == string, "\(string) reads as \(again)")
    }
}

/// The record as an admin might write it.
private func published(_ record: SPFRecord) -> String {
    func target(_ spec: SPFMacroString?) -> String { spec.map { ":\($0)" } ?? "" }
    func lengths(_ lengths: SPFPrefixLengths) -> String {
        (lengths.v4 == 32 ? "" : "/\(lengths.v4)") + (lengths.v6 == 128 ? "" : "//\(lengths.v6)")
    }
    var terms = ["v=spf1"]
    for directive in record.directives {
        let mechanism =
            switch directive.mechanism {
            case .all: "all"
            case .include(let spec): "include:\(spec)"
            case .a(let spec, let prefixes): "a\(target(spec))\(lengths(prefixes))"
            case .mx(let spec, let prefixes): "mx\(target(spec))\(lengths(prefixes))"
            case .ptr(let spec): "ptr\(target(spec))"
            case .ip4(let network): "ip4:\(network)"
            case .ip6(let network): "ip6:\(network)"
            case .exists(let spec): "exists:\(spec)"
            }
        terms.append(String(UnicodeScalar(directive.qualifier.rawValue)) + mechanism)
    }
    if let redirect = record.redirect { terms.append("redirect=\(redirect)") }
    if let explanation = record.explanation { terms.append("exp=\(explanation)") }
    return terms.joined(separator: " ")
}

/// Settings, the sender, HELO, the client, then zone data. Judged by both identities, whatever the zone says.
@Sendable func fuzzSPFJudge(_ input: inout FuzzInput) {
    let choice = input.octet()
    let sender = input.piece()
    let helo = input.piece()
    let text = input.piece()
    let client = IPAddress(String(decoding: text, as: UTF8.self)) ?? .v4(0xC000_0201)
    let zone = HostileZone(&input, isBroken: choice & 1 != 0)
    // `try?`: a name that is spelt right.
    let receiver = choice & 2 == 0 ? nil : try? DomainName("mx.example.com")
    let now = UnixTime(seconds: 1_790_000_000)

    let finding = SPFJudge.checkMailFrom(sender, client: client, helo: helo, receiver: receiver, dns: zone, now: now)
    check(finding, zone)
    zone.forget()
    let second = SPFJudge.checkHELO(helo, client: client, receiver: receiver, dns: zone, now: now)
    check(second, zone)
    // RFC 7208 §2.4: the null reverse-path is postmaster at the HELO name.
    if sender.isEmpty {
        require(
            finding.result == second.result && finding.reason == second.reason && finding.chain == second.chain
                && finding.explanation == second.explanation,
            "null reverse-path \(finding), HELO \(second)")
    }
    require(DMARCIdentifier(second) == nil, "HELO authenticates an envelope sender")
}

private func check(_ finding: SPFFinding, _ zone: HostileZone) {
    let isFit =
        switch finding.reason {
        case .matched: [.pass, .fail, .softfail, .neutral].contains(finding.result)
        case .noMatch: finding.result == .neutral
        case .noRecord, .noDomain, .badDomain: finding.result == .none
        case .dnsFailure: finding.result == .temperror
        default: finding.result == .permerror
        }
    require(isFit, "\(finding.result) since \(finding.reason)")
    require(finding.reason.description.isOnePlainLine, "reason \(finding.reason)")
    require(finding.domain != nil || (finding.result == .none && zone.batches == 0), "no domain, yet \(finding.result)")

    // RFC 7208 §4.6.4: 10 terms, 2 of them void, and 10 names of an MX or PTR each; the record itself, the names of
    // `%{p}`, which are asked for once, and the explanation are beside that.
    require(finding.lookups <= 10 && finding.voidLookups <= 3, "\(finding.lookups), void \(finding.voidLookups)")
    require((finding.voidLookups == 3) == (finding.reason == .tooManyVoidLookups), "\(finding.voidLookups) void")
    require(finding.reason != .tooManyLookups || finding.lookups == 10, "too many, after \(finding.lookups)")
    require(zone.questions.count <= 1 + 10 * 11 + 11 + 1, "\(zone.questions.count) questions")
    require(zone.batches <= 1 + 10 * 2 + 2 + 1, "\(zone.batches) batches")
    let types: [RecordType] = [.txt, .a, .aaaa, .mx, .ptr]
    require(zone.questions.allSatisfy { types.contains($0.type) && $0.name != .root }, "\(zone.questions)")

    require(finding.chain.count <= 11, "\(finding.chain.count) steps")  // one for each record
    require(finding.chain.first.map { $0.domain == finding.domain } ?? true, "begins at \(finding.chain)")
    for step in finding.chain {
        require(step.description.isOnePlainLine && step.term.count <= SPFTerm.maxPrintedOctets + 3, "step \(step)")
    }
    require(finding.mechanism?.isOnePlainLine ?? true, "mechanism \(finding.mechanism ?? "")")
    if let explanation = finding.explanation {
        require(finding.result == .fail, "\(finding.result) explained")
        require(explanation.isOnePlainLine && (1...512).contains(explanation.count), "explanation \(explanation)")
    }
}
