// An answer for the control socket that takes its time: another thread makes it, so that nobody else waits. How many
// there are at once is bounded by the socket's own cap on followers.

import PosternDaemon
import PosternMail
import PosternSocket
import Synchronization

final class LateAnswer: Sendable {
    private enum State: Sendable {
        case waiting
        case ready(ControlDocument)
        case taken
    }
    private let state = Mutex(State.waiting)

    /// SPF's evaluation and SQLite were seen below a quarter of it.
    private static let stackOctets = 512 * 1024

    /// - Parameter make: runs on a thread of its own, also when the client has gone meanwhile.
    static func feed(log: any LogSink, _ make: @escaping @Sendable () -> ControlDocument) -> ControlFeed {
        let answer = LateAnswer()
        do throws(SocketError) {
            try Thread.start(name: "command", stackOctets: stackOctets) { answer.set(make()) }.detach()
        } catch {
            log.warning("\(error); a command of the control socket is not carried out")
            answer.set(["error": .text("\(error)")])
        }
        return ControlFeed { answer.next() }
    }

    private func set(_ document: ControlDocument) { state.withLock { $0 = .ready(document) } }

    private func next() -> ControlFeed.Part {
        state.withLock { state in
            switch state {
            case .waiting: return .nothingYet
            case .ready(let document):
                state = .taken
                return .documents([document])
            case .taken: return .end
            }
        }
    }
}
