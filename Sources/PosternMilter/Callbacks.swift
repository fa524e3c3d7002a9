// libmilter's callbacks: C pointers in, values out, and a filter's answers back. Nothing is decided here.
// Calls for one SMTP session come one at a time but on different threads (PLATFORM: Debian's libmilter has a worker
// pool), so all state hangs on the session's context and none on a thread. Source: sendmail's libmilter documentation.

import CMilter
import Glibc
import PosternMail

/// What the callbacks of every session share; set once, before smfi_main.
struct MilterContext: Sendable {
    var needs: MilterNeeds
    var makeFilter: @Sendable (SMTPSession) -> any Filter
    var transactions: OpenTransactions
    var sessions: OpenTransactions
    var inFlight: InFlight
    /// Those of them that are only at their envelope.
    var envelopes: InFlight
    var progress: ProgressTicker
    var log: any LogSink
}

/// The process's one milter: libmilter keeps its listener and its callbacks in globals.
enum Milter {
    /// Written once by `MilterServer.init`, before libmilter starts a thread, and only read from then on.
    nonisolated(unsafe) static var context: MilterContext?

    static let name = CString("postern")

    /// The table of callbacks. A plain function on purpose: closures written in an `@main` type would be bound to the
    /// main actor and trap on libmilter's threads.
    static func callbacks() -> smfiDesc {
        var table = smfiDesc()
        table.xxfi_name = name.pointer
        table.xxfi_version = Int32(SMFI_VERSION)
        table.xxfi_flags = context?.needs.actions ?? 0
        table.xxfi_negotiate = { Milter.negotiate($0, $1, $2, $5, $6, $7, $8) }
        table.xxfi_connect = { Milter.connect($0, $1, $2) }
        table.xxfi_helo = { Milter.helo($0, $1) }
        table.xxfi_envfrom = { Milter.mail($0, $1) }
        table.xxfi_envrcpt = { Milter.recipient($0, $1) }
        table.xxfi_header = { Milter.header($0, $1, $2) }
        table.xxfi_eoh = { Milter.endOfHeader($0) }
        table.xxfi_body = { Milter.body($0, $1, $2) }
        table.xxfi_eom = { Milter.endOfMessage($0) }
        table.xxfi_abort = { Milter.abort($0) }
        table.xxfi_close = { Milter.close($0) }
        return table
    }

    // MARK: Session

    private static func negotiate(
        _ raw: OpaquePointer?, _ actions: UInt, _ steps: UInt, _ wantedActions: UnsafeMutablePointer<UInt>?,
        _ wantedSteps: UnsafeMutablePointer<UInt>?, _ spare1: UnsafeMutablePointer<UInt>?,
        _ spare2: UnsafeMutablePointer<UInt>?
    ) -> sfsistat {
        guard let context, let wantedActions, let wantedSteps else { return sfsistat(SMFIS_REJECT) }
        if let missing = context.needs.missing(actions: actions, steps: steps) {
            context.log.error(
                "expected Postfix 2.6 or newer, found a mail server without \(missing); refusing its connection")
            return sfsistat(SMFIS_REJECT)
        }
        for (stage, names) in MilterMacros.byStage where smfi_setsymlist(raw, stage, names.pointer) != MI_SUCCESS {
            context.log.error("libmilter did not take the list of macros of stage \(stage); refusing the connection")
            return sfsistat(SMFIS_REJECT)
        }
        let connection = Unmanaged.passRetained(MilterConnection(context))
        guard smfi_setpriv(raw, connection.toOpaque()) == MI_SUCCESS else {
            connection.release()
            return sfsistat(SMFIS_REJECT)
        }
        wantedActions.pointee = context.needs.actions
        wantedSteps.pointee = context.needs.protocolSteps
        spare1?.pointee = 0
        spare2?.pointee = 0
        return sfsistat(SMFIS_CONTINUE)
    }

    private static func connect(
        _ raw: OpaquePointer?, _ name: UnsafeMutablePointer<CChar>?, _ address: UnsafeMutablePointer<sockaddr>?
    ) -> sfsistat {
        guard let context, let connection = connection(raw) else { return sfsistat(SMFIS_TEMPFAIL) }
        let (ip, port) = MilterValues.address(address)
        let client = SMTPClient(name: MilterValues.octets(name), address: ip, port: port)
        connection.session?.end()
        connection.session = MilterSession(
            SMTPSession(
                client: client,
                daemonName: macro(raw, MilterMacros.daemonName).map { String(decoding: $0, as: UTF8.self) }),
            context: context)
        return sfsistat(SMFIS_NOREPLY)
    }

    private static func helo(_ raw: OpaquePointer?, _ name: UnsafeMutablePointer<CChar>?) -> sfsistat {
        session(raw)?.filter.helo(MilterValues.octets(name))
        return sfsistat(SMFIS_NOREPLY)
    }

