// The life of every daemon: arguments, configuration, log, sockets, ready, signals, drain, stop. A `main` names what is
// its own and hands it over. It stays in the foreground; systemd or a shell looks after it.

import Glibc
public import PosternMail
import PosternSocket

/// What a daemon's own part has started.
public protocol RunningDaemon: Sendable {
    /// Transactions that a stop now would cut off.
    var openTransactions: Int { get }
    /// Takes no more work and lets go of sockets; called once, after open transactions are over or the wait for them is.
    func stop()
}

public enum Daemon {
    /// How long a stop waits for open transactions; systemd's TimeoutStopSec is longer.
    public static let drainLimit = Duration.seconds(20)

    /// Runs a daemon until it is told to stop, and exits.
    /// - Parameter start: opens sockets and starts threads; throws what keeps the daemon from working.
    public static func main(
        program: String, purpose: String, role: ConfigurationRole,
        start: (Configuration, any LogSink) throws -> any RunningDaemon
    ) -> Never {
        let path = configurationPath(program: program, purpose: purpose)
        let loaded = Configuration.load(path: path, for: role)
        guard let configuration = loaded.configuration else {
            for problem in loaded.problems { say("\(program): \(problem)") }
            say("\(program): the configuration has problems; `postern check \(path)` shows all of them")
            exit(ExitStatus.badConfiguration.rawValue)
        }
        let log = configuration.log.makeSink(program: program)
        for problem in loaded.problems { log.warning("\(problem)") }
        do {
            try DaemonSignals.install()                  // before any thread is made
            let running = try start(configuration, log)
            log.info("\(program) \(DaemonArguments.release) is ready")
            ServiceNotification().ready()
            untilStopped(log)
            ServiceNotification().stopping()
            drain(running, log)
            running.stop()
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

    private static func untilStopped(_ log: any LogSink) {
        while DaemonSignals.wait() != .stop {
            log.warning("SIGHUP: this release reads its configuration only at start; restart to apply it")
        }
    }

    private static func drain(_ running: any RunningDaemon, _ log: any LogSink) {
        let deadline = MonotonicTime.after(drainLimit)
        while running.openTransactions > 0, !deadline.isPast {
            // A second signal ends the wait.
            if DaemonSignals.wait(until: .after(.milliseconds(20))) == .stop { break }
        }
        let left = running.openTransactions
        if left > 0 { log.warning("stopping with \(left) open transactions; Postfix treats them by its default action") }
    }

    private static func say(_ text: String) {
        let line = Array((text + "\n").utf8)
        _ = write(STDERR_FILENO, line, line.count)       // nobody else could be told
    }
}
