// The socket of a query's datagram, its own: from a random port, connected, so that the kernel lets through only what
// comes from the upstream's address and port (RFC 5452 §9.1, §9.2).

import NIOCore
import NIOPosix
import PosternDNS
import PosternMail

final class NetworkSocket: UpstreamSocket {
    private let attempt: UpstreamTry
    private let sourcePorts: ClosedRange<UInt16>
    private let loop: any EventLoop
    private var channel: (any Channel)?
    private var isClosed = false

    /// Tries at a random port of our own choice before the kernel chooses one.
    private static let portTries = 4
    /// Largest datagram read from an upstream; more than it was told that we take.
    private static let maxDatagramOctets = 4096

    init(_ attempt: UpstreamTry, sourcePorts: ClosedRange<UInt16>, on loop: any EventLoop) {
        self.attempt = attempt
        self.sourcePorts = sourcePorts
        self.loop = loop
    }

    func start(timeout: Duration) {
        bind(triesLeft: Self.portTries)
    }

    func close() {
        isClosed = true
        channel?.close(promise: nil)
        channel = nil
    }

    private func bind(triesLeft: Int) {
        let port = triesLeft > 0 ? UInt16.random(in: sourcePorts) : 0  // RFC 5452 §9.2
        let bound = NIOLoopBound(self, eventLoop: loop)
        let bootstrap = DatagramBootstrap(group: loop)
            .channelInitializer { channel in
                bound.value.channel = channel  // NIO 2.101 leaves it open when it cannot be bound
                return channel.eventLoop.makeSucceededVoidFuture()
            }
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Self.maxDatagramOctets))
        do {
            let any = try SocketAddress(
                ipAddress: attempt.upstream.upstream.address.isV6 ? "::" : "0.0.0.0", port: Int(port))
            let remote = try SocketAddress(attempt.upstream.upstream)
            bootstrap.bind(to: any).assumeIsolated().whenComplete { [self] result in
                switch result {
                case .success(let channel): send(on: channel, to: remote)
                case .failure(let error):
                    channel?.close(promise: nil)
                    channel = nil
                    if isClosed { return }
                    if triesLeft > 0 {
                        bind(triesLeft: triesLeft - 1)  // taken, most likely
                    } else {
                        attempt.failed("no socket to ask it: \(error)")
                    }
                }
            }
        } catch {
            attempt.failed("\(error)")
        }
    }

    private func send(on channel: any Channel, to remote: SocketAddress) {
        guard !isClosed else {
            channel.close(promise: nil)
            return
        }
        do { try channel.pipeline.syncOperations.addHandler(DatagramReplyHandler(attempt)) } catch {
            attempt.failed("\(error)")
            return
        }
        channel.connect(to: remote).assumeIsolated().whenComplete { [self] result in
            switch result {
            case .success: write(attempt.query, to: channel)
            case .failure(let error): attempt.failed("cannot be reached: \(error)")
            }
        }
    }

    private func write(_ octets: [UInt8], to channel: any Channel) {
        guard !isClosed else { return }
        // An error of the write is reported by the channel too: as one caught, or by its end.
        channel.writeAndFlush(ByteBuffer(bytes: octets), promise: nil)
    }
}

/// Takes the datagrams that come from the upstream.
private final class DatagramReplyHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    private let attempt: UpstreamTry
    init(_ attempt: UpstreamTry) { self.attempt = attempt }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        attempt.received(Array(unwrapInboundIn(data).data.readableBytesView))
    }

    /// ECONNREFUSED: nobody listens there. Source: udp(7), RFC 1122 §4.1.3.3.
    func errorCaught(context: ChannelHandlerContext, error: any Error) { attempt.failed("\(error)") }
    func channelInactive(context: ChannelHandlerContext) { attempt.failed("the socket was closed") }
}

extension IPAddress {
    fileprivate var isV6: Bool { if case .v6 = self { true } else { false } }
}
