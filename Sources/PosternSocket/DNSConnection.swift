// One connection to postern-dns and one batch of questions on it. All questions go out before the first answer is read,
// as far as the kernel takes them; from then on writing and reading alternate, so that two full buffers never wait for
// each other. Answers come in any order (RFC 7766 §6.2.1.1 has clients match them by id, and §7 by the question too).

import Glibc
import PosternDNS

/// Questions that are asked together, and what is known of them.
struct DNSBatch {
    let questions: [Question]
    /// As many as there are questions; `nil` while open.
    private(set) var answers: [Answer?]
    private(set) var openCount: Int

    init(questions: [Question]) {
        self.questions = questions
        answers = Array(repeating: nil, count: questions.count)
        openCount = questions.count
    }

    /// The indices of the questions that have no answer.
    var open: [Int] { answers.indices.filter { answers[$0] == nil } }

    mutating func set(_ answer: Answer, at index: Int) {
        guard answers.indices.contains(index), answers[index] == nil else { return }
        answers[index] = answer
        openCount -= 1
    }
}

/// How a batch ended on one connection.
enum ExchangeOutcome {
    /// Every question is answered and nothing is left to read: the connection may be used again.
    case complete
    /// The deadline came; answers may still arrive.
    case late
    /// What was answered is enough; other answers may still arrive.
    case enough
    /// The connection ended under the questions.
    case broken(SocketError)
    /// The server sent what no server should; open questions cannot be trusted to this connection.
    case violation(String)
}

/// A connection that belongs to one thread at a time.
///
/// `@unchecked Sendable`: it is only ever reached by the thread that took it out of the client's free list.
final class DNSConnection: @unchecked Sendable {
    private let socket: Socket
    private var frames = DNSFrames()
    private var nextID: UInt16

    /// - Parameter firstID: the id of the first question; nobody can guess or spoof on a stream, so any will do.
    init(_ socket: consuming Socket, firstID: UInt16 = .random(in: .min ... .max)) {
        self.socket = socket
        nextID = firstID
    }

    /// Asks the open questions and reads until they are answered, or those that are suffice.
    func exchange(
        _ batch: inout DNSBatch, until deadline: MonotonicTime, isEnough: ([Answer?]) -> Bool = { _ in false }
    ) -> ExchangeOutcome {
        let open = batch.open
        let first = nextID
        nextID = first &+ UInt16(truncatingIfNeeded: open.count)  // ids differ in a batch, and from the last one's
        var output: [UInt8] = []
        output.reserveCapacity(open.count * 64)
        for (offset, index) in open.enumerated() {
            let id = first &+ UInt16(truncatingIfNeeded: offset)
            DNSFrames.append(DNSCodec.query(id: id, question: batch.questions[index], datagramOctets: nil), to: &output)
        }
        var unsent = output[...]
        do throws(SocketError) {
            while batch.openCount > 0 {
                let sent = try socket.send(unsent)
                unsent = unsent.dropFirst(sent)
                if sent > 0, !unsent.isEmpty { continue }
                let events = try socket.wait(for: unsent.isEmpty ? POLLIN : POLLIN | POLLOUT, until: deadline)
                guard events != 0 else { return .late }
                guard events & ~POLLOUT != 0 else { continue }
                switch try socket.receive(into: &frames.input) {
                case .nothingYet: continue
                case .endOfStream: return .broken(.closed)
                case .octets: break
                }
                while let frame = frames.next() {
                    if let complaint = Self.take(frame, first: first, open: open, into: &batch) {
                        return .violation(complaint)
                    }
                }
                if batch.openCount > 0, isEnough(batch.answers) { return .enough }
            }
        } catch {
            return .broken(error)
        }
        // Octets after the last answer belong to no question.
        return frames.isEmpty ? .complete : .violation("octets that nobody asked for")
    }

    /// Files one answer.
    /// - Returns: what is wrong with it, if anything is.
    private static func take(
        _ frame: ArraySlice<UInt8>, first: UInt16, open: [Int], into batch: inout DNSBatch
    ) -> String? {
        guard let id = DNSCodec.messageID(of: frame) else { return "a message of \(frame.count) octets" }
        let offset = Int(id &- first)
        guard open.indices.contains(offset) else { return "an answer with an unknown id" }
        let index = open[offset]
        guard batch.answers[index] == nil else { return "a second answer to one question" }
        let question = batch.questions[index]
        do {
            let reply = try ReplyMessage(Array(frame))
            guard reply.question == question else { return "an answer to another question" }
            batch.set(Resolution(of: question, in: reply).answer, at: index)
            return nil
        } catch {
            return "a broken answer (\(error))"
        }
    }
}

/// Messages in a stream, each after its length in two octets. Source: RFC 1035 §4.2.2, RFC 7766 §8.
struct DNSFrames {
    /// Octets that were received; the taken ones at its front go at the next chance.
    var input: [UInt8] = []
    private var taken = 0

    /// Whether every octet belongs to a message that was taken.
    var isEmpty: Bool { taken == input.count }

    /// The next whole message; `nil` when there is none yet. A message has at most 65,535 octets by its form.
    mutating func next() -> ArraySlice<UInt8>? {
        let rest = input[taken...]
        guard let high = rest.first, let low = rest.dropFirst().first else { return compact() }
        let count = Int(high) << 8 | Int(low)
        let message = rest.dropFirst(2).prefix(count)
        guard message.count == count else { return compact() }
        taken = message.endIndex
        return message
    }

    private mutating func compact() -> ArraySlice<UInt8>? {
        if taken > 0 { input.removeFirst(taken) }
        taken = 0
        return nil
    }

    static func append(_ message: [UInt8], to output: inout [UInt8]) {
        output.append(UInt8(truncatingIfNeeded: message.count >> 8))
        output.append(UInt8(truncatingIfNeeded: message.count))
        output += message
    }
}
