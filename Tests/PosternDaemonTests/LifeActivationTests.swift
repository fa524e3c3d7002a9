import Foundation
import PosternMail
import PosternSocket
import TestSupport
import Testing

@testable import PosternDaemon

/// Descriptors as systemd passes them: one after the other, from a number of the test's choice.
@Suite("sockets from systemd", .serialized)
struct LifeActivationTests {
    /// High enough that nothing else of this process takes them.
    static let first: Int32 = 700

    static func pass(_ descriptor: Int32, as number: Int32) throws { try #require(dup2(descriptor, number) == number) }

    static func sockets(count: Int, names: String?, pid: Int32 = 42) -> ActivatedSockets {
        var environment = ["LISTEN_PID": "\(pid)", "LISTEN_FDS": "\(count)"]
        environment["LISTEN_FDNAMES"] = names
        return ActivatedSockets(environment, pid: 42, first: first)
    }

    static func isOpen(_ descriptor: Int32) -> Bool { fcntl(descriptor, F_GETFD) >= 0 }

    @Test("by name, each once; what nobody takes is closed and told")
    func byName() throws {
        let (one, other) = (LifeLogTests.path(), LifeLogTests.path())
        defer { for path in [one, other] { unlink(path) } }
        let milter = try Socket.listen(.unix(path: one))
        let tcp = try Socket.listen(.tcp(host: "127.0.0.1", port: 0))
        let spare = try Socket.listen(.unix(path: other))
        try Self.pass(milter.descriptor, as: Self.first)
        try Self.pass(tcp.descriptor, as: Self.first + 1)
        try Self.pass(spare.descriptor, as: Self.first + 2)
        let sockets = Self.sockets(count: 3, names: "milter:dns:spare")
        #expect(sockets.problems == [])
        let log = RecordingLog()
        let taken = try #require(sockets.takeOne("milter", log: log))
        #expect(taken == ActivatedSocket(descriptor: Self.first, endpoint: .unix(path: one)))
        #expect(fcntl(taken.descriptor, F_GETFD) & FD_CLOEXEC != 0)
        #expect(fcntl(taken.descriptor, F_GETFL) & O_NONBLOCK != 0)
        #expect(sockets.takeOne("milter", log: log) == nil)
        let bound = tcp.boundPort
        let port = try #require(bound)
        #expect(sockets.take("dns").map(\.endpoint) == [.tcp(host: "127.0.0.1", port: port)])
        #expect(
            sockets.closeRest() == ["unix:\(other) (spare): nothing here serves a socket of that name; it is closed"])
        #expect(!Self.isOpen(Self.first + 2))
        #expect(sockets.closeRest() == [])
        #expect(log.events == [])
        // It is the very socket: who dials the path reaches it.
        let client = try Socket.dial(.unix(path: one), until: .after(.seconds(60)))
        let inherited = Socket(owning: taken.descriptor)
        #expect(try inherited.accept(until: .after(.seconds(60)))?.peerUser() == geteuid())
        withExtendedLifetime(client.descriptor) {}
        close(Self.first + 1)
    }

