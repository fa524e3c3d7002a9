// The life of the process's one milter: takes a listening socket, serves it, stops. libmilter would open its socket
// itself, but it removes a socket that another process still serves, so ours arrives open (also from systemd).
// One server a process: libmilter's listener is a global.

import CMilter
import Glibc
public import PosternMail

/// Why the milter could not start.
public enum MilterServerError: Error, Hashable, Sendable, CustomStringConvertible {
    /// An operation and the text of its errno.
    case system(String, String)
    case libmilter(String)

    public var description: String {
        switch self {
        case .system(let operation, let text): "milter: \(operation): \(text)"
        case .libmilter(let call): "milter: libmilter's \(call) failed"
        }
    }
}

public struct MilterServer: Sendable {
    /// Messages between MAIL and their verdict.
    public let transactions: OpenTransactions
    /// Connections from their negotiation to their end; most of the time they have no message open.
    public let sessions: OpenTransactions
    private let listener: Int32
    private let progress: ProgressTicker
    private let knock: WorkerKnock
    private let log: any LogSink

    /// Most messages that are judged at once; more are answered by `Filter.whenOverloaded`. Each may hold a thread for
    /// all of its time budget, some 60 KiB of it in use.
    public static let maxInFlight = 256

    /// Longest packet that is taken from Postfix. A header field is one packet, of `header_size_limit` octets at most,
    /// by default 102,400; at a longer packet libmilter hangs up, by itself already at 64 KiB, and Postfix would let
    /// the message pass unjudged (`default_action`). Source: smfi_setmaxdatasize(3).
    static let maxPacketOctets = 4 * 1024 * 1024

    /// Registers the callbacks and puts `listener` in the place of libmilter's own socket.
    ///
    /// Call it once in a process.
    /// - Parameter listener: a listening UNIX or TCP socket; libmilter owns it from here on.
    /// - Parameter maxInFlight: for tests, as is `progressInterval`: between two signs of life while a verdict is made.
    /// - Parameter makeFilter: called on libmilter's threads, once for each SMTP session.
    public init(
        listener: Int32, needs: MilterNeeds, log: any LogSink, maxInFlight: Int = MilterServer.maxInFlight,
        progressInterval: Duration? = nil, makeFilter: @escaping @Sendable (SMTPSession) -> any Filter
    ) throws(MilterServerError) {
        transactions = OpenTransactions()
        sessions = OpenTransactions()
        progress = ProgressTicker(interval: progressInterval ?? ProgressTicker.usualInterval)
        self.log = log
        let inFlight = InFlight(limit: maxInFlight)
        Milter.context = MilterContext(
            needs: needs, makeFilter: makeFilter, transactions: transactions, sessions: sessions,
            inFlight: inFlight,
            envelopes: InFlight(limit: max(1, maxInFlight / 2)), progress: progress, log: log)
        guard smfi_register(Milter.callbacks()) == MI_SUCCESS else { throw .libmilter("smfi_register") }
        smfi_setmaxdatasize(Self.maxPacketOctets)
        self.listener = try MilterListener.replace(by: listener)
        knock = WorkerKnock(listener: self.listener, inFlight: inFlight)
    }

    /// Serves until `stop`. Blocks, and must run on a thread of its own: smfi_main takes HUP, TERM and INT for itself.
    /// - Returns: whether libmilter ended as it should.
    public func run() -> Bool {
        if !progress.start() { log.warning("no thread for signs of life; slow verdicts may come too late for Postfix") }
        if !knock.start() { log.warning("no thread to wake libmilter; messages may wait behind others' verdicts") }
        return smfi_main() == MI_SUCCESS
    }

    /// Whether libmilter takes connections and its workers answer: opens a connection to our own socket and negotiates,
    /// as Postfix would. For a watchdog; blocks until the answer or the end of `limit`.
    /// - Returns: what went wrong; nil where they do.
    public func trouble(within limit: Duration = .seconds(5)) -> String? {
        MilterProbe.trouble(listener, milliseconds: Int32(clamping: Int(limit / .milliseconds(1))))
    }

    /// Takes no more sessions: who connects waits in the backlog until another process takes the same socket, after this
    /// one has ended. To be called where systemd keeps the socket; where nobody does, it would turn Postfix away.
    /// - Returns: false when it could not be done: sessions go on being taken.
    @discardableResult
    public func leaveDoor() -> Bool { MilterStop.leaveDoor(listener) }

    /// Ends `run`: no new sessions, and open ones end with their current command. Returns when libmilter knows.
    /// Wait until `transactions.current` is 0 before, and a while for `sessions.current`: Postfix applies its default
    /// action to an open message, and to every later one of a session that we ended, even one whose MAIL lies in the
    /// socket unread. libmilter has no way to refuse a message then, nor to hand a session on.
    public func stop() { MilterStop.stop(listener) }
}
