// DKIM (RFC 6376): a whole message judged with key records of the fuzzer's own; tag lists, key records, base64 and DER
// by themselves; private keys; body canonicalization against a plain rendering of the RFC's words.

import PosternDNS
import PosternMail

@testable import PosternAuth

/// Every TXT question is answered with the same records.
private struct OneAnswer: DNSAnswering {
    var records: [[UInt8]]

    func answers(to questions: [Question]) -> [Answer] {
        questions.map { _ in records.isEmpty ? .noSuchName : .records(records.map { .txt($0) }, ttl: 300) }
    }
    func prefetch(_ questions: [Question]) {}
}

/// Settings, key records up to an empty one, the message. Judged in one piece and in many: the same findings.
@Sendable func fuzzDKIM(_ input: inout FuzzInput) {
    let choice = input.octet()
    let seed = input.octet()
    var records: [[UInt8]] = []
    while records.count < 3 {
        let record = input.piece()
        if record.isEmpty { break }
        records.append(record)
    }
    let message = MessageText(octets: input.remainder())
    let settings = DKIMVerificationSettings(minRSABits: choice & 1 == 0 ? 512 : 1024, maxSignatures: 4)
    let authors = AuthorFinding.author(of: message.header).mailboxes.map(\.domain)
    // Of the time of RFC 6376's and RFC 8463's examples, or later.
    let now = UnixTime(seconds: choice & 2 == 0 ? 1_528_637_909 : 4_000_000_000)

    func findings(_ feed: (DKIMVerification) -> Void) -> [DKIMFinding] {
        let verification = DKIMVerification(
            header: message.header, authors: authors, settings: settings, keys: PublicKeyCache(capacity: 4), now: now)
        feed(verification)
        return verification.finish(dns: OneAnswer(records: records))
    }
    let whole = findings { $0.update(message.body.span) }
    let split = findings { verification in inPieces(message.body, seed: seed) { verification.update($0) } }
    require(whole == split, "one piece: \(whole), many: \(split)")
    require(whole.count <= settings.maxSignatures + 1, "\(whole.count) findings")
    // RFC 6376 §6.1.2: no key, no pass.
    require(!records.isEmpty || !whole.contains { $0.result == .pass }, "pass without a key")
    for finding in whole {
        require(finding.reason.publicDescription.isOnePlainLine, "reason \(finding.reason)")
        require(finding.result != .pass || finding.domain != nil, "pass without d=")
    }
    let field = AuthenticationResults(authservID: "mx.example.com", dkim: whole).field()
    do {
        let read = try AuthenticationResultsParser.parse(field.value)
        let expected = whole.isEmpty ? ["none"] : whole.map(\.result.rawValue)
        require(read.results.map(\.result) == expected, "our field reads \(read.results)")
    } catch {
        require(false, "our own field does not parse: \(shown(field.value)): \(error)")
    }
}

/// Tag lists, signatures, key records and base64 by themselves.
@Sendable func fuzzKeys(_ input: inout FuzzInput) {
    let octets = input.remainder()
    if let list = try? DKIMTagList(octets) {  // most inputs are none
        let again = Array(list.tags.map { Array($0.name) + [0x3D] + Array($0.value) }.joined(separator: [0x3B]))
        let read = certain("a tag list written again") { try DKIMTagList(again) }
        require(
            read.tags.elementsEqual(list.tags) { $0.name.elementsEqual($1.name) && $0.value.elementsEqual($1.value) },
            "a tag list written again reads differently: \(shown(again))")
        for tag in list.tags {
            require(octets[tag.rawValue].trimmingFoldingWhiteSpace.elementsEqual(tag.value), "raw value of a tag")
        }
    }
    var facts = DKIMFinding(result: .none, reason: .none)
    if let signature = try? DKIMSignature(value: octets, facts: &facts) {  // as above
        require(signature.domain.isHostname(minLabels: 2), "d= \(signature.domain)")
        require(signature.auidDomain.isEqualOrBelow(signature.domain), "i= \(signature.auidDomain)")
        require(signature.fields.contains(Array("from".utf8)), "h= without From")  // RFC 6376 §5.4
        require(signature.emptiedValue.count <= octets.count, "b= emptied")
        _ = try? signature.keyQuestion()  // too long a name is an error
    }
    if let record = try? DKIMKeyRecord(octets) {  // as above
        for algorithm in [DKIMAlgorithm.rsaSHA256, .ed25519SHA256] {
            guard let material = try? record.material(for: algorithm) else { continue }  // for the other algorithm
            _ = try? PublicKey(material)  // OpenSSL may refuse the numbers
        }
    }
    if let decoded = Base64.decode(octets) {
        require(Base64.decode(Base64.encode(decoded)) == decoded, "base64 round trip")
    }
    if let material = try? KeyMaterial(rsaDER: octets) { _ = try? PublicKey(material) }  // as above
}

