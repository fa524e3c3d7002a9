// Sockets that we listen on. A UNIX socket that a dead process left behind is taken over; one that a living process
// listens on never is. Two processes that start in the same instant are kept apart by systemd, not here.

public import Glibc
public import PosternMail

extension Socket {
    /// Listens; for `.udp` binds only.
    /// - Parameter mode: the permissions of a UNIX socket; nobody can connect before they hold.
    /// - Throws: `.inUse` and `.notASocket` for a path that is not ours to take.
    public static func listen(
        _ endpoint: Endpoint, mode: mode_t = 0o660, backlog: Int32 = 512
    ) throws(SocketError) -> Socket {
        let address = try SocketAddress(endpoint)
        let type = if case .udp = endpoint { SOCK_DGRAM } else { SOCK_STREAM }
        let socket = try make(family: address.family, type: type, for: "\(endpoint)")
        try socket.setNonBlocking()  // a client that left between poll(2) and accept(2) must not block us
        if case .unix(let path) = endpoint {
            try removeStale(path: path)
            // The file gets the socket's own mode, less the umask, in the instant it appears (Linux's unix_bind), and
            // chmod adds what the umask took. A connect before listen(2) is refused.
            guard fchmod(socket.descriptor, mode) == 0 else { throw .last("fchmod for \(endpoint)") }
            guard address.withBorrowed({ bind(socket.descriptor, $0, $1) }) == 0 else {
                throw .last("bind \(endpoint)")
            }
            guard chmod(path, mode) == 0 else { throw .last("chmod \(endpoint)") }
        } else {
            var on: Int32 = 1
            let size = socklen_t(MemoryLayout<Int32>.size)
            if type == SOCK_STREAM { setsockopt(socket.descriptor, SOL_SOCKET, SO_REUSEADDR, &on, size) }
            guard address.withBorrowed({ bind(socket.descriptor, $0, $1) }) == 0 else {
                throw .last("bind \(endpoint)")
            }
        }
        if type == SOCK_STREAM, Glibc.listen(socket.descriptor, backlog) != 0 { throw .last("listen \(endpoint)") }
        return socket
    }

    /// Removes the UNIX socket that a dead process left at `path`; nothing happens where there is nothing.
    ///
    /// For listeners of other libraries too: libmilter would remove a living process's socket without asking.
    /// - Throws: `.inUse` when somebody listens there, `.notASocket` when it is another kind of file.
    public static func removeStale(path: String) throws(SocketError) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT { return }
            throw .last("lstat \(path)")
        }
        guard status.st_mode & S_IFMT == S_IFSOCK else { throw .notASocket(path: path) }
        let address = try SocketAddress(path: path)
        let probe = try make(family: AF_UNIX, type: SOCK_STREAM, for: path)
        try probe.setNonBlocking()
        if address.withBorrowed({ connect(probe.descriptor, $0, $1) }) == 0 { throw .inUse(path: path) }
        switch errno {
        case ECONNREFUSED: break  // nobody listens
        case ENOENT: return
        case EAGAIN, EPROTOTYPE: throw .inUse(path: path)  // a full backlog; a datagram socket in use
        default: throw .last("connect \(path)")
        }
        guard unlink(path) == 0 || errno == ENOENT else { throw .last("unlink \(path)") }
    }

    /// Waits for a connection.
    /// - Returns: a socket that is connected; `nil` at the deadline, or when the listener was interrupted.
    public func accept(until deadline: MonotonicTime) throws(SocketError) -> Socket? {
        while true {
            let events = try wait(for: POLLIN, until: deadline)
            guard events != 0 else { return nil }
            let descriptor = Glibc.accept(self.descriptor, nil, nil)
            if descriptor >= 0 {
                // Not in one step (accept4 is hidden without _GNU_SOURCE): no daemon of ours runs programs.
                guard fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 else { throw .last("fcntl") }
                return Socket(owning: descriptor)
            }
            switch errno {
            case EINVAL: return nil  // shut down, on TCP
            case EAGAIN where events & POLLHUP != 0: return nil  // shut down, on a UNIX socket
            case EINTR, EAGAIN, ECONNABORTED, EPROTO: continue  // accept(2): the client was quicker
            default: throw .last("accept")
            }
        }
    }

    /// The port that a TCP or UDP socket is bound to: what the kernel chose where 0 was asked for.
    public var boundPort: UInt16? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard result == 0 else { return nil }
        return withUnsafeBytes(of: storage) { octets in
            switch Int32(storage.ss_family) {
            case AF_INET: UInt16(bigEndian: octets.load(as: sockaddr_in.self).sin_port)
            case AF_INET6: UInt16(bigEndian: octets.load(as: sockaddr_in6.self).sin6_port)
            default: nil
            }
        }
    }
}
