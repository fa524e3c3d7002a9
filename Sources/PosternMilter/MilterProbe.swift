// A milter session with ourselves, up to the answer to its first command: proof that the listener and a worker live.
// Only what Postfix says when it opens a connection, and a goodbye; no filter is made for it.

import CMilter
import Glibc

enum MilterProbe {
    /// Protocol 6, all actions and steps that Postfix 3.7 offers (POSTFIX.md 5): length, `O`, three numbers.
    private static let offer: [UInt8] =
        [0, 0, 0, 13, UInt8(ascii: "O"), 0, 0, 0, 6, 0, 0, 0x01, 0xFF, 0, 0x1F, 0xFF, 0xFF]
    private static let goodbye: [UInt8] = [0, 0, 0, 1, UInt8(ascii: "Q")]

    /// - Parameter listener: the socket that libmilter listens on.
    /// - Parameter milliseconds: for the answer; connecting never waits.
    /// - Returns: what went wrong; nil where the answer was one to our offer.
    static func trouble(_ listener: Int32, milliseconds: Int32) -> String? {
        let client: Int32
        do throws(MilterServerError) { client = try dial(listener) } catch {
            return "cannot dial its own socket: \(error)"
        }
        defer { Glibc.close(client) }
        var entry = pollfd(fd: client, events: Int16(POLLOUT), revents: 0)
        guard poll(&entry, 1, milliseconds) == 1, write(offer, to: client) else {
            return "its own socket takes no session"
        }
        entry.events = Int16(POLLIN)
        guard poll(&entry, 1, milliseconds) == 1 else { return "its own socket did not answer in \(milliseconds) ms" }
        var answer = [UInt8](repeating: 0, count: 5)  // its length and letter; the rest says nothing to us
        let count = recv(client, &answer, answer.count, Int32(MSG_DONTWAIT))
        _ = write(goodbye, to: client)  // it hears of our end either way
        return count == answer.count && answer.last == UInt8(ascii: "O")
            ? nil : "its own socket answered no milter session"
    }

    private static func write(_ octets: [UInt8], to client: Int32) -> Bool {
        send(client, octets, octets.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)) == octets.count
    }

    /// Begins a connection to the address that `listener` is bound to.
    static func dial(_ listener: Int32) throws(MilterServerError) -> Int32 {
        var address = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let (client, code) = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic -> (Int32, code: Int32) in
                guard getsockname(listener, generic, &length) == 0 else { return (-1, errno) }
                let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
                let client = socket(Int32(generic.pointee.sa_family), type, 0)
                guard client >= 0 else { return (-1, errno) }
                if Glibc.connect(client, generic, length) == 0 || errno == EINPROGRESS { return (client, 0) }
                let code = errno
                Glibc.close(client)
                return (-1, code)
            }
        }
        guard client >= 0 else {
            let place = MilterListener.socketName(listener)?.place ?? "to descriptor \(listener)"
            throw .system("connect \(place)", MilterListener.message(code))
        }
        return client
    }
}
