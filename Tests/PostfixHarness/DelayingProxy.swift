// A server that is far away, or slow: what is sent to it goes on to another one after a delay, what that answers at
// once. TCP on loopback; a thread for each direction of a connection.

import Foundation
import Glibc
import Synchronization

public final class DelayingProxy: Sendable {
    public let port: UInt16
    private let target: UInt16
    private let listener: Int32
    private let microseconds = Atomic<UInt32>(0)

    /// - Parameter target: a port of 127.0.0.1.
    public init(to target: UInt16) throws {
        self.target = target
        port = try FreePort.tcp()
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard listener >= 0 else { throw HarnessError.system("socket") }
        guard Self.with(port, { bind(listener, $0, $1) }) == 0, listen(listener, 256) == 0 else {
            close(listener)
            throw HarnessError.system("listen")
        }
        Thread.detachNewThread { [self] in serve() }
    }

    /// What it serves goes on; a connection more is not taken.
    public func end() { shutdown(listener, Int32(SHUT_RDWR)) }

    /// From now on each piece that is sent waits so long.
    public func delay(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        microseconds.store(UInt32(seconds * 1_000_000 + attoseconds / 1_000_000_000_000), ordering: .relaxed)
    }

    private func serve() {
        while true {
            let client = accept(listener, nil, nil)
            guard client >= 0 else { break }
            let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            guard server >= 0, Self.with(target, { connect(server, $0, $1) }) == 0 else {
                close(client)
                close(server)
                continue
            }
            var on: Int32 = 1
            for end in [client, server] {
                setsockopt(end, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
            }
            let pair = Pair(client: client, server: server)
            Thread.detachNewThread { [self] in
                pair.relay(client, server) { microseconds.load(ordering: .relaxed) }
            }
            Thread.detachNewThread { pair.relay(server, client) { 0 } }
        }
        close(listener)
    }

    /// Both ends of one connection, closed when both directions are over.
    private final class Pair: Sendable {
        let client: Int32
        let server: Int32
        /// Directions that are not over.
        private let open = Atomic(2)

        init(client: Int32, server: Int32) { (self.client, self.server) = (client, server) }

        func relay(_ from: Int32, _ to: Int32, delay: () -> UInt32) {
            var octets = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = recv(from, &octets, octets.count, 0)
                guard count > 0 else { break }
                let microseconds = delay()
                if microseconds > 0 { usleep(microseconds) }
                guard send(to, octets, count, Int32(MSG_NOSIGNAL)) == count else { break }
            }
            shutdown(from, Int32(SHUT_RDWR))
            shutdown(to, Int32(SHUT_RDWR))
            if open.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
                close(client)
                close(server)
            }
        }
    }

    private static func with(_ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = LoopbackAddress.make(port: port)
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}
