// DNS: messages of both directions (RFC 1035 §4), written again and read again; the static zone's text, read by ldns.

import PosternMail

@testable import PosternDNS

/// One message, taken as a reply, as a query, and as records to be sent on.
@Sendable func fuzzDNS(_ input: inout FuzzInput) {
    let choice = input.octet()
    let octets = input.remainder()
    if let reply = try? ReplyMessage(octets) {  // most inputs are none
        let question = reply.question ?? Question(.root, .txt)
        let resolution = Resolution(of: question, in: reply)
        require(DNSCodec.answer(to: question, from: octets) == resolution.answer, "answer and resolution differ")
        require(resolution.records.count <= WireReader.maxRecords, "\(resolution.records.count) records")
        for record in reply.answers + reply.authority { _ = try? record.data() }  // may be of the wrong form

        let body = ResponseBody(
            question: question, rcode: .noError, answers: reply.answers, authority: reply.authority)
        let query = certain("our own query") {
            try QueryMessage(DNSCodec.query(id: 7, question: Question(question.name, .txt)))
        }
        let message = body.message(for: query, elapsed: 0, maxOctets: DNSCodec.maxMessageOctets)
        require(message.count <= DNSCodec.maxMessageOctets, "\(message.count) octets")
        let again = certain("our own message") { try ReplyMessage(message) }
        if body.rcode == .noError, !again.header.isTruncated {
            require(again.answers == reply.answers && again.authority == reply.authority, "records sent on differ")
        }
        let elapsed = UInt32(choice) << 8
        let short = body.message(for: query, elapsed: elapsed, maxOctets: 512)
        require(short.count <= 512, "\(short.count) octets of 512")
        let aged = certain("our aged message") { try ReplyMessage(short) }
        for (old, new) in zip(reply.answers, aged.answers) {
            require(new.ttl == (old.ttl > elapsed ? old.ttl - elapsed : 0), "TTL \(old.ttl) aged to \(new.ttl)")
        }
    } else {
        if case .records = DNSCodec.answer(to: Question(.root, .txt), from: octets) {
            require(false, "records out of a broken reply")
        }
    }
    do {
        let query = try QueryMessage(octets)
        let body = ResponseBody(question: query.question, rcode: .nameError)
        let message = body.message(for: query, elapsed: 0, maxOctets: 512)
        let reply = certain("a reply without records") { try ReplyMessage(message) }
        require(reply.question == query.question && reply.header.id == query.header.id, "reply to another question")
        require(DNSCodec.answer(to: query.question, from: message) == .noSuchName, "NXDOMAIN read again")
    } catch QueryRefusal.answered(let message) {
        var reader = WireReader(message)
        let header = certain("a refusal's header") { try MessageHeader(from: &reader) }
        // BADVERS is NOERROR but for its upper bits, in the OPT record.
        require(header.isReply && (header.rcode != .noError || header.additionalCount == 1), "a refusal that is none")
        guard header.opcode == 0 else { return }  // of other opcodes there are no replies to read
        let reply = certain("a refusal") { try ReplyMessage(message) }
        require(reply.rcode != .noError && reply.answers.isEmpty, "a refusal that is none")
    } catch {}  // ignored: nothing may be sent
}

/// A master file; then questions for the names in it and for others.
@Sendable func fuzzZone(_ input: inout FuzzInput) {
    let octets = input.remainder()
    let types: [RecordType] = [.a, .txt, .cname, .soa, .mx]
    do throws(MasterFileError) {
        let zone = try StaticZone(text: octets)
        let names = octets.split { $0 <= 0x20 }.prefix(20).compactMap { try? DomainName(text: $0) }  // most are none
        for name in names + [.root] {
            for asked in [name, (try? name.prefixed("x")) ?? name] {  // too long: not asked
                _ = zone.isEmptyNonTerminal(asked)
                for type in types {
                    guard case .complete(let found)? = zone.lookup(Question(asked, type)) else { continue }
                    require(found.records.count <= MasterFile.maxRecords + Resolution.maxCNAMEs, "records of \(asked)")
                    let body = ResponseBody(
                        question: Question(asked, type), rcode: found.rcode, answers: found.records,
                        authority: found.authority)
                    _ = body.resolution(of: Question(asked, type), elapsed: 0)
                }
            }
        }
    } catch {
        require(error.line >= 1 && error.line <= octets.count { $0 == 0x0A } + 1, "\(error) in a shorter text")
        require(!error.reason.isEmpty, "an error without a reason")
    }
}
