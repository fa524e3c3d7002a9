// Real answers (Tests/Fixtures/dns-answers), damaged in every octet, cut, doubled, and fed to a forwarder that waits for
// them, as datagrams and over TCP: it never traps, keeps nothing that was not asked for, and has nothing left in hand at
// the end.

import NIOCore
import NIOEmbedded
import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternForwarder

/// A forwarder whose every query is answered by the test.
private final class Target {
    private let loop = EmbeddedEventLoop()
    private let log = RecordingLog()
    /// Where octets can be delivered: the newest query, its id's place filled in.
    private var deliver: (([UInt8]) -> Void)?
    private var id: UInt16 = 0
    private(set) lazy var forwarder = Forwarder(
        ForwarderSettings(upstreams: [Upstream(.v4(0xC000_0201))], listen: []), loop: loop, log: log,
        now: { [loop] in UnixTime(seconds: 1_000_000) + .nanoseconds(Int64(loop.now.uptimeNanoseconds)) },
        network: UpstreamNetwork(
            datagram: { [unowned self] attempt, _, _ in
                Socket { self.take(attempt.query) { [weak attempt] octets in attempt?.received(octets) } }
            },
            dial: { [unowned self] _, stream, _, loop in
                let wire = Wire { framed in
                    var buffer = ByteBuffer(bytes: framed)
                    while let query = MessageFraming.next(in: &buffer) {
                        self.take(query) { stream.received(ByteBuffer(bytes: MessageFraming.framed($0))) }
                    }
                }
                loop.assumeIsolated().execute { stream.opened() }
                return wire
            }))

    private final class Socket: UpstreamSocket {
        let leave: () -> Void
        init(_ leave: @escaping () -> Void) { self.leave = leave }
        func start(timeout: Duration) { leave() }
        func close() {}
    }
    private final class Wire: StreamWire {
        let leave: ([UInt8]) -> Void
        init(_ leave: @escaping ([UInt8]) -> Void) { self.leave = leave }
        func write(_ octets: [UInt8]) { leave(octets) }
        func close() {}
    }

    private func take(_ query: [UInt8], _ deliver: @escaping ([UInt8]) -> Void) {
        id = DNSCodec.messageID(of: query) ?? 0
        self.deliver = deliver
    }

    private(set) var asked = 0
    private(set) var answered = 0

    /// Delivers a message, with the id of the query that waits; asks first if none does.
    /// - Parameter damage: is done to the message once it has its id.
    func feed(_ recorded: RecordedAnswer, times: Int = 1, _ damage: (inout [UInt8]) -> Void = { _ in }) {
        if asked == answered {
            forwarder.flush(.all)
            asked += 1
            forwarder.wait(for: recorded.question, client: .datagrams) { [self] _ in answered += 1 }
            loop.run()
        }
        var octets = recorded.octets
        octets[0] = UInt8(id >> 8)
        octets[1] = UInt8(id & 0xFF)
        damage(&octets)
        for _ in 0..<times {
            deliver?(octets)
            loop.run()
        }
    }

    /// Lets the questions that are open end by themselves.
    func end() { loop.advanceTime(by: .seconds(60)) }
    var counters: ForwarderCounters { forwarder.snapshot }
}

@Suite("hostile packets")
struct HostilePacketTests {
    @Test("every octet flipped, every cut, every one three times: no trap, no growth")
    func damage() throws {
        let target = Target()
        for recorded in try RecordedAnswer.all() {
            for place in recorded.octets.indices {
                target.feed(recorded) { $0[place] ^= 0xFF }
                target.feed(recorded) { $0[place] ^= 0x01 }
                target.feed(recorded) { $0 = Array($0.prefix(place)) }
                // Whatever it said, only the question that was asked may have an answer in the cache.
                if target.counters.cachedAnswers > 1 {
                    Issue.record("\(recorded), octet \(place): \(target.counters.cachedAnswers) answers are kept")
                    return
                }
            }
            target.feed(recorded, times: 3)
            target.feed(recorded) { $0 += $0 }
            target.end()
            #expect(target.asked == target.answered, "\(recorded)")
        }
        let counters = target.counters
        #expect(target.asked > 1000 && counters.ignoredReplies > 10_000)
        #expect(counters.upstreamQueries < 16 * UInt64(target.asked))
        #expect(counters.cachedAnswers <= 1 && counters.cachedOctets < 8192)
        // Nothing is left in hand: the next question is asked, and answered.
        let first = try #require(try RecordedAnswer.all().first)
        target.forwarder.flush(.all)
        target.feed(first)
        #expect(target.asked == target.answered)
        target.forwarder.abandonAll()
    }
}
