// One query to one upstream: what is asked over what, with a random id (RFC 5452 §9.2) and a cookie (RFC 7873). It leaves
// by an `UpstreamSocket`; whoever asked is told what came back.

import NIOCore
import PosternDNS
import PosternMail

/// Who asked.
protocol TryOwner: AnyObject {
    /// Octets came from the upstream's address and port.
    func received(_ octets: [UInt8], on attempt: UpstreamTry)
    /// There will be no answer.
    /// - Parameter isWorthALine: false for what is the domain's fault rather than the upstream's.
    func failed(_ attempt: UpstreamTry, _ reason: String, isWorthALine: Bool)
    /// The connection that it shared ended before its answer came: on another one there may be an answer.
    func disconnected(_ attempt: UpstreamTry, _ reason: String)
}

/// Carries one query, and brings what comes back to its try.
protocol UpstreamSocket: AnyObject {
    func start(timeout: Duration)
    func close()
    /// The reply should be there by now; it is still waited for.
    func isLate()
    /// What came was not the reply.
    func distrust()
}

extension UpstreamSocket {
    func isLate() {}
    func distrust() {}  // of a datagram's sender nothing is known
}

final class UpstreamTry {
    /// What a query is asked over.
    struct Transport {
        var isStream: Bool
        /// With an OPT record, and a cookie where the upstream may know them.
        var withEDNS: Bool
    }

    let question: Question
    let upstream: UpstreamState
    let transport: Transport
    /// RFC 5452 §9.2: unpredictable, like the port.
    let id: UInt16
    /// RFC 7873 §5.1; `nil`: none was sent.
    let cookie: DNSCookie?
    /// Its number among all.
    let serial: Int
    /// When it left.
    private(set) var began: UnixTime?
    private weak var owner: (any TryOwner)?
    private var socket: (any UpstreamSocket)?
    /// The upstream said something, of use or not.
    var hasReplied = false
    /// Nothing of use is awaited any more.
    var isOver = false
    /// The upstream wants another cookie than it was sent.
    var wasBadCookie = false
    private(set) var isClosed = false

    /// The connection that it shares; `nil`: it is a datagram.
    private let stream: UpstreamStream?
    /// Whether a reply must repeat the name in its mixed case.
    private let mixesCase: Bool
    /// The query's octets.
    let query: [UInt8]

    /// - Parameter timeout: how long a connection may take, where one must be opened.
    init(
        _ question: Question, _ upstream: UpstreamState, _ transport: Transport, timeout: Duration,
        _ forwarder: Forwarder, owner: any TryOwner
    ) {
        stream = transport.isStream ? forwarder.stream(to: upstream, timeout: timeout) : nil
        id = stream?.freshID() ?? UInt16.random(in: .min ... .max)
        cookie = transport.withEDNS ? upstream.nextCookie(now: forwarder.now()) : nil
        let plain = DNSCodec.query(
            id: id, question: question, datagramOctets: transport.withEDNS ? DNSCodec.datagramOctets : nil,
            options: cookie.map { [$0.option] } ?? [])
        // On a stream nobody can forge from afar.
        mixesCase = forwarder.settings.mixesCase && !transport.isStream
        query =
            mixesCase ? DNSCodec.mixingCase(of: plain, name: question.name, bits: .random(in: .min ... .max)) : plain
        serial = forwarder.nextTry()
        self.question = question
        self.upstream = upstream
        self.transport = transport
        self.owner = owner
    }

    func start(_ forwarder: Forwarder, timeout: Duration) {
        let socket: any UpstreamSocket
        if let stream {
            socket = StreamPlace(self, on: stream)
        } else {
            socket = forwarder.network.datagram(self, forwarder.settings.sourcePorts, forwarder.loop)
        }
        self.socket = socket
        began = forwarder.now()
        upstream.queries += 1
        socket.start(timeout: timeout)
    }

    func close() {
        isClosed = true
        socket?.close()
        socket = nil
    }

    /// Whether it is a datagram with EDNS to the upstream, and had no reply.
    func isUnansweredEDNS(of upstream: UpstreamState) -> Bool {
        self.upstream === upstream && transport.withEDNS && !transport.isStream && !hasReplied
    }

    func isLate() { socket?.isLate() }
    func distrust() { socket?.distrust() }

    func received(_ octets: [UInt8]) {
        guard !isClosed else { return }
        owner?.received(octets, on: self)
    }

    func disconnected(_ reason: String) {
        guard !isClosed else { return }
        owner?.disconnected(self, reason)
    }

    func failed(_ reason: String) {
        guard !isClosed else { return }
        owner?.failed(self, reason, isWorthALine: true)
    }

    /// The octets as the reply to our question, if they are: RFC 5452 §9.1.
    func reply(_ octets: [UInt8]) -> ReplyMessage? {
        guard DNSCodec.messageID(of: octets) == id else { return nil }
        guard let reply = try? ReplyMessage(octets) else { return nil }  // the caller counts it, whatever it was
        if reply.question == question {
            return !mixesCase || DNSCodec.repeatsQuestion(octets, of: query, name: question.name) ? reply : nil
        }
        // RFC 6891 §7, seen in the wild: an error may come without the question.
        let isError = reply.rcode != .noError && reply.rcode != .nameError
        return reply.question == nil && isError ? reply : nil
    }
}
