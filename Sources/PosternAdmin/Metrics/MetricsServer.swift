// Serves the page of metrics over HTTP/1.1 (RFC 9112) to a scraper on this machine. One thread serves all connections and
// waits for none of them: a request's size and time, the time of an answer and the number of connections are capped, and
// where all places are taken the oldest one is given away. The daemons are asked by another thread, once for all clients
// that wait, and not more often than once a second. No TLS, no login: who needs them puts a proxy before it.

internal import Glibc
internal import PosternDaemon
internal import PosternMail
internal import PosternSocket
internal import Synchronization

final class MetricsServer: Sendable {
    struct Limits: Sendable {
        /// At once; a scraper has one or two.
        var connections = 32
        /// From a connection's beginning to its request's end.
        var requestTime = Duration.seconds(5)
        /// For a client to take its answer.
        var answerTime = Duration.seconds(10)
        /// For a client to close after its answer, so that the answer is not lost to a reset. Source: RFC 9112 §9.6.
        var closingTime = Duration.seconds(1)
        /// A page is not made anew before it is so old.
        var pageAge = Duration.seconds(1)
    }

    /// How long no connection is accepted after accept(2) failed (no descriptors, no memory).
    private static let pauseAfterFailure = Duration.seconds(1)

    private let listener: Socket
    private let limits: Limits
    private let now: @Sendable () -> UnixTime
    private let makePage: @Sendable () -> MetricsPage
    /// What the other thread has made.
    private let made = Mutex<MetricsPage?>(nil)
    private let isStopping = Atomic<Bool>(false)
    /// One of the two above has changed.
    private let news: WakePipe

    /// - Parameter listener: listening, and does not block.
    /// - Parameter page: asks the daemons; called on a thread of its own, one at a time.
    init(
        listener: consuming Socket, limits: Limits = Limits(), now: @escaping @Sendable () -> UnixTime = WallClock.now,
        page: @escaping @Sendable () -> MetricsPage
    ) throws(SocketError) {
        news = try WakePipe()
        self.listener = listener
        self.limits = limits
        self.now = now
        makePage = page
    }

    /// The port that it listens on, where it is TCP.
    var port: UInt16? { listener.boundPort }

    /// Ends `run`; from any thread.
    func stop() {
        isStopping.store(true, ordering: .releasing)
        news.wake()
    }

    // MARK: Serving

    /// Serves until `stop`. Blocks.
    func run() {
        var connections: [MetricsConnection] = []
        var press = Press()
        var acceptsFrom = MonotonicTime(nanoseconds: .min)
        while true {
            let time = MonotonicTime.now()
            let accepts = time >= acceptsFrom && (connections.count < limits.connections || connections.hasIdle)
            var entries = [news.entry]
            // poll(2) passes over an entry with a negative descriptor.
            entries.append(pollfd(fd: accepts ? listener.descriptor : -1, events: Int16(POLLIN), revents: 0))
            entries += connections.map(\.entry)
            var next = connections.map(\.deadline).min() ?? .never
            if time < acceptsFrom { next = min(next, acceptsFrom) }
            if poll(&entries, nfds_t(entries.count), Self.milliseconds(until: next)) < 0, errno != EINTR { return }
            if entries.first?.revents != 0 {
                news.drain()
                if isStopping.load(ordering: .acquiring) { return }
                if let page = made.withLock({ $0.take() }) { press.take(page) }
            }
            for (connection, entry) in zip(connections, entries.dropFirst(2)) where entry.revents != 0 {
                connection.advance(entry.revents)
            }
            for connection in connections { serve(connection, &press) }
            connections.removeAll(where: \.isDone)
            if accepts, entries.dropFirst().first?.revents != 0 {
                do throws(SocketError) { try accept(&connections) } catch {
                    acceptsFrom = .after(Self.pauseAfterFailure)
                }
            }
        }
    }

    private func accept(_ connections: inout [MetricsConnection]) throws(SocketError) {
        guard let client = try listener.accept(until: .now()) else { return }
        if connections.count >= limits.connections, let oldest = connections.firstIndex(where: \.isIdle) {
            connections.remove(at: oldest)  // its socket closes
        }
        connections.append(MetricsConnection(client, limits))
    }

    /// Answers what was asked, as far as it is known now.
    private func serve(_ connection: MetricsConnection, _ press: inout Press) {
        connection.checkTime()
        guard let asked = connection.asked else { return }
        switch asked {
        case .failure(let fault): connection.answer(HTTPResponse(fault), withBody: true, at: now())
        case .success(let request):
            if let response = response(to: request, askedAt: connection.askedAt, &press) {
                connection.answer(response, withBody: request.method != "HEAD", at: now())
            }
        }
    }

    /// - Returns: nil while the page is being made.
    private func response(
        to request: HTTPRequest, askedAt: MonotonicTime, _ press: inout Press
    ) -> HTTPResponse? {
        // RFC 9110 §9.1: a method that is known and not allowed, or not known: both are told which are.
        guard request.method == "GET" || request.method == "HEAD" else { return .methodNotAllowed }
        switch request.path {
        case "/": return .link
        case "/metrics": break
        default: return .notFound
        }
        let format = MetricsFormat(accept: request.accept)
        if let octets = press.octets(format, for: askedAt, notOlderThan: limits.pageAge) {
            return .page(octets, format)
        }
        guard !press.isAtWork else { return nil }
        do throws(SocketError) {
            try Thread.start(name: "page") { [self] in
                let page = makePage()
                made.withLock { $0 = page }
                news.wake()
            }.detach()
            press.isAtWork = true
            return nil
        } catch {
            return .unavailable
        }
    }

    /// As poll(2) wants it, rounded up.
    private static func milliseconds(until time: MonotonicTime) -> Int32 {
        guard time != .never else { return -1 }
        return Int32(clamping: (time.remaining.nanoseconds + 999_999) / 1_000_000)
    }
}

/// The page that was made last, in the forms that it was asked for.
private struct Press {
    var isAtWork = false
    private var page: (page: MetricsPage, made: MonotonicTime)?
    private var printed: [MetricsFormat: [UInt8]] = [:]

    mutating func take(_ page: MetricsPage) {
        isAtWork = false
        self.page = (page, .now())
        printed = [:]
    }

    /// - Parameter asked: who has waited for a page gets it, however long it took to get here.
    mutating func octets(
        _ format: MetricsFormat, for asked: MonotonicTime, notOlderThan age: Duration
    ) -> [UInt8]? {
        guard let page, page.made >= asked || MonotonicTime.now() - page.made <= age else { return nil }
        if let octets = printed[format] { return octets }
        let octets = Array(page.page.text(format).utf8)
        printed[format] = octets
        return octets
    }
}

extension [MetricsConnection] {
    fileprivate var hasIdle: Bool { contains(where: \.isIdle) }
}
