// Connections that we open: streams over UNIX sockets and TCP, datagrams over UDP and UNIX sockets.

import Glibc
public import PosternMail

extension Socket {
    /// Opens a connection; for `.udp` a socket that talks to this peer alone, so that the kernel checks the source.
    /// - Throws: `.timedOut` at the deadline, `.system` with the errno of connect(2).
    public static func dial(_ endpoint: Endpoint, until deadline: MonotonicTime) throws(SocketError) -> Socket {
        let address = try SocketAddress(endpoint)
        switch endpoint {
        case .unix: return try dialUnix(address, SOCK_STREAM, "connect \(endpoint)", until: deadline)
        case .tcp: return try dialTCP(address, "connect \(endpoint)", until: deadline)
        case .udp:
            let socket = try make(family: address.family, type: SOCK_DGRAM, for: "\(endpoint)")
            guard address.withBorrowed({ connect(socket.descriptor, $0, $1) }) == 0 else {
                throw .last("connect \(endpoint)")
            }
            return socket
        }
    }

    /// A datagram socket that is connected to a UNIX path, or with a leading `@` to an abstract name: syslog's, the
    /// journal's, systemd's.
    public static func dialDatagram(path: String) throws(SocketError) -> Socket {
        let address = try SocketAddress(path: path, abstract: true)
        return try dialUnix(address, SOCK_DGRAM, "connect \(path)", until: .now() + .seconds(1))
    }

    /// A UNIX socket's connect(2) is done at once or waits for room in the listener's backlog; a non-blocking one would
    /// fail with EAGAIN and nothing to poll for, so that it waits itself, within SO_SNDTIMEO.
    /// Source: unix(7), socket(7).
    private static func dialUnix(
        _ address: SocketAddress, _ type: __socket_type, _ operation: @autoclosure () -> String,
        until deadline: MonotonicTime
    ) throws(SocketError) -> Socket {
        let socket = try make(family: AF_UNIX, type: type, for: operation())
        while true {
            var wait = timeval()
            if deadline != .never {
                let microseconds = max(1, deadline.remaining.nanoseconds / 1000)  // 0 would be for ever
                wait.tv_sec = Int(microseconds / 1_000_000)
                wait.tv_usec = Int(microseconds % 1_000_000)
            }
            let length = socklen_t(MemoryLayout<timeval>.size)
            guard setsockopt(socket.descriptor, SOL_SOCKET, SO_SNDTIMEO, &wait, length) == 0 else {
                throw .last("setsockopt")
            }
            if address.withBorrowed({ connect(socket.descriptor, $0, $1) }) == 0 { return socket }
            switch errno {
            case EINTR: if deadline.isPast { throw .timedOut(operation()) }
            case EAGAIN: throw .timedOut(operation())
            default: throw .last(operation())
            }
        }
    }

    private static func dialTCP(
        _ address: SocketAddress, _ operation: @autoclosure () -> String, until deadline: MonotonicTime
    ) throws(SocketError) -> Socket {
        let socket = try make(family: address.family, type: SOCK_STREAM, for: operation())
        try socket.setNonBlocking()
        var on: Int32 = 1  // short questions and answers: nothing is gained by Nagle's wait
        let size = socklen_t(MemoryLayout<Int32>.size)
        setsockopt(socket.descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, size)
        if address.withBorrowed({ connect(socket.descriptor, $0, $1) }) == 0 { return socket }
        guard errno == EINPROGRESS || errno == EINTR else { throw .last(operation()) }
        guard try socket.wait(for: POLLOUT, until: deadline) != 0 else { throw .timedOut(operation()) }
        var (code, length) = (Int32(0), size)
        guard getsockopt(socket.descriptor, SOL_SOCKET, SO_ERROR, &code, &length) == 0 else {
            throw .last("getsockopt")
        }
        guard code == 0 else { throw .system(operation: operation(), errno: code) }
        return socket
    }
}
