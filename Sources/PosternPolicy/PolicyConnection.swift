// One connection of Postfix's: reads requests, has them judged, writes answers, one at a time and in their order, on
// one thread with one buffer. What goes wrong here ends this connection and no other.

import Glibc
import PosternMail
import PosternSocket

final class PolicyConnection: Sendable {
    private let socket: Socket
    private let door: PolicyDoor

    init(_ socket: consuming Socket, door: PolicyDoor) {
        self.socket = socket
        self.door = door
    }

    /// What has arrived is still read, and then the end of the stream; wakes a thread that waits for more.
    func readNoMore() { shutdown(socket.descriptor, Int32(SHUT_RD)) }
    /// Wakes a thread that waits for anything.
    func cut() { socket.interrupt() }

    /// Serves until the connection ends. A thread's body.
    func serve() {
        defer { cut() }  // so that Postfix knows now, whoever still holds this value
        switch ending() {
        case .endOfStream: break
        case .malformed(let error):
            // SMTPD_POLICY_README: a server in trouble logs a warning and hangs up; Postfix tries again, then does what
            // its default_action says.
            door.counters.count(.malformed)
            door.log.warning("policy: malformed request: \(error); hanging up")
        case .slowRequest:
            door.counters.count(.slow)
            door.log.warning(
                "policy: expected a whole request within \(door.limits.requestTime), found a part; hanging up")
        case .slowReader:
            door.counters.count(.slow)
            door.log.warning("policy: an answer was not read within \(door.limits.answerTime); hanging up")
        case .broken: door.counters.count(.broken)  // Postfix is gone, and its own log says why
        }
    }

    /// How a connection ends.
    private enum Ending {
        /// Between two requests, as it should.
        case endOfStream
        case malformed(PolicyRequestError)
        case slowRequest, slowReader
        /// In the middle of a request, or before its answer was written.
        case broken
    }

    private func ending() -> Ending {
        var parser = PolicyRequestParser()
        var message = MessageUnderWay()
        var deadline = MonotonicTime.never
        while true {
            let answered: Int
            do throws(PolicyRequestError) {
                switch try answerRequests(&parser, &message) {
                case .ended(let ending): return ending
                case .answered(let count): answered = count
                }
            } catch {
                return .malformed(error)
            }
            let isWithinRequest = !parser.isBetweenRequests
            if isWithinRequest, answered > 0 { deadline = .after(door.limits.requestTime) }
            do throws(SocketError) {
                if isWithinRequest {
                    guard try socket.read(into: &parser.input, until: deadline) > 0 else { return .broken }
                } else {
                    // Without a time limit: Postfix keeps a connection for what may come (max_idle, 300 s).
                    guard try socket.readWaiting(into: &parser.input) > 0 else { return .endOfStream }
                    deadline = .after(door.limits.requestTime)
                }
            } catch .timedOut {
                return .slowRequest
            } catch {
                return isWithinRequest ? .broken : .endOfStream
            }
        }
    }

    private enum Progress {
        /// So many requests were whole.
        case answered(Int)
        case ended(Ending)
    }

    private func answerRequests(
        _ parser: inout PolicyRequestParser, _ message: inout MessageUnderWay
    ) throws(PolicyRequestError) -> Progress {
        var count = 0
        while let request = try parser.next() {
            door.underWay.enter()
            defer { door.underWay.leave() }
            do throws(SocketError) {
                try socket.write(door.answer(request, &message), until: .after(door.limits.answerTime))
            } catch .timedOut {
                return .ended(.slowReader)
            } catch {
                return .ended(.broken)
            }
            count += 1
        }
        return .answered(count)
    }
}

extension Socket {
    /// Waits for octets, without a time limit, and appends them: one system call where `read` needs three.
    /// - Returns: how many; 0 at the end of the stream.
    fileprivate func readWaiting(into buffer: inout [UInt8], atMost limit: Int = 4096) throws(SocketError) -> Int {
        var (count, code) = (0, Int32(0))
        withUnsafeTemporaryAllocation(byteCount: limit, alignment: 1) { space in
            repeat {
                count = recv(descriptor, space.baseAddress, space.count, 0)
                code = errno
            } while count < 0 && code == EINTR
            if count > 0 { buffer.append(contentsOf: space.prefix(count)) }
        }
        guard count >= 0 else { throw .system(operation: "recv", errno: code) }
        return count
    }
}
