// The wire of an `UpstreamStream`: a TCP connection of SwiftNIO. It is closed when the stream says so or the upstream
// does; a half-closed one is closed, since nobody can be asked on it.

import NIOCore
import NIOPosix
import PosternDNS
import PosternMail

final class NetworkStream: StreamWire {
    private var channel: (any Channel)?
    private var isClosed = false

    /// Connects. What it was told to write while it did is not kept: a stream writes once it was `opened`.
    init(to upstream: Upstream, for stream: UpstreamStream, timeout: Duration, on loop: any EventLoop) {
        let remote: SocketAddress
        do { remote = try SocketAddress(upstream) } catch {
            loop.assumeIsolated().execute { stream.ended("\(error)") }
            return
        }
        ClientBootstrap(group: loop).connectTimeout(.nanoseconds(timeout.nanoseconds))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .connect(to: remote).assumeIsolated().whenComplete { [self] result in
                switch result {
                case .success(let channel): take(channel, stream)
                case .failure(let error): stream.ended("no TCP connection: \(error)")
                }
            }
    }

    private func take(_ channel: any Channel, _ stream: UpstreamStream) {
        guard !isClosed else {
            channel.close(promise: nil)
            return
        }
        self.channel = channel
        do { try channel.pipeline.syncOperations.addHandler(StreamReplyHandler(stream)) } catch {
            stream.ended("\(error)")
            return
        }
        stream.opened()
    }

    func write(_ octets: [UInt8]) {
        // An error of the write is reported by the channel too: as one caught, or by its end.
        channel?.writeAndFlush(ByteBuffer(bytes: octets), promise: nil)
    }

    func close() {
        isClosed = true
        channel?.close(promise: nil)
        channel = nil
    }
}

/// Hands on what comes, and the end.
private final class StreamReplyHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let stream: UpstreamStream
    init(_ stream: UpstreamStream) { self.stream = stream }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { stream.received(unwrapInboundIn(data)) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { stream.ended("\(error)") }
    func channelInactive(context: ChannelHandlerContext) { stream.ended("it closed the TCP connection") }
}

extension SocketAddress {
    init(_ upstream: Upstream) throws {
        try self.init(ipAddress: "\(upstream.address)", port: Int(upstream.port))
    }
}
