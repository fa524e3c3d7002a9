// A server's insides while it runs: the event loop, the forwarder on it, the listening channels and their socket files.

import NIOCore
import NIOPosix
import PosternDNS
import PosternMail
import Synchronization

final class Running: Sendable {
    private let group: MultiThreadedEventLoopGroup
    private let loop: any EventLoop
    /// Touched on the loop alone.
    private let forwarder: NIOLoopBoundBox<Forwarder>
    private let connections: NIOLoopBoundBox<Connections>
    private let opened = Mutex(Opened())

    /// Held by other threads while they wait for the loop, so that it is not shut down under them.
    private let isAlive = Mutex(true)

    private struct Opened {
        var streams: [any Channel] = []
        var datagrams: [any Channel] = []
        var files: [UnixSocketFile] = []
        var endpoints: [Endpoint] = []
    }

    init(
        group: MultiThreadedEventLoopGroup, settings: ForwarderSettings, log: any LogSink,
        now: @escaping @Sendable () -> UnixTime
    ) {
        self.group = group
        let loop = group.next()
        self.loop = loop
        forwarder = .makeBoxSendingValue(Forwarder(settings, loop: loop, log: log, now: now), eventLoop: loop)
        connections = .makeBoxSendingValue(Connections(), eventLoop: loop)
    }

    var endpoints: [Endpoint] { opened.withLock { $0.endpoints } }

    // MARK: Listening

    func listen(_ endpoint: Endpoint, _ mode: UInt32, backlog: CInt) throws(ForwarderError) {
        switch endpoint {
        case .unix(let path):
            let (descriptor, file) = try UnixSocketFile.bind(path: path, mode: mode)
            opened.withLock { $0.files.append(file) }
            try listen(onBound: descriptor, what: "\(endpoint)", backlog: backlog)
            opened.withLock { $0.endpoints.append(endpoint) }
        case .tcp(let host, let port):
            let address = try loopback(host, port, endpoint)
            let channel = try bound(endpoint) { try streams(backlog).bind(to: address).wait() }
            opened.withLock {
                $0.streams.append(channel)
                $0.endpoints.append(.tcp(host: host, port: UInt16(clamping: channel.localAddress?.port ?? 0)))
            }
        case .udp(let host, let port):
            let address = try loopback(host, port, endpoint)
            let channel = try bound(endpoint) { try datagrams().bind(to: address).wait() }
            opened.withLock {
                $0.datagrams.append(channel)
                $0.endpoints.append(.udp(host: host, port: UInt16(clamping: channel.localAddress?.port ?? 0)))
            }
        }
    }

    /// Listens on a stream socket that is bound, and perhaps listens, already; it is ours from now on.
    func listen(onBound descriptor: CInt, what: String, backlog: CInt) throws(ForwarderError) {
        let channel = try bound(what) { try streams(backlog).withBoundSocket(descriptor).wait() }
        opened.withLock { $0.streams.append(channel) }
    }

    /// RFC 5358 §4: a server that answers the world is a weapon; ours has no access list, so it stays on loopback.
    private func loopback(_ host: String, _ port: UInt16, _ endpoint: Endpoint) throws(ForwarderError) -> SocketAddress
    {
        guard let address = host == "localhost" ? .v4(0x7F00_0001) : IPAddress(host), address.isLoopback else {
            throw ForwarderError("\(endpoint): expected a loopback address; postern-dns serves this host alone")
        }
        return try bound(endpoint) { try SocketAddress(ipAddress: "\(address)", port: Int(port)) }
    }

    private func bound<Value>(
        _ what: some CustomStringConvertible, _ body: () throws -> Value
    ) throws(ForwarderError) -> Value {
        do { return try body() } catch { throw ForwarderError("\(what): \(error)") }
    }

    private func streams(_ backlog: CInt) -> ServerBootstrap {
        ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { [forwarder, connections] channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = StreamHandler(forwarder.value, connections.value)
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
    }

    private func datagrams() -> DatagramBootstrap {
        let (count, size) = (DatagramHandler.vectorCount, DatagramHandler.maxQueryOctets)
        return DatagramBootstrap(group: group)
            .channelOption(.datagramVectorReadMessageCount, value: count)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: count * size))
            .channelInitializer { [forwarder] channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(DatagramHandler(forwarder.value))
                }
            }
    }

    // MARK: On the loop

    /// Runs `body` on the event loop and waits for it; `nil` after the end. Never to be called on the loop itself.
    func onLoop<Value: Sendable>(_ body: @escaping @Sendable (Forwarder) -> Value) -> Value? {
        isAlive.withLock { isAlive in
            guard isAlive else { return nil }
            // It fails only when the loop is shut down, which waits for this lock.
            return try? loop.submit { [forwarder] in body(forwarder.value) }.wait()
        }
    }

    /// Runs `body` on the event loop and does not wait.
    func later(_ body: @escaping @Sendable () -> Void) {
        isAlive.withLock { if $0 { loop.execute(body) } }
    }

    /// Listens no more, lets streams end after the answers that are due, and waits for that.
    func drain(for duration: Duration) {
        let channels = opened.withLock { opened in
            for file in opened.files { file.remove() }
            defer { opened.files = [] }
            return opened.streams
        }
        for channel in channels { channel.close(promise: nil) }
        let drained = loop.makePromise(of: Void.self)
        loop.execute { [connections] in
            let connections = connections.value
            connections.whenEmpty = { drained.succeed() }
            for handler in connections.all { handler.end() }
            if connections.count == 0 { drained.succeed() }
        }
        let timer = loop.scheduleTask(in: .nanoseconds(duration.nanoseconds)) { drained.succeed() }
        try? drained.futureResult.wait()  // it is never failed
        timer.cancel()
        _ = onLoop { $0.abandonAll() }
    }

    /// Closes everything at once.
    func shutDown() {
        isAlive.withLock { $0 = false }
        for file in opened.withLock({ $0.files }) { file.remove() }
        loop.execute { [connections] in
            for handler in connections.value.all { handler.closeNow() }
        }
        // An error would say that it was shut down before; there is nothing more to close then.
        try? group.syncShutdownGracefully()
    }
}
