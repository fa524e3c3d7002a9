// The words of mail: Authentication-Results (RFC 8601), authors (RFC 5322), whole messages, names and addresses.

import Glibc

@testable import PosternAuth
@testable import PosternMail

private let ids = AuthservIDs(["example.com", "*.example.com", "b\u{FC}cher.example"])

/// As a field from a stranger, and as values in a field of ours.
@Sendable func fuzzAuthenticationResults(_ input: inout FuzzInput) {
    let octets = input.remainder()
    let field = HeaderField(name: Array("Authentication-Results".utf8), value: octets)
    let isClaimed = ids.isClaimed(by: field)
    do {
        let found = try AuthenticationResultsParser.parse(octets)
        let written = found.field()
        let again = certain("a field read and written: \(shown(written.value))") {
            try AuthenticationResultsParser.parse(written.value)
        }
        require(again.results.map(\.method) == found.results.map(\.method), "methods of \(shown(written.value))")
        require(again.results.map(\.result) == found.results.map(\.result), "results of \(shown(written.value))")
        let twice = certain("a field written twice") { try AuthenticationResultsParser.parse(again.field().value) }
        require(twice == again, "written twice: \(shown(again.field().value))")
    } catch {
        // RFC 8601 §5: our name in what does not parse is a claim.
        let isNamed = octets.firstOccurrence(of: Array("example.com".utf8)) != nil
        require(isClaimed || !isNamed, "a malformed field with our name is not claimed")
    }

    let text = String(decoding: octets, as: UTF8.self)
    let ours = AuthenticationResults(
        authservID: text,
        results: [
            .init("dkim", "fail", reason: text, comment: text, properties: [.init("header", "i", octets)]),
            .init("spf", "pass"),
        ])
    let written = ours.field().value
    let read = certain("our field \(shown(written))") { try AuthenticationResultsParser.parse(written) }
    let remark = String(decoding: AuthenticationResults.remark(text), as: UTF8.self)
    let expected = AuthenticationResults(
        authservID: String(decoding: AuthenticationResults.safe(Array(text.utf8)), as: UTF8.self),
        results: [
            .init(
                "dkim", "fail", reason: remark, comment: remark,
                properties: [.init("header", "i", AuthenticationResults.safe(octets))]),
            .init("spf", "pass"),
        ])
    require(read == expected, "our field says \(read)")
    // A reader who splits at every semicolon sees no more results, and no line is a stranger's.
    require(written.count { $0 == 0x3B } == 2, "semicolons in \(shown(written))")
    var last: UInt8 = 0
    for (octet, next) in zip(written, written.dropFirst() + [0]) {
        require(octet != 0x0A || (last == 0x0D && next.isWSP), "a line of its own in \(shown(written))")
        require(octet != 0x0D || next == 0x0A, "a bare CR in \(shown(written))")
        last = octet
    }

    let fields = octets.split(separator: 0).map { HeaderField(name: field.name, value: Array($0)) }
    let forged = ForgedResults(header: fields, ids: ids)
    require(forged.edits.count <= ForgedResults.maxRemovals, "\(forged.edits.count) edits")
    require(forged.isTooMany == (forged.edits.count != forged.count), "forged results counted")
    require(isClaimed == (ForgedResults(header: [field], ids: ids).count == 1), "collector and claim differ")
}

/// One From field, and From fields split at NUL.
@Sendable func fuzzAuthor(_ input: inout FuzzInput) {
    let octets = input.remainder()
    func author(_ value: [UInt8]) -> AuthorFinding {
        AuthorFinding.author(of: [HeaderField(name: Array("From".utf8), value: value)])
    }
    let found = author(octets)
    if case .invalid(let reason) = found { require(reason.isOnePlainLine, "reason \(reason)") }
    require(found != .missing && found != .repeated, "one From field is \(found)")
    if !found.mailboxes.isEmpty {
        let plain = found.mailboxes.map { mailbox -> [UInt8] in
            require(mailbox.domain.isHostname(), "domain \(mailbox.domain)")
            return [0x22] + mailbox.localPart.flatMap { $0 == 0x22 || $0 == 0x5C ? [0x5C, $0] : [$0] }
                + Array("\"@\(mailbox.domain)".utf8)
        }
        let again = author(Array(plain.joined(separator: [0x2C]))).mailboxes
        // The quotes may make a field longer than one may be.
        let isLonger = plain.reduce(0) { $0 + $1.count + 1 } > AuthorFinding.maxFromOctets
        require(isLonger || again == found.mailboxes, "\(found.mailboxes) read again: \(again)")
    }
    let fields = octets.split(separator: 0, omittingEmptySubsequences: false).map {
        HeaderField(name: Array("from ".utf8), value: Array($0))
    }
    require(fields.count < 2 || AuthorFinding.author(of: fields) == .repeated, "\(fields.count) From fields")
}

