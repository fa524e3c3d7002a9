// Questions by UDP on a loopback address (RFC 1035 §4.2.1), for `dig` and stub resolvers: one datagram, one answer.
// What does not fit into the datagram that the client takes is sent truncated, and the client comes again by TCP.

import NIOCore
import PosternDNS

final class DatagramHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>

    private let forwarder: Forwarder
    private var context: ChannelHandlerContext?

    /// The largest answer to a client that speaks no EDNS. Source: RFC 1035 §4.2.1.
    static let plainOctets = 512
    /// Largest query read, in octets: a name of 255 and an OPT record with room for options.
    static let maxQueryOctets = 2048
    /// Datagrams read by one system call.
    static let vectorCount = 16

    init(_ forwarder: Forwarder) { self.forwarder = forwarder }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }
    /// A client that has gone before its answer came (ECONNREFUSED) is no reason to close the door for the others.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        let client = envelope.remoteAddress
        let query: QueryMessage
        do {
            query = try QueryMessage(Array(envelope.data.readableBytesView))
        } catch {
            forwarder.counters.refusedMessages += 1
            if case .answered(let reply) = error { write(reply, to: client) }
            return
        }
        guard !forwarder.isOurOwn(query) else {
            forwarder.counters.refusedMessages += 1
            write(ResponseBody.refused(query), to: client)
            return
        }
        // RFC 6891 §6.2.4: never more than the client takes, nor than what surely passes.
        let most = query.datagramOctets.map { min(Int($0), Int(DNSCodec.datagramOctets)) } ?? Self.plainOctets
        if let (body, elapsed) = forwarder.find(query.question, from: .udp) {
            write(body.message(for: query, elapsed: elapsed, maxOctets: most), to: client)
            return
        }
        forwarder.wait(for: query.question, client: .datagrams, from: .udp) { [self] body in
            write(body.message(for: query, elapsed: 0, maxOctets: most), to: client)
            context.flush()
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) { context.flush() }

    private func write(_ message: [UInt8], to client: SocketAddress) {
        // When the kernel's buffer and NIO's are full the answer is lost, as a datagram may be; the client asks again.
        guard let context, context.channel.isWritable else { return }
        let envelope = AddressedEnvelope(remoteAddress: client, data: ByteBuffer(bytes: message))
        context.write(wrapOutboundOut(envelope), promise: nil)
    }
}
