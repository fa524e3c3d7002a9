// The connections of all threads of a process to a shared store, and its circuit: while it is open nobody is given one,
// and nobody waits. A free list of blocking connections, as DNSClient has: measured, that costs a third of one shared
// connection with a thread of its own (PLATFORM §3).

internal import Glibc

final class StorePool: @unchecked Sendable {
    // Unchecked: the pointers are immutable and own what they point to; `state` is used under the mutex.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var state = State()
    private let timeout: Duration

    /// Most connections at a time: a decision takes one for a fraction of a millisecond. Whoever finds none waits, and
    /// not longer than its deadline.
    static let maxConnections = 64

    enum Circuit {
        /// Nobody has looked yet.
        case starting
        case closed(StoreTarget)
        case open(StoreFailure, since: StoreDeadline)
    }

    private struct State {
        var circuit = Circuit.starting
        var idle: [StoreConnection] = []
        var taken = 0
        var waiting = 0
        var generation: UInt64 = 0
        /// Tries that somebody has waited for.
        var tries: UInt64 = 0
    }

    init(timeout: Duration) {
        self.timeout = timeout
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        var kind = pthread_mutexattr_t()
        pthread_mutexattr_init(&kind)
        // As ShortLock has it: who has the lock is most often about to let it go.
        pthread_mutexattr_settype(&kind, Int32(PTHREAD_MUTEX_ADAPTIVE_NP))
        pthread_mutex_init(mutex, &kind)  // these cannot fail on Linux: nothing is allocated
        pthread_cond_init(changed, &attributes)
        pthread_mutexattr_destroy(&kind)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    private func withLock<Result, Failure>(
        _ body: (inout State) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }

    /// Under the lock.
    /// - Returns: false when the deadline came first.
    private func wait(until deadline: StoreDeadline) -> Bool {
        var moment = deadline.moment
        return pthread_cond_timedwait(changed, mutex, &moment) != ETIMEDOUT
    }

    /// What a thread may use: a connection, or a place to make one.
    enum Place {
        case connection(StoreConnection)
        case room(StoreTarget)
    }

    /// Each place that is taken is given back, by `giveBack` or `drop`.
    func take(until deadline: StoreDeadline) throws(StoreFailure) -> Place {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        // Others change the state during a wait. So no access to it lasts over one: the optimizer may take what one
        // access has read for what is still there at its end, and did, so that nobody ever saw the store reached.
        while true {
            if let place = try Self.place(in: &state) { return place }
            state.waiting += 1
            let isInTime = wait(until: deadline)
            state.waiting -= 1
            guard isInTime else {
                if case .starting = state.circuit { throw .resting("it was not reached yet") }
                throw .timeout(timeout)
            }
        }
    }

    /// Takes a place; nil where there is none, and one may come.
    private static func place(in state: inout State) throws(StoreFailure) -> Place? {
        switch state.circuit {
        case .open(let failure, _): throw .resting("\(failure)")
        case .starting: return nil
        case .closed(let target):
            if let connection = state.idle.popLast() {
                state.taken += 1
                return .connection(connection)
            }
            guard state.taken < maxConnections else { return nil }
            state.taken += 1
            return .room(target)
        }
    }

    func giveBack(_ connection: StoreConnection) {
        withLock { state in
            state.taken -= 1
            if connection.generation == state.generation, case .closed = state.circuit {
                state.idle.append(connection)
            }  // else it is closed by its last owner, after the lock
            if state.waiting > 0 { pthread_cond_signal(changed) }
        }
    }

    func drop() {
        withLock { state in
            state.taken -= 1
            if state.waiting > 0 { pthread_cond_signal(changed) }
        }
    }

    /// The store has failed: nobody uses it until `close`.
    /// - Parameter generation: of the connection that failed; an older one than now says nothing. Nil: of any.
    func open(_ failure: StoreFailure, generation: UInt64?) -> Opening {
        var old: [StoreConnection] = []  // they are closed after the lock
        return withLock { state in
            if let generation, generation != state.generation { return .ignored }
            if case .open(let before, let since) = state.circuit {
                state.circuit = .open(failure, since: since)
                return .still(before)
            }
            state.circuit = .open(failure, since: .now())
            swap(&old, &state.idle)
            pthread_cond_broadcast(changed)
            return .new
        }
    }

    enum Opening {
        case new
        /// It was open, for this reason.
        case still(StoreFailure)
        /// The failure was an older connection's.
        case ignored
    }

    /// The store works: everybody may use it again.
    /// - Returns: since when the circuit was open; nil where it was not.
    func close(_ target: StoreTarget) -> StoreDeadline? {
        var old: [StoreConnection] = []  // they are closed after the lock
        return withLock { state in
            var since: StoreDeadline?
            if case .open(_, let moment) = state.circuit { since = moment }
            var target = target
            target.generation = state.generation &+ 1
            state.generation = target.generation
            swap(&old, &state.idle)
            state.circuit = .closed(target)
            pthread_cond_broadcast(changed)
            return since
        }
    }

    var tries: UInt64 { withLock { $0.tries } }

    /// A try that somebody waits for is over.
    func noteTry() {
        withLock { state in
            state.tries &+= 1
            pthread_cond_broadcast(changed)
        }
    }

    /// Waits for `close`, or for the end of a try.
    /// - Parameter tries: so many there were before.
    /// - Returns: whether it works.
    func awaitTry(after tries: UInt64, until deadline: StoreDeadline) -> Bool {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        // As in `take`: no access to the state lasts over a wait.
        while true {
            if case .closed = state.circuit { return true }
            guard state.tries == tries, deadline.remaining > 0 else { return false }
            _ = wait(until: deadline)
        }
    }

    /// Why it rests; nil while it works.
    var failure: StoreFailure? {
        withLock { state in
            if case .open(let failure, _) = state.circuit { failure } else { nil }
        }
    }

    var isClosed: Bool {
        withLock { state in
            if case .closed = state.circuit { true } else { false }
        }
    }

    /// In use and idle.
    var connections: Int { withLock { $0.idle.count + $0.taken } }
}
