// How a daemon hears its signals: a handler writes one octet into a pipe, and the main thread reads it. So the rest of
// the program never runs in a handler. Installed before any thread is made: libmilter's own signal thread sees none of
// them, because Linux prefers the main thread, which alone has them unblocked.

import Glibc
public import PosternSocket
import Synchronization

public enum DaemonSignals {
    public enum Signal: Hashable, Sendable {
        /// SIGTERM or SIGINT: end once open transactions are done.
        case stop
        /// SIGHUP: read the configuration again.
        case reload
    }

    private static let readEnd = Atomic<Int32>(-1)
    private static let writeEnd = Atomic<Int32>(-1)

    private static let handled = [SIGTERM, SIGINT, SIGHUP]

    /// Installs the handlers and ignores SIGPIPE. To be called on the main thread before anything else there; a second
    /// call does nothing.
    public static func install() throws(SocketError) {
        guard readEnd.load(ordering: .acquiring) < 0 else { return }
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0, let output = ends.last, let input = ends.first else {
            throw .system(operation: "pipe", errno: errno)
        }
        for end in ends {
            // A handler must not wait, and a full pipe holds signals enough.
            guard fcntl(end, F_SETFD, FD_CLOEXEC) == 0, fcntl(end, F_SETFL, O_NONBLOCK) == 0 else {
                throw .system(operation: "fcntl", errno: errno)
            }
        }
        writeEnd.store(output, ordering: .releasing)
        readEnd.store(input, ordering: .releasing)
        for number in handled { try set(number, to: handleSignal) }
        try set(SIGPIPE, to: SIG_IGN)
        var mask = sigset_t()  // a parent may have left them blocked
        sigemptyset(&mask)
        for number in handled { sigaddset(&mask, number) }
        pthread_sigmask(SIG_UNBLOCK, &mask, nil)
    }

    /// Waits for a signal; the main thread sits here for the life of the daemon.
    /// - Returns: the first signal not yet told, `nil` only when the deadline came first.
    public static func wait(until deadline: MonotonicTime = .never) -> Signal? {
        let input = readEnd.load(ordering: .acquiring)
        precondition(input >= 0, "DaemonSignals.install() comes first")
        while true {
            var number: UInt8 = 0
            if read(input, &number, 1) == 1 { return Int32(number) == SIGHUP ? .reload : .stop }
            guard errno == EAGAIN || errno == EINTR else { return .stop }  // the pipe is broken: nobody could stop us
            if deadline.isPast { return nil }
            var entry = pollfd(fd: input, events: Int16(POLLIN), revents: 0)
            // A signal that comes before poll(2) has left its octet in the pipe, so that none is missed.
            let left = deadline == .never ? -1 : (deadline.remaining + .microseconds(999)) / .milliseconds(1)
            poll(&entry, 1, Int32(clamping: Int(left)))
        }
    }

    /// Asks the main thread to act as if the signal had come: how a door that failed ends the daemon.
    public static func raise(_ signal: Signal) { write(signal == .stop ? SIGTERM : SIGHUP) }

    private static func set(_ number: Int32, to handler: __sighandler_t?) throws(SocketError) {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = handler
        action.sa_flags = SA_RESTART
        guard sigaction(number, &action, nil) == 0 else { throw .system(operation: "sigaction", errno: errno) }
    }

    /// Only what signal-safety(7) allows: an atomic load and write(2).
    fileprivate static func write(_ number: Int32) {
        var octet = UInt8(truncatingIfNeeded: number)
        _ = Glibc.write(writeEnd.load(ordering: .acquiring), &octet, 1)
    }
}

/// The handler. Plain, so that no actor owns it; it leaves errno as it was.
private func handleSignal(_ number: Int32) {
    let code = errno
    DaemonSignals.write(number)
    errno = code
}
