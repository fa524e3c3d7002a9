// What a reply says beside its answer is never believed: neither handed on nor kept. Source: RFC 2181 §5.4.1, RFC 5452 §6.

import PosternDNS
import PosternMail
import Testing

@testable import PosternForwarder

@Suite("out of bailiwick")
struct BailiwickTests {
    @Test("records of other names, in any section, are not handed on and not kept")
    func others() throws {
        let right = try txt("a.test", "right")
        let victims = try ["_dmarc.bank.test", "b.a.test", "test", "c.test"].map { try txt($0, "v=DMARC1; p=none") }
        let upstream = try FakeUpstream { query in
            guard query.question.name == right.owner else { return .send([query.reply(.nameError)]) }
            return .send([query.reply(.noError, [victims[0], right] + victims, authority: victims)])
        }
        let rig = try Rig([upstream])
        let client = try RawClient(unix: rig.path)
        client.sendFramed(DNSCodec.query(id: 1, question: Question(right.owner, .txt)))
        let reply = try ReplyMessage(try #require(client.receive()))
        #expect(reply.answers == [right] && reply.authority.isEmpty && reply.additional.isEmpty)
        #expect(rig.server.counters.cachedAnswers == 1)
        for victim in victims { #expect(try rig.ask("\(victim.owner) TXT") == .noSuchName) }
        #expect(upstream.queries.count == 1 + victims.count)
    }

    @Test("a chain that leaves the question's zone is followed in the reply, and kept for the question alone")
    func chain() throws {
        var target: [UInt8] = []
        target.append(contentsOf: [4] + Array("host".utf8) + [5] + Array("other".utf8) + [0])
        let link = ResourceRecord(owner: try DomainName("a.test"), type: .cname, ttl: 300, octets: target)
        let end = try txt("host.other", "hosted")
        let upstream = try FakeUpstream { query in
            query.question.name == link.owner
                ? .send([query.reply(.noError, [link, end])]) : .send([query.reply(.nameError)])
        }
        let rig = try Rig([upstream])
        #expect(try rig.ask("a.test TXT") == .records([.txt(Array("hosted".utf8))], ttl: 300))
        // The name at the end is asked for by itself: only its own question's answer speaks for it.
        #expect(try rig.ask("host.other TXT") == .noSuchName)
        #expect(try rig.ask("a.test TXT") == .records([.txt(Array("hosted".utf8))], ttl: 300))
    }
}
