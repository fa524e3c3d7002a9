// The log sinks that send datagrams: syslog (/dev/log) and the journal's native socket. A receiver that is restarted
// is found again by the next line; while it is absent lines go to standard error, after one note that says so.

import Glibc
public import PosternMail
import PosternSocket
import Synchronization

/// A log sink on a datagram socket.
public final class DatagramLog: LogSink {
    /// How an event becomes a datagram.
    protocol Encoding: Sendable {
        /// What the admin calls the receiver.
        var receiver: String { get }
        func datagram(of event: LogEvent, at now: UnixTime) -> [UInt8]
    }

    private let path: String
    private let encoding: any Encoding
    private let level: LogLevel
    private let fallback: any LogSink
    private let now: @Sendable () -> UnixTime
    private let state = Mutex(State())

    /// How long a line may wait for a receiver whose queue is full, before it goes to standard error.
    static let maxWait = Duration.milliseconds(200)

    private struct State {
        var channel: Channel?
        var isAbsent = false
    }

    private final class Channel: Sendable {
        let socket: Socket
        init(_ socket: consuming Socket) { self.socket = socket }
    }

    init(
        path: String, encoding: any Encoding, level: LogLevel, fallback: any LogSink,
        now: @escaping @Sendable () -> UnixTime = WallClock.now
    ) {
        self.path = path
        self.encoding = encoding
        self.level = level
        self.fallback = fallback
        self.now = now
    }

    public func write(_ event: LogEvent) {
        guard event.level >= level else { return }
        let datagram = encoding.datagram(of: event, at: now())
        do throws(SocketError) {
            try send(datagram)
            state.withLock { $0.isAbsent = false }
        } catch {
            let isNews = state.withLock { state in
                defer { state.isAbsent = true }
                return !state.isAbsent
            }
            if isNews { fallback.warning("\(encoding.receiver) takes no lines (\(error)); logging to standard error") }
            fallback.write(event)
        }
    }

    private func send(_ datagram: [UInt8]) throws(SocketError) {
        for isRetry in [false, true] {
            do throws(SocketError) {
                let channel = try channel()
                let wait: Duration = state.withLock { $0.isAbsent } ? .zero : Self.maxWait
                return try channel.socket.write(datagram, until: .after(wait))
            } catch {
                state.withLock { $0.channel = nil }
                if case .timedOut = error { throw error }  // it lives and is busy: a new socket changes nothing
                if isRetry { throw error }
            }
        }
    }

    private func channel() throws(SocketError) -> Channel {
        if let channel = state.withLock({ $0.channel }) { return channel }
        let channel = Channel(try .dialDatagram(path: path))
        state.withLock { $0.channel = channel }
        return channel
    }
}

// MARK: Syslog

/// Source: RFC 3164 §4.1, in the form that local clients use: no host name (§4.3.2's relay adds it).
struct SyslogEncoding: DatagramLog.Encoding {
    let rendering: LogRendering
    let facility: SyslogFacility

    let receiver = "syslog"
    /// Longest datagram: what receivers should take. Source: RFC 5424 §6.1; RFC 3164's 1024 is history.
    static let maxOctets = 2048
    /// Longest datagram with a JSON object, which is whole or of no use; syslog daemons take 8192 octets by default.
    static let maxJSONOctets = 8192

    func datagram(of event: LogEvent, at now: UnixTime) -> [UInt8] {
        let head = "<\(facility.code << 3 | event.level.syslogSeverity)>\(Self.timestamp(now)) "
        let tag = "\(rendering.program)[\(rendering.pid)]: "
        let limit = rendering.format == .json ? Self.maxJSONOctets : Self.maxOctets
        return Array(LogRendering.cut(head + tag + rendering.message(of: event, at: now), to: limit).utf8)
    }

    /// `Nov  1 02:03:04`, in local time. Source: RFC 3164 §4.1.2.
    private static func timestamp(_ now: UnixTime) -> String {
        var seconds = time_t(now.seconds)
        var fields = tm()
        localtime_r(&seconds, &fields)
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let month = months.dropFirst(Int(fields.tm_mon)).first ?? "Jan"
        func two(_ number: Int32, _ pad: String) -> String { number < 10 ? "\(pad)\(number)" : "\(number)" }
        let time = "\(two(fields.tm_hour, "0")):\(two(fields.tm_min, "0")):\(two(fields.tm_sec, "0"))"
        return "\(month) \(two(fields.tm_mday, " ")) \(time)"
    }
}

extension LogLevel {
    /// Source: RFC 3164 §4.1.1, severities.
    var syslogSeverity: Int {
        switch self {
        case .debug: 7
        case .info: 6
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}

// MARK: The journal

/// Source: systemd's "Native Journal Protocol": `FIELD=value` and a line end for each field, in one datagram.
struct JournalEncoding: DatagramLog.Encoding {
    let rendering: LogRendering
    let facility: SyslogFacility

    let receiver = "the journal"

    func datagram(of event: LogEvent, at now: UnixTime) -> [UInt8] {
        let message = LogRendering.cut(rendering.message(of: event, at: now), to: LogRendering.maxLineOctets)
        var fields = [
            ("MESSAGE", message), ("PRIORITY", "\(event.level.syslogSeverity)"),
            ("SYSLOG_FACILITY", "\(facility.code)"), ("SYSLOG_IDENTIFIER", rendering.program),
            ("SYSLOG_PID", "\(rendering.pid)"),
        ]
        if case .outcome(let line) = event {
            if let id = line.queueID { fields.append(("POSTFIX_QUEUEID", LogRendering.printable(id))) }
            fields.append(("POSTERN_ACTION", LogRendering.printable(line.action)))
        }
        // Every value is printable, so that no line end in one can begin another field.
        return Array(fields.map { "\($0)=\($1)\n" }.joined().utf8)
    }
}
