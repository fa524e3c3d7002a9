// Keeps libmilter's workers coming. Its pool counts a worker as idle until it has woken up: of several events that come
// at once it may tell all to one worker. If what that one takes first then waits (for DNS, say), the rest stays without
// a worker until another event comes, be it for all of a verdict's 20 s, while Postfix's patience runs out. So as long as
// a callback waits we are that event: a connection to our own socket that is closed at once. It gets a new worker, which
// afterwards takes what was left. Seen in Debian's libmilter 8.17; what is answered at once is never knocked for.

import Glibc
import PosternMail

final class WorkerKnock: Sendable {
    private let listener: Int32
    private let inFlight: InFlight

    /// How long a callback may take before it counts as waiting, in microseconds: far above what judging costs, far below
    /// what anybody notices.
    private static let pause: UInt32 = 100_000
    /// Most knocks at a time; each may free one event, and what it frees may come to wait as well.
    private static let maxKnocks = 8

    init(listener: Int32, inFlight: InFlight) {
        self.listener = listener
        self.inFlight = inFlight
    }

    /// Starts the thread, which runs as long as the process.
    /// - Returns: false when the system gives no thread.
    func start() -> Bool {
        guard let thread = try? SystemThread.start(body: { [self] in run() }) else { return false }
        pthread_detach(thread)
        return true
    }

    private func run() {
        var begun = 0
        while true {
            usleep(Self.pause)
            let now = inFlight.totals
            // Those that were there a while ago, if the newer ones have ended first: then nothing stands still anyway.
            for _ in 0..<max(0, min(begun - now.ended, Self.maxKnocks)) { MilterListener.wake(listener) }
            begun = now.begun
        }
    }
}
