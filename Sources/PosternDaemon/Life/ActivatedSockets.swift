// Sockets that systemd has opened for us. They outlive us: no connection is refused while we restart, and their files
// are systemd's, so that we never remove them. Without systemd there are none and nothing is different.
// Source: sd_listen_fds(3); names are those of FileDescriptorName= in the .socket units.

import Glibc
public import PosternMail
import PosternSocket
import Synchronization

/// One of them.
public struct ActivatedSocket: Hashable, Sendable {
    /// Listening; whoever has taken it closes it.
    public let descriptor: Int32
    /// Where it is bound; nil where that has no spelling in the configuration.
    public let endpoint: Endpoint?

    /// For log lines.
    public var place: String { endpoint.map { "\($0)" } ?? "socket \(descriptor)" }

    /// Tells when systemd and the configuration name different places: who dials by the configuration finds nobody.
    public func tell(in log: any LogSink, instead configured: Endpoint, key: String) {
        guard let endpoint, endpoint != configured else { return }
        log.warning("\(key) is \(configured), and systemd passed \(endpoint); serving the latter alone")
    }
}

public final class ActivatedSockets: Sendable {
    private let waiting: Mutex<[(name: String, socket: ActivatedSocket)]>
    /// What was passed and cannot be used, in words.
    public let problems: [String]

    /// The first descriptor that is passed. Source: sd_listen_fds(3), SD_LISTEN_FDS_START.
    static let firstDescriptor: Int32 = 3
    /// Most sockets that are looked at; ours are three at most.
    static let maxSockets = 64

    /// None.
    public init() {
        waiting = Mutex([])
        problems = []
    }

    /// What the environment says was passed to this process. Looked at once: the variables are removed, so that they
    /// mean nothing to a child.
    public static func ofThisProcess() -> ActivatedSockets {
        let names = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]
        var environment: [String: String] = [:]
        for name in names {
            environment[name] = getenv(name).map { String(cString: $0) }
            unsetenv(name)
        }
        return ActivatedSockets(environment, pid: getpid(), first: firstDescriptor)
    }

    /// - Parameter first: the number of the first descriptor, 3 but for tests.
    init(_ environment: [String: String], pid: pid_t, first: Int32) {
        let (sockets, problems) = Self.sockets(environment, pid: pid, first: first)
        waiting = Mutex(sockets)
        self.problems = problems
    }

    private static func sockets(
        _ environment: [String: String], pid: pid_t, first: Int32
    ) -> (sockets: [(name: String, socket: ActivatedSocket)], problems: [String]) {
        var sockets: [(name: String, socket: ActivatedSocket)] = []
        var problems: [String] = []
        // Another process's: what a parent was given and did not remove.
        guard let text = environment["LISTEN_PID"], Int32(text) == pid else { return ([], []) }
        guard let count = environment["LISTEN_FDS"].flatMap({ Int($0) }), (0...maxSockets).contains(count) else {
            return ([], ["LISTEN_FDS: expected a number up to \(maxSockets); passed sockets are not used"])
        }
        let names = environment["LISTEN_FDNAMES"]?.split(separator: ":", omittingEmptySubsequences: false) ?? []
        for (index, descriptor) in (first..<first + Int32(count)).enumerated() {
            let name = names.dropFirst(index).first.map(String.init) ?? "unknown"
            guard let found = Socket.inspect(descriptor) else {
                problems.append("descriptor \(descriptor) (\(name)): expected a socket, as LISTEN_FDS says")
                continue
            }
            let socket = ActivatedSocket(descriptor: descriptor, endpoint: found.endpoint)
            guard found.isListening, (try? Socket.adopt(descriptor)) != nil else {  // fcntl fails for no open socket
                problems.append("\(socket.place) (\(name)): expected a listening stream socket; it is not used")
                close(descriptor)
                continue
            }
            sockets.append((name, socket))
        }
        return (sockets, problems)
    }

    /// Hands over those of one name; nobody else gets them any more.
    public func take(_ name: String) -> [ActivatedSocket] {
        waiting.withLock { waiting in
            defer { waiting.removeAll { $0.name == name } }
            return waiting.filter { $0.name == name }.map(\.socket)
        }
    }

    /// Hands over the one of a name, for a service that can serve one; more are closed and told.
    public func takeOne(_ name: String, log: any LogSink) -> ActivatedSocket? {
        let all = take(name)
        for socket in all.dropFirst() {
            log.warning("\(socket.place) (\(name)): expected one socket of this name, found another; it is closed")
            close(socket.descriptor)
        }
        return all.first
    }

    /// Closes those that nobody took: otherwise clients would wait there for ever.
    /// - Returns: what they were, in words.
    func closeRest() -> [String] {
        let rest = waiting.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
        for (_, socket) in rest { close(socket.descriptor) }
        return rest.map { "\($1.place) (\($0)): nothing here serves a socket of that name; it is closed" }
    }
}
