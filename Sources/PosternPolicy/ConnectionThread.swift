// A connection's thread: detached, with a stack of a known size. It inherits the signal mask of the thread that
// accepts, which a daemon has blocked all its signals in.

import Glibc
import PosternSocket

enum ConnectionThread {
    /// - Throws: when the system gives no thread: too many, or no memory.
    static func start(stackOctets: Int, body: @escaping @Sendable () -> Void) throws(SocketError) {
        // Not pthread_attr_t(): its initializer means another type where COpenSSL is in sight.
        let attributes = UnsafeMutablePointer<pthread_attr_t>.allocate(capacity: 1)
        defer { attributes.deallocate() }
        guard pthread_attr_init(attributes) == 0 else { throw .system(operation: "thread", errno: ENOMEM) }
        defer { pthread_attr_destroy(attributes) }
        let sized = pthread_attr_setstacksize(attributes, stackOctets)
        guard sized == 0 else { throw .system(operation: "stack of a thread", errno: sized) }
        pthread_attr_setdetachstate(attributes, Int32(PTHREAD_CREATE_DETACHED))  // cannot fail for this value
        let task = Unmanaged.passRetained(ThreadTask(body))  // released by runTask
        var handle = pthread_t()
        let code = pthread_create(&handle, attributes, runTask, task.toOpaque())
        guard code == 0 else {
            task.release()  // nobody will run it
            throw .system(operation: "thread", errno: code)
        }
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
