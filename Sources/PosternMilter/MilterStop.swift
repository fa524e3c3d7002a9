// Stopping libmilter without its five seconds: smfi_stop(3) waits for a lock that the listener holds over its poll and
// takes again at once. So another thread keeps knocking until smfi_stop has come through.

import CMilter
import Glibc
import Synchronization

enum MilterStop {
    /// - Parameter listener: the socket that libmilter listens on.
    static func stop(_ listener: Int32) {
        let knocking = Knocking(listener)
        var thread = pthread_t()
        let context = Unmanaged.passRetained(knocking)  // released by knock
        let hasThread = pthread_create(&thread, nil, knock, context.toOpaque()) == 0
        if !hasThread {
            context.release()  // nobody will run it; the five seconds are harmless
            MilterListener.wake(listener)
        }
        _ = smfi_stop()
        knocking.isDone.store(true, ordering: .releasing)
        if hasThread { pthread_join(thread, nil) }
        MilterListener.wake(listener)  // now it sees that it shall end
    }
}

private final class Knocking: Sendable {
    let listener: Int32
    let isDone = Atomic<Bool>(false)

    init(_ listener: Int32) { self.listener = listener }
}

/// Time between two connections, in microseconds: long enough for smfi_stop to find the lock free.
private let pause: UInt32 = 2000

/// The thread's function. Plain, so that no actor owns it.
private func knock(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let context else { return nil }
    let knocking = Unmanaged<Knocking>.fromOpaque(context).takeRetainedValue()
    while !knocking.isDone.load(ordering: .acquiring) {
        MilterListener.wake(knocking.listener)
        usleep(pause)
    }
    return nil
}
