// Asks a DNS server itself, for the command line's `--resolver ADDRESS:PORT`: UDP with EDNS (RFC 6891), TCP when the
// answer is truncated (RFC 7766 §5). Random ids and the kernel's random ports, a connected socket so that only the
// server's own address is heard, and the question checked (RFC 5452 §9). No cache, no recursion, no second server.

import Glibc
public import PosternDNS
public import PosternMail

public struct DirectResolver: DNSAnswering, Sendable {
    private let server: IPAddress
    private let port: UInt16
    private let timeout: Duration

    /// Tries over UDP for each question. The first may take two fifths of the time.
    static let maxTries = 2
    /// Most sockets open at once; a larger batch is asked in several parts.
    static let maxSockets = 64
    /// Most datagrams that are looked at in one try. So many wrong ones are no accident, and each would be one more
    /// chance for whoever guesses (RFC 5452 §4.3).
    static let maxDatagrams = 64

    /// - Parameter timeout: for one call of `answers(to:)`.
    public init(_ server: IPAddress, port: UInt16 = 53, timeout: Duration = .seconds(10)) {
        self.server = server
        self.port = port
        self.timeout = timeout
    }

    public func prefetch(_ questions: [Question]) {}  // there is no cache that could be warmed

    public func answers(to questions: [Question]) -> [Answer] {
        let deadline = MonotonicTime.after(timeout)
        var answers: [Answer] = []
        var rest = questions[...]
        while !rest.isEmpty {
            let batch = Array(rest.prefix(Self.maxSockets))
            rest = rest.dropFirst(Self.maxSockets)
            answers += ask(batch, until: deadline)
        }
        return answers
    }

    private func ask(_ questions: [Question], until deadline: MonotonicTime) -> [Answer] {
        var answers = [Answer?](repeating: nil, count: questions.count)
        for tried in 0..<Self.maxTries {
            let share = tried + 1 < Self.maxTries ? deadline.remaining * 2 / 5 : deadline.remaining
            let tryDeadline = min(deadline, .after(share))
            // Each try has ids and ports of its own (RFC 5452 §9.2).
            let tries = questions.indices.filter { answers[$0] == nil }.map { index in
                Try(questions[index], index, server: .udp(host: "\(server)", port: port))
            }
            wait(for: tries, until: tryDeadline)
            for each in tries {
                answers[each.index] = each.isTruncated ? askOverTCP(each.question, until: deadline) : each.answer
            }
        }
        return answers.map { $0 ?? .temporaryFailure("\(server) gave no answer within \(timeout.inWords)") }
    }

    // MARK: UDP

    /// One datagram on its way. A class, since a list of them holds sockets.
    private final class Try {
        let question: Question
        let index: Int
        let id = UInt16.random(in: .min ... .max)  // the system's generator, as RFC 5452 §9.2 wants it
        let server: Endpoint
        let channel: DatagramChannel?
        var answer: Answer?
        var isTruncated = false
        var datagrams = 0

        init(_ question: Question, _ index: Int, server: Endpoint) {
            self.question = question
            self.index = index
            self.server = server
            do throws(SocketError) {
                let channel = DatagramChannel(try .dial(server, until: .after(.seconds(1))))
                let query = DNSCodec.query(id: id, question: question)
                _ = try channel.socket.send(query[...])  // no room for one datagram: as good as lost on the way
                self.channel = channel
            } catch {
                answer = .temporaryFailure("\(server): \(error)")
                channel = nil
            }
        }

        /// Reads what has come.
        func read() {
            guard let channel else { return }
            do throws(SocketError) {
                while answer == nil, !isTruncated {
                    var reply: [UInt8] = []
                    guard case .octets = try channel.socket.receive(into: &reply, atMost: 65_535) else { return }
                    datagrams += 1
                    guard datagrams <= maxDatagrams else {
                        answer = .temporaryFailure("more than \(maxDatagrams) datagrams that answer nothing")
                        return
                    }
                    if let refusal = DNSReply.refusal(in: reply, id: id) {
                        answer = .temporaryFailure("\(refusal)")
                    } else if !DNSReply.matches(reply, id: id, question: question) {
                        continue  // RFC 5452 §9.1: it was never an answer; the right one may still come
                    } else if DNSReply.isTruncated(reply) {
                        isTruncated = true
                    } else {
                        answer = DNSCodec.answer(to: question, from: reply)
                    }
                }
            } catch {
                answer = .temporaryFailure("\(server): \(error)")  // ECONNREFUSED: nobody listens
            }
        }

