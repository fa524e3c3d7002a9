// The policy protocol (SMTPD_POLICY_README): requests cut out of what a connection brings, in pieces of any size;
// answers in Postfix's words, whatever text is in them.

import PosternMail

@testable import PosternPolicy

/// How the octets are cut, how often they are repeated, the octets.
@Sendable func fuzzPolicy(_ input: inout FuzzInput) {
    let seed = input.octet()
    let times = [1, 1, 2, 5][Int(input.octet() & 3)]
    let once = input.remainder()
    let octets = Array((0..<times).map { _ in once }.joined())
    let whole = requests { $0(octets[...]) }
    let split = requests { feed in inPieces(octets, seed: seed) { piece in feed(piece.indices.map { piece[$0] }[...]) }
    }
    require(whole.requests == split.requests, "\(whole.requests.count) whole, \(split.requests.count) in pieces")
    // Which of two limits is broken first hangs on the pieces; that one is does not.
    require((whole.error == nil) == (split.error == nil), "\(String(describing: whole)), \(String(describing: split))")
    require(whole.isBetween == split.isBetween, "between requests")
    for request in whole.requests {
        var text: [UInt8] = []
        for attribute in PolicyAttribute.allCases where !request[attribute].isEmpty {
            require(!request[attribute].contains { $0 == 0 || $0 == 0x0A }, "line ends in \(attribute.name)")
            text += Array("\(attribute.name)=".utf8) + request[attribute] + [0x0A]
        }
        require(text.count <= PolicyRequestParser.maxRequestOctets, "\(text.count) octets")
        let again = requests { $0((text + [0x0A])[...]) }
        require(again.requests.count == 1 && again.isBetween, "\(shown(text)): \(String(describing: again.error))")
        for attribute in PolicyAttribute.allCases {
            require(again.requests.first?[attribute] == request[attribute], "\(attribute.name) of \(shown(text))")
        }
        require((request.size ?? 0) >= 0 && (request.recipientCount ?? 0) >= 0, "numbers of \(shown(text))")
        _ = (request.client, request.senderDomain, request.recipientDomain)
    }
    fuzzAnswers(once)
}

private func requests(
    _ feed: ((ArraySlice<UInt8>) -> Void) -> Void
) -> (requests: [PolicyRequest], error: PolicyRequestError?, isBetween: Bool) {
    var parser = PolicyRequestParser()
    var found: [PolicyRequest] = []
    var broken: PolicyRequestError?
    feed { octets in
        guard broken == nil else { return }
        parser.append(octets)
        do throws(PolicyRequestError) {
            while let request = try parser.next() { found.append(request) }
        } catch {
            require(error.description.isOnePlainLine, "error \(error)")
            broken = error
        }
        // A request that is not complete is bounded, whatever stands before it.
        require(
            broken != nil || parser.input.count <= PolicyRequestParser.maxRequestOctets, "\(parser.input.count) kept")
    }
    return (found, broken, broken != nil || parser.isBetweenRequests)
}

/// A stranger's octets in every place of an answer: one line, and none of the words that end Postfix's restrictions.
private func fuzzAnswers(_ octets: [UInt8]) {
    let text = String(decoding: octets, as: UTF8.self)
    let half = String(decoding: octets.prefix(octets.count / 2), as: UTF8.self)
    let reject = Reply(code: 550, enhanced: "5." + text, text: text)
    let `defer` = Reply(code: 450, enhanced: "4." + text, text: text)
    let answers: [PolicyAnswer] = [
        .dunno, .reject(reject), .reject(`defer`), .defer(`defer`), .defer(reject), .deferIfPermit(reject),
        .hold(text), .prepend(name: half, value: text), .filter(transport: half, destination: text),
        .redirect(text), .bcc(text),
    ]
    for answer in answers {
        guard let wire = try? answer.wire() else { continue }  // it cannot be said
        let line = String(decoding: wire.dropLast(2), as: UTF8.self)
        require(wire.suffix(2).elementsEqual([0x0A, 0x0A]) && wire.count <= PolicyAnswer.maxWireOctets + 1, line)
        require(line.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }, "\(answer) is \(shown(wire))")
        let words = line.dropFirst("action=".count).split(separator: " ", omittingEmptySubsequences: false)
        let verbs = ["DUNNO", "DEFER_IF_PERMIT", "HOLD", "PREPEND", "FILTER", "REDIRECT", "BCC"]
        let isCode = ["450", "550"].contains(words.first ?? "") && words.count >= 2
        require(isCode || verbs.contains { words.first == $0[...] }, "\(answer) is \(line)")
    }
}
