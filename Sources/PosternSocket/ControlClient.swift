// The CLI's end of a control socket: one request, one answer up to the end of the stream, one deadline for all of it.

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
        let socket = try Socket.dial(endpoint, until: deadline)
        var answer: [UInt8] = []
        do throws(SocketError) {
            try socket.write(Array((request + "\n").utf8), until: deadline)
        } catch .closed {
            // A server that does not listen to us has said why, and hung up.
        }
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
}
