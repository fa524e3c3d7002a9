// A query's socket, its own: a datagram from a random port, connected, so that the kernel lets through only what comes
// from the upstream's address and port (RFC 5452 §9.1, §9.2); or a stream (RFC 1035 §4.2.2).

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
        switch attempt.transport {
        case .datagram: bind(triesLeft: Self.portTries)
        case .stream: connect(timeout: timeout)
        }
    }

    func close() {
        isClosed = true
        channel?.close(promise: nil)
        channel = nil
    }

    // MARK: Datagrams

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

    // MARK: Streams

    private func connect(timeout: Duration) {
        do {
            let remote = try SocketAddress(attempt.upstream.upstream)
            ClientBootstrap(group: loop).connectTimeout(.nanoseconds(timeout.nanoseconds)).connect(to: remote)
                .assumeIsolated().whenComplete { [self] result in
                    switch result {
                    case .success(let channel): sendFramed(on: channel)
                    case .failure(let error): attempt.failed("no TCP connection: \(error)")
                    }
                }
        } catch {
            attempt.failed("\(error)")
        }
    }

    private func sendFramed(on channel: any Channel) {
        guard !isClosed else {
            channel.close(promise: nil)
            return
        }
        self.channel = channel
        do { try channel.pipeline.syncOperations.addHandler(StreamReplyHandler(attempt)) } catch {
            attempt.failed("\(error)")
            return
        }
        write(MessageFraming.framed(attempt.query), to: channel)
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

/// Takes the one message that the upstream sends on a stream.
private final class StreamReplyHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let attempt: UpstreamTry
    private var received = ByteBuffer()
    init(_ attempt: UpstreamTry) { self.attempt = attempt }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var part = unwrapInboundIn(data)
        received.writeBuffer(&part)
        // A message has at most 65,535 octets, so that what is kept is bounded; nothing after the first is read.
        guard let octets = MessageFraming.next(in: &received) else { return }
        received.clear()
        attempt.received(octets)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { attempt.failed("\(error)") }
    func channelInactive(context: ChannelHandlerContext) { attempt.failed("it closed the TCP connection") }
}

extension IPAddress {
    fileprivate var isV6: Bool { if case .v6 = self { true } else { false } }
}

extension SocketAddress {
    fileprivate init(_ upstream: Upstream) throws {
        try self.init(ipAddress: "\(upstream.address)", port: Int(upstream.port))
    }
}
