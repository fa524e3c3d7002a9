// What is counted by zone, client and upstream, and what a trace tells, with network and clock scripted.

import PosternDNS
import PosternMail
import Testing

@testable import PosternForwarder

@Suite("statistics and traces")
struct StatisticsTests {
    typealias Zone = ForwarderStatistics.Zone

    private func replay(zones: [String] = []) throws -> Replay {
        var settings = ForwarderSettings(
            upstreams: [Upstream(.v4(0x7F00_0001)), Upstream(.v4(0x7F00_0002))],
            staticZone: try StaticZone(text: Array("own.test. 60 IN A 192.0.2.9\n".utf8)), listen: [])
        settings.lists = [try DomainName("dnsbl.test")]
        settings.zones = try zones.map { ForwarderZone(try DomainName($0)) }
        return Replay(settings)
    }

    private func tally(_ replay: Replay, _ zone: Zone) -> ForwarderStatistics.Tally? {
        replay.forwarder.statistics.zones[zone]
    }

    @Test("questions are counted with the nearest zone, TXT elsewhere as mail authentication, the rest as other")
    func zones() throws {
        let replay = try replay(zones: ["test", "b.test"])
        replay.run(
            """
            ask 2.0.0.127.dnsbl.test A
            sent 127.0.0.1 2.0.0.127.dnsbl.test A
            reply 127.0.0.1 2.0.0.127.dnsbl.test A NOERROR 300 127.0.0.2
            answer 2.0.0.127.dnsbl.test A NOERROR 300 127.0.0.2
            ask 2.0.0.127.dnsbl.test A
            answer 2.0.0.127.dnsbl.test A NOERROR 300 127.0.0.2
            ask a.b.test A
            sent 127.0.0.1 a.b.test A
            reply 127.0.0.1 a.b.test A NOERROR 300 192.0.2.1
            answer a.b.test A NOERROR 300 192.0.2.1
            ask own.test A
            answer own.test A NOERROR 60 192.0.2.9
            ask spf.example TXT
            sent 127.0.0.1 spf.example TXT
            reply 127.0.0.1 spf.example TXT NOERROR 300 v=spf1
            answer spf.example TXT NOERROR 300 v=spf1
            ask www.example A
            sent 127.0.0.1 www.example A
            """)
        // The script's end gave up what was still asked: SERVFAIL.
        let list = try #require(tally(replay, .configured(try DomainName("dnsbl.test"))))
        #expect(list.questions == 2 && list.cached == 1 && list.asked == 1 && list.failed == 0 && list.hitRate == 500)
        #expect(tally(replay, .configured(try DomainName("b.test")))?.asked == 1)
        let test = try #require(tally(replay, .configured(try DomainName("test"))))
        #expect(test.questions == 1 && test.local == 1 && test.hitRate == 1000)
        #expect(tally(replay, .authentication)?.questions == 1)
        let other = try #require(tally(replay, .other))
        #expect(other.questions == 1 && other.asked == 1 && other.failed == 1)
        #expect(replay.forwarder.statistics.clients[.others]?.questions == 6)
    }

    @Test("stale answers and failures are told apart; upstreams' queries, failures and round trips")
    func stale() throws {
        let replay = try replay()
        replay.run(
            """
            ask spf.example TXT
            sent 127.0.0.1 spf.example TXT
            wait 0.02s
            reply 127.0.0.1 spf.example TXT NOERROR 10 v=spf1
            answer spf.example TXT NOERROR 10 v=spf1
            wait 20s
            ask spf.example TXT
            ask spf.example TXT
            sent 127.0.0.1 spf.example TXT
            wait 1.8s
            warning upstream 127.0.0.1: no reply in 1.5s
            answer spf.example TXT NOERROR 30 v=spf1
            answer spf.example TXT NOERROR 30 v=spf1
            sent 127.0.0.2 spf.example TXT
            """)
        let counted = try #require(tally(replay, .authentication))
        #expect(counted.questions == 3 && counted.asked == 1 && counted.stale == 2 && counted.failed == 0)
        let upstreams = replay.forwarder.statistics.upstreams
        #expect(upstreams.map { "\($0.upstream)" } == ["127.0.0.1", "127.0.0.2"])
        #expect(upstreams.first?.queries == 2 && upstreams.first?.failures == 1)
        #expect(upstreams.first?.roundTrip == .milliseconds(20))
        #expect(upstreams.last?.queries == 1 && upstreams.last?.roundTrip == nil)
    }

    @Test("a reload keeps what was counted of the zones that stay; zones and clients are capped")
    func reload() throws {
        let replay = try replay(zones: ["gone.test"])
        let question = Question(try DomainName("a.dnsbl.test"), .a)
        for user in 0..<100 { _ = replay.forwarder.find(question, from: .user(UInt32(user))) }
        var settings = replay.forwarder.settings
        settings.zones = try (0..<1000).map { ForwarderZone(try DomainName("z\($0).test")) }
        replay.forwarder.adopt(settings)
        let statistics = replay.forwarder.statistics
        #expect(statistics.zones.count == Bookkeeping.maxZones + 2)
        #expect(statistics.zones[.configured(try DomainName("gone.test"))] == nil)
        #expect(statistics.zones[.configured(try DomainName("dnsbl.test"))]?.questions == 100)
        #expect(statistics.clients.count == Bookkeeping.maxClients + 1)
        #expect(statistics.clients[.others]?.questions == UInt64(100 - Bookkeeping.maxClients))
    }