/// A private key's text: read or refused, and what is read can be published.
@Sendable func fuzzPEM(_ input: inout FuzzInput) {
    let pem = input.remainder()
    do throws(KeyError) {
        let key = try PrivateKey(pem: pem)
        let record = certain("the record of a key that was read") { try key.publicKeyRecord }
        let read = certain("the published record") { try DKIMKeyRecord(Array(record.utf8)) }
        _ = certain("the published key") { try read.material(for: key.algorithm) }
    } catch {
        require(!error.description.isEmpty, "a refusal without a reason")
    }
}

/// Collects a canonical form.
private final class Collector: OctetSink {
    var octets: [UInt8] = []
    func write(_ octets: Span<UInt8>) {
        for index in octets.indices { self.octets.append(octets[index]) }
    }
}

/// RFC 6376 §3.4.3 and §3.4.4 read line by line; a CR or LF alone is text.
private func canonical(_ body: [UInt8], _ form: BodyCanonicalization) -> [UInt8] {
    var lines: [[UInt8]] = [[]]
    var isAfterCR = false
    for octet in body {
        if isAfterCR, octet == 0x0A {
            lines[lines.count - 1].removeLast()
            lines.append([])
        } else {
            lines[lines.count - 1].append(octet)
        }
        isAfterCR = octet == 0x0D
    }
    if form == .relaxed {
        lines = lines.map { line in
            var kept: [UInt8] = []
            for octet in line where !(octet.isWSP && kept.last == 0x20) { kept.append(octet.isWSP ? 0x20 : octet) }
            if kept.last == 0x20 { kept.removeLast() }
            return kept
        }
    }
    while lines.last?.isEmpty == true { lines.removeLast() }
    if lines.isEmpty { return form == .simple ? [0x0D, 0x0A] : [] }
    return Array(lines.joined(separator: [0x0D, 0x0A])) + [0x0D, 0x0A]
}

/// How the pieces are cut, what stands before the body so that buffers end inside of it, the body.
@Sendable func fuzzBody(_ input: inout FuzzInput) {
    let seed = input.octet()
    let choice = input.octet()
    let before = [0, 0, 8 * 1024, 16 * 1024][Int(choice & 3)]
    let filler: [UInt8] = choice & 4 == 0 ? [0x61] : [0x0D, 0x0A]
    let body =
        (0..<max(0, before - Int(choice >> 3))).map { filler[$0 % filler.count] } + input.remainder()
    for form in BodyCanonicalization.allCases {
        func run(_ feed: ((Span<UInt8>) -> Void) -> Void) -> [UInt8] {
            let sink = Collector()
            var simple = SimpleBody()
            var relaxed = RelaxedBody()
            feed { chunk in
                if form == .simple { simple.update(chunk, into: sink) } else { relaxed.update(chunk, into: sink) }
            }
            if form == .simple { simple.finish(into: sink) } else { relaxed.finish(into: sink) }
            return sink.octets
        }
        let whole = run { $0(body.span) }
        let split = run { update in inPieces(body, seed: seed) { update($0) } }
        require(whole == split, "\(form): pieces differ from the whole")
        require(whole == canonical(body, form), "\(form): \(shown(whole.suffix(80)))")
    }
    func fragile(_ feed: ((Span<UInt8>) -> Void) -> Void) -> [Fragility] {
        var text = FragileText(declaresEightBit: false)
        feed { text.update($0) }
        return text.findings
    }
    let whole = fragile { $0(body.span) }
    require(
        whole == fragile { update in inPieces(body, seed: seed) { update($0) } }, "pieces are as fragile as the whole")
    require(whole == fragility(of: body), "\(whole)")
}

/// RFC 6376 §5.3 read octet by octet: 8-bit text, lines over 998 octets, a CR or LF alone.
private func fragility(of body: [UInt8]) -> [Fragility] {
    let pairs = zip([0] + body, body + [0])
    let hasBareCR = pairs.contains { $0 == 0x0D && $1 != 0x0A }
    let hasBareLF = pairs.contains { $0 != 0x0D && $1 == 0x0A }
    let lines = body.split(separator: 0x0A).map { $0.count { $0 != 0x0D } }
    return Fragility.allCases.filter { kind in
        switch kind {
        case .eightBit: body.contains { $0 > 0x7F }
        case .longLine: lines.contains { $0 > 998 }
        case .bareLineEnd: hasBareCR || hasBareLF
        }
    }
}
