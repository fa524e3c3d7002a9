// What real servers sent (Tests/Fixtures/dns-answers): read as a whole, and damaged in every octet.

import PosternMail
import TestSupport
import Testing

@testable import PosternDNS

@Suite("real answers")
struct RecordedAnswersTests {
    /// What the answers say that are no records.
    static let others = [
        "nsd udp gone.dns.test A": "NODATA", "unbound udp gone.dns.test A": "NODATA",
        "named udp gone.dns.test A": "NODATA", "nsd udp nothing.list.dns.test TXT": "NODATA",
        "unbound udp nothing.list.dns.test TXT": "NODATA", "named udp nothing.list.dns.test TXT": "NODATA",
        "nsd udp mx1.dns.test TXT": "NODATA", "unbound udp mx1.dns.test TXT": "NODATA",
        "named udp mx1.dns.test TXT": "NODATA", "nsd udp 99.2.0.192.in-addr.arpa PTR": "NXDOMAIN",
        "unbound udp 99.2.0.192.in-addr.arpa PTR": "NXDOMAIN", "named udp 99.2.0.192.in-addr.arpa PTR": "NXDOMAIN",
        "nsd udp ent.dns.test A": "NODATA",
        "nsd udp sub.dns.test A": "unusable reply: a referral to other servers; the upstream does not recurse",
        "nsd udp loop1.dns.test A": "unusable reply: a CNAME loop or more than 10 CNAME records",
        "unbound udp loop1.dns.test A": "SERVFAIL", "nsd udp example.org A": "REFUSED",
        "nsd udp big.dns.test TXT": "unusable reply: truncated",
        "unbound udp big.dns.test TXT": "unusable reply: truncated",
        "named udp big.dns.test TXT": "unusable reply: truncated",
        "unbound udp _dmarc.bogus.test TXT": "SERVFAIL",
    ]

    @Test("each is read, and says what its server meant")
    func meaning() throws {
        let answers = try RecordedAnswer.all()
        #expect(answers.count == 66)
        var badVersions = 0
        for recorded in answers {
            let reply = try ReplyMessage(recorded.octets)
            #expect(reply.question == recorded.question && reply.header.id == 4711, "\(recorded)")
            if reply.rcode == .badVersion {
                badVersions += 1
                continue
            }
            let said =
                switch Resolution(of: recorded.question, in: reply).answer {
                case .records: "records"
                case .noData: "NODATA"
                case .noSuchName: "NXDOMAIN"
                case .temporaryFailure(let text): text
                }
            #expect(said == Self.others["\(recorded)"] ?? "records", "\(recorded)")
        }
        #expect(badVersions == 2)
    }

    @Test("Unbound's extended errors say that a zone is bogus")  // RFC 8914 §4.7
    func bogus() throws {
        for recorded in try RecordedAnswer.all() where recorded.server == "unbound" {
            let isBogus = "\(recorded.question.name)" == "_dmarc.bogus.test"
            #expect(try ReplyMessage(recorded.octets).isBogus == isBogus, "\(recorded)")
        }
    }

    @Test("BIND's cookies are read: our half comes back, and its own")  // RFC 7873 §5.2.4
    func cookies() throws {
        let cookies = try RecordedAnswer.all().compactMap { try ReplyMessage($0.octets).options.cookieOctets }
            .map { try #require(DNSCookie($0)) }
        #expect(cookies.map(\.client) == Array(repeating: Array("postern1".utf8), count: 2))
        #expect(cookies.allSatisfy { $0.server.count == 16 })  // RFC 9018 §4
    }

    @Test("every octet flipped, every cut, every one twice: what is read can be sent on and reads the same")
    func damage() throws {
        var usable = 0
        for recorded in try RecordedAnswer.all() {
            func take(_ octets: [UInt8]) {
                guard let reply = try? ReplyMessage(octets) else { return }  // refused: nothing to compare
                let resolution = Resolution(of: recorded.question, in: reply)
                guard case .records = resolution.answer else { return }
                usable += 1
                let body = ResponseBody(question: recorded.question, rcode: .noError, answers: resolution.records)
                guard body.rcode == .noError else { return }  // too large for a message
                let again = body.resolution(of: recorded.question, elapsed: 0).answer
                if again != resolution.answer { Issue.record("\(recorded): \(again) for \(resolution.answer)") }
            }
            for place in recorded.octets.indices {
                take(Array(recorded.octets.prefix(place)))
                for mask: UInt8 in [0xFF, 0x01] {
                    var damaged = recorded.octets
                    damaged[place] ^= mask
                    take(damaged)
                }
                if place % 16 == 0 { take(recorded.octets.prefix(place) + recorded.octets) }
            }
            take(recorded.octets + recorded.octets)
        }
        #expect(usable > 5000)
    }
}
