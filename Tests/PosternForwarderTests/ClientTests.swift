// The daemons' client and postern-dns together: the way a judge's question really goes.

import Foundation
import PosternDNS
import PosternMail
import PosternSocket
import TestSupport
import Testing

@testable import PosternForwarder

@Suite("client and forwarder")
struct ClientTests {
    @Test("a large batch is answered in its order, twice")
    func batch() throws {
        let upstream = try FakeUpstream { query in
            // Every third name does not exist, the others say their own name.
            let name = query.question.name.description
            guard name.utf8.count % 3 != 0 else { return .send([query.reply(.nameError)]) }
            let record = ResourceRecord(
                owner: query.question.name, type: .txt, ttl: 60, octets: [UInt8(name.utf8.count)] + Array(name.utf8))
            return .send([query.reply(.noError, [record])])
        }
        let rig = try Rig([upstream])
        let client = DNSClient(.unix(path: rig.path), log: rig.log)
        // Few enough that no datagram is lost in the fake upstream's socket buffer.
        let names = (0..<200).map { String(repeating: "x", count: $0 % 7 + 1) + "\($0).test" }
        let questions = try names.map { Question(try DomainName($0), .txt) }
        let expected = names.map { name in
            name.utf8.count % 3 == 0 ? Answer.noSuchName : .records([.txt(Array(name.utf8))], ttl: 60)
        }
        for _ in 0..<2 {
            let answers = client.within(.seconds(60)).answers(to: questions)
            for (answer, expected) in zip(answers, expected) {
                switch (answer, expected) {
                case (.records(let data, _), .records(let wanted, _)): #expect(data == wanted)
                default: #expect(answer == expected)
                }
            }
            #expect(answers.count == questions.count)
        }
        #expect(upstream.queries.count < 2 * questions.count)  // the second time most came from the cache
        #expect(rig.log.warnings == [])
    }

    @Test("what is prefetched is asked once")
    func prefetch() throws {
        let upstream = try FakeUpstream { _ in .hold }
        let rig = try Rig([upstream])
        let client = DNSClient(.unix(path: rig.path), log: rig.log)
        let asked = try question("a.test TXT")
        client.within(.seconds(60)).prefetch([asked])
        until { upstream.heldCount == 1 }
        let record = try txt("a.test", "one")
        upstream.release { $0.reply(.noError, [record]) }
        until { rig.server.counters.cachedAnswers == 1 }
        #expect(client.within(.seconds(60)).answer(to: asked) == .records([.txt(Array("one".utf8))], ttl: 300))
        #expect(upstream.queries.count == 1)
    }
}
