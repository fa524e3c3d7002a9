// Tells Postfix that a verdict is still on its way (smfi_progress(3)), so that a message whose judging waits for DNS is
// not given up after `content_timeout`, or after a mail server's shorter one. Filters know nothing of it: one thread
// writes for all messages that are being judged. A message is in the list only while its end-of-message callback runs,
// which is when libmilter takes such a packet, and nobody else writes to its connection then: the verdict waits for
// the lock under which packets go out. A packet has 5 octets, so that no connection is ever too full for it.

import CMilter
import Glibc
import PosternMail
import Synchronization

final class ProgressTicker: Sendable {
    /// A context whose callback is running.
    private struct Waiting: @unchecked Sendable {  // only used under the lock
        let raw: OpaquePointer
    }

    /// Far below every timeout that an admin might set (`content_timeout`, by default 300 s).
    static let usualInterval = Duration.seconds(3)

    private let waiting = Mutex<[UInt: Waiting]>([:])
    private let pauseMicroseconds: UInt32

    init(interval: Duration = usualInterval) {
        pauseMicroseconds = UInt32(clamping: Int(interval / .microseconds(1)))
    }

    /// Starts the thread, which runs as long as the process.
    /// - Returns: false when the system gives no thread; verdicts come all the same.
    func start() -> Bool {
        guard let thread = try? SystemThread.start(body: { [self] in run() }) else { return false }
        pthread_detach(thread)
        return true
    }

    /// The end-of-message callback of `raw` has begun; `leave` is owed before anything is written to it.
    func enter(_ raw: OpaquePointer?) {
        guard let raw else { return }
        let entry = Waiting(raw: raw)
        waiting.withLock { $0[UInt(bitPattern: entry.raw)] = entry }
    }

    /// When this returns, nothing more is written.
    func leave(_ raw: OpaquePointer?) {
        guard let raw else { return }
        let key = UInt(bitPattern: raw)
        _ = waiting.withLock { $0.removeValue(forKey: key) }
    }

    private func run() {
        while true {
            usleep(pauseMicroseconds)
            waiting.withLock { waiting in
                // A connection that is gone is found out by the verdict.
                for entry in waiting.values { _ = smfi_progress(entry.raw) }
            }
        }
    }
}
