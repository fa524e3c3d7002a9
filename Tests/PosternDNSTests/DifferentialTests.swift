// Our codec against ldns: messages that ldns makes are read the same by both, and what we make ldns reads as it was
// meant.

import CLDNS
import Glibc
import PosternMail
import TestSupport
import Testing

@testable import PosternDNS

/// A message as ldns holds it. A class, since the compiler (6.3.1) crashes on the failable initializer of a ~Copyable
/// one.
private final class Packet {
    private let packet: UnsafeMutablePointer<ldns_pkt>

    init?(_ octets: [UInt8]) {
        var packet: UnsafeMutablePointer<ldns_pkt>?
        guard ldns_wire2pkt(&packet, octets, octets.count) == LDNS_STATUS_OK, let packet else { return nil }
        self.packet = packet
    }
    deinit { ldns_pkt_free(packet) }

    var id: UInt16 { ldns_pkt_id(packet) }
    var rcode: UInt32 { ldns_pkt_get_rcode(packet).rawValue }

    /// The records of a section: owner in wire form, type, class, TTL, RDATA without compression.
    func records(_ section: ldns_pkt_section) -> [String] {
        let list = ldns_pkt_get_section_clone(packet, section)
        defer { ldns_rr_list_deep_free(list) }
        return (0..<ldns_rr_list_rr_count(list)).compactMap { index in
            ldns_rr_list_rr(list, index).flatMap(text)
        }
    }

    private func text(_ record: UnsafeMutablePointer<ldns_rr>) -> String? {
        var wire: UnsafeMutablePointer<UInt8>?
        var size = 0
        guard ldns_rr2wire(&wire, record, Int32(LDNS_SECTION_ANSWER.rawValue), &size) == LDNS_STATUS_OK, let wire else {
            return nil
        }
        defer { free(wire) }
        var reader = WireReader(Array(UnsafeBufferPointer(start: wire, count: size)))
        guard let (read, recordClass) = try? ResourceRecord.read(from: &reader), recordClass == 1 else { return nil }
        return describe(read)
    }
}

private func describe(_ record: ResourceRecord) -> String {
    "\(record.owner) \(record.type) \(record.ttl) \(record.octets.map { String($0, radix: 16) }.joined(separator: " "))"
}

@Suite("our codec and ldns")
struct DifferentialTests {
    static let types: [RecordType] = [
        .a, .aaaa, .mx, .txt, .ptr, .ns, .cname, .soa, RecordType(rawValue: 33), RecordType(rawValue: 65_280),
    ]

    /// A message of random records of all types, names shared so that there is something to compress.
    static func records(_ random: inout SeededRandom, names: [DomainName]) -> [ResourceRecord] {
        (0..<Int.random(in: 0...6, using: &random)).map { _ in
            let type = types.randomElement(using: &random) ?? .txt
            func octets(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) } }
            func wireName() -> [UInt8] { (names.randomElement(using: &random)?.wire ?? []) + [0] }
            let data: [UInt8] =
                switch type {
                case .a: octets(4)
                case .aaaa: octets(16)
                case .mx: octets(2) + wireName()
                case .txt:
                    (0...Int.random(in: 0...3, using: &random)).flatMap { _ in
                        let count = Int.random(in: 0...255, using: &random)
                        return [UInt8(count)] + octets(count)
                    }
                case .ptr, .ns, .cname: wireName()
                case .soa: wireName() + wireName() + octets(20)
                case RecordType(rawValue: 33): octets(6) + wireName()
                default: octets(Int.random(in: 0...40, using: &random))
                }
            return ResourceRecord(
                owner: names.randomElement(using: &random) ?? .root, type: type,
                ttl: UInt32.random(in: 0...0x7FFF_FFFF, using: &random), octets: data)
        }
    }

    @Test("4,000 generated responses")
    func responses() throws {
        var random = SeededRandom(seed: 21)
        for round in 0..<4000 {
            let names = try (0..<4).map { _ in
                let labels = (0..<Int.random(in: 1...5, using: &random)).map { _ in
                    (0..<Int.random(in: 1...12, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
                }
                return try DomainName(labels: labels)
            }
            let question = Question(names[0], Self.types.randomElement(using: &random) ?? .txt)
            let answers = Self.records(&random, names: names)
            let authority = Self.records(&random, names: names)
            let rcode: ResponseCode = Bool.random(using: &random) ? .noError : .nameError
            let body = ResponseBody(question: question, rcode: rcode, answers: answers, authority: authority)
            let query = try QueryMessage(DNSCodec.query(id: UInt16(round), question: question))
            let message = body.message(for: query, elapsed: 0, maxOctets: 65_535)

            let ours = try ReplyMessage(message)
            #expect(ours.answers == answers && ours.authority == authority && ours.question == question)
            guard let theirs = Packet(message) else {
                Issue.record("ldns refuses \(message)")
                continue
            }
            let (id, code) = (theirs.id, theirs.rcode)
            #expect(id == UInt16(round) && code == UInt32(rcode.rawValue))
            let sections = (theirs.records(LDNS_SECTION_ANSWER), theirs.records(LDNS_SECTION_AUTHORITY))
            #expect(sections.0 == answers.map(describe))
            #expect(sections.1 == authority.map(describe))
        }
    }

    @Test("damaged responses: what both read, both read the same")
    func damaged() throws {
        let question = Question(try DomainName("a.test"), .txt)
        let zone = try StaticZone(
            text: """
                a.test. TXT "one" "two"
                a.test. MX 10 mx.a.test.
                b.test. CNAME a.test.
                a.test. SRV 1 2 3 srv.a.test.
                test. SOA ns.test. root.test. 1 2 3 4 5
                """)
        var samples: [[UInt8]] = []
        for (text, type) in [
            ("a.test", RecordType.txt), ("a.test", .mx), ("b.test", .txt), ("x.test", .a), ("test", .soa),
        ] {
            let asked = Question(try DomainName(text), type)
            guard case .complete(let found)? = zone.lookup(asked) else { continue }
            let body = ResponseBody(
                question: asked, rcode: found.rcode, answers: found.records, authority: found.authority)
            samples.append(body.message(for: QueryMessage(id: 1, question: asked), elapsed: 0, maxOctets: 65_535))
        }
        #expect(samples.count == 5)
        var both = 0
        Mutations.of(samples, tokens: [[0xC0, 0x0C], [0, 0], [0, 16, 0, 1]], count: 30_000, seed: 8) { message in
            _ = DNSCodec.answer(to: question, from: message)
            guard let ours = try? ReplyMessage(message), let theirs = Packet(message) else { return }  // one refuses
            guard ours.header.questionCount == 1 else { return }
            // ldns drops what follows the last field of an RDATA (and goes on behind it, not behind RDLENGTH); for us
            // such data is of the wrong form. Records whose RDATA it cannot read at all it leaves out of its text here.
            guard ours.answers.allSatisfy({ Self.types.contains($0.type) && (try? $0.data()) != nil }) else { return }
            let answers = theirs.records(LDNS_SECTION_ANSWER)
            guard answers.count == ours.answers.count else { return }
            both += 1
            #expect(answers == ours.answers.map(describe))
        }
        #expect(both > 2000)
    }
}
