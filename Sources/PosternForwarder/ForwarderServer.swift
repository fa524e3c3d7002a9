// postern-dns as an object: it opens the sockets, runs the forwarder on one event loop of its own, and can be asked
// from any thread for its counters, for new settings and to stop. Signals, logging and configuration are the daemon's.

import Glibc
import NIOCore
import NIOPosix
public import PosternMail
import Synchronization

public final class ForwarderServer: Sendable {
    private let settings: ForwarderSettings
    private let log: any LogSink
    private let now: @Sendable () -> UnixTime
    private let state = Mutex<State>(.new)

    private enum State {
        case new
        case running(Running)
        case stopping
        case stopped(ForwarderCounters)
    }

    /// How long `stop` waits for questions in flight.
    public static let maxDrain = Duration.seconds(3)
    /// Connections that wait for us to accept them. Source: listen(2); the kernel's own limit is 4096.
    private static let backlog: CInt = 1024

    /// - Parameter now: a clock that never steps back, for TTLs; seconds since any beginning.
    public init(
        _ settings: ForwarderSettings, log: any LogSink,
        now: @escaping @Sendable () -> UnixTime = ForwarderServer.bootTime
    ) {
        self.settings = settings
        self.log = log
        self.now = now
    }

    /// Time since the machine was started, suspension included. Source: clock_gettime(2), CLOCK_BOOTTIME.
    public static let bootTime: @Sendable () -> UnixTime = {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)  // fails only for an unknown clock
        return UnixTime(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    // MARK: Life

    /// Opens all sockets and begins to answer.
    /// - Throws: the first socket that could not be opened; those opened before are closed again. A server starts once.
    public func start() throws(ForwarderError) {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let running = Running(group: group, settings: settings, log: log, now: now)
        do throws(ForwarderError) {
            let isNew = state.withLock { state in
                guard case .new = state else { return false }
                state = .running(running)
                return true
            }
            guard isNew else { throw ForwarderError("postern-dns was started before") }
            for descriptor in settings.activatedSockets {
                try running.listen(onBound: descriptor, what: "socket \(descriptor)", backlog: Self.backlog)
            }
            for endpoint in settings.listen { try running.listen(endpoint, settings.socketMode, backlog: Self.backlog) }
        } catch {
            state.withLock { state in
                if case .running(let current) = state, current === running { state = .stopped(ForwarderCounters()) }
            }
            running.shutDown()
            throw error
        }
    }

    /// Ends gracefully: listens no more, answers what was asked within `maxDrain`, closes, removes its socket files.
    public func stop() {
        let running: Running? = state.withLock { state in
            guard case .running(let running) = state else { return nil }
            state = .stopping  // who else calls now finds nothing to stop
            return running
        }
        guard let running else { return }
        running.drain(for: Self.maxDrain)
        let counters = running.onLoop { $0.snapshot } ?? ForwarderCounters()
        state.withLock { $0 = .stopped(counters) }
        running.shutDown()
    }

    /// Takes new upstreams, cache bounds, timeouts and static data; `listen` and `activatedSockets` are not looked at.
    public func reload(_ settings: ForwarderSettings) {
        withRunning { running in running.onLoop { $0.adopt(settings) } }
    }

    /// Runs `body` on the event loop, later; not at all where there is none. A watchdog's question: does it still turn?
    public func heartbeat(_ body: @escaping @Sendable () -> Void) { withRunning { $0.later(body) } }

    /// What was counted until now.
    public var counters: ForwarderCounters {
        let (running, last): (Running?, ForwarderCounters) = state.withLock { state in
            switch state {
            case .new, .stopping: (nil, ForwarderCounters())
            case .running(let running): (running, ForwarderCounters())
            case .stopped(let counters): (nil, counters)
            }
        }
        return running?.onLoop { $0.snapshot } ?? last
    }

    /// The endpoints that are listened on, with the ports that the kernel chose where 0 was asked for.
    public var endpoints: [Endpoint] {
        state.withLock { state in
            if case .running(let running) = state { running.endpoints } else { [] }
        }
    }

    /// Runs `body` on the event loop and waits for it; nil where there is none.
    @discardableResult
    func onLoop<Value: Sendable>(_ body: @escaping @Sendable (Forwarder) -> Value) -> Value? {
        let running: Running? = state.withLock { state in
            if case .running(let running) = state { running } else { nil }
        }
        return running?.onLoop(body)
    }

    private func withRunning(_ body: (Running) -> Void) {
        let running: Running? = state.withLock { state in
            if case .running(let running) = state { running } else { nil }
        }
        if let running { body(running) }
    }
}
