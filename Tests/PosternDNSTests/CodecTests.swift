import PosternMail
import TestSupport
import Testing

@testable import PosternDNS

/// Octets from hexadecimal digits and `"text"`, as the RFCs draw messages.
func octets(_ drawing: String) -> [UInt8] {
    var found: [UInt8] = []
    for word in drawing.split(whereSeparator: \.isWhitespace) {
        if word.hasPrefix("\"") {
            found += word.utf8.dropFirst().dropLast()
        } else {
            var rest = word[...]
            while let octet = UInt8(rest.prefix(2), radix: 16) {
                found.append(octet)
                rest = rest.dropFirst(2)
            }
        }
    }
    return found
}

/// A name that a table's writer knows to be one; the root stands for what is none, and the row fails.
func domain(_ text: String) -> DomainName { (try? DomainName(text)) ?? .root }

func name(_ text: String) throws -> DomainName { text == "." ? .root : try DomainName(text) }

@Suite("wire codec")
struct CodecTests {
    @Test("a query's octets")  // RFC 1035 §4.1, RFC 6891 §6.1.2
    func query() throws {
        let question = Question(try name("Ab.example"), .txt)
        #expect(
            DNSCodec.query(id: 0x1234, question: question)
                == octets(
                    "1234 0120 0001 0000 0000 0001 02 \"ab\" 07 \"example\" 00 0010 0001 00 0029 04D0 00000000 0000"))
        #expect(
            DNSCodec.query(id: 1, question: Question(.root, .ns), datagramOctets: nil)
                == octets("0001 0120 0001 0000 0000 0000 00 0002 0001"))
        #expect(DNSCodec.messageID(of: [0xAB, 0xCD, 0]) == 0xABCD)
        #expect(DNSCodec.messageID(of: [0xAB]) == nil)
    }

    @Test("compressed names")  // RFC 1035 §4.1.4, its own example, moved behind a header
    func compression() throws {
        let message =
            [UInt8](repeating: 0, count: 20)
            + octets("01 \"F\" 03 \"ISI\" 04 \"ARPA\" 00 03 \"FOO\" C014 C01A 00")
        func read(at place: Int) throws -> (String, Int) {
            var reader = WireReader(message, at: place)
            return ("\(try reader.name())", reader.position)
        }
        #expect(try read(at: 20) == ("f.isi.arpa", 32))
        #expect(try read(at: 32) == ("foo.f.isi.arpa", 38))
        #expect(try read(at: 38) == ("arpa", 40))
        #expect(try read(at: 40) == (".", 41))
    }

    @Test(
        "names that are none",
        arguments: [
            ("a pointer to itself", "C00C", WireError.badPointer),
            ("a pointer forwards", "C00E 01 \"a\" 00", .badPointer),
            ("a pointer to the header", "C000", .badPointer),
            ("a loop of labels and a pointer", "01 \"a\" C00C", .badPointer),
            ("a label of type 01", "41 \"a\" 00", .badLabelType), ("a label of type 10", "81 \"a\" 00", .badLabelType),
            ("no end", "01 \"a\"", .truncated), ("half a pointer", "C0", .truncated), ("nothing", "", .truncated),
            ("a cut label", "05 \"ab\"", .truncated),
            (
                "256 octets", String(repeating: "3F" + String(repeating: "61", count: 63), count: 4) + "00",
                .badName(.nameTooLong)
            ),
        ])
    func badNames(_ rule: String, _ drawing: String, _ error: WireError) {
        let message = [UInt8](repeating: 0, count: 12) + octets(drawing)
        var reader = WireReader(message, at: 12)
        #expect(throws: error) { try reader.name() }
    }

    // MARK: Replies

    /// Header, question `a.test TXT`, then the sections as drawn; the question's name is at octet 12.
    static func reply(_ counts: String, _ sections: String, type: String = "0010") -> [UInt8] {
        reply("8180", counts, sections, type: type)
    }
    static func reply(_ flags: String, _ counts: String, _ sections: String, type: String = "0010") -> [UInt8] {
        octets("0001 \(flags) 0001 \(counts) 01 \"a\" 04 \"test\" 00 \(type) 0001 \(sections)")
    }
    static func rr(_ type: String, ttl: String = "0000012C", owner: String = "C00C", _ data: String) -> String {
        let length = octets(data).count
        let hex = String(length, radix: 16)
        return "\(owner) \(type) 0001 \(ttl) \(String(repeating: "0", count: 4 - hex.count))\(hex) \(data) "
    }
    static let soa = rr(
        "0006", ttl: "00000100", owner: "C00E", "02 \"ns\" C00E 00 00000001 00000002 00000003 00000004 0000003C")
    static func cname(_ from: String, _ to: String) -> String { rr("0005", ttl: "00000064", owner: from, to) }

    struct Row: CustomTestStringConvertible, Sendable {
        var rule: String
        var reply: [UInt8]
        var type = RecordType.txt
        var answer: Answer
        var testDescription: String { rule }
        init(_ rule: String, _ reply: [UInt8], _ answer: Answer) { self.init(rule, reply, .txt, answer) }
        init(_ rule: String, _ reply: [UInt8], _ type: RecordType, _ answer: Answer) {
            (self.rule, self.reply, self.type, self.answer) = (rule, reply, type, answer)
        }
    }

    static let rows: [Row] = [
        Row(
            "strings of a TXT record are joined", reply("0001 0000 0000", rr("0010", "03 \"v=D\" 00 02 \"KI\" 01 FF")),
            .records([.txt(Array("v=DKI".utf8) + [0xFF])], ttl: 300)),  // RFC 1035 §3.3.14, RFC 7208 §3.3
        Row("an empty TXT record", reply("0001 0000 0000", rr("0010", "00")), .records([.txt([])], ttl: 300)),
        Row(
            "the least TTL holds",
            reply("0002 0000 0000", rr("0010", "01 \"x\"") + rr("0010", ttl: "00000005", "01 \"y\"")),
            .records([.txt([0x78]), .txt([0x79])], ttl: 5)),  // RFC 2181 §5.2
        Row(
            "doubles are one", reply("0002 0000 0000", rr("0010", "01 \"x\"") + rr("0010", "01 \"x\"")),
            .records([.txt([0x78])], ttl: 300)),
        Row(
            "a TTL above 2^31 is 0", reply("0001 0000 0000", rr("0010", ttl: "80000000", "01 \"x\"")),
            .records([.txt([0x78])], ttl: 0)),  // RFC 2181 §8
        Row(
            "other owners do not count", reply("0001 0000 0000", rr("0010", owner: "C00E", "01 \"x\"")), .noData),
        Row(
            "other classes do not count", reply("0001 0000 0000", "C00C 0010 0003 0000012C 0002 01 \"x\""), .noData),
        Row(
            "a chain inside the reply",
            reply("0002 0000 0000", cname("C00C", "01 \"b\" C00E") + rr("0010", owner: "01 \"b\" C00E", "01 \"x\"")),
            .records([.txt([0x78])], ttl: 100)),  // RFC 1034 §3.6.2
        Row(
            "a chain in any order",
            reply("0002 0000 0000", rr("0010", owner: "01 \"b\" C00E", "01 \"x\"") + cname("C00C", "01 \"b\" C00E")),
            .records([.txt([0x78])], ttl: 100)),
        Row(
            "a CNAME is the answer to a question for it",
            reply("0001 0000 0000", cname("C00C", "01 \"b\" C00E"), type: "0005"), .cname,
            .records([.cname(domain("b.test"))], ttl: 100)),
        Row(
            "a loop", reply("0002 0000 0000", cname("C00C", "01 \"b\" C00E") + cname("01 \"b\" C00E", "C00C")),
            .temporaryFailure("unusable reply: a CNAME loop or more than 10 CNAME records")),
        Row(
            "a CNAME to itself", reply("0001 0000 0000", cname("C00C", "C00C")),
            .temporaryFailure("unusable reply: a CNAME loop or more than 10 CNAME records")),
        Row(
            "eleven CNAMEs",
            reply(
                "000B 0000 0000",
                (0..<11).map { cname("01 \(0x61 + $0, hex: 2) C00E", "01 \(0x62 + $0, hex: 2) C00E") }.joined()),
            .temporaryFailure("unusable reply: a CNAME loop or more than 10 CNAME records")),
        Row("NODATA with SOA", reply("0000 0001 0000", soa), .noData),  // RFC 2308 §2.2
        Row("NODATA without SOA", reply("0000 0000 0000", ""), .noData),
        Row("NXDOMAIN", reply("8183", "0000 0001 0000", soa), .noSuchName),  // RFC 2308 §2.1
        Row(
            "NXDOMAIN at the end of a chain", reply("8183", "0001 0001 0000", cname("C00C", "01 \"b\" C00E") + soa),
            .noSuchName),
        Row(
            "NXDOMAIN with records", reply("8183", "0001 0000 0000", rr("0010", "01 \"x\"")),
            .temporaryFailure("unusable reply: NXDOMAIN with records")),
        Row(
            "a referral", reply("0000 0001 0000", rr("0002", owner: "C00E", "02 \"ns\" C00E")),
            .temporaryFailure("unusable reply: a referral to other servers; the upstream does not recurse")  // RFC 2308 §2.2
        ),
        Row("SERVFAIL", reply("8182", "0000 0000 0000", ""), .temporaryFailure("SERVFAIL")),
        Row("REFUSED", reply("8185", "0000 0000 0000", ""), .temporaryFailure("REFUSED")),
        Row(
            "EDNS's upper bits of the code", reply("0000 0000 0001", "00 0029 04D0 01000000 0000"),
            .temporaryFailure("BADVERS")),  // RFC 6891 §6.1.3
        Row("truncated", reply("8380", "0000 0000 0000", ""), .temporaryFailure("unusable reply: truncated")),
        Row(
            "a query", reply("0100", "0000 0000 0000", ""),
            .temporaryFailure("unusable reply: no reply to a standard query")),
        Row(
            "a reply to NOTIFY", reply("A180", "0000 0000 0000", ""),
            .temporaryFailure("unusable reply: no reply to a standard query")),
        Row(
            "another type's question", reply("0000 0000 0000", "", type: "0001"),
            .temporaryFailure("unusable reply: a reply to another question")),
        Row(
            "no question", octets("0001 8180 0000 0000 0000 0000"),
            .temporaryFailure("unusable reply: a reply to another question")),
        Row(
            "another class", octets("0001 8180 0001 0000 0000 0000 01 \"a\" 04 \"test\" 00 0010 0003"),
            .temporaryFailure("unusable reply: a reply to another question")),
        Row(
            "a count that lies", reply("0002 0000 0000", rr("0010", "01 \"x\"")),
            .temporaryFailure("unusable reply: the message ends within a field")),
        Row(
            "a count above the cap", reply("FFFF 0000 0000", ""),
            .temporaryFailure("unusable reply: more than 4096 records")),
        Row(
            "a string longer than its record", reply("0001 0000 0000", rr("0010", "05 \"x\"")),
            .temporaryFailure("unusable reply: the message ends within a field")),
        Row(
            "a TXT record without strings", reply("0001 0000 0000", rr("0010", "")),
            .temporaryFailure("unusable reply: the message ends within a field")),
        Row(
            "an address of five octets", reply("0001 0000 0000", rr("0001", "C000020101"), type: "0001"), .a,
            .temporaryFailure("unusable reply: A data of the wrong form")),
        Row(
            "A", reply("0001 0000 0000", rr("0001", "C0000201"), type: "0001"), .a,
            .records([.a(.v4(0xC000_0201))], ttl: 300)),  // RFC 1035 §3.4.1
        Row(
            "AAAA", reply("0001 0000 0000", rr("001C", "20010DB8 00000000 00000000 00000001"), type: "001C"), .aaaa,
            .records([.aaaa(.v6(0x2001_0DB8_0000_0000, 1))], ttl: 300)),  // RFC 3596 §2.2
        Row(
            "MX, compressed", reply("0001 0000 0000", rr("000F", "000A 02 \"mx\" C00E"), type: "000F"), .mx,
            .records([.mx(preference: 10, exchange: domain("mx.test"))], ttl: 300)),  // RFC 1035 §3.3.9
        Row(
            "null MX", reply("0001 0000 0000", rr("000F", "0000 00"), type: "000F"), .mx,
            .records([.mx(preference: 0, exchange: .root)], ttl: 300)),  // RFC 7505 §3
        Row(
            "PTR", reply("0001 0000 0000", rr("000C", "01 \"B\" C00E"), type: "000C"), .ptr,
            .records([.ptr(domain("b.test"))], ttl: 300)),
        Row(
            "SOA",
            reply("0001 0000 0000", rr("0006", "C00C C00E 00000001 00000002 00000003 00000004 FFFFFFFF"), type: "0006"),
            .soa, .records([.soa(primary: domain("a.test"), minimum: 0)], ttl: 300)),  // RFC 2181 §8
        Row(
            "another type, raw", reply("0001 0000 0000", rr("0041", "C00C 01"), type: "0041"), .init(rawValue: 65),
            .records([.other(.init(rawValue: 65), [0xC0, 0x0C, 1])], ttl: 300)),  // RFC 3597 §4
    ]

    @Test("what a reply says", arguments: rows)
    func replies(_ row: Row) throws {
        #expect(DNSCodec.answer(to: Question(try name("a.test"), row.type), from: row.reply) == row.answer)
    }

    @Test("for how long a negative answer holds")  // RFC 2308 §5
    func negativeTTL() throws {
        func ttl(_ message: [UInt8]) throws -> UInt32 {
            Resolution(of: Question(try name("a.test"), .txt), in: try ReplyMessage(message)).ttl
        }
        #expect(try ttl(Self.reply("8183", "0000 0001 0000", Self.soa)) == 60)  // MINIMUM is less than the TTL
        let shortSOA = Self.soa.replacing("00000100", with: "00000007")
        #expect(try ttl(Self.reply("8183", "0000 0001 0000", shortSOA)) == 7)
        #expect(try ttl(Self.reply("8183", "0001 0001 0000", Self.cname("C00C", "01 \"b\" C00E") + Self.soa)) == 60)
        #expect(try ttl(Self.reply("8183", "0000 0000 0000", "")) == 0)
        let foreign = Self.soa.replacing("C00E 0006", with: "05 \"other\" 00 0006")
        #expect(try ttl(Self.reply("8183", "0000 0001 0000", foreign)) == 0)
    }

    // MARK: Hostile octets

    @Test("every octet of every reply flipped, and every cut: an answer comes, nothing traps")
    func flips() throws {
        var random = SeededRandom(seed: 3)
        for row in Self.rows {
            let question = Question(try name("a.test"), row.type)
            for index in row.reply.indices {
                _ = DNSCodec.answer(to: question, from: Array(row.reply.prefix(index)))
                for value in [
                    0, 0xFF, row.reply[index] ^ 0x80, row.reply[index] &+ 1, UInt8.random(in: 0...255, using: &random),
                ] {
                    var damaged = row.reply
                    damaged[index] = value
                    _ = DNSCodec.answer(to: question, from: damaged)
                    _ = try? QueryMessage(damaged)  // whether it is a query does not matter, only that this ends
                }
            }
        }
    }

    @Test("seeded damage; what is read can be sent again and reads the same")
    func mutations() throws {
        let question = Question(try name("a.test"), .txt)
        var usable = 0
        Mutations.of(
            Self.rows.map(\.reply), tokens: [[0xC0, 0x0C], [0xFF, 0xFF], [0, 0], [0x3F], [0, 0x10, 0, 1]],
            count: 60_000,
            seed: 7
        ) { message in
            guard let reply = try? ReplyMessage(message) else { return }  // refused: nothing to compare
            let resolution = Resolution(of: question, in: reply)
            guard case .records = resolution.answer else { return }
            usable += 1
            let body = ResponseBody(question: question, rcode: .noError, answers: resolution.records)
            #expect(body.resolution(of: question, elapsed: 0).answer == resolution.answer)
        }
        #expect(usable > 300)
    }

    @Test("names made of many pointers cost little")
    func pointers() throws {
        // 4,000 records whose owners are pointers to a pointer to ... a name of 127 labels.
        var message = octets("0001 8180 0001 0FA0 0000 0000")
        message += Array(repeating: [1, 0x61], count: 126).flatMap { $0 } + octets("00 0010 0001")
        var place = 12
        for _ in 0..<4000 {
            let next = message.count
            message += [0xC0 | UInt8(place >> 8), UInt8(place & 0xFF)] + octets("0010 0001 00000001 0001 00")
            if next <= 0x3FFF { place = next }
        }
        #expect(message.count < 65_535)
        let reply = Result { try ReplyMessage(message) }
        #expect(throws: WireError.badPointer) { try reply.get() }  // more than 127 pointers in one name
    }

    // MARK: Queries as a server reads them

    @Test("a query of ours, read back")
    func ownQuery() throws {
        let question = Question(try name("x.example"), .mx)
        let query = try QueryMessage(DNSCodec.query(id: 77, question: question))
        #expect(query.header.id == 77 && query.question == question && query.datagramOctets == 1232)
        #expect(query.wantsAuthenticated)
        #expect(try QueryMessage(DNSCodec.query(id: 1, question: question, datagramOctets: 100)).datagramOctets == 512)
    }

    @Test(
        "queries that get an error",
        arguments: [
            (
                "two OPT records",
                "0001 0100 0001 0000 0000 0002 00 0010 0001 00 0029 04D0 00000000 0000 00 0029 04D0 00000000 0000", 1
            ),
            ("OPT below a name", "0001 0100 0001 0000 0000 0001 00 0010 0001 01 \"a\" 00 0029 04D0 00000000 0000", 1),
            (
                "a record in the answer section",
                "0001 0100 0001 0001 0000 0000 00 0010 0001 00 0010 0001 00000000 0001 00", 1
            ),
            ("nine additional records", "0001 0100 0001 0000 0000 0009 00 0010 0001", 1),
            ("a pointer in the question", "0001 0100 0001 0000 0000 0000 C00C 0010 0001", 1),
            ("OPT as a question", "0001 0100 0001 0000 0000 0000 00 0029 0001", 1),
            ("ANY", "0001 0100 0001 0000 0000 0000 00 00FF 0001", 4),
            ("IQUERY", "0001 0900 0001 0000 0000 0000 00 0010 0001", 4),
            ("UPDATE", "0001 2900 0001 0000 0000 0000 00 0006 0001", 4),
        ])
    func refusals(_ rule: String, _ drawing: String, _ rcode: UInt16) {
        #expect {
            try QueryMessage(octets(drawing))
        } throws: { error in
            guard case .answered(let reply)? = error as? QueryRefusal else { return false }
            var reader = WireReader(reply)
            let header = try MessageHeader(from: &reader)
            return header.id == 1 && header.isReply && header.rcode.rawValue == rcode && header.questionCount == 0
        }
    }

    @Test("replies and noise get nothing back", arguments: ["", "0001", "0001 8180 0001 0000 0000 0000 00 0010 0001"])
    func ignored(_ drawing: String) {
        #expect(throws: QueryRefusal.ignored) { try QueryMessage(octets(drawing)) }
    }

    // MARK: Responses

    @Test("a response repeats the question's own spelling and compresses owners")  // RFC 1035 §4.1.4
    func response() throws {
        let query = try QueryMessage(octets("ABCD 0110 0001 0000 0000 0000 01 \"A\" 04 \"tEsT\" 00 0010 0001"))
        let other = try name("b.test")
        var target: [UInt8] = []
        target.append(name: other)
        let body = ResponseBody(
            question: query.question, rcode: .noError,
            answers: [
                ResourceRecord(owner: query.question.name, type: .cname, ttl: 50, octets: target),
                ResourceRecord(owner: other, type: .txt, ttl: 40, octets: [1, 0x78]),
                ResourceRecord(owner: other, type: .txt, ttl: 40, octets: [1, 0x79]),
            ], isAuthenticated: true)
        #expect(
            body.message(for: query, elapsed: 45, maxOctets: 512)
                == octets(
                    """
                    ABCD 8190 0001 0003 0000 0000 01 "A" 04 "tEsT" 00 0010 0001
                    C00C 0005 0001 00000005 0008 01 "b" 04 "test" 00
                    01 "b" 04 "test" 00 0010 0001 00000000 0002 01 "x"
                    C02C 0010 0001 00000000 0002 01 "y"
                    """))
        let cut = body.message(for: query, elapsed: 0, maxOctets: 60)  // RFC 2181 §9
        #expect(cut == octets("ABCD 8390 0001 0000 0000 0000 01 \"A\" 04 \"tEsT\" 00 0010 0001"))
    }

    @Test("a body too large for any message becomes SERVFAIL")
    func tooLarge() throws {
        let question = Question(try name("a.test"), .txt)
        let long = ResourceRecord(
            owner: question.name, type: .txt, ttl: 1, octets: [UInt8](repeating: 0, count: 60_000))
        #expect(ResponseBody(question: question, rcode: .noError, answers: [long]).rcode == .noError)
        #expect(ResponseBody(question: question, rcode: .noError, answers: [long, long]).rcode == .serverFailure)
    }
}

extension String.StringInterpolation {
    fileprivate mutating func appendInterpolation(_ value: Int, hex digits: Int) {
        let text = String(value, radix: 16)
        appendLiteral(String(repeating: "0", count: max(0, digits - text.count)) + text)
    }
}
