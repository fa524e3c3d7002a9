// The life of a policy door: takes a listening socket, gives each connection a thread, stops. Postfix keeps one
// connection for each smtpd process and service, for minutes and mostly idle; a thread that waits in read(2) costs some
// tens of KiB and no time, and measured half the CPU of an event loop a request (PLATFORM §11).

import Glibc
public import PosternMail
public import PosternSocket

/// How much a door takes on. The defaults fit under Postfix's own limits as DESIGN §3 ships them.
public struct PolicyLimits: Sendable {
    /// Most connections; one more is closed at once, so that Postfix knows after a second what to do instead of
    /// waiting for its time limit in our backlog, twice. Its default_process_limit is 100.
    public var maxConnections = 1000
    /// Most requests that are judged at once; more are answered DUNNO at once. Each may hold what its judge needs for
    /// all of its time budget. A connection asks one at a time, and busy hosts have 300 of them.
    public var maxInFlight = 512
    /// From a request's first octet to its last: Postfix writes it in one piece.
    public var requestTime = Duration.seconds(10)
    /// For writing an answer, which the kernel takes at once unless nobody reads.
    public var answerTime = Duration.seconds(10)
    /// How long a repeat waits for the answer to the same request on another connection: longer than a judge has (8 s),
    /// less than Postfix waits (12 s).
    public var repeatTime = Duration.seconds(10)
    /// Most answers that are remembered for repeats: some 200 octets each.
    public var rememberedAnswers = 16_384
    /// How long they are, while there is room: longer than Postfix tries one request by default, 2 x 100 s + 1 s.
    public var rememberedFor = Duration.seconds(300)
    /// How long a stop waits for requests under way.
    public var stopTime = Duration.seconds(10)

    public init() {}
}

public final class PolicyServer: Sendable {
    /// How long no connection is accepted after accept(2) failed (no descriptors, no memory).
    private static let pauseAfterFailure = Duration.seconds(1)
    /// A connection's stack: SQLite and SPF's evaluation were seen below a quarter of it.
    private static let stackOctets = 512 * 1024

    private let listener: Socket
    private let door: PolicyDoor
    private let connections = OpenConnections()
    /// Ends `run`.
    private let ending: WakePipe

    /// - Parameter listener: a listening UNIX or TCP socket that does not block. It is closed, never shut down:
    ///   systemd may hold it too.
    /// - Parameter begin: called on a connection's thread with the first request of a message; takes the settings that
    ///   are in force now (DESIGN §1, rule 6).
    public init(
        listener: consuming Socket, log: any LogSink, limits: PolicyLimits = PolicyLimits(),
        begin: @escaping @Sendable (PolicyRequest) -> any PolicyTransaction
    ) throws(SocketError) {
        ending = try WakePipe()
        self.listener = listener
        door = PolicyDoor(log: log, limits: limits, begin: begin)
    }

    /// Requests that were read and are not answered yet.
    public var openTransactions: Int { door.underWay.current }

    /// What was counted so far, at the door; what answers were about is the service's to count.
    /// - Parameter daemon: the word in its metrics' names, `policy` or `rate`.
    public func counters(of daemon: String) -> [CounterReading] { door.counters.readings(of: daemon) }

    /// What was measured so far, likewise.
    public func histograms(of daemon: String) -> [HistogramReading] { door.histograms.readings(of: daemon) }

    // MARK: Serving

    /// Serves until `stop`. Blocks: it is a thread's body. Connections' threads inherit its blocked signals.
    public func run() {
        while true {
            guard let isReady = awaitClient() else { return }
            guard isReady else { continue }
            do throws(SocketError) {
                guard let socket = try listener.accept(until: .now()) else { continue }
                admit(socket)
            } catch {
                door.log.warning("policy: \(error); accepting connections again in \(Self.pauseAfterFailure)")
                guard pause() else { return }
            }
        }
    }

    /// - Returns: whether a client waits; nil when `stop` was called.
    private func awaitClient() -> Bool? {
        var entries = [ending.entry, pollfd(fd: listener.descriptor, events: Int16(POLLIN), revents: 0)]
        // Fails for a signal, or for want of kernel memory: the caller tries again either way.
        guard poll(&entries, nfds_t(entries.count), -1) >= 0 else { return false }
        return entries.first?.revents == 0 ? true : nil
    }

    /// - Returns: false when `stop` was called meanwhile.
    private func pause() -> Bool {
        do throws(SocketError) {
            return try !ending.wait(until: .after(Self.pauseAfterFailure))
        } catch {
            return true
        }
    }

    private func admit(_ socket: consuming Socket) {
        let limit = door.limits.maxConnections
        let connection = PolicyConnection(socket, door: door)
        switch connections.add(connection, limit: limit) {
        case .stopping: return
        case .full:
            door.counters.count(.refusedConnections)
            door.log.warning("policy: \(limit) connections are open; more are closed at once")
            return
        case .added: break
        }
        door.counters.count(.connections)
        let connections = connections
        do throws(SystemThread.Failure) {
            let thread = try SystemThread.start(stackOctets: Self.stackOctets) {
                connection.serve()
                connections.remove(connection)
            }
            pthread_detach(thread)
        } catch {
            connections.remove(connection)
            door.counters.count(.refusedConnections)
            let error = SocketError.system(operation: "thread", errno: error.code)
            door.log.warning("policy: \(error); a connection is closed at once")
        }
    }

    // MARK: Stopping

    /// Ends `run` and all connections: requests that have arrived are answered, for as long as `PolicyLimits.stopTime`;
    /// nothing new is read. Connections on which Postfix waits for nothing end at once.
    public func stop() {
        ending.wake()
        connections.stop(within: door.limits.stopTime)
    }

    // MARK: Probe

    /// Whether connections are accepted and served: opens one to our own socket and says goodbye; a door that lives
    /// hangs up in return. For a watchdog; blocks until then or the end of `limit`.
    /// - Returns: what went wrong; nil where they are.
    public func trouble(within limit: Duration = .seconds(5)) -> String? {
        PolicyProbe.trouble(listener.descriptor, within: limit)
    }
}