/// A message split into fields and body, joined and split again.
@Sendable func fuzzMessageText(_ input: inout FuzzInput) {
    let octets = input.remainder()
    let message = MessageText(octets: octets)
    let text = MessageText.withCRLF(octets)
    require(text.suffix(message.body.count).elementsEqual(message.body), "the body is not the end of the message")
    require(MessageText.withCRLF(text) == text, "line ends made twice")
    guard !message.header.isEmpty else { return }
    var joined: [UInt8] = []
    for field in message.header { joined += field.name + [0x3A] + field.value + [0x0D, 0x0A] }
    let again = MessageText(octets: joined + [0x0D, 0x0A] + message.body)
    require(again.header == message.header, "header joined and split: \(again.header)")
    require(again.body == message.body, "body joined and split")
    var collector = HeaderCollector()
    for field in message.header { collector.add(field) }
    require(collector.fields.count <= HeaderCollector.maxFields, "\(collector.fields.count) fields kept")
    _ = EncodedText.decoded(octets)
}

/// Texts and wire forms of names, addresses, networks, endpoints and patterns.
@Sendable func fuzzNames(_ input: inout FuzzInput) {
    let octets = input.remainder()
    let text = String(decoding: octets, as: UTF8.self)
    if let name = try? DomainName(text: octets) {  // most inputs are none
        check(name)
        if name.isHostname() {
            let again = certain("the text of \(name)") { try DomainName(name.description) }
            require(again == name, "\(name) read again is \(again)")
        }
    }
    if let name = try? DomainName(wire: octets) { check(name) }  // as above
    for label in octets.split(separator: 0x2E) {
        _ = IDNA.unicodeForm(of: label)
        if label.contains(where: { $0 >= 0x80 }), let ascii = try? IDNA.aLabel(of: Array(label)) {  // as above
            let isGraphic = ascii.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x2E }
            require(ascii.count <= DomainName.maxLabelOctets && isGraphic, "A-label \(shown(ascii))")
        }
        if let scalars = Punycode.decode(Array(label)), let encoded = Punycode.encode(scalars) {
            require(Punycode.decode(encoded) == scalars, "punycode \(shown(label))")
        }
    }
    let address = IPAddress(text)
    if let address {
        require(IPAddress(address.description) == address, "\(address) read again")
        require(IPAddress(octets: address.octets) == address, "octets of \(address)")
    }
    // inet_pton(3) takes the same texts, to the same addresses.
    if !octets.contains(0), text.utf8.elementsEqual(octets) {
        var theirs = [UInt8](repeating: 0, count: 16)
        let isV6 = octets.contains(0x3A)
        let isRead = inet_pton(isV6 ? AF_INET6 : AF_INET, text, &theirs) == 1
        require(isRead == (address != nil), "inet_pton and we differ on \(shown(octets))")
        if let address { require(address.octets == Array(theirs.prefix(isV6 ? 16 : 4)), "\(address) to inet_pton") }
    }
    if let network = try? Network(text) {  // as above
        require((try? Network(network.description)) == network, "\(network) read again")  // nil differs
        require(network.base.unmapped != network.base || network.contains(network.base), "\(network) holds its base")
    }
    if let endpoint = try? Endpoint(text) {  // as above
        require((try? Endpoint(endpoint.description)) == endpoint, "\(endpoint) read again")  // nil differs
    }
    if let pattern = try? AuthorPattern(text) { _ = pattern.matches(octets, at: .root) }  // as above
}

private func check(_ name: DomainName) {
    require(name.wire.count < DomainName.maxWireOctets, "\(name.wire.count) octets of a name")
    require(name.labels.allSatisfy { (1...DomainName.maxLabelOctets).contains($0.count) }, "labels of \(name)")
    require(name.labelCount == name.labels.count, "labels of \(name) counted")
    require(name.description.isOnePlainLine, "text of \(name)")
    require((try? DomainName(wire: name.wire)) == name, "wire form of \(name)")  // nil differs
    require((try? DomainName(labels: name.labels)) == name, "labels of \(name) joined")  // nil differs
    if let parent = name.parent {
        require(name.isEqualOrBelow(parent) && name.suffix(labels: name.labelCount - 1) == parent, "parent of \(name)")
    }
}