    /// Also after a connection that never came to a session, or to anything.
    private static func close(_ raw: OpaquePointer?) -> sfsistat {
        guard let pointer = smfi_getpriv(raw) else { return sfsistat(SMFIS_CONTINUE) }
        smfi_setpriv(raw, nil)
        let owned = Unmanaged<MilterConnection>.fromOpaque(pointer)
        owned.takeUnretainedValue().session?.end()
        owned.release()  // the one release for negotiate's passRetained
        return sfsistat(SMFIS_CONTINUE)
    }

    // MARK: Message

    private static func mail(_ raw: OpaquePointer?, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?)
        -> sfsistat
    {
        guard let session = session(raw) else { return sfsistat(SMFIS_TEMPFAIL) }
        let login = macro(raw, MilterMacros.login).flatMap { $0.isEmpty ? nil : $0 }
        session.begin(
            Envelope(
                mailFrom: MilterValues.path(arguments?.pointee), login: login,
                declaresEightBit: MilterValues.parameters(arguments).contains {
                    $0.equalsIgnoringASCIICase("BODY=8BITMIME")
                }))
        return sfsistat(SMFIS_NOREPLY)
    }

    private static func recipient(
        _ raw: OpaquePointer?, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
    ) -> sfsistat {
        guard let context, let session = session(raw) else { return sfsistat(SMFIS_NOREPLY) }
        session.filter.recipient(MilterValues.path(arguments?.pointee))
        if session.isFirstRecipient() { judgeEnvelope(session, context) }
        return sfsistat(SMFIS_NOREPLY)
    }

    /// Postfix waits for no envelope, so that a client can leave many behind, to be judged long after it has gone: they
    /// never take the room of messages that have ended.
    private static func judgeEnvelope(_ session: MilterSession, _ context: MilterContext) {
        guard context.envelopes.enter() else { return }
        defer { context.envelopes.leave() }
        guard context.inFlight.enter() else { return }
        defer { context.inFlight.leave() }
        session.filter.judgeEnvelope()
    }

    private static func header(
        _ raw: OpaquePointer?, _ name: UnsafeMutablePointer<CChar>?, _ value: UnsafeMutablePointer<CChar>?
    ) -> sfsistat {
        session(raw)?.filter.header(
            HeaderField(name: MilterValues.octets(name), value: MilterValues.headerValue(value)))
        return sfsistat(SMFIS_NOREPLY)
    }

    private static func endOfHeader(_ raw: OpaquePointer?) -> sfsistat {
        guard let session = session(raw) else { return sfsistat(SMFIS_NOREPLY) }
        session.queueID = macro(raw, MilterMacros.queueID).map { String(decoding: $0, as: UTF8.self) }
        session.bodyInterest = session.filter.endOfHeader(queueID: session.queueID)
        return sfsistat(SMFIS_NOREPLY)
    }

    private static func body(_ raw: OpaquePointer?, _ chunk: UnsafeMutablePointer<UInt8>?, _ count: Int) -> sfsistat {
        guard let session = session(raw) else { return sfsistat(SMFIS_CONTINUE) }
        if session.bodyInterest == .wanted, let chunk {
            session.bodyInterest = session.filter.body(UnsafeBufferPointer(start: chunk, count: count).span)
        }
        return sfsistat(session.bodyInterest == .wanted ? SMFIS_CONTINUE : SMFIS_SKIP)
    }

    private static func endOfMessage(_ raw: OpaquePointer?) -> sfsistat {
        guard let session = session(raw) else { return sfsistat(SMFIS_TEMPFAIL) }
        defer { session.end() }
        let verdict = verdict(session, raw)
        do throws(MilterError) {
            return try MilterAnswer.give(verdict, to: raw)
        } catch {
            session.log.error("\(session.queueID ?? "NOQUEUE"): \(error); answering 4xx so that the sender tries again")
            return sfsistat(SMFIS_TEMPFAIL)
        }
    }

    /// A message whose judging may wait (DNS, a signature) holds a thread of libmilter's, which makes more of them
    /// without end (PLATFORM §2): from the cap on messages are answered at once.
    private static func verdict(_ session: MilterSession, _ raw: OpaquePointer?) -> Verdict {
        guard let context else { return Verdict() }
        guard context.inFlight.enter() else {
            session.log.warning("\(context.inFlight.limit) messages are being judged; more are answered at once")
            return session.filter.whenOverloaded()
        }
        defer { context.inFlight.leave() }
        context.progress.enter(raw)
        defer { context.progress.leave(raw) }
        return session.filter.endOfMessage()
    }

    private static func abort(_ raw: OpaquePointer?) -> sfsistat {
        session(raw)?.abort()
        return sfsistat(SMFIS_CONTINUE)
    }

    // MARK: Context

    private static func connection(_ raw: OpaquePointer?) -> MilterConnection? {
        smfi_getpriv(raw).map { Unmanaged<MilterConnection>.fromOpaque($0).takeUnretainedValue() }
    }

    private static func session(_ raw: OpaquePointer?) -> MilterSession? { connection(raw)?.session }

    /// A macro's octets; `nil` when Postfix did not send it.
    private static func macro(_ raw: OpaquePointer?, _ name: CString) -> [UInt8]? {
        smfi_getsymval(raw, name.pointer).map { MilterValues.octets($0) }
    }
}
