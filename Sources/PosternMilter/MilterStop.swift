// Stopping libmilter without its five seconds: smfi_stop(3) waits for a lock that the listener holds over its poll and
// takes again at once. So another thread keeps knocking until smfi_stop has come through. And what libmilter lacks: no
// longer to take sessions while those that are open go on.

import CMilter
import Glibc
import PosternMail
import Synchronization

enum MilterStop {
    /// Lays a socket that nobody knows over libmilter's number of the listener, which libmilter keeps polling.
    static func leaveDoor(_ listener: Int32) -> Bool {
        guard let name = MilterListener.socketName(listener) else { return false }
        let family = Int32(name.family)
        let quiet = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard quiet >= 0 else { return false }
        defer { close(quiet) }
        let isBound: Bool
        if family == AF_UNIX {
            // Only the family: a name of the kernel's choice, without a file. Source: unix(7), autobind.
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            isBound = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(quiet, $0, socklen_t(MemoryLayout<sa_family_t>.size)) == 0
                }
            }
        } else {
            isBound = MilterListener.bindToLoopback(quiet, family) != nil
        }
        let old = fcntl(listener, F_DUPFD_CLOEXEC, 0)
        guard old >= 0 else { return false }
        defer { close(old) }
        // `stop` knocks there.
        guard isBound, listen(quiet, 1) == 0, dup2(quiet, listener) == listener else { return false }
        _ = fcntl(listener, F_SETFD, FD_CLOEXEC)
        // The poll that is under way still sleeps at the old one, and looks at the new one when it is woken: it ends if
        // somebody is there. Whoever has the old socket next finds a client that is gone.
        MilterListener.wake(listener)
        MilterListener.wake(old)
        return true
    }

    /// - Parameter listener: the socket that libmilter listens on.
    static func stop(_ listener: Int32) {
        let knocking = Knocking(listener)
        let thread = try? SystemThread.start {  // without it the five seconds are harmless
            while !knocking.isDone.load(ordering: .acquiring) {
                MilterListener.wake(knocking.listener)
                usleep(pause)
            }
        }
        if thread == nil { MilterListener.wake(listener) }
        _ = smfi_stop()
        knocking.isDone.store(true, ordering: .releasing)
        if let thread { pthread_join(thread, nil) }
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
