// The control socket of a daemon: the CLI sends one line, gets one document or many lines, and the stream ends. One
// thread serves all connections, and nobody can hold it: a request, the time that a client may take and the number of
// connections are capped, and nothing here waits for one client. What a request means is the daemon's.

public import Glibc
public import PosternMail
import Synchronization

public final class ControlServer: Sendable {
    /// Longest request, its line end included; our longest holds two mail addresses, written as JSON.
    public static let maxRequestOctets = 8192
    /// Most connections at once; more wait in the listener's backlog for one of these to end.
    public static let maxConnections = 16
    /// Most of them that are sent a stream, which may go on for ever; more are refused.
    public static let maxStreams = 8
    /// How long one connection may take from its beginning to its end; while it is sent a stream: how long what was made
    /// for it may wait for it to read. The CLI's own deadline is longer.
    public static let maxTime = Duration.seconds(10)
    /// How often a stream that had nothing yet is asked again.
    public static let streamPause = Duration.milliseconds(100)
    /// How long no connection is accepted after accept(2) failed (no descriptors, no memory).
    private static let pauseAfterFailure = Duration.seconds(1)

    /// What a request is answered with; called on the server's thread, one at a time.
    public typealias Answer = @Sendable (_ request: String) -> Reply

    public enum Reply: Sendable {
        case whole([UInt8])
        case stream(Stream)
    }

    /// A reply that is made while the client reads it.
    public struct Stream: Sendable {
        public enum Part: Sendable {
            case octets([UInt8])
            /// It is asked again in a moment.
            case nothingYet
            /// These are the last.
            case end([UInt8])
        }
        let next: @Sendable () -> Part
        let ended: @Sendable () -> Void

        /// - Parameter next: called on the server's thread when the client has taken what came before. Must not wait.
        /// - Parameter ended: called once: after the last, or when the client has gone.
        public init(ended: @escaping @Sendable () -> Void, next: @escaping @Sendable () -> Part) {
            self.next = next
            self.ended = ended
        }
    }

    /// Why a client is not listened to.
    public enum Refusal: Hashable, Sendable {
        /// Neither root nor the daemon's own user.
        case foreignUser(uid_t)
        case requestTooLong
        /// As many streams as are sent at once.
        case tooManyStreams
    }

    /// Users who may ask for some things only.
    public struct Readers: Hashable, Sendable {
        public let users: Set<uid_t>
        /// Their requests, whole.
        public let requests: Set<String>

        public init(users: Set<uid_t> = [], requests: Set<String> = []) {
            self.users = users
            self.requests = requests
        }
    }

    private let listener: Socket
    private let allowedUsers: Set<uid_t>
    private let readers: Readers
    private let maxTime: Duration
    private let answer: Answer
    private let refuse: @Sendable (Refusal) -> [UInt8]
    /// Ends `run`.
    private let ending: WakePipe

    /// - Parameter listener: a listening UNIX socket that does not block. It is closed, never shut down: systemd may
    ///   hold it too.
    /// - Parameter allowedUsers: whom to answer; default: root and this process's user.
    /// - Parameter readers: whom else, if they ask for the right thing.
    public init(
        listener: consuming Socket, allowedUsers: Set<uid_t> = [0, geteuid()], readers: Readers = Readers(),
        maxTime: Duration = ControlServer.maxTime, answer: @escaping Answer,
        refuse: @escaping @Sendable (Refusal) -> [UInt8]
    ) throws(SocketError) {
        ending = try WakePipe()
        self.listener = listener
        self.allowedUsers = allowedUsers
        self.readers = readers
        self.maxTime = maxTime
        self.answer = answer
        self.refuse = refuse
    }

    /// Ends `run`; from any thread, any number of times.
    public func stop() { ending.wake() }