    @Test("two of a name for a service that can serve one")
    func two() throws {
        let paths = [LifeLogTests.path(), LifeLogTests.path()]
        defer { for path in paths { unlink(path) } }
        for (index, path) in paths.enumerated() {
            let socket = try Socket.listen(.unix(path: path))
            try Self.pass(socket.descriptor, as: Self.first + Int32(index))
        }
        let log = RecordingLog()
        let taken = Self.sockets(count: 2, names: "milter:milter").takeOne("milter", log: log)
        #expect(taken?.endpoint == .unix(path: paths[0]))
        #expect(
            log.warnings == ["unix:\(paths[1]) (milter): expected one socket of this name, found another; it is closed"]
        )
        #expect(!Self.isOpen(Self.first + 1))
        close(Self.first)
    }

    @Test("what is no listening stream socket is not used")
    func unusable() throws {
        let path = LifeLogTests.path()
        defer { unlink(path) }
        let datagrams = try Socket.listen(.udp(host: "127.0.0.1", port: 0))
        let listening = try Socket.listen(.unix(path: path))
        let connected = try Socket.dial(.unix(path: path), until: .after(.seconds(60)))
        let file = open("/dev/null", O_RDONLY)
        defer { close(file) }
        try Self.pass(datagrams.descriptor, as: Self.first)
        try Self.pass(connected.descriptor, as: Self.first + 1)
        try Self.pass(file, as: Self.first + 2)
        defer { close(Self.first + 2) }
        let sockets = Self.sockets(count: 3, names: "dns:milter:milter")
        let bound = datagrams.boundPort
        let port = try #require(bound)
        #expect(
            sockets.problems == [
                "udp:127.0.0.1:\(port) (dns): expected a listening stream socket; it is not used",
                "socket \(Self.first + 1) (milter): expected a listening stream socket; it is not used",
                "descriptor \(Self.first + 2) (milter): expected a socket, as LISTEN_FDS says",
            ])
        #expect(sockets.take("dns") == [] && sockets.take("milter") == [])
        #expect(!Self.isOpen(Self.first) && !Self.isOpen(Self.first + 1))
        withExtendedLifetime(listening.descriptor) {}
    }

    @Test("none: not for us, not told, nonsense")
    func none() throws {
        #expect(Self.sockets(count: 3, names: nil, pid: 41).problems == [])
        #expect(ActivatedSockets([:], pid: 42, first: Self.first).problems == [])
        for count in ["", "x", "-1", "65", "99999999999999999999"] {
            let sockets = ActivatedSockets(["LISTEN_PID": "42", "LISTEN_FDS": count], pid: 42, first: Self.first)
            #expect(sockets.problems == ["LISTEN_FDS: expected a number up to 64; passed sockets are not used"])
        }
        #expect(ActivatedSockets(["LISTEN_PID": "42"], pid: 42, first: Self.first).problems.count == 1)
    }

    @Test("the variables are gone for children")  // sd_listen_fds(3), unset_environment
    func environment() {
        setenv("LISTEN_PID", "1", 1)
        setenv("LISTEN_FDS", "1", 1)
        setenv("LISTEN_FDNAMES", "milter", 1)
        #expect(ActivatedSockets.ofThisProcess().problems == [])
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { #expect(getenv(name) == nil) }
    }

    @Test("a place that the configuration does not name is told")
    func elsewhere() {
        let log = RecordingLog()
        let socket = ActivatedSocket(descriptor: 3, endpoint: .unix(path: "/a"))
        socket.tell(in: log, instead: .unix(path: "/a"), key: "listen.dkim")
        #expect(log.warnings == [])
        socket.tell(in: log, instead: .unix(path: "/b"), key: "listen.dkim")
        #expect(log.warnings == ["listen.dkim is unix:/b, and systemd passed unix:/a; serving the latter alone"])
    }

    // MARK: The watchdog

    static func heartbeat(
        _ environment: [String: String], path: String? = nil, log: RecordingLog = RecordingLog()
    ) -> Heartbeat {
        Heartbeat({ environment[$0] }, pid: 42, notification: ServiceNotification(path: path), log: log)
    }

    @Test(
        "when a sign of life is due",  // sd_watchdog_enabled(3)
        arguments: [
            (["WATCHDOG_USEC": "60000000"], .seconds(30)),
            (["WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "42"], .seconds(30)),
            (["WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "43"], nil), (["WATCHDOG_USEC": "0"], nil),
            (["WATCHDOG_USEC": "-5"], nil), (["WATCHDOG_USEC": "x"], nil), ([:], nil),
        ] as [([String: String], Duration?)])
    func interval(_ environment: [String: String], _ interval: Duration?) {
        #expect(Self.heartbeat(environment).interval == interval)
    }

    @Test("a daemon that does not answer gives no sign of life, and is asked again sooner")
    func beat() throws {
        let receiver = try LifeLogTests.Receiver(LifeLogTests.path())
        defer { unlink(receiver.path) }
        let log = RecordingLog()
        var heartbeat = Self.heartbeat(["WATCHDOG_USEC": "20000000"], path: receiver.path, log: log)
        #expect(heartbeat.beat { "its event loop does not answer" } == .milliseconds(2500))
        #expect(heartbeat.beat { "its event loop does not answer" } == .milliseconds(2500))
        #expect(heartbeat.beat { nil } == .seconds(10))
        // It is told once when it begins, and once when it ends.
        #expect(
            log.warnings == [
                "no sign of life: its event loop does not answer; systemd kills the daemon after 10s more of this"
            ])
        #expect(log.lines.count == 2 && log.lines.last == "signs of life again")
        ServiceNotification(path: receiver.path).status("end")
        #expect(receiver.next() == "WATCHDOG=1\n")
        #expect(receiver.next() == "STATUS=end\n")
        // A folder that its user may not pass, while Postfix may: 0.1.0's units had one.
        _ = heartbeat.beat { "cannot dial its own socket: connect /s: \(SocketError.text(of: EACCES))" }
        #expect(
            log.warnings.last
                == "no sign of life: cannot dial its own socket: connect /s: Permission denied; let its user pass the "
                + "socket's folder (chmod o+x), as systemd/tmpfiles.d/postern.conf does; "
                + "systemd kills the daemon after 10s more of this")
        // Without a watchdog nobody is bothered.
        var silent = Self.heartbeat([:])
        #expect(
            silent.beat {
                Issue.record("asked")
                return nil
            } == Heartbeat.usualPause)
    }
}
