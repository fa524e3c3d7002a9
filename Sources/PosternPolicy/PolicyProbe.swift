// Asks a policy door whether it lives, as its own client, for a watchdog. Nothing is judged: end of stream is answered
// by end of stream, and that takes the thread that accepts and one of its connections.

import PosternSocket

enum PolicyProbe {
    /// - Parameter listener: the socket that the door listens on.
    /// - Returns: what went wrong; nil where it lives.
    static func trouble(_ listener: Int32, within limit: Duration) -> String? {
        let deadline = MonotonicTime.after(limit)
        guard let endpoint = Socket.inspect(listener)?.endpoint else { return "its own socket is gone" }
        let client: Socket
        do throws(SocketError) { client = try Socket.dial(endpoint, until: deadline) } catch {
            return "cannot dial its own socket: \(error)"
        }
        do throws(SocketError) {
            client.finishWriting()
            var octets: [UInt8] = []
            return try client.read(into: &octets, until: deadline) == 0
                ? nil : "its own socket answered what nobody asked"
        } catch {
            return "its own socket: \(error)"
        }
    }
}
