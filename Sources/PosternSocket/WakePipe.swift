// Wakes a thread that waits in poll(2): how a server is told to stop, or that something is ready. Not for signal handlers:
// DaemonSignals has a pipe of its own, which must be there before any value.

public import Glibc

/// A pipe whose octets mean nothing but "look".
public struct WakePipe: ~Copyable, Sendable {
    private let reader: Socket
    private let writer: Socket

    public init() throws(SocketError) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0, let reader = ends.first, let writer = ends.last else { throw .last("pipe") }
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        self.reader = Socket(owning: reader)
        self.writer = Socket(owning: writer)
    }

    /// From any thread, any number of times.
    public func wake() {
        var octet: UInt8 = 1
        _ = write(writer.descriptor, &octet, 1)  // a full pipe wakes as well
    }

    /// For poll(2): readable once `wake` was called, until `drain`.
    public var entry: pollfd { pollfd(fd: reader.descriptor, events: Int16(POLLIN), revents: 0) }

    /// Waits until `wake` is called, or was.
    /// - Returns: false when the deadline came first.
    public func wait(until deadline: MonotonicTime) throws(SocketError) -> Bool {
        try reader.wait(for: POLLIN, until: deadline) != 0
    }

    /// From now on it has not been woken.
    public func drain() {
        var octets: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0]
        while read(reader.descriptor, &octets, octets.count) > 0 {}
    }
}
