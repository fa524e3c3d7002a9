// The life of every daemon: arguments, configuration, log, sockets, ready, signals, reload, drain, stop. A `main` names
// what is its own and hands it over. It stays in the foreground; systemd or a shell looks after it.

import Glibc
public import PosternMail
import PosternSocket

/// What a daemon's own part has started. Called by the main thread and the control socket's, also at once.
public protocol RunningDaemon: Sendable {
    /// Transactions that a stop now would cut off.
    var openTransactions: Int { get }
    /// Sessions in which another transaction may begin, of a protocol that would not come back for it.
    var openSessions: Int { get }
    /// How long a transaction may still take from the moment at which nobody but us holds it up: a stop waits as long.
    var longestTransaction: Duration { get }
    /// What was counted so far; `postern status` shows these too.
    var counters: [CounterReading] { get }
    /// What stands so now: sizes, health, moments. Asked for with metrics only.
    var gauges: [CounterReading] { get }
    /// What was measured so far.
    var histograms: [HistogramReading] { get }
    /// Puts a checked configuration in force: for new sessions, as a whole. Those under way end with what they have.
    func adopt(_ configuration: Configuration)
    /// Why the thread that serves does not answer, nil where it does; takes a few seconds at most.
    func trouble() -> String?
    /// Answers a request of the control socket that is this daemon's own, as `greylist list` is postern-policy's. Called
    /// by the control socket's thread, one at a time; what takes long is answered by a feed.
    /// - Returns: nil for a command that this daemon does not know.
    /// - Throws: why it is not carried out; the client is told.
    func answer(_ command: ControlCommand) throws(ControlRefusal) -> ControlAnswer?
    /// A stop has begun, and what is open goes on: new work that can wait for the next process is left to it.
    func beginStop()
    /// Takes no more work and lets go of sockets; called once, when open transactions are over or the wait for them is.
    func stop()
}

extension RunningDaemon {
    /// More than a policy request or a look-up takes (DESIGN §2).
    public var longestTransaction: Duration { .seconds(20) }
    public var openSessions: Int { 0 }
    public func beginStop() {}
    public var gauges: [CounterReading] { [] }
    public var histograms: [HistogramReading] { [] }

    /// Without commands of its own.
    public func answer(_ command: ControlCommand) throws(ControlRefusal) -> ControlAnswer? { nil }
}

/// What a daemon's own part starts with.
public struct DaemonResources: Sendable {
    public let log: any LogSink
    /// What systemd has opened for us; whoever serves one takes it.
    public let sockets: ActivatedSockets
}

public enum Daemon {
    /// How much longer than its longest transaction a daemon's stop waits for what is open: what a busy machine adds.
    /// systemd's TimeoutStopSec is longer than both.
    public static let drainMargin = Duration.seconds(2)
    /// How long a stop waits for sessions without a transaction. Most end, or go on, within a second; Postfix keeps those
    /// of a client that says nothing for minutes.
    public static let sessionLimit = Duration.seconds(5)

    /// Runs a daemon until it is told to stop, and exits.
    /// - Parameter start: opens sockets and starts threads; throws what keeps the daemon from working.
    public static func main(
        program: String, purpose: String, role: ConfigurationRole,
        start: (Configuration, DaemonResources) throws -> any RunningDaemon
    ) -> Never {
        let path = configurationPath(program: program, purpose: purpose)
        let loaded = Configuration.load(path: path, for: role)
        guard let configuration = loaded.configuration else {
            for problem in loaded.problems { say("\(program): \(problem)") }
            say("\(program): the configuration has problems; `postern check \(path)` shows all of them")
            exit(ExitStatus.badConfiguration.rawValue)
        }
        let log = DaemonLog(configuration.log, program: program)
        for problem in loaded.problems { log.warning("\(problem)") }
        do {
            try DaemonSignals.install()  // before any thread is made
            let sockets = ActivatedSockets.ofThisProcess()
            let running = try start(configuration, DaemonResources(log: log, sockets: sockets))
            let desk = ConfigurationDesk(path: path, role: role, started: configuration, log: log) { running.adopt($0) }
            let control = ControlPoint(
                ControlDesk(program: program, running: running, configuration: desk, log: log, started: .now()),
                folder: configuration.listen.control, sockets: sockets)
            for problem in sockets.problems + sockets.closeRest() { log.warning(problem) }
            log.info("\(program) \(DaemonArguments.release) is ready")
            ServiceNotification().ready()
            untilStopped(running, desk, log)
            ServiceNotification().stopping()
            drain(running, log)
            control.stop()
            running.stop()
            log.tellRepeats()
            exit(ExitStatus.done.rawValue)
        } catch {
            log.critical("\(error); giving up")
            exit(ExitStatus.unavailable.rawValue)
        }
    }

    private static func configurationPath(program: String, purpose: String) -> String {
        do throws(UsageError) {
            switch try DaemonArguments(CommandLine.arguments.dropFirst()) {
            case .run(let path): return path
            case .version: print(DaemonArguments.versionText(program: program), terminator: "")
            case .help: print(DaemonArguments.helpText(program: program, purpose: purpose), terminator: "")
            }
            exit(ExitStatus.done.rawValue)
        } catch {
            say("\(program): \(error)")
            exit(ExitStatus.usage.rawValue)
        }
    }

    private static func untilStopped(_ running: any RunningDaemon, _ desk: ConfigurationDesk, _ log: DaemonLog) {
        var heartbeat = Heartbeat(log: log)
        var next = MonotonicTime.now()
        while true {
            switch DaemonSignals.wait(until: next) {
            case .stop: return
            case .reload: desk.reload()
            case nil:
                log.tellRepeats()
                next = .after(heartbeat.beat(running.trouble))
            }
        }
    }

    private static func drain(_ running: any RunningDaemon, _ log: any LogSink) {
        running.beginStop()
        let deadline = MonotonicTime.after(running.longestTransaction + drainMargin)
        let sessionDeadline = MonotonicTime.after(sessionLimit)
        while running.openTransactions > 0 && !deadline.isPast || running.openSessions > 0 && !sessionDeadline.isPast {
            // A second signal ends the wait.
            if DaemonSignals.wait(until: .after(.milliseconds(20))) == .stop { break }
        }
        let left = running.openTransactions
        if left > 0 {
            log.warning("stopping with \(left) open transactions; Postfix treats them by its default action")
        }
    }

    private static func say(_ text: String) {
        let line = Array((text + "\n").utf8)
        _ = write(STDERR_FILENO, line, line.count)  // nobody else could be told
    }
}
