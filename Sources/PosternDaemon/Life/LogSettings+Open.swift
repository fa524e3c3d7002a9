// From the `[log]` table to the sink that a daemon writes to.

import Glibc
public import PosternMail

extension LogSettings {
    /// Makes the sink; nothing can fail here: a receiver that is absent is told by the first line, on standard error.
    /// - Parameter program: the daemon's name, for example `postern-dkim`.
    public func makeSink(program: String) -> any LogSink {
        let standardError = StandardErrorLog(program: program, settings: self)
        let rendering = LogRendering(program: program, pid: getpid(), format: format)
        switch to {
        case .stderr: return standardError
        case .syslog:
            tzset()  // localtime_r(3) does not promise to do it
            let encoding = SyslogEncoding(rendering: rendering, facility: facility)
            return DatagramLog(path: "/dev/log", encoding: encoding, level: level, fallback: standardError)
        case .journal:
            let encoding = JournalEncoding(rendering: rendering, facility: facility)
            return DatagramLog(
                path: "/run/systemd/journal/socket", encoding: encoding, level: level, fallback: standardError)
        }
    }
}
