// Asks a policy door whether it lives, as its own client, for a watchdog. Nothing is judged: end of stream is answered
// by end of stream, and that takes the thread that accepts and one of its connections.

import PosternSocket

enum PolicyProbe {
    /// - Parameter listener: the socket that the door listens on.
    static func isServed(_ listener: Int32, within limit: Duration) -> Bool {
        let deadline = MonotonicTime.after(limit)
        guard let endpoint = Socket.inspect(listener)?.endpoint else { return false }
        do throws(SocketError) {
            let client = try Socket.dial(endpoint, until: deadline)
            client.finishWriting()
            var octets: [UInt8] = []
            return try client.read(into: &octets, until: deadline) == 0
        } catch {
            return false
        }
    }
}
