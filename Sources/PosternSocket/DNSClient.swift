// The way from a daemon's threads to postern-dns: blocking connections over its UNIX socket with the framing of
// RFC 1035 §4.2.2, kept in a free list that all threads share: measured, a third of the cost of a multiplexed client.
// It caches nothing and asks nobody else: postern-dns does. It never throws: what goes wrong is a temporary failure.

public import PosternDNS
public import PosternMail
import Synchronization

/// A client of one postern-dns, for all threads of a process.
public final class DNSClient: Sendable {
    let endpoint: Endpoint
    private let log: any LogSink
    private let pool: ShortLock<Pool>
    private let prefetcher = Mutex<Prefetcher?>(nil)

    /// Most connections that wait in the free list; more are closed when they come back. Twice the most threads that
    /// libmilter was seen to make (PLATFORM §2).
    public static let maxIdleConnections = 256
    /// Most questions in flight on one connection; a larger batch is asked in several parts. Far below the 65,536 ids.
    static let maxQuestionsInFlight = 4096
    /// Longest wait for a place in postern-dns's backlog: a daemon that hangs must leave something of the budget.
    static let maxDialTime = Duration.seconds(2)
    /// Fewest seconds between two warnings about answers that break the protocol.
    static let violationWarningInterval = Duration.seconds(60)

    private struct Pool {
        var idle: [DNSConnection] = []
        var isDown = false
        var nextViolationWarning = MonotonicTime(nanoseconds: .min)
    }

    /// - Parameter endpoint: where postern-dns listens for streams: `unix:` or `tcp:`.
    /// - Parameter log: takes one warning when postern-dns stops to work and one info line when it answers again.
    public init(_ endpoint: Endpoint, log: any LogSink) {
        self.endpoint = endpoint
        self.log = log
        pool = ShortLock(Pool())
    }

    /// A view for one transaction, whose time begins now.
    public func within(_ budget: Duration) -> BudgetedDNS {
        BudgetedDNS(client: self, budget: budget, deadline: .after(budget))
    }

    /// Connections in the free list, for tests and metrics.
    public var idleConnections: Int { pool.withLock { $0.idle.count } }

    // MARK: Asking

    /// - Returns: one answer for each question, in their order; at the deadline at the latest.
    func answers(to questions: [Question], until deadline: MonotonicTime, late: String) -> [Answer] {
        var answers: [Answer] = []
        answers.reserveCapacity(questions.count)
        var rest = questions[...]
        while !rest.isEmpty {
            var batch = DNSBatch(questions: Array(rest.prefix(Self.maxQuestionsInFlight)))
            rest = rest.dropFirst(Self.maxQuestionsInFlight)
            let failure = ask(&batch, until: deadline, late: late) { _ in false }
            answers += batch.answers.map { $0 ?? .temporaryFailure(failure ?? late) }
        }
        return answers
    }

    /// The same, where some of the answers may be enough: nil for what was not waited for.
    func answers(
        to questions: [Question], until deadline: MonotonicTime, late: String, isEnough: ([Answer?]) -> Bool
    ) -> [Answer?] {
        guard questions.count <= Self.maxQuestionsInFlight else {
            return answers(to: questions, until: deadline, late: late)
        }
        var batch = DNSBatch(questions: questions)
        guard let failure = ask(&batch, until: deadline, late: late, isEnough: isEnough) else { return batch.answers }
        return batch.answers.map { $0 ?? .temporaryFailure(failure) }
    }

    /// Asks what is open in the batch; a connection that the server closed is replaced once, so that a restart of
    /// postern-dns between or during the questions is not noticed.
    /// - Returns: why questions are still open, if any are and the others are not enough.
    private func ask(
        _ batch: inout DNSBatch, until deadline: MonotonicTime, late: String, isEnough: ([Answer?]) -> Bool
    ) -> String? {
        var mayRetry = true
        while true {
            guard !deadline.isPast else { return late }
            let connection: DNSConnection
            do throws(SocketError) {
                connection = try take(until: deadline, isRetry: !mayRetry)
            } catch {
                return isDown("\(error)")
            }
            switch connection.exchange(&batch, until: deadline, isEnough: isEnough) {
            case .complete:
                giveBack(connection)
                return nil
            case .enough:  // the connection goes, as below
                works()
                return nil
            case .late:  // the connection goes, since its answers may still come
                if batch.answers.contains(where: { $0 != nil }) { works() }
                return late
            case .broken(let error):
                guard mayRetry else { return isDown("\(error)") }
                pool.withLock { $0.idle.removeAll() }  // as old as this one, or older
                mayRetry = false
            case .violation(let text):
                return violated(text)
            }
        }
    }

