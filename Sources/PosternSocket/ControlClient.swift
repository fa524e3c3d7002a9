// The CLI's end of a control socket: one request, and one answer up to the end of the stream within one deadline; or as
// many lines as come.

import Glibc
public import PosternMail

public enum ControlClient {
    /// Longest answer, in octets; a status with all its counters has some thousand.
    public static let maxAnswerOctets = 1 << 20

    /// Asks a daemon.
    /// - Parameter request: one line, without its line end.
    /// - Throws: `.system` with ENOENT or ECONNREFUSED when no daemon listens there, `.timedOut` when one does and does
    ///   not answer.
    public static func ask(
        _ endpoint: Endpoint, _ request: String, until deadline: MonotonicTime
    ) throws(SocketError) -> [UInt8] {
        let socket = try asked(endpoint, request, until: deadline)
        var answer: [UInt8] = []
        while true {
            do throws(SocketError) {
                guard try socket.read(into: &answer, until: deadline) > 0 else { return answer }
            } catch .closed where !answer.isEmpty {
                return answer  // likewise: our request was not read, which the kernel tells as a reset (unix(7))
            }
            guard answer.count <= maxAnswerOctets else {
                throw .system(operation: "read the answer of \(endpoint)", errno: EMSGSIZE)
            }
        }
    }

    /// Asks a daemon whose answer may be long, and takes each line as it comes.
    /// - Parameter silence: longest wait for more; nil: for ever, for what is followed.
    /// - Parameter take: a line without its end, of at most `maxAnswerOctets`; false: no more is wanted. What stands
    ///   behind the last line end is handed over too.
    /// - Throws: as `ask` does.
    public static func lines(
        _ endpoint: Endpoint, _ request: String, silence: Duration?, _ take: ([UInt8]) -> Bool
    ) throws(SocketError) {
        func deadline() -> MonotonicTime { silence.map { .after($0) } ?? .never }
        let socket = try asked(endpoint, request, until: deadline())
        var buffer: [UInt8] = []
        while true {
            var isAtEnd = false
            let known = buffer.count
            do throws(SocketError) {
                isAtEnd = try socket.read(into: &buffer, until: deadline()) == 0
            } catch .closed {
                isAtEnd = true  // a server that hangs up with our request unread: what it said first is all
            }
            var start = 0
            // No line ends in what was here before.
            while let end = buffer[max(start, min(known, buffer.count))...].firstIndex(of: 0x0A) {
                guard take(Array(buffer[start..<end])) else { return }
                start = end + 1
            }
            buffer.removeFirst(start)
            if isAtEnd {
                if !buffer.isEmpty { _ = take(buffer) }
                return
            }
            guard buffer.count <= maxAnswerOctets else {
                throw .system(operation: "read the answer of \(endpoint)", errno: EMSGSIZE)
            }
        }
    }

    private static func asked(
        _ endpoint: Endpoint, _ request: String, until deadline: MonotonicTime
    ) throws(SocketError) -> Socket {
        let socket = try Socket.dial(endpoint, until: deadline)
        do throws(SocketError) {
            try socket.write(Array((request + "\n").utf8), until: deadline)
        } catch .closed {
            // A server that does not listen to us has said why, and hung up.
        }
        return socket
    }
}
