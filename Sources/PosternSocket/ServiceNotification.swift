// Tells systemd how the service is: the datagrams of sd_notify(3), without libsystemd. Without $NOTIFY_SOCKET (started
// by hand, in a container, under another supervisor) nothing is sent and nothing goes wrong.

import Glibc
import PosternMail

public struct ServiceNotification: Sendable {
    private let path: String?

    /// - Parameter path: `$NOTIFY_SOCKET`: an absolute path, or `@` and an abstract name; anything else is nobody.
    public init(path: String?) {
        self.path = path.flatMap { $0.hasPrefix("/") || $0.hasPrefix("@") ? $0 : nil }
    }

    /// Of this process, as its environment says.
    public init() { self.init(path: getenv("NOTIFY_SOCKET").map { String(cString: $0) }) }

    /// The service is ready, after a start or a reload.
    /// - Parameter status: one line for `systemctl status`.
    @discardableResult
    public func ready(status: String? = nil) -> Bool { send("READY=1\n" + line(status)) }

    /// The service has begun to stop.
    @discardableResult
    public func stopping(status: String? = nil) -> Bool { send("STOPPING=1\n" + line(status)) }

    /// A reload has begun; `ready` ends it. With the monotonic time, as `Type=notify-reload` wants it.
    @discardableResult
    public func reloading() -> Bool { send("RELOADING=1\nMONOTONIC_USEC=\(MonotonicTime.now().nanoseconds / 1000)\n") }

    @discardableResult
    public func status(_ text: String) -> Bool { send(line(text)) }

    /// A sign of life for the watchdog (`WatchdogSec=`).
    @discardableResult
    public func watchdog() -> Bool { send("WATCHDOG=1\n") }

    /// A text may not begin another assignment, so that line ends in it become spaces.
    private func line(_ status: String?) -> String {
        guard let status else { return "" }
        return "STATUS=" + String(decoding: status.utf8.map { $0.isASCIIControl ? 0x20 : $0 }, as: UTF8.self) + "\n"
    }

    /// - Returns: whether a supervisor was told. That it was not is no reason for a daemon to fail.
    private func send(_ text: String) -> Bool {
        guard let path else { return false }
        do throws(SocketError) {
            let socket = try Socket.dialDatagram(path: path)
            try socket.write(Array(text.utf8), until: .after(.seconds(5)))
            return true
        } catch {
            return false
        }
    }
}