    private func take(until deadline: MonotonicTime, isRetry: Bool) throws(SocketError) -> DNSConnection {
        if !isRetry, let idle = pool.withLock({ $0.idle.popLast() }) { return idle }
        return DNSConnection(try .dial(endpoint, until: min(deadline, .after(Self.maxDialTime))))
    }

    private func giveBack(_ connection: DNSConnection) {
        let wasDown = pool.withLock { pool in
            if pool.idle.count < Self.maxIdleConnections { pool.idle.append(connection) }
            defer { pool.isDown = false }
            return pool.isDown
        }
        if wasDown { log.info("postern-dns at \(endpoint) answers again") }
    }

    // MARK: Trouble

    private func works() {
        let wasDown = pool.withLock { pool in
            defer { pool.isDown = false }
            return pool.isDown
        }
        if wasDown { log.info("postern-dns at \(endpoint) answers again") }
    }

    /// Warns once until it works again.
    private func isDown(_ error: String) -> String {
        let wasDown = pool.withLock { pool in
            defer { pool.isDown = true }
            return pool.isDown
        }
        if !wasDown {
            log.warning("postern-dns does not answer: \(error); every DNS answer is a temporary failure until it does")
        }
        return "postern-dns does not answer"
    }

    private func violated(_ text: String) -> String {
        let now = MonotonicTime.now()
        let isDue = pool.withLock { pool in
            guard now >= pool.nextViolationWarning else { return false }
            pool.nextViolationWarning = now + Self.violationWarningInterval
            return true
        }
        if isDue {
            log.warning("postern-dns at \(endpoint) sent \(text); the connection is closed, the question failed")
        }
        return "postern-dns sent \(text)"
    }

    // MARK: Prefetching

    /// Writes the questions on a connection of their own, whose answers are thrown away, and returns at once. What
    /// finds no room is left out: prefetching is a favour, and the real question will come.
    func prefetch(_ questions: [Question]) {
        let failure: String? = prefetcher.withLock { prefetcher in
            for isRetry in [false, true] {
                do throws(SocketError) {
                    if prefetcher == nil {
                        prefetcher = Prefetcher(try .dial(endpoint, until: .now()))  // no wait for a full backlog
                    }
                    try prefetcher?.ask(questions)
                    return nil
                } catch {
                    prefetcher = nil
                    if case .timedOut = error { return nil }  // busy, not down
                    if isRetry { return "\(error)" }
                }
            }
            return nil
        }
        if let failure { _ = isDown(failure) }
    }
}

/// postern-dns for one transaction: all its questions share one deadline.
public struct BudgetedDNS: DNSAnswering, Sendable {
    let client: DNSClient
    let budget: Duration
    let deadline: MonotonicTime

    public func answers(to questions: [Question]) -> [Answer] {
        client.answers(to: questions, until: deadline, late: "no answer within \(budget.inWords)")
    }

    public func answers(
        to questions: [Question], within limit: Duration, until isEnough: ([Answer?]) -> Bool
    ) -> [Answer?] {
        client.answers(
            to: questions, until: min(deadline, .after(limit)), late: "no answer within \(min(limit, budget).inWords)",
            isEnough: isEnough)
    }

    public func prefetch(_ questions: [Question]) {
        if !questions.isEmpty, !deadline.isPast { client.prefetch(questions) }
    }
}

extension Duration {
    /// `300 ms` or `20 s`, as an admin would say it.
    var inWords: String {
        let milliseconds = nanoseconds / 1_000_000
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000) s" : "\(milliseconds) ms"
    }
}
