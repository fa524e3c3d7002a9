// The control socket of a daemon: the CLI sends one line, gets one document, and the stream ends. One thread serves all
// connections, and nobody can hold it: a request, a connection's whole time and the number of connections are capped,
// and nothing here waits for one client. What a request means is the daemon's.

public import Glibc
public import PosternMail
import Synchronization

public final class ControlServer: Sendable {
    /// Longest request, its line end included; our longest is a word with a name behind it.
    public static let maxRequestOctets = 1024
    /// Most connections at once; more wait in the listener's backlog for one of these to end.
    public static let maxConnections = 16
    /// How long one connection may take from its beginning to its end. The CLI's own deadline is longer.
    public static let maxTime = Duration.seconds(10)
    /// How long no connection is accepted after accept(2) failed (no descriptors, no memory).
    private static let pauseAfterFailure = Duration.seconds(1)

    /// What a request is answered with; called on the server's thread, one at a time.
    public typealias Answer = @Sendable (_ request: String) -> [UInt8]

    /// Why a client is not listened to.
    public enum Refusal: Hashable, Sendable {
        /// Neither root nor the daemon's own user.
        case foreignUser(uid_t)
        case requestTooLong
    }

    private let listener: Socket
    private let allowedUsers: Set<uid_t>
    private let maxTime: Duration
    private let answer: Answer
    private let refuse: @Sendable (Refusal) -> [UInt8]
    /// A pipe: an octet in it ends `run`.
    private let wakeReader: Socket
    private let wakeWriter: Socket

    /// - Parameter listener: a listening UNIX socket that does not block. It is closed, never shut down: systemd may
    ///   hold it too.
    /// - Parameter allowedUsers: whom to answer; default: root and this process's user.
    public init(
        listener: consuming Socket, allowedUsers: Set<uid_t> = [0, geteuid()],
        maxTime: Duration = ControlServer.maxTime, answer: @escaping Answer,
        refuse: @escaping @Sendable (Refusal) -> [UInt8]
    ) throws(SocketError) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0, let reader = ends.first, let writer = ends.last else { throw .last("pipe") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        wakeReader = Socket(owning: reader)
        wakeWriter = Socket(owning: writer)
        self.listener = listener
        self.allowedUsers = allowedUsers
        self.maxTime = maxTime
        self.answer = answer
        self.refuse = refuse
    }

    /// Ends `run`; from any thread, any number of times.
    public func stop() {
        var octet: UInt8 = 1
        _ = Glibc.write(wakeWriter.descriptor, &octet, 1)
    }

    /// Serves until `stop`. Blocks.
    public func run() {
        var connections: [Connection] = []
        var acceptsFrom = MonotonicTime(nanoseconds: .min)
        while true {
            let now = MonotonicTime.now()
            let accepts = connections.count < Self.maxConnections && now >= acceptsFrom
            var entries = [pollfd(fd: wakeReader.descriptor, events: Int16(POLLIN), revents: 0)]
            // poll(2) passes over an entry with a negative descriptor.
            entries.append(pollfd(fd: accepts ? listener.descriptor : -1, events: Int16(POLLIN), revents: 0))
            entries += connections.map(\.entry)
            var next = connections.map(\.deadline).min() ?? .never
            if now < acceptsFrom { next = min(next, acceptsFrom) }
            if poll(&entries, nfds_t(entries.count), next.pollMilliseconds) < 0, errno != EINTR { return }
            if entries.first?.revents != 0 { return }
            for (connection, entry) in zip(connections, entries.dropFirst(2)) where entry.revents != 0 {
                connection.advance(self)
            }
            connections.removeAll { $0.isDone || $0.deadline.isPast }
            guard accepts, entries.dropFirst().first?.revents != 0 else { continue }
            do throws(SocketError) {
                guard let client = try listener.accept(until: .now()) else { continue }
                let connection = Connection(client, deadline: .after(maxTime))
                connection.greet(self)
                if !connection.isDone { connections.append(connection) }
            } catch {
                acceptsFrom = .after(Self.pauseAfterFailure)
            }
        }
    }

    /// One client. Lives on the server's thread.
    private final class Connection {
        let socket: Socket
        let deadline: MonotonicTime
        private(set) var isDone = false
        private var input: [UInt8] = []
        /// What is left to be written; nil before there is an answer.
        private var output: ArraySlice<UInt8>?

        init(_ socket: consuming Socket, deadline: MonotonicTime) {
            self.socket = socket
            self.deadline = deadline
        }

        var entry: pollfd {
            pollfd(fd: socket.descriptor, events: Int16(output == nil ? POLLIN : POLLOUT), revents: 0)
        }

        /// A client that may not ask is told so before it has said anything.
        func greet(_ server: ControlServer) {
            do throws(SocketError) {
                let user = try socket.peerUser()
                if !server.allowedUsers.contains(user) {
                    output = server.refuse(.foreignUser(user))[...]
                    write()
                }
            } catch {
                isDone = true  // nobody is to be answered who cannot be told apart
            }
        }

        func advance(_ server: ControlServer) {
            if output == nil { read(server) }
            if output != nil { write() }
        }

        private func read(_ server: ControlServer) {
            do throws(SocketError) {
                let room = ControlServer.maxRequestOctets - input.count
                switch try socket.receive(into: &input, atMost: room) {
                case .nothingYet: return
                case .endOfStream: isDone = true  // it asked nothing
                case .octets:
                    if let end = input.firstIndex(of: 0x0A) {
                        output = server.answer(String(decoding: input[..<end], as: UTF8.self))[...]
                    } else if input.count >= ControlServer.maxRequestOctets {
                        output = server.refuse(.requestTooLong)[...]
                    }
                }
            } catch {
                isDone = true  // the client is gone
            }
        }

        private func write() {
            guard var rest = output else { return }
            do throws(SocketError) {
                while !rest.isEmpty {
                    let count = try socket.send(rest)
                    rest = rest.dropFirst(count)
                    if count == 0 { break }
                }
                output = rest
                isDone = rest.isEmpty
            } catch {
                isDone = true  // likewise
            }
        }
    }
}

/// The control sockets' places.
public enum ControlSocket {
    /// - Parameter folder: `listen.control`.
    /// - Parameter program: a daemon's name, for example `postern-dkim`.
    public static func endpoint(folder: String, program: String) -> Endpoint {
        .unix(path: "\(folder)/\(program).control")
    }

    /// Root and the daemon's own user may ask; the group may connect, and be told that it may not.
    public static let mode: mode_t = 0o660
    /// Clients that wait to be accepted.
    public static let backlog: Int32 = 16
}
