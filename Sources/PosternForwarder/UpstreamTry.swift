// One query to one upstream: what is asked over what, with a random id (RFC 5452 §9.2). It leaves by an `UpstreamSocket`
// of its own; whoever asked is told what came back.

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
}

/// Carries one query, and brings what comes back to its try.
protocol UpstreamSocket: AnyObject {
    func start(timeout: Duration)
    func close()
}

final class UpstreamTry {
    enum Transport: Equatable {
        case datagram(withEDNS: Bool)
        case stream
    }
    /// Makes the socket of a try, which leaves from one of the ports.
    typealias Network = (UpstreamTry, ClosedRange<UInt16>, any EventLoop) -> any UpstreamSocket

    let question: Question
    let upstream: UpstreamState
    let transport: Transport
    /// RFC 5452 §9.2: unpredictable, like the port.
    let id = UInt16.random(in: .min ... .max)
    /// When it left.
    private(set) var began: UnixTime?
    private weak var owner: (any TryOwner)?
    private var socket: (any UpstreamSocket)?
    /// The upstream said something, of use or not.
    var hasReplied = false
    private(set) var isClosed = false

    /// Whether a reply must repeat the name in its mixed case.
    private let mixesCase: Bool

    init(
        _ question: Question, _ upstream: UpstreamState, _ transport: Transport, mixesCase: Bool, owner: any TryOwner
    ) {
        let plain = DNSCodec.query(
            id: id, question: question,
            datagramOctets: transport == .datagram(withEDNS: false) ? nil : DNSCodec.datagramOctets)
        // On a stream nobody can forge from afar.
        self.mixesCase = mixesCase && transport != .stream
        query =
            self.mixesCase
            ? DNSCodec.mixingCase(of: plain, name: question.name, bits: .random(in: .min ... .max)) : plain
        self.question = question
        self.upstream = upstream
        self.transport = transport
        self.owner = owner
    }

    func start(_ forwarder: Forwarder, timeout: Duration) {
        let socket = forwarder.network(self, forwarder.settings.sourcePorts, forwarder.loop)
        self.socket = socket
        began = forwarder.now()
        socket.start(timeout: timeout)
    }

    func close() {
        isClosed = true
        socket?.close()
        socket = nil
    }

    func received(_ octets: [UInt8]) {
        guard !isClosed else { return }
        owner?.received(octets, on: self)
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

    /// The query's octets.
    let query: [UInt8]
}
