// Threads that run as long as the process, beside libmilter's own.

import Glibc

enum DetachedThread {
    /// Runs `body` on a thread of its own, to which no signal goes: those that stop or reload a daemon are the main one's.
    /// - Returns: false when the system gives no thread.
    static func start<Owner: AnyObject & Sendable>(_ owner: Owner, _ body: @escaping @Sendable (Owner) -> Void) -> Bool
    {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(Work { body(owner) })  // released by run
        guard pthread_create(&thread, nil, run, context.toOpaque()) == 0 else {
            context.release()
            return false
        }
        pthread_detach(thread)
        return true
    }

    private final class Work: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// The thread's function. Plain, so that no actor owns it.
    private static let run: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { context in
        guard let context else { return nil }
        var signals = sigset_t()
        sigfillset(&signals)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        Unmanaged<Work>.fromOpaque(context).takeRetainedValue().body()
        return nil
    }
}
