// A thread of our own, where a door's library brings none: smfi_main's, a policy connection's. No pool, no priorities.

import Glibc
internal import PosternMail
public import PosternSocket

/// A running thread that nobody has waited for yet.
///
/// Signals never come to it: those that stop or reload a daemon belong to the main thread (PLATFORM §10).
public struct Thread: ~Copyable, Sendable {
    private let handle: pthread_t

    /// What a thread of ours needs at most: libmilter's callbacks and SQLite were seen below a quarter of it.
    public static let usualStackOctets = 512 * 1024

    /// Starts a thread.
    ///
    /// - Parameter name: for ps(1) and gdb(1), at most 15 octets.
    /// - Parameter body: a plain function, or a closure made in one. A closure written in `@main` is isolated to the
    ///   main actor and would trap here (PLATFORM TRAP 1).
    /// - Throws: when the system gives no thread: too many, or no memory.
    public static func start(
        name: String, stackOctets: Int = usualStackOctets, body: @escaping @Sendable () -> Void
    ) throws(SocketError) -> Thread {
        do throws(SystemThread.Failure) {
            return Thread(
                handle: try SystemThread.start(stackOctets: stackOctets) {
                    nameThread(name)
                    body()
                })
        } catch {
            throw .system(operation: "thread \(name)", errno: error.code)
        }
    }

    /// Waits until the body has returned.
    public consuming func join() {
        pthread_join(handle, nil)
        discard self
    }

    /// Lets it run on its own; the same as letting go of this value.
    public consuming func detach() {
        pthread_detach(handle)
        discard self
    }

    deinit { pthread_detach(handle) }
}

/// Source: proc_pid_comm(5); pthread_setname_np(3) does the same and is hidden from Swift without _GNU_SOURCE.
private func nameThread(_ name: String) {
    let file = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return }  // a name is a comfort
    let octets = Array(name.utf8.prefix(15))
    _ = write(file, octets, octets.count)
    close(file)
}
