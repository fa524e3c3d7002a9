// An upstream that is this postern-dns itself, by an address that no configuration check knows.

import Glibc
import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternForwarder

@Suite("an upstream that is we ourselves")
struct OurselvesTests {
    private func port(_ rig: Rig) throws -> UInt16 {
        for endpoint in rig.server.endpoints { if case .udp(_, let port) = endpoint { return port } }
        throw ForwarderError("no UDP port")
    }

    @Test("it is asked once, told of in one warning, and not asked again")
    func loop() throws {
        let other = try FakeUpstream(zone: "a.test. 300 TXT one\nb.test. 300 TXT two\nc.test. 300 TXT three")
        let rig = try Rig([other], listen: [.udp(host: "127.0.0.1", port: 0)])
        let ourselves = Upstream(.v4(0x7F00_0001), port: try port(rig))
        rig.server.reload(ForwarderSettings(upstreams: [ourselves, other.upstream], listen: []))
        #expect(try rig.ask("a.test TXT") == .records([.txt(Array("one".utf8))], ttl: 300))
        #expect(rig.server.counters.upstreamQueries == 2 && rig.server.counters.refusedMessages == 1)
        #expect(try rig.ask("b.test TXT") == .records([.txt(Array("two".utf8))], ttl: 300))
        #expect(rig.server.counters.upstreamQueries == 3)
        rig.server.reload(ForwarderSettings(upstreams: [ourselves], listen: []))
        #expect(try rig.ask("c.test TXT") == .temporaryFailure("SERVFAIL"))
        #expect(rig.server.counters.upstreamQueries == 3)
        #expect(
            rig.log.warnings == [
                "upstream \(ourselves) is this postern-dns itself; it is not asked any more: "
                    + "name your resolver in dns.upstream"
            ])
    }

    @Test("not even again for the question that found it out")
    func secondPass() throws {
        let dead = try FakeUpstream.deadUpstream()
        let rig = try Rig([], listen: [.udp(host: "127.0.0.1", port: 0)])
        let ourselves = Upstream(.v4(0x7F00_0001), port: try port(rig))
        rig.server.reload(ForwarderSettings(upstreams: [ourselves, dead], listen: []))
        #expect(try rig.ask("a.test TXT") == .temporaryFailure("SERVFAIL"))
        #expect(rig.server.counters.upstreamQueries == 3)  // ourselves, the dead one, and that again
        #expect(rig.log.warnings.count == 2)
    }

    @Test("the cookie of a client is none of ours")
    func client() throws {
        let upstream = try FakeUpstream(zone: "a.test. 300 TXT one")
        let rig = try Rig([upstream], listen: [.udp(host: "127.0.0.1", port: 0)])
        let client = try RawClient(SOCK_DGRAM, port: try port(rig))
        let cookie = DNSCookie(client: [1, 2, 3, 4, 5, 6, 7, 8]).option
        client.sendRaw(DNSCodec.query(id: 1, question: try question("a.test TXT"), options: [cookie]))
        let reply = try ReplyMessage(try #require(client.receiveDatagram()))
        #expect(reply.rcode == .noError && reply.answers.count == 1)
        #expect(reply.options.isEmpty)  // RFC 7873 §5.2.1: a server without cookies ignores them
    }

    @Test("broken options are a format error")  // RFC 6891 §6.1.2
    func broken() throws {
        let rig = try Rig([], staticZone: "a.test. 300 TXT one")
        let client = try RawClient(unix: rig.path)
        var query = DNSCodec.query(
            id: 1, question: try question("a.test TXT"), options: [EDNSOption(code: 10, octets: [1, 2, 3])])
        query[query.count - 4] = 9  // the option's length, beyond the record's end
        client.sendFramed(query)
        #expect(try ReplyMessage(try #require(client.receive())).rcode == .formatError)
    }
}
