// One socket, closed exactly once. Blocking for its caller, never longer than its deadline: every call on the
// descriptor itself is non-blocking (MSG_DONTWAIT) and waits in poll(2).
// No SIGPIPE is ever raised. Not for many sockets on one thread; postern-dns has NIO for that.

import Glibc

public struct Socket: ~Copyable, Sendable {
    /// Open, owned, closed at the end of this value. Lent only: whoever closes it breaks this value.
    public let descriptor: Int32

    /// Takes over an open descriptor, for example one that systemd passed.
    public init(owning descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }  // an error of close(2) leaves nothing to be done: the descriptor is gone anyway

    static func make(family: Int32, type: __socket_type, for place: String) throws(SocketError) -> Socket {
        let descriptor = socket(family, Int32(type.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .last("socket for \(place)") }
        return Socket(owning: descriptor)
    }

    func setNonBlocking() throws(SocketError) {
        let flags = fcntl(descriptor, F_GETFL)
        guard flags >= 0, fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0 else { throw .last("fcntl") }
    }

    // MARK: Waiting

    /// Waits for `events` of poll(2).
    /// - Returns: what happened, or no bit at all when the deadline came first. Errors and hang-ups are told by the
    ///   next read or write.
    public func wait(for events: Int32, until deadline: MonotonicTime) throws(SocketError) -> Int32 {
        var entry = pollfd(fd: descriptor, events: Int16(truncatingIfNeeded: events), revents: 0)
        while true {
            let count = poll(&entry, 1, deadline.pollMilliseconds)
            if count > 0 { return Int32(entry.revents) }
            if count == 0 {
                if deadline.isPast { return 0 }
                continue  // a deadline beyond what poll(2) can wait for
            }
            guard errno == EINTR else { throw .last("poll") }
        }
    }

    // MARK: Reading

    /// What a read that does not wait found.
    public enum Received: Hashable, Sendable {
        case octets(Int)
        case nothingYet, endOfStream
    }

    /// Appends what has arrived, at most `limit` octets, and does not wait.
    public func receive(into buffer: inout [UInt8], atMost limit: Int = 16_384) throws(SocketError) -> Received {
        let flags = Int32(MSG_DONTWAIT)
        var (count, code) = (0, Int32(0))
        withUnsafeTemporaryAllocation(byteCount: max(1, limit), alignment: 1) { space in
            repeat {
                count = recv(descriptor, space.baseAddress, space.count, flags)
                code = errno
            } while count < 0 && code == EINTR
            if count > 0 { buffer.append(contentsOf: space.prefix(count)) }
        }
        if count > 0 { return .octets(count) }
        if count == 0 { return .endOfStream }
        if code == EAGAIN || code == EWOULDBLOCK { return .nothingYet }
        errno = code
        throw .last("recv")
    }

    /// Waits for octets and appends them.
    /// - Returns: how many, at least one and at most `limit`; 0 at the end of the stream.
    /// - Throws: `.timedOut` at the deadline, `.closed` when the peer reset the connection.
    public func read(
        into buffer: inout [UInt8], atMost limit: Int = 16_384, until deadline: MonotonicTime
    ) throws(SocketError) -> Int {
        while true {
            switch try receive(into: &buffer, atMost: limit) {
            case .octets(let count): return count
            case .endOfStream: return 0
            case .nothingYet:
                guard try wait(for: POLLIN, until: deadline) != 0 else { throw .timedOut("read") }
            }
        }
    }

    // MARK: Writing

    /// Writes what the kernel takes now, and does not wait.
    /// - Returns: how many octets were taken; 0 when there is no room.
    public func send(_ octets: ArraySlice<UInt8>) throws(SocketError) -> Int {
        guard !octets.isEmpty else { return 0 }
        let flags = Int32(MSG_DONTWAIT | MSG_NOSIGNAL)
        while true {
            let count = octets.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, flags) }
            if count >= 0 { return count }
            if errno == EAGAIN || errno == EWOULDBLOCK { return 0 }
            guard errno == EINTR else { throw .last("send") }
        }
    }

    /// Writes all octets.
    /// - Throws: `.timedOut` at the deadline, with any part of them written; `.closed` when the peer is gone.
    public func write(_ octets: some Collection<UInt8>, until deadline: MonotonicTime) throws(SocketError) {
        var rest = Array(octets)[...]
        while !rest.isEmpty {
            let count = try send(rest)
            rest = rest.dropFirst(count)
            guard count > 0 || rest.isEmpty else {
                guard try wait(for: POLLOUT, until: deadline) != 0 else { throw .timedOut("write") }
                continue
            }
        }
    }

    /// Sends end of stream; reading goes on.
    public func finishWriting() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Ends both directions, so that every thread that waits in this socket, accepting included, wakes at once.
    public func interrupt() { shutdown(descriptor, Int32(SHUT_RDWR)) }
}