        var isOpen: Bool { answer == nil && !isTruncated }
    }

    private final class DatagramChannel {
        let socket: Socket
        init(_ socket: consuming Socket) { self.socket = socket }
    }

    private func wait(for tries: [Try], until deadline: MonotonicTime) {
        while true {
            let open = tries.filter(\.isOpen)
            guard !open.isEmpty, !deadline.isPast else { return }
            var entries = open.map {
                pollfd(fd: $0.channel?.socket.descriptor ?? -1, events: Int16(POLLIN), revents: 0)
            }
            let count = poll(&entries, nfds_t(entries.count), deadline.pollMilliseconds)
            guard count > 0 || errno == EINTR || count == 0 else { return }
            for (each, entry) in zip(open, entries) where entry.revents != 0 { each.read() }
        }
    }

    // MARK: TCP

    private func askOverTCP(_ question: Question, until deadline: MonotonicTime) -> Answer {
        do throws(SocketError) {
            let socket = try Socket.dial(.tcp(host: "\(server)", port: port), until: deadline)
            let id = UInt16.random(in: .min ... .max)
            var output: [UInt8] = []
            DNSFrames.append(DNSCodec.query(id: id, question: question, datagramOctets: nil), to: &output)
            try socket.write(output, until: deadline)
            var frames = DNSFrames()
            while true {
                if let frame = frames.next().map(Array.init) {
                    if let refusal = DNSReply.refusal(in: frame, id: id) { return .temporaryFailure("\(refusal)") }
                    guard DNSReply.matches(frame, id: id, question: question) else {
                        return .temporaryFailure("\(server) answered another question over TCP")
                    }
                    return DNSCodec.answer(to: question, from: frame)
                }
                guard try socket.read(into: &frames.input, until: deadline) > 0 else { throw .closed }
            }
        } catch {
            return .temporaryFailure("\(server) over TCP: \(error)")
        }
    }
}

/// The few octets of a reply that are looked at before the codec reads it.
enum DNSReply {
    /// Whether it is a response to this query: id, QR, one question, and that one. Source: RFC 5452 §9.1.
    static func matches(_ message: [UInt8], id: UInt16, question: Question) -> Bool {
        guard DNSCodec.messageID(of: message) == id, let flags = message.dropFirst(2).first, flags & 0x80 != 0 else {
            return false
        }
        // A first question cannot be compressed: there is nothing before it that it could point to (RFC 1035 §4.1.4).
        // Its name may come back in another case (RFC 4343 §4.1); lengths of labels are no letters.
        let (name, type) = (question.name.wire, question.type.rawValue)
        return message.dropFirst(4).starts(with: [0, 1])
            && message.dropFirst(12).prefix(name.count).lazy.map(\.asciiLowercased).elementsEqual(name)
            && message.dropFirst(12 + name.count).starts(
                with: [0, UInt8(truncatingIfNeeded: type >> 8), UInt8(truncatingIfNeeded: type), 0, 1])
    }

    /// The TC bit. Source: RFC 1035 §4.1.1.
    static func isTruncated(_ message: [UInt8]) -> Bool { (message.dropFirst(2).first ?? 0) & 0x02 != 0 }

    /// The response code of a reply that is a header alone: a server that could not read the question, or would not.
    /// Source: RFC 1035 §4.1.1, FORMERR and REFUSED.
    static func refusal(in message: [UInt8], id: UInt16) -> ResponseCode? {
        guard message.count == 12, DNSCodec.messageID(of: message) == id, let flags = message.dropFirst(2).first,
            flags & 0x80 != 0, let code = message.dropFirst(3).first.map({ $0 & 0x0F }), code != 0
        else { return nil }
        return ResponseCode(rawValue: UInt16(code))
    }
}