    // MARK: Traces

    /// Asks for a trace; what it will hold is there once the script has run.
    private final class Asked { var trace: ForwarderTrace? }
    private func ask(_ replay: Replay, _ name: String, _ type: RecordType) throws -> Asked {
        let asked = Asked()
        replay.forwarder.trace(Question(try DomainName(name), type)) { asked.trace = $0 }
        return asked
    }

    @Test("who was asked, what came of it and when")
    func trace() throws {
        let replay = try replay()
        let asked = try ask(replay, "a.example", .a)
        replay.run(
            """
            sent 127.0.0.1 a.example A
            wait 1.5s
            warning upstream 127.0.0.1: no reply in 1.5s
            sent 127.0.0.2 a.example A
            wait 0.03s
            reply 127.0.0.2 a.example A NOERROR 300 192.0.2.1
            """)
        let trace = try #require(asked.trace)
        #expect(trace.standing == .absent && trace.source == .upstream && trace.time == .milliseconds(1530))
        #expect(trace.steps.map { "\($0.upstream)" } == ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2"])
        #expect(trace.steps.map(\.time) == [.zero, .milliseconds(1500), .milliseconds(1500), .milliseconds(1530)])
        #expect(
            trace.steps.map(\.event) == [
                .asked(isStream: false, withEDNS: true), .failed("no reply in 1.5s"),
                .asked(isStream: false, withEDNS: true), .answered(in: .milliseconds(30)),
            ])
        let again = try #require(try ask(replay, "a.example", .a).trace)
        #expect(again.standing == .fresh(left: .seconds(300)) && again.source == .cache && again.steps == [])
        let own = try #require(try ask(replay, "own.test", .a).trace)
        #expect(own.source == .staticZone)
        #expect(replay.forwarder.statistics.clients[.control]?.questions == 3)
    }

    @Test("why an answer is stale; a question that is being asked already is traced from now on")
    func staleTrace() throws {
        let replay = try replay()
        replay.run(
            """
            ask spf.example TXT
            sent 127.0.0.1 spf.example TXT
            reply 127.0.0.1 spf.example TXT NOERROR 10 v=spf1
            answer spf.example TXT NOERROR 10 v=spf1
            wait 20s
            """)
        let asked = try ask(replay, "spf.example", .txt)
        let joined = try ask(replay, "spf.example", .txt)
        replay.run(
            """
            sent 127.0.0.1 spf.example TXT
            wait 1.8s
            warning upstream 127.0.0.1: no reply in 1.5s
            sent 127.0.0.2 spf.example TXT
            """)
        for trace in [asked.trace, joined.trace] {
            let trace = try #require(trace)
            #expect(trace.standing == .stale(age: .seconds(10), left: .seconds(86_390)))
            #expect(trace.source == .stale && trace.body.rcode == .noError)
            #expect(trace.steps.contains { $0.event == .failed("no reply in 1.5s") })
        }
    }

    @Test("the steps kept are capped, however much is forged")
    func cap() throws {
        let recorder = TraceRecorder(began: UnixTime(seconds: 0))
        for _ in 0..<1000 { recorder.note(.ignored, Upstream(.v4(1)), now: UnixTime(seconds: 1)) }
        #expect(recorder.steps.count == TraceRecorder.maxSteps)
    }

    // MARK: Snapshot

    @Test("what lists deny is not kept over a restart; what they list is; the zone's bounds hold for what comes back")
    func snapshot() throws {
        let replay = try replay()
        replay.run(
            """
            ask a.dnsbl.test A
            sent 127.0.0.1 a.dnsbl.test A
            reply 127.0.0.1 a.dnsbl.test A NXDOMAIN 300
            answer a.dnsbl.test A NXDOMAIN
            ask b.dnsbl.test A
            sent 127.0.0.1 b.dnsbl.test A
            reply 127.0.0.1 b.dnsbl.test A NOERROR 300 127.0.0.2
            answer b.dnsbl.test A NOERROR 300 127.0.0.2
            ask none.example A
            sent 127.0.0.1 none.example A
            reply 127.0.0.1 none.example A NXDOMAIN 300
            answer none.example A NXDOMAIN
            """)
        let entries = Cache.Round.allCases.flatMap { replay.forwarder.part($0, from: 0, atMost: 100).entries }
        #expect(entries.map { "\($0.question)" } == ["b.dnsbl.test A", "none.example A"])
        let next = try self.replay()
        #expect(next.forwarder.restore(entries[...]) == 2)
        next.run(
            """
            ask b.dnsbl.test A
            answer b.dnsbl.test A NOERROR 300 127.0.0.2
            """)
        #expect(next.forwarder.flush(.name(try DomainName("b.dnsbl.test"))) == 1)
        #expect(next.forwarder.flush(.zone(try DomainName("example"))) == 1)
        #expect(next.forwarder.flush(.all) == 0)
    }
}
