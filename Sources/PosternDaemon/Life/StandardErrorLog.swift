// Log lines on standard error: `postern-dkim[812]: 4cXk2J1hz: sign: ...`, or JSON objects. One write(2) a line, so that
// the lines of several threads and processes never mix. Nobody's mail waits for a reader who does not read.

import Glibc
public import PosternMail
import PosternSocket
import Synchronization

public final class StandardErrorLog: LogSink {
    private let rendering: LogRendering
    private let level: LogLevel
    private let descriptor: Int32
    private let now: @Sendable () -> UnixTime
    private let lost = Mutex(0)

    /// How long a line may wait for a full pipe. Once one was lost, the next do not wait at all.
    static let maxWait = Duration.milliseconds(200)

    /// - Parameter program: the daemon's name, as it stands before each line.
    /// - Parameter descriptor: borrowed, open for the life of the process.
    public convenience init(program: String, settings: LogSettings, descriptor: Int32 = 2) {
        self.init(program: program, pid: getpid(), settings: settings, descriptor: descriptor, now: WallClock.now)
    }

    init(
        program: String, pid: Int32, settings: LogSettings, descriptor: Int32, now: @escaping @Sendable () -> UnixTime
    ) {
        rendering = LogRendering(program: program, pid: pid, format: settings.format)
        level = settings.level
        self.descriptor = descriptor
        self.now = now
    }

    public func write(_ event: LogEvent) {
        guard event.level >= level else { return }
        let didLose = lost.withLock { $0 }
        guard put(event, wait: didLose == 0 ? Self.maxWait : .zero) else {
            lost.withLock { $0 += 1 }
            return
        }
        guard didLose > 0 else { return }
        let count = lost.withLock { lost in
            defer { lost = 0 }
            return lost
        }
        if count > 0 { _ = put(.note(.warning, "\(count) log lines were lost: nobody read them"), wait: .zero) }
    }

    private func put(_ event: LogEvent, wait: Duration) -> Bool {
        var line = rendering.message(of: event, at: now())
        if rendering.format == .postfix { line = "\(rendering.program)[\(rendering.pid)]: " + line }
        return put(line: LogRendering.cut(line, to: LogRendering.maxLineOctets - 1) + "\n", wait: wait)
    }

    private func put(line: String, wait: Duration) -> Bool {
        let deadline = MonotonicTime.after(wait)
        let octets = Array(line.utf8)
        while true {
            // A pipe with room for PIPE_BUF octets takes a line whole and at once; a full one would make us wait.
            var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            let left = Int32(clamping: Int((deadline.remaining + .microseconds(999)) / .milliseconds(1)))
            let ready = poll(&entry, 1, left)
            if ready < 0, errno == EINTR { continue }
            guard ready > 0 else { return false }
            let count = Glibc.write(descriptor, octets, octets.count)
            if count == octets.count { return true }
            guard count < 0, errno == EINTR else { return false }  // a line in part is on its way: not twice
        }
    }
}
