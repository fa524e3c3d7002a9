import PosternMail
import TestSupport
import Testing

@testable import PosternDNS

@Suite("EDNS options")
struct EDNSTests {
    /// A reply to `a.test TXT` with these additional records.
    private func reply(_ count: String, _ additional: String) throws -> ReplyMessage {
        try ReplyMessage(CodecTests.reply("8182", "0000 0000 \(count)", additional))
    }

    @Test("options are read in their order; the first cookie counts")  // RFC 6891 §6.1.2, RFC 7873 §5.3
    func options() throws {
        let reply = try reply(
            "0001",
            "00 0029 04D0 00000000 002A 000A 0010 \"client-1server-1\" 000F 0002 0006 000A 0008 \"client-2\" FDE9 0000")
        #expect(reply.hasEDNS)
        #expect(reply.options.map(\.code) == [10, 15, 10, 65_001])
        #expect(reply.options.cookieOctets.flatMap { DNSCookie($0) }?.server == Array("server-1".utf8))
        #expect(reply.options.extendedErrors == [6])
        #expect(reply.isBogus)
    }

    @Test("of two OPT records the first counts")  // RFC 6891 §6.1.1
    func twice() throws {
        let reply = try reply(
            "0002", "00 0029 04D0 00000000 0006 000F 0002 0006 00 0029 04D0 01000000 0006 000F 0002 0007")
        #expect(reply.options.extendedErrors == [6])
        #expect(reply.rcode == .serverFailure)
    }

    @Test(
        "broken options make a reply unusable",
        arguments: ["0001 00", "0003 000F 00", "0004 000F 0001", "0006 000F 0003 0006"])
    func broken(_ data: String) {
        #expect(throws: WireError.truncated) { try self.reply("0001", "00 0029 04D0 00000000 \(data)") }
    }

    @Test("an extended error needs a code; text may follow it")  // RFC 8914 §2
    func extendedErrors() {
        let options = [[], [1], [0, 6], [0, 7, 0x61]].map { EDNSOption(code: EDNSOption.extendedError, octets: $0) }
        #expect(options.extendedErrors == [6, 7])
    }

    @Test("lengths of cookies", arguments: 0...48)  // RFC 7873 §4
    func cookies(_ length: Int) {
        let isLegal = length == 8 || (16...40).contains(length)
        #expect((DNSCookie(Array(repeating: 7, count: length)) != nil) == isLegal)
    }

    @Test("many options are read as far as sixty-four, and end")
    func many() throws {
        let options = Array(repeating: [0, 99, 0, 0] as [UInt8], count: 1000).flatMap { $0 }
        #expect(try EDNSOption.read(options).count == 64)
    }

    @Test("a query carries options, and a server reads the client's half of a cookie")
    func query() throws {
        let question = Question(try DomainName("a.test"), .txt)
        let cookie = DNSCookie(client: Array("client-1".utf8), server: Array("server-1".utf8))
        let message = DNSCodec.query(id: 1, question: question, options: [cookie.option])
        #expect(try QueryMessage(message).clientCookie == Array("client-1".utf8))
        #expect(message.suffix(22) == octets("0014 000A 0010") + cookie.client + cookie.server)
        let plain = DNSCodec.query(id: 1, question: question, datagramOctets: nil, options: [cookie.option])
        #expect(try QueryMessage(plain).clientCookie == nil)
    }
}
