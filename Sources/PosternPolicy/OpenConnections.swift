// The connections that are open: how many there may be, and who is to be woken when the door closes.

import Dispatch
import PosternMail
import PosternSocket
import Synchronization

final class OpenConnections: Sendable {
    enum Admission {
        /// `remove` is owed.
        case added
        case full, stopping
    }

    private struct State {
        var open: [ObjectIdentifier: PolicyConnection] = [:]
        var isStopping = false
    }

    private let state = Mutex(State())
    private let allEnded = DispatchSemaphore(value: 0)

    func add(_ connection: PolicyConnection, limit: Int) -> Admission {
        state.withLock { state in
            if state.isStopping { return .stopping }
            guard state.open.count < limit else { return .full }
            state.open[ObjectIdentifier(connection)] = connection
            return .added
        }
    }

    func remove(_ connection: PolicyConnection) {
        let isLast = state.withLock { state in
            state.open[ObjectIdentifier(connection)] = nil
            return state.isStopping && state.open.isEmpty
        }
        if isLast { allEnded.signal() }
    }

    var count: Int { state.withLock { $0.open.count } }

    /// Ends all of them, and takes no more: what has arrived is answered within `limit`, then they are cut.
    func stop(within limit: Duration) {
        let open = state.withLock { state in
            state.isStopping = true
            return Array(state.open.values)
        }
        guard !open.isEmpty else { return }
        // Each is alive as long as it is in `open`: its descriptor is nobody else's.
        for connection in open { connection.readNoMore() }
        guard allEnded.wait(timeout: .now() + .nanoseconds(Int(clamping: limit.nanoseconds))) != .success else {
            return
        }
        for connection in open { connection.cut() }
    }
}