    /// Serves until `stop`. Blocks.
    public func run() {
        var connections: [Connection] = []
        defer { for connection in connections { connection.end() } }
        var acceptsFrom = MonotonicTime(nanoseconds: .min)
        while true {
            let now = MonotonicTime.now()
            let accepts = connections.count < Self.maxConnections && now >= acceptsFrom
            var entries = [ending.entry]
            // poll(2) passes over an entry with a negative descriptor.
            entries.append(pollfd(fd: accepts ? listener.descriptor : -1, events: Int16(POLLIN), revents: 0))
            entries += connections.map(\.entry)
            var next = connections.map(\.nextTurn).min() ?? .never
            if now < acceptsFrom { next = min(next, acceptsFrom) }
            if poll(&entries, nfds_t(entries.count), next.pollMilliseconds) < 0, errno != EINTR { return }
            if entries.first?.revents != 0 { return }
            for (connection, entry) in zip(connections, entries.dropFirst(2)) {
                if entry.revents != 0 || connection.isIdle {
                    let streams = connections.count { $0.isStreaming }
                    connection.advance(self, entry.revents, mayStream: streams < Self.maxStreams)
                }
                if connection.isDone || connection.isLate { connection.end() }
            }
            connections.removeAll { $0.isDone }
            guard accepts, entries.dropFirst().first?.revents != 0 else { continue }
            do throws(SocketError) {
                guard let client = try listener.accept(until: .now()) else { continue }
                let connection = Connection(client, maxTime: maxTime)
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
        private let maxTime: Duration
        private var deadline: MonotonicTime
        private(set) var isDone = false
        private var input: [UInt8] = []
        /// What is left to be written; nil before there is an answer.
        private var output: ArraySlice<UInt8>?
        /// What makes more of it.
        private var stream: Stream?
        /// It had nothing when it was asked last.
        private var pauses = false
        /// Set for a user who may ask for some things only.
        private var reader: uid_t?

        init(_ socket: consuming Socket, maxTime: Duration) {
            self.socket = socket
            self.maxTime = maxTime
            deadline = .after(maxTime)
        }

        var isStreaming: Bool { stream != nil }
        /// A stream whose client has taken all that there was.
        var isIdle: Bool { stream != nil && output?.isEmpty == true }
        /// While it idles nobody is late.
        var isLate: Bool { !isIdle && deadline.isPast }
        var nextTurn: MonotonicTime {
            guard isIdle else { return deadline }
            return pauses ? .after(ControlServer.streamPause) : .now()
        }

        var entry: pollfd {
            // Of an idle one poll(2) tells all the same that the client has gone.
            let events = output == nil ? POLLIN : isIdle ? 0 : POLLOUT
            return pollfd(fd: socket.descriptor, events: Int16(events), revents: 0)
        }

        /// Lets go of what it was sent; the socket closes with this object.
        func end() {
            isDone = true
            stream?.ended()
            stream = nil
        }

        /// A client that may not ask is told so before it has said anything.
        func greet(_ server: ControlServer) {
            do throws(SocketError) {
                let user = try socket.peerUser()
                if server.allowedUsers.contains(user) { return }
                if server.readers.users.contains(user) {
                    reader = user
                } else {
                    output = server.refuse(.foreignUser(user))[...]
                    write()
                }
            } catch {
                isDone = true  // nobody is to be answered who cannot be told apart
            }
        }

        func advance(_ server: ControlServer, _ events: Int16, mayStream: Bool) {
            if isIdle, Int32(events) & (POLLHUP | POLLERR) != 0 {
                isDone = true
                return
            }
            if output == nil { read(server, mayStream: mayStream) }
            if isIdle { fill() }
            if output != nil { write() }
        }

        private func read(_ server: ControlServer, mayStream: Bool) {
            do throws(SocketError) {
                let room = ControlServer.maxRequestOctets - input.count
                switch try socket.receive(into: &input, atMost: room) {
                case .nothingYet: return
                case .endOfStream: isDone = true  // it asked nothing
                case .octets:
                    if let end = input.firstIndex(of: 0x0A) {
                        let request = String(decoding: input[..<end], as: UTF8.self)
                        if let reader, !server.readers.requests.contains(request) {
                            output = server.refuse(.foreignUser(reader))[...]
                        } else {
                            take(server.answer(request), server, mayStream)
                        }
                    } else if input.count >= ControlServer.maxRequestOctets {
                        output = server.refuse(.requestTooLong)[...]
                    }
                }
            } catch {
                isDone = true  // the client is gone
            }
        }

        private func take(_ reply: Reply, _ server: ControlServer, _ mayStream: Bool) {
            switch reply {
            case .whole(let octets): output = octets[...]
            case .stream(let stream) where mayStream:
                self.stream = stream
                output = []
            case .stream(let stream):
                stream.ended()
                output = server.refuse(.tooManyStreams)[...]
            }
        }

        /// Asks the stream for more; once, so that others have their turn between two pages.
        private func fill() {
            guard let stream else { return }
            pauses = false
            switch stream.next() {
            case .nothingYet:
                pauses = true
                return
            case .octets(let octets): output = octets[...]
            case .end(let octets):
                output = octets[...]
                self.stream = nil
                stream.ended()
            }
            deadline = .after(maxTime)
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
                isDone = rest.isEmpty && stream == nil
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
