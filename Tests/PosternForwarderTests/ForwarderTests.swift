import Foundation
import PosternDNS
import PosternMail
import Synchronization
import TestSupport
import Testing

@testable import PosternForwarder

/// A forwarder on a UNIX socket in a folder of its own, ended with the test.
final class Rig {
    let server: ForwarderServer
    let log = RecordingLog()
    let path: String
    private let folder: URL
    private let upstreams: [FakeUpstream]

    /// For one upstream that is silent beside another that answers: a busy machine shall not make both late.
    static let oneSilence = Duration.seconds(3)

    init(
        _ upstreams: [FakeUpstream], more: [Upstream] = [], tryTimeout: Duration = .seconds(60),
        staticZone: String = "",
        listen: [Endpoint] = [], sourcePorts: ClosedRange<UInt16> = 1024...65_535, mixesCase: Bool = false,
        now: @escaping @Sendable () -> UnixTime = ForwarderServer.bootTime
    ) throws {
        self.upstreams = upstreams
        folder = FileManager.default.temporaryDirectory.appending(path: "pf-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        path = folder.appending(path: "dns.sock").path
        var settings = ForwarderSettings(
            upstreams: upstreams.map(\.upstream) + more, tryTimeout: tryTimeout,
            staticZone: try StaticZone(text: staticZone), listen: [.unix(path: path)] + listen)
        settings.sourcePorts = sourcePorts
        settings.mixesCase = mixesCase
        server = ForwarderServer(settings, log: log, now: now)
        try server.start()
    }

    deinit {
        server.stop()
        for upstream in upstreams { upstream.stop() }
        try? FileManager.default.removeItem(at: folder)  // a folder left behind harms nobody
    }

    /// Asks one question over a connection of its own.
    func ask(_ text: String) throws -> Answer {
        let question = try question(text)
        let client = try RawClient(unix: path)
        client.sendFramed(DNSCodec.query(id: 4711, question: question))
        let reply = try #require(client.receive())
        #expect(DNSCodec.messageID(of: reply) == 4711)
        return DNSCodec.answer(to: question, from: reply)
    }
}

func question(_ text: String) throws -> Question {
    let words = text.split(separator: " ").map(String.init)
    return Question(try DomainName(words[0]), try #require(RecordType(words[1])))
}

func txt(_ name: String, _ text: String, ttl: UInt32 = 300) throws -> ResourceRecord {
    ResourceRecord(
        owner: try DomainName(name), type: .txt, ttl: ttl, octets: [UInt8(text.utf8.count)] + Array(text.utf8))
}

/// Waits until `condition` holds; a test that would wait forever fails by the suite's time limit.
func until(_ condition: () -> Bool) { while !condition() { usleep(1000) } }

private let zone = """
    $TTL 300
    a.test. TXT "one"
    b.test. TXT "two"
    c.test. CNAME a.test.
    test.   SOA ns.test. root.test. 1 2 3 4 30
    """

@Suite("forwarder")
struct ForwarderTests {
    @Test("an answer comes from upstream once, then from the cache")
    func cached() throws {
        let upstream = try FakeUpstream(zone: zone)
        let rig = try Rig([upstream])
        let expected = Answer.records([.txt(Array("one".utf8))], ttl: 300)
        #expect(try rig.ask("a.test TXT") == expected)
        guard case .records = try rig.ask("A.Test TXT") else {
            Issue.record("no records")
            return
        }
        #expect(try rig.ask("nothing.test TXT") == .noSuchName)
        #expect(try rig.ask("nothing.test TXT") == .noSuchName)
        #expect(try rig.ask("a.test A") == .noData)
        #expect(try rig.ask("c.test TXT") == expected)
        #expect(upstream.queries.count == 4)
        let counters = rig.server.counters
        #expect((counters.queries, counters.hits, counters.misses) == (6, 2, 4))
        #expect(counters.cachedAnswers == 4)
        #expect(rig.log.warnings == [])
    }

    @Test("TTLs count down and end by the clock")
    func aging() throws {
        let upstream = try FakeUpstream(zone: zone)
        let clock = Clock()
        let rig = try Rig([upstream], now: { clock.now })
        _ = try rig.ask("a.test TXT")
        clock.advance(100)
        #expect(try rig.ask("a.test TXT") == .records([.txt(Array("one".utf8))], ttl: 200))
        clock.advance(200)
        #expect(try rig.ask("a.test TXT") == .records([.txt(Array("one".utf8))], ttl: 300))
        #expect(upstream.queries.count == 2)
    }

    @Test("queries have random ids and ports, RD, AD and EDNS 1232")  // RFC 5452 §9.2, RFC 6891 §6.2.5
    func queries() throws {
        let upstream = try FakeUpstream { .send([$0.reply(.nameError)]) }
        let rig = try Rig([upstream])
        for number in 0..<8 { _ = try rig.ask("x\(number).test A") }
        let queries = upstream.queries
        #expect(Set(queries.map(\.message.header.id)).count > 4)
        #expect(Set(queries.map(\.sourcePort)).count > 4)
        #expect(queries.allSatisfy { $0.message.datagramOctets == 1232 && $0.message.header.flags == 0x0120 })
    }

    @Test("a taken port costs another try, and no descriptor stays open")
    func takenPort() throws {
        let upstream = try FakeUpstream { .send([$0.reply(.nameError)]) }
        let holder = try FakeUpstream { _ in .nothing }  // holds a port
        let rig = try Rig([upstream], sourcePorts: holder.port...holder.port)
        for number in 0..<8 { #expect(try rig.ask("x\(number).test A") == .noSuchName) }
        #expect(upstream.queries.allSatisfy { $0.sourcePort != holder.port })
        until { unboundDatagramSockets() == 0 }  // those of tests that run beside this one pass too
        holder.stop()
    }

    @Test("equal questions in flight are asked once, and all are answered")
    func coalescing() throws {
        let upstream = try FakeUpstream { _ in .hold }
        let rig = try Rig([upstream])
        let client = try RawClient(unix: rig.path)
        let asked = try question("a.test TXT")
        for id in UInt16(0)..<50 { client.sendFramed(DNSCodec.query(id: id, question: asked)) }
        until { rig.server.counters.joined == 49 && upstream.heldCount == 1 }
        let record = try txt("a.test", "one")
        upstream.release { $0.reply(.noError, [record]) }
        var ids: Set<UInt16> = []
        for _ in 0..<50 {
            let reply = try #require(client.receive())
            ids.insert(try #require(DNSCodec.messageID(of: reply)))
        }
        #expect(ids == Set(0..<50))
        #expect(upstream.queries.count == 1)
    }

    @Test("answers go out as they come, in any order")  // RFC 7766 §6.2.1.1
    func outOfOrder() throws {
        let upstream = try FakeUpstream {
            $0.question.name.description == "slow.test" ? .hold : .send([$0.reply(.nameError)])
        }
        let rig = try Rig([upstream])
        let client = try RawClient(unix: rig.path)
        client.sendFramed(DNSCodec.query(id: 1, question: try question("slow.test A")))
        until { upstream.heldCount == 1 }
        client.sendFramed(DNSCodec.query(id: 2, question: try question("fast.test A")))
        #expect(DNSCodec.messageID(of: try #require(client.receive())) == 2)
        upstream.release { $0.reply(.nameError) }
        #expect(DNSCodec.messageID(of: try #require(client.receive())) == 1)
    }

    @Test("a truncated reply is asked for again over TCP")  // RFC 7766 §5
    func truncated() throws {
        let long = (0..<20).map { "\"\($0)\(String(repeating: "k", count: 200))\"" }.joined(separator: " ")
        let data = try StaticZone(text: "long.test. TXT \(long)")
        let upstream = try FakeUpstream { .send([$0.reply(from: data, maxOctets: $0.isStream ? 65_535 : 1232)]) }
        let rig = try Rig([upstream])
        guard case .records(let records, _) = try rig.ask("long.test TXT"), case .txt(let text)? = records.first else {
            Issue.record("no records")
            return
        }
        #expect(text.count > 4000)
        #expect(upstream.queries.map(\.isStream) == [false, true])
        #expect(rig.server.counters.upstreamStreamQueries == 1)
    }

    @Test("what is not the reply is ignored")  // RFC 5452 §9.1
    func forgeries() throws {
        let forged = try txt("a.test", "forged")
        let right = try txt("a.test", "right")
        let other = try txt("b.test", "forged")
        let upstream = try FakeUpstream { query in
            var wrongID = query
            wrongID.message.header.id &+= 1
            var wrongName = query
            wrongName.message = try! QueryMessage(
                DNSCodec.query(id: query.message.header.id, question: Question(other.owner, .txt)))
            var wrongType = query
            wrongType.message = try! QueryMessage(
                DNSCodec.query(id: query.message.header.id, question: Question(forged.owner, .a)))
            let good = query.reply(.noError, [right])
            return .send([
                wrongID.reply(.noError, [forged]), wrongName.reply(.noError, [other]), wrongType.reply(.nameError),
                Array(good.prefix(20)), [], [1, 2, 3], good, good, query.reply(.noError, [forged]),
            ])
        }
        let rig = try Rig([upstream])
        #expect(try rig.ask("a.test TXT") == .records([.txt(Array("right".utf8))], ttl: 300))
        #expect(rig.server.counters.ignoredReplies == 6)
        #expect(upstream.queries.count == 1)
        #expect(rig.log.warnings == [])
    }

    @Test("a reply from another port is not seen, and the next upstream is asked")
    func otherPort() throws {
        let forged = try txt("a.test", "forged")
        let first = try FakeUpstream { .sendFromElsewhere($0.reply(.noError, [forged])) }
        let second = try FakeUpstream(zone: zone)
        let rig = try Rig([first, second], tryTimeout: Rig.oneSilence)
        #expect(try rig.ask("a.test TXT") == .records([.txt(Array("one".utf8))], ttl: 300))
        #expect(rig.log.warnings == ["upstream \(first.upstream): no reply in 3s; trying \(second.upstream)"])
    }

    @Test("the spelling of the name in a reply does not matter")  // RFC 4343 §3
    func caseOfReply() throws {
        let record = try txt("a.test", "one")
        let upstream = try FakeUpstream { query in
            var reply = query.reply(.noError, [record])
            for index in reply.indices.dropFirst(12).prefix(8) where (0x61...0x7A).contains(reply[index]) {
                reply[index] &= 0xDF
            }
            return .send([reply])
        }
        let rig = try Rig([upstream])
        #expect(try rig.ask("a.test TXT") == .records([.txt(Array("one".utf8))], ttl: 300))
    }

    @Test("in mixed case, a reply must repeat the name's spelling")  // draft-vixie-dnsext-dns0x20-00 §4
    func mixedCase() throws {
        let record = try txt("abcdefghijklmnopqrstuvwxyz.test", "one")
        let upstream = try FakeUpstream { query in
            let good = query.reply(.noError, [record])
            var forged = good
            for index in forged.indices.dropFirst(13).prefix(26) { forged[index] ^= 0x20 }
            return .send([forged, good])
        }
        let rig = try Rig([upstream], mixesCase: true)
        #expect(try rig.ask("\(record.owner) TXT") == .records([.txt(Array("one".utf8))], ttl: 300))
        #expect(rig.server.counters.ignoredReplies == 1)
        let spelled = upstream.queries.map(\.message.questionOctets)
        #expect(spelled.allSatisfy { $0.contains { (0x41...0x5A).contains($0) } })  // but once in 2^30
        #expect(spelled.allSatisfy { $0.contains { (0x61...0x7A).contains($0) } })
    }

    @Test(
        "trouble at one upstream leads to the next",
        arguments: [ResponseCode.serverFailure, .refused, .init(rawValue: 9)])
    func trouble(_ rcode: ResponseCode) throws {
        let first = try FakeUpstream { .send([$0.reply(rcode)]) }
        let second = try FakeUpstream(zone: zone)
        let rig = try Rig([first, second])
        #expect(try rig.ask("a.test TXT") == .records([.txt(Array("one".utf8))], ttl: 300))
        #expect(rig.server.counters.upstreamFailures == 1)
        let line = "upstream \(first.upstream): answered \(rcode); trying \(second.upstream)"
        #expect(rig.log.warnings == (rcode == .serverFailure ? [] : [line]))
    }

    @Test("an upstream that knows no EDNS is asked without")  // RFC 6891 §6.2.2
    func noEDNS() throws {
        let record = try txt("a.test", "one")
        let upstream = try FakeUpstream { query in
            .send([query.message.datagramOctets == nil ? query.reply(.noError, [record]) : query.reply(.formatError)])
        }
        let rig = try Rig([upstream])
        #expect(try rig.ask("a.test TXT") == .records([.txt(Array("one".utf8))], ttl: 300))
        #expect(upstream.queries.map(\.message.datagramOctets) == [1232, nil])
    }

    @Test("SERVFAIL everywhere is SERVFAIL, and remembered for five seconds")  // RFC 9520 §3.2
    func servfail() throws {
        let upstream = try FakeUpstream { .send([$0.reply(.serverFailure)]) }
        let clock = Clock()
        let rig = try Rig([upstream], now: { clock.now })
        for _ in 0..<2 { #expect(try rig.ask("a.test TXT") == .temporaryFailure("SERVFAIL")) }
        clock.advance(4)
        #expect(try rig.ask("a.test TXT") == .temporaryFailure("SERVFAIL"))
        #expect(upstream.queries.count == 2)
        clock.advance(1)
        #expect(try rig.ask("a.test TXT") == .temporaryFailure("SERVFAIL"))
        #expect(upstream.queries.count == 4)
        #expect(rig.server.counters.givenUp == 2)
        #expect(rig.server.counters.failureAnswers == 2)
        #expect(rig.log.warnings == [])
    }

    @Test("silent upstreams: SERVFAIL with one warning a minute for each")
    func silent() throws {
        let first = try FakeUpstream { _ in .nothing }
        let second = try FakeUpstream { _ in .nothing }
        let clock = Clock()
        let rig = try Rig([first, second], tryTimeout: .milliseconds(30), now: { clock.now })
        for number in 0..<3 { #expect(try rig.ask("x\(number).test A") == .temporaryFailure("SERVFAIL")) }
        #expect(
            rig.log.warnings == [
                "upstream \(first.upstream): no reply in 30ms; trying \(second.upstream)",
                "upstream \(second.upstream): no reply in 30ms; trying \(first.upstream)",
            ])
        clock.advance(61)
        _ = try rig.ask("y.test A")
        #expect(rig.log.warnings.count == 4)
    }

    @Test("one upstream alone is asked twice before we give up")
    func twice() throws {
        let upstream = try FakeUpstream { _ in .nothing }
        let rig = try Rig([upstream], tryTimeout: .milliseconds(30))
        #expect(try rig.ask("x.test A") == .temporaryFailure("SERVFAIL"))
        until { upstream.queries.count == 2 }
        #expect(rig.log.warnings == ["upstream \(upstream.upstream): no reply in 30ms; trying again"])
    }

    @Test("a late reply still counts while the next upstream is waited for")
    func late() throws {
        let first = try FakeUpstream { _ in .hold }
        let second = try FakeUpstream { _ in .hold }
        let rig = try Rig([first, second], tryTimeout: Rig.oneSilence)
        let client = try RawClient(unix: rig.path)
        let asked = try question("a.test TXT")
        client.sendFramed(DNSCodec.query(id: 1, question: asked))
        until { first.heldCount == 1 && second.heldCount == 1 }
        let record = try txt("a.test", "late")
        first.release { $0.reply(.noError, [record]) }
        let answer = DNSCodec.answer(to: asked, from: try #require(client.receive()))
        #expect(answer == .records([.txt(Array("late".utf8))], ttl: 300))
        #expect(rig.log.warnings.count == 1)
    }

    @Test("an upstream that is not there is passed over at once, and later asked last")
    func dead() throws {
        let dead = try FakeUpstream.deadUpstream()
        let alive = try FakeUpstream(zone: zone)
        let server = try Rig([], more: [dead, alive.upstream])
        #expect(try server.ask("a.test TXT") == .records([.txt(Array("one".utf8))], ttl: 300))
        #expect(server.log.warnings.count == 1)
        #expect(server.log.warnings.first?.hasPrefix("upstream \(dead): ") == true)
        #expect(server.log.warnings.first?.hasSuffix("; trying \(alive.upstream)") == true)
        alive.stop()
    }

    @Test("an upstream that stays silent is not waited for again")
    func silentOnce() throws {
        let silent = try FakeUpstream { _ in .nothing }
        let alive = try FakeUpstream(zone: zone)
        let clock = Clock()
        let rig = try Rig([silent, alive], tryTimeout: Rig.oneSilence, now: { clock.now })
        for number in 0..<5 { _ = try rig.ask("x\(number).test A") }
        #expect(silent.queries.count == 1)
        #expect(rig.log.warnings.count == 1)
    }

    @Test("the static zone comes first; its CNAMEs lead out of it")
    func staticZone() throws {
        let upstream = try FakeUpstream(zone: zone)
        let rig = try Rig(
            [upstream],
            staticZone: """
                b.test. 60 TXT "mine"
                out.local. 60 CNAME a.test.
                gone.local. 60 CNAME nothing.test.
                """)
        #expect(try rig.ask("b.test TXT") == .records([.txt(Array("mine".utf8))], ttl: 60))
        #expect(try rig.ask("b.test A") == .noData)
        #expect(upstream.queries.isEmpty)
        for _ in 0..<2 { #expect(try rig.ask("out.local TXT") == .records([.txt(Array("one".utf8))], ttl: 60)) }
        for _ in 0..<2 { #expect(try rig.ask("gone.local TXT") == .noSuchName) }
        #expect(upstream.queries.map(\.question.description) == ["a.test TXT", "nothing.test TXT"])
    }

    @Test("without upstreams only the static zone is answered")
    func noUpstreams() throws {
        let rig = try Rig([], staticZone: "b.test. 60 TXT mine")
        #expect(try rig.ask("b.test TXT") == .records([.txt(Array("mine".utf8))], ttl: 60))
        #expect(try rig.ask("a.test TXT") == .temporaryFailure("SERVFAIL"))
    }

    @Test("AD is believed from a loopback upstream and told to who asks for it")  // RFC 6840 §5.7, §5.8
    func authenticated() throws {
        let upstream = try FakeUpstream(zone: zone)
        let rig = try Rig([upstream])
        let client = try RawClient(unix: rig.path)
        client.sendFramed(DNSCodec.query(id: 1, question: try question("a.test TXT")))
        #expect(try ReplyMessage(try #require(client.receive())).header.isAuthenticated)
        var plain = DNSCodec.query(id: 1, question: try question("a.test TXT"))
        plain[3] &= 0xDF
        client.sendFramed(plain)
        #expect(try !ReplyMessage(try #require(client.receive())).header.isAuthenticated)
    }

    @Test("truncated over UDP, then the TCP connection ends: the next upstream is asked")
    func streamEnds() throws {
        let first = try FakeUpstream { $0.isStream ? .nothing : .send([$0.reply(.noError, maxOctets: 12)]) }
        let second = try FakeUpstream(zone: zone)
        let rig = try Rig([first, second])
        #expect(try rig.ask("a.test TXT") == .records([.txt(Array("one".utf8))], ttl: 300))
        #expect(first.queries.map(\.isStream) == [false, true])
        #expect(
            rig.log.warnings == ["upstream \(first.upstream): it closed the TCP connection; trying \(second.upstream)"])
    }

    @Test("damaged replies never stop the server, nor keep the right one out")
    func damagedReplies() throws {
        let record = try txt("a.test", "one")
        let upstream = try FakeUpstream { query in
            let good = query.reply(.noError, [record])
            var messages: [[UInt8]] = []
            Mutations.of([good], tokens: [[0xC0, 0x0C]], count: 20, seed: UInt64(query.sourcePort)) {
                messages.append($0)
            }
            return .send(messages + [good])
        }
        let rig = try Rig([upstream], tryTimeout: .seconds(1))
        for _ in 0..<100 {
            _ = try rig.ask("a.test TXT")  // a reply whose text or TTL was damaged is a reply
            rig.server.flush(.all)
        }
        #expect(rig.server.counters.ignoredReplies > 100)
    }

    @Test("a client may have so many questions open, and is not read from while it has")
    func outstanding() throws {
        let upstream = try FakeUpstream { _ in .nothing }
        let rig = try Rig([upstream], tryTimeout: .milliseconds(50))
        let client = try RawClient(unix: rig.path)
        let questions = try (0..<5000).map { Question(try DomainName("x\($0).test"), .a) }
        let octets = questions.flatMap { MessageFraming.framed(DNSCodec.query(id: 1, question: $0)) }
        let writer = Thread { client.sendRaw(octets) }
        writer.start()
        let reader = Thread { for _ in 0..<5000 { _ = client.receive() } }
        reader.start()
        var most: UInt64 = 0
        until {
            let counters = rig.server.counters
            most = max(most, counters.queries - counters.givenUp)
            return counters.givenUp == 5000
        }
        #expect(most <= UInt64(StreamHandler.maxOutstanding))
        #expect(rig.server.counters.turnedAway == 0)
        until { reader.isFinished && writer.isFinished }
    }

    @Test("reload takes new upstreams and static data, and keeps the cache")
    func reload() throws {
        let first = try FakeUpstream(zone: zone)
        let second = try FakeUpstream(zone: "b.test. TXT other")
        let rig = try Rig([first])
        _ = try rig.ask("a.test TXT")
        rig.server.reload(
            ForwarderSettings(
                upstreams: [second.upstream], staticZone: try StaticZone(text: "s.test. TXT static"), listen: []))
        #expect(try rig.ask("a.test TXT") == .records([.txt(Array("one".utf8))], ttl: 300))
        #expect(try rig.ask("b.test TXT") == .records([.txt(Array("other".utf8))], ttl: 3600))
        #expect(try rig.ask("s.test TXT") == .records([.txt(Array("static".utf8))], ttl: 3600))
        rig.server.flush(.all)
        #expect(try rig.ask("a.test TXT") == .temporaryFailure("SERVFAIL"))
        #expect(rig.log.warnings.count == 1)  // REFUSED by the second
        second.stop()
    }
}

/// How many UDP sockets of this process have no port.
private func unboundDatagramSockets() -> Int {
    (0..<CInt(1024)).count { descriptor in
        var type: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) == 0, type == SOCK_DGRAM.rawValue else {
            return false
        }
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        return status == 0 && address.sin_family == AF_INET && address.sin_port == 0
    }
}

/// A clock that the test moves.
final class Clock: Sendable {
    private let seconds = Mutex<Int64>(1_000_000)
    var now: UnixTime { UnixTime(seconds: seconds.withLock { $0 }) }
    func advance(_ by: Int64) { seconds.withLock { $0 += by } }
}
