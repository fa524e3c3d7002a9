// systemd's watchdog: the main thread says that we live, but only as long as the thread that serves mail answers. A
// daemon whose main thread waits for signals while its door is stuck would look alive for ever otherwise.
// Source: sd_watchdog_enabled(3), sd_notify(3).

import Glibc
import PosternMail
import PosternSocket

struct Heartbeat {
    /// How often a sign of life is due; nil where nobody waits for one.
    let interval: Duration?
    private let notification: ServiceNotification
    private let log: any LogSink
    /// The last call gave no sign of life.
    private var isSilent = false

    /// How often the main thread looks around where no watchdog wants it sooner: the log tells its repeats then.
    static let usualPause = Duration.seconds(15)
    /// After a daemon did not answer it is asked again this much sooner: one slow answer is no reason to be killed.
    private static let retryDivisor = 4

    /// - Parameter environment: $WATCHDOG_USEC and $WATCHDOG_PID.
    init(_ environment: (String) -> String?, pid: pid_t, notification: ServiceNotification, log: any LogSink) {
        self.notification = notification
        self.log = log
        let isOurs = environment("WATCHDOG_PID").map { Int32($0) == pid } ?? true
        guard isOurs, let limit = environment("WATCHDOG_USEC").flatMap({ Int64($0) }), limit > 1 else {
            interval = nil
            return
        }
        // sd_watchdog_enabled(3): half of the time after which we would be taken for dead.
        interval = .microseconds(limit / 2)
    }

    init(log: any LogSink) {
        self.init(
            { getenv($0).map { String(cString: $0) } }, pid: getpid(), notification: ServiceNotification(), log: log)
    }

    /// Tells the watchdog that the daemon lives, if it does; the log, once each, that it does not and that it does again.
    /// - Parameter trouble: why it does not answer its own door; nil where it does.
    /// - Returns: how long to wait before the next call.
    mutating func beat(_ trouble: () -> String?) -> Duration {
        guard let interval else { return Self.usualPause }
        if let text = trouble() {
            if !isSilent {
                // Postfix may pass where we may not: nobody else would notice.
                let advice =
                    text.contains(SocketError.text(of: EACCES))
                    ? "let its user pass the socket's folder (chmod o+x), as systemd/tmpfiles.d/postern.conf does" : ""
                log.warning(
                    "no sign of life: \(text); \(advice.isEmpty ? "" : "\(advice); ")"
                        + "systemd kills the daemon after \(Quantity.duration(interval)) more of this")
            }
            isSilent = true
            return interval / Self.retryDivisor
        }
        if isSilent { log.info("signs of life again") }
        isSilent = false
        notification.watchdog()
        return min(interval, Self.usualPause)
    }
}
