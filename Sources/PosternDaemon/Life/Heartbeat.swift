// systemd's watchdog: the main thread says that we live, but only as long as the thread that serves mail answers. A
// daemon whose main thread waits for signals while its door is stuck would look alive for ever otherwise.
// Source: sd_watchdog_enabled(3), sd_notify(3).

import Glibc
import PosternSocket

struct Heartbeat {
    /// How often a sign of life is due; nil where nobody waits for one.
    let interval: Duration?
    private let notification: ServiceNotification

    /// How often the main thread looks around where no watchdog wants it sooner: the log tells its repeats then.
    static let usualPause = Duration.seconds(15)
    /// After a daemon did not answer it is asked again this much sooner: one slow answer is no reason to be killed.
    private static let retryDivisor = 4

    /// - Parameter environment: $WATCHDOG_USEC and $WATCHDOG_PID.
    init(_ environment: (String) -> String?, pid: pid_t, notification: ServiceNotification) {
        self.notification = notification
        let isOurs = environment("WATCHDOG_PID").map { Int32($0) == pid } ?? true
        guard isOurs, let limit = environment("WATCHDOG_USEC").flatMap({ Int64($0) }), limit > 1 else {
            interval = nil
            return
        }
        // sd_watchdog_enabled(3): half of the time after which we would be taken for dead.
        interval = .microseconds(limit / 2)
    }

    init() {
        self.init({ getenv($0).map { String(cString: $0) } }, pid: getpid(), notification: ServiceNotification())
    }

    /// Tells the watchdog that the daemon lives, if it does.
    /// - Returns: how long to wait before the next call.
    func beat(_ isAlive: () -> Bool) -> Duration {
        guard let interval else { return Self.usualPause }
        guard isAlive() else { return interval / Self.retryDivisor }
        notification.watchdog()
        return min(interval, Self.usualPause)
    }
}
