// One TCP connection to a shared store's server, below protocol and TLS. Every call ends at its deadline: the
// descriptor is non-blocking and waits are poll(2)'s. No SIGPIPE is ever raised, and no child inherits it.

internal import Glibc

struct StoreSocket: ~Copyable {
    private let descriptor: Int32
    /// Whom it is connected to.
    let address: StoreAddress

    /// Octets that one read takes at most.
    static let readSize = 16_384
    /// Seconds of silence after which the kernel asks whether the server is still there: its machine may be gone.
    private static let keepAlive: Int32 = 60

    deinit { close(descriptor) }  // an error leaves nothing to be done: the descriptor is gone anyway

    private init(owning descriptor: Int32, to address: StoreAddress) {
        self.descriptor = descriptor
        self.address = address
    }

    /// Connects to the first of the addresses that takes the connection.
    init(to addresses: [StoreAddress], until deadline: StoreDeadline, timeout: Duration) throws(StoreFailure) {
        var failure = StoreFailure.unreachable("it has no address")
        for (index, address) in addresses.enumerated() {
            // Each of those that are left gets its share of the time: the first may be one that nobody answers at.
            let share = deadline.remaining / Int64(addresses.count - index)
            let until = min(deadline, StoreDeadline(nanoseconds: StoreDeadline.now().nanoseconds &+ share))
            do throws(StoreFailure) {
                self = try Self.connected(to: address, until: until, timeout: timeout)
                return
            } catch {
                failure = error
            }
        }
        throw failure
    }

    private static func connected(
        to address: StoreAddress, until deadline: StoreDeadline, timeout: Duration
    ) throws(StoreFailure) -> StoreSocket {
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let descriptor = socket(address.family, kind, 0)
        guard descriptor >= 0 else { throw .system("socket") }
        let made = StoreSocket(owning: descriptor, to: address)
        made.set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)  // a command is one write; nothing is gained by waiting for more
        made.set(SOL_SOCKET, SO_KEEPALIVE, 1)
        made.set(Int32(IPPROTO_TCP), TCP_KEEPIDLE, keepAlive)
        let status = address.octets.withUnsafeBytes { octets in
            octets.baseAddress.map {
                connect(descriptor, $0.assumingMemoryBound(to: sockaddr.self), socklen_t(octets.count))
            } ?? -1
        }
        if status == 0 { return made }
        // EINTR: it goes on by itself (connect(2)).
        guard errno == EINPROGRESS || errno == EINTR else { throw .system("connect") }
        guard try made.wait(for: POLLOUT, until: deadline) else { throw .timeout(timeout) }
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size) == 0 else { throw .system("connect") }
        guard code == 0 else { throw .system("connect", code) }
        return made
    }

    private func set(_ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        // Each is a favour: without it the connection works as well.
        _ = setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    /// - Returns: false when the deadline came first.
    private func wait(for events: Int32, until deadline: StoreDeadline) throws(StoreFailure) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(truncatingIfNeeded: events), revents: 0)
        while true {
            let count = poll(&entry, 1, deadline.pollMilliseconds)
            if count > 0 { return true }  // errors too: the next call tells them
            if count == 0 { return false }
            guard errno == EINTR else { throw .system("poll") }
        }
    }

    /// Whether it is still open and silent, as a connection must be that nobody uses.
    var isQuiet: Bool {
        var octet: UInt8 = 0
        let count = recv(descriptor, &octet, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
        return count < 0 && (errno == EAGAIN || errno == EINTR)
    }

    /// Writes all of it.
    func send(
        _ octets: UnsafeRawBufferPointer, until deadline: StoreDeadline, timeout: Duration
    ) throws(StoreFailure) {
        var rest = octets[...]
        while !rest.isEmpty {
            let piece = UnsafeRawBufferPointer(rebasing: rest)
            let count = Glibc.send(descriptor, piece.baseAddress, piece.count, Int32(MSG_NOSIGNAL))
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno == EAGAIN {
                guard try wait(for: POLLOUT, until: deadline) else { throw .timeout(timeout) }
            } else if errno != EINTR {
                throw .system("write")
            }
        }
    }

    /// Waits for octets and hands them to `body`.
    func receive(
        until deadline: StoreDeadline, timeout: Duration,
        _ body: (UnsafeRawBufferPointer) throws(StoreFailure) -> Void
    ) throws(StoreFailure) {
        // Typed throws do not go through withUnsafeTemporaryAllocation's rethrow: a value carries the error out.
        let failure: StoreFailure? = withUnsafeTemporaryAllocation(byteCount: Self.readSize, alignment: 1) { space in
            do throws(StoreFailure) {
                while true {
                    guard try wait(for: POLLIN, until: deadline) else { throw .timeout(timeout) }
                    let count = recv(descriptor, space.baseAddress, space.count, 0)
                    if count > 0 {
                        try body(UnsafeRawBufferPointer(rebasing: space.prefix(count)))
                        return nil
                    }
                    guard count < 0 else { throw .unreachable("it closed the connection") }
                    guard errno == EAGAIN || errno == EINTR else { throw .system("read") }
                }
            } catch {
                return error
            }
        }
        if let failure { throw failure }
    }
}

extension StoreFailure {
    static func system(_ call: String, _ code: Int32 = errno) -> StoreFailure {
        .unreachable("\(call): \(String(cString: strerror(code)))")
    }
}
