// Tests with real programs wait for them, and block while they do. On Swift's own threads, of which there are as many
// as cores, they would keep every other test of the process from running; so they have some of their own.

import Dispatch
import Foundation
import Synchronization
import Testing

/// What a suite and all in it runs on.
struct OwnThreads: SuiteTrait, TestScoping {
    fileprivate let executor: BlockingExecutor

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        try await withTaskExecutorPreference(executor) { try await function() }
    }
}

extension Trait where Self == OwnThreads {
    /// All suites that say so have the same few threads: a machine may be small.
    static var onOwnThreads: OwnThreads { OwnThreads(executor: .shared) }
}

private final class BlockingExecutor: TaskExecutor {
    private struct State {
        var jobs: [UnownedJob] = []
        var threads = 0
        var idle = 0
    }

    static let shared = BlockingExecutor(threads: 4)
    private let state = Mutex(State())
    private let arrivals = DispatchSemaphore(value: 0)
    private let maxThreads: Int

    init(threads: Int) { maxThreads = threads }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let needsThread = state.withLock { state in
            state.jobs.append(job)
            guard state.idle < state.jobs.count, state.threads < maxThreads else { return false }
            state.threads += 1
            return true
        }
        if needsThread { Thread.detachNewThread { self.run() } }
        arrivals.signal()
    }

    /// Until the process ends.
    private func run() {
        while true {
            state.withLock { $0.idle += 1 }
            arrivals.wait()
            let job = state.withLock { state in
                state.idle -= 1
                return state.jobs.removeFirst()
            }
            job.runSynchronously(on: asUnownedTaskExecutor())
        }
    }
}
