// A thread that works for a store until it is told to end, so that no decision waits for what it does: started once,
// woken when there is something, ended and waited for. What it does is its owner's.

import Glibc
import PosternMail
import Synchronization

final class Worker: Sendable {
    private let signal = Signal()
    private let ending = Atomic<Bool>(false)
    private let thread = Mutex<pthread_t?>(nil)

    /// - Parameter body: returns soon after `isEnding`. Where the thread runs already, nothing is done.
    func start(_ body: @escaping @Sendable () -> Void) throws(SystemThread.Failure) {
        try thread.withLock { (thread) throws(SystemThread.Failure) in
            guard thread == nil else { return }
            ending.store(false, ordering: .relaxed)
            thread = try SystemThread.start(body: body)
        }
    }

    var isRunning: Bool { thread.withLock { $0 != nil } }

    /// Told to end.
    var isEnding: Bool { ending.load(ordering: .relaxed) }

    /// There is something to do.
    func wake() { signal.raise() }

    /// For the thread: until it is woken, or the time is over.
    /// - Parameter timeout: nil for ever.
    func wait(atMost timeout: Duration?) { signal.wait(atMost: timeout) }

    /// Ends the thread, and waits for that.
    func end() {
        ending.store(true, ordering: .relaxed)
        signal.raise()
        let handle = thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        if let handle { pthread_join(handle, nil) }
    }
}
