// A client that stops reading, with a scripted clock: it is not read from, and closed when it has stalled for long.

import NIOCore
import NIOEmbedded
import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternForwarder

@Suite("a client that stops reading")
struct StalledClientTests {
    private func forwarder(_ loop: EmbeddedEventLoop) throws -> Forwarder {
        Forwarder(
            ForwarderSettings(upstreams: [], staticZone: try StaticZone(text: "a.test. 300 TXT one"), listen: []),
            loop: loop, log: RecordingLog(),
            now: { UnixTime(seconds: 1_000_000) + .nanoseconds(Int64(loop.now.uptimeNanoseconds)) })
    }

    @Test("what it asks meanwhile is not answered; after thirty seconds it is closed")
    func stalled() throws {
        let loop = EmbeddedEventLoop()
        let forwarder = try forwarder(loop)
        let connections = Connections()
        let channel = EmbeddedChannel(handler: StreamHandler(forwarder, connections), loop: loop)
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/test")).wait()
        let query = ByteBuffer(
            bytes: MessageFraming.framed(DNSCodec.query(id: 1, question: try question("a.test TXT"))))
        try channel.writeInbound(query)
        #expect(try channel.readOutbound(as: ByteBuffer.self) != nil)

        channel.isWritable = false
        channel.pipeline.fireChannelWritabilityChanged()
        for _ in 0..<100 { try channel.writeInbound(query) }
        #expect(forwarder.counters.queries == 1)
        #expect(try channel.readOutbound(as: ByteBuffer.self) == nil)
        loop.advanceTime(by: .seconds(29))
        #expect(channel.isActive && forwarder.counters.stalledConnections == 0)
        loop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive && forwarder.counters.stalledConnections == 1)
        #expect(connections.count == 0)
        _ = try? channel.finish()  // it is closed already
    }

    @Test("one that reads again is answered, and not closed")
    func again() throws {
        let loop = EmbeddedEventLoop()
        let forwarder = try forwarder(loop)
        let channel = EmbeddedChannel(handler: StreamHandler(forwarder, Connections()), loop: loop)
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/test")).wait()
        channel.isWritable = false
        channel.pipeline.fireChannelWritabilityChanged()
        let query = ByteBuffer(
            bytes: MessageFraming.framed(DNSCodec.query(id: 1, question: try question("a.test TXT"))))
        for _ in 0..<3 { try channel.writeInbound(query) }
        loop.advanceTime(by: .seconds(29))
        channel.isWritable = true
        channel.pipeline.fireChannelWritabilityChanged()
        loop.advanceTime(by: .seconds(60))
        #expect(channel.isActive && forwarder.counters.queries == 3)
        for _ in 0..<3 { #expect(try channel.readOutbound(as: ByteBuffer.self) != nil) }
        _ = try? channel.finish()  // nothing is expected of the end
    }
}
