// One client's stream (RFC 1035 §4.2.2, RFC 7766 §6.2.1.1): queries are taken as fast as they come, answers go out as
// they are found, out of order. A client with too many questions open, or that does not read its answers, is not read
// from; one that does not read for long is closed.

import Glibc
import NIOCore
import PosternDNS

final class StreamHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    private let forwarder: Forwarder
    private let connections: Connections
    private var context: ChannelHandlerContext?
    private var isClosing = false
    /// What was read and not yet taken: less than one message, and while paused what one read brought.
    private var received = ByteBuffer()
    private var outstanding = 0
    private var hasUnflushed = false
    private var wantsRead = false
    private var isTaking = false
    /// The client sends no more, or we take no more: the stream ends after the last answer.
    private var isEnding = false
    private var stallTimer: Scheduled<Void>?

    /// Most questions of one client that wait for upstreams; a client of ours asks at most 4096 at once.
    static let maxOutstanding = 4096
    /// How long a client may leave its answers unread.
    static let maxStall = TimeAmount.seconds(30)

    init(_ forwarder: Forwarder, _ connections: Connections) {
        self.forwarder = forwarder
        self.connections = connections
    }

    /// Whom its questions are counted with.
    private lazy var account = Account.connection(ObjectIdentifier(self))
    private var origin = ForwarderStatistics.Client.tcp

    /// The process at the other end of a UNIX socket, and its user. Source: unix(7), SO_PEERCRED.
    private static func peer(_ context: ChannelHandlerContext) -> (process: pid_t, user: UInt32)? {
        let pipeline = context.pipeline.syncOperations
        // An error, or no socket, means that the process is not known: the connection stands for it.
        return try? pipeline.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { descriptor in
            var peer: [pid_t] = [0, 0, 0]  // struct ucred: pid, uid, gid; Glibc's module hides it behind _GNU_SOURCE
            var size = socklen_t(peer.count * MemoryLayout<pid_t>.size)
            guard getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 else { return nil }
            guard let process = peer.first, process > 0 else { return nil }
            return (process, UInt32(bitPattern: peer.dropFirst().first ?? -1))
        } ?? nil
    }

    // MARK: The channel's life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if let peer = Self.peer(context) { (account, origin) = (.process(peer.process), .user(peer.user)) }
        connections.insert(self)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        stallTimer?.cancel()
        connections.remove(self)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .inputClosed? = event as? ChannelEvent {
            isEnding = true  // RFC 7766 §6.2.4: what was asked is still answered
            take()
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    /// Ends the stream after the answers that are still due.
    func end() {
        isEnding = true
        take()
    }

    func closeNow() { context?.close(promise: nil) }

    // MARK: Reading

    private var isPaused: Bool {
        guard let context else { return true }
        return outstanding >= Self.maxOutstanding || !context.channel.isWritable
    }

    func read(context: ChannelHandlerContext) {
        if isPaused || isEnding { wantsRead = true } else { context.read() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var part = unwrapInboundIn(data)
        if received.readableBytes == 0 { received = part } else { received.writeBuffer(&part) }
        take()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        stallTimer?.cancel()
        stallTimer = nil
        if context.channel.isWritable {
            take()
        } else {
            stallTimer = context.eventLoop.assumeIsolated().scheduleTask(in: Self.maxStall) { [weak self] in
                guard let self else { return }
                self.forwarder.counters.stalledConnections += 1
                self.closeNow()
            }
        }
        context.fireChannelWritabilityChanged()
    }

    /// Takes all whole messages that are there, as long as nothing forbids it.
    private func take() {
        guard !isTaking else { return }  // flushing may tell that the channel is writable again
        isTaking = true
        defer { isTaking = false }
        repeat {
            while !isPaused, let message = MessageFraming.next(in: &received) { take(message) }
            flush()
        } while !isPaused && MessageFraming.isWhole(received)
        received.discardReadBytes()
        if isEnding, outstanding == 0, !MessageFraming.isWhole(received) {
            closeAfterWriting()
        } else if wantsRead, !isPaused, !isEnding {
            wantsRead = false
            context?.read()
        }
    }

    // MARK: Answering

    private func take(_ octets: [UInt8]) {
        let query: QueryMessage
        do {
            query = try QueryMessage(octets)
        } catch {
            forwarder.counters.refusedMessages += 1
            switch error {
            case .answered(let reply): write(reply)
            case .ignored: closeNow()  // no DNS: whatever follows is none either
            }
            return
        }
        guard !forwarder.isOurOwn(query) else {
            forwarder.counters.refusedMessages += 1
            write(ResponseBody.refused(query))
            return
        }
        if let (body, elapsed) = forwarder.find(query.question, from: origin) {
            write(body.message(for: query, elapsed: elapsed, maxOctets: DNSCodec.maxMessageOctets))
            return
        }
        outstanding += 1
        forwarder.wait(for: query.question, client: account, from: origin) { [self] body in
            outstanding -= 1
            guard context != nil else { return }  // the client has gone
            write(body.message(for: query, elapsed: 0, maxOctets: DNSCodec.maxMessageOctets))
            take()
        }
    }

    private func write(_ message: [UInt8]) {
        guard let context else { return }
        context.write(wrapOutboundOut(ByteBuffer(bytes: MessageFraming.framed(message))), promise: nil)
        hasUnflushed = true
    }

    /// Closes once everything written so far has left, or could not for too long.
    private func closeAfterWriting() {
        guard let context, !isClosing else { return }
        isClosing = true
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { [weak self] _ in self?.closeNow() }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: written)  // done when those before it are
        stallTimer?.cancel()
        stallTimer = context.eventLoop.assumeIsolated().scheduleTask(in: Self.maxStall) { [weak self] in
            self?.closeNow()
        }
    }

    private func flush() {
        guard hasUnflushed else { return }
        hasUnflushed = false
        context?.flush()
    }
}

/// The streams that are open, so that they can be ended. Used on the event loop alone.
final class Connections {
    private var open: [ObjectIdentifier: StreamHandler] = [:]
    /// Told when the last stream is closed.
    var whenEmpty: (() -> Void)?

    /// Most streams open at once; more are closed as they come. Every process of ours keeps one for each busy thread.
    static let maxConnections = 4096

    var count: Int { open.count }
    var all: [StreamHandler] { Array(open.values) }

    func insert(_ handler: StreamHandler) {
        open[ObjectIdentifier(handler)] = handler
        if open.count > Self.maxConnections { handler.closeNow() }
    }

    func remove(_ handler: StreamHandler) {
        open[ObjectIdentifier(handler)] = nil
        if open.isEmpty { whenEmpty?() }
    }
}
