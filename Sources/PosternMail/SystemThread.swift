// A thread of the system's, where somebody must wait and nobody else shall: a writer, a door's connection, libmilter's
// main loop. No pool, no priorities. No signal from outside comes to it: those that stop or reload a daemon are the main
// thread's.

public import Glibc

public enum SystemThread {
    /// The system gives no thread: too many, or no memory.
    public struct Failure: Error, Hashable, Sendable {
        /// As errno(3) has it.
        public let code: Int32
    }

    /// Starts a thread.
    ///
    /// - Parameter stackOctets: nil for the system's usual, 8 MiB of address space.
    /// - Parameter body: a plain function, or a closure made in one. A closure written in `@main` is isolated to the
    ///   main actor and would trap here (PLATFORM TRAP 1).
    /// - Returns: the thread, for pthread_join(3) or pthread_detach(3): one of both is owed.
    public static func start(
        stackOctets: Int? = nil, body: @escaping @Sendable () -> Void
    ) throws(Failure) -> pthread_t {
        // Not pthread_attr_t(): where COpenSSL is in sight, the compiler takes that initializer for its.
        let attributes = UnsafeMutablePointer<pthread_attr_t>.allocate(capacity: 1)
        defer { attributes.deallocate() }
        guard pthread_attr_init(attributes) == 0 else { throw Failure(code: ENOMEM) }
        defer { pthread_attr_destroy(attributes) }
        if let stackOctets {
            let sized = pthread_attr_setstacksize(attributes, stackOctets)
            guard sized == 0 else { throw Failure(code: sized) }
        }
        // A thread begins with its maker's mask: no signal comes to it in its first moment either.
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        // Its own faults are for it: what they print tells where.
        for fault in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT] { sigdelset(&all, fault) }
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var thread = pthread_t()
        let task = Unmanaged.passRetained(ThreadTask(body))  // released by runTask
        let code = pthread_create(&thread, attributes, runTask, task.toOpaque())
        guard code == 0 else {
            task.release()  // nobody will run it
            throw Failure(code: code)
        }
        return thread
    }
}

private final class ThreadTask: Sendable {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// The thread's first function. Plain, so that no actor owns it.
private func runTask(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let context else { return nil }
    Unmanaged<ThreadTask>.fromOpaque(context).takeRetainedValue().body()  // retained by start
    return nil
}
