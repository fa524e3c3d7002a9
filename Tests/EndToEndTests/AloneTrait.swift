// Suites of the end-to-end tests run beside each other, and most of a test's time is waiting; those that share a machine
// of tests take turns at it: its log's next line is then their own.

import Testing

/// Only one suite of a name runs at a time.
struct Alone: SuiteTrait, TestScoping {
    fileprivate let name: String

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        await Turns.shared.begin(name)
        do {
            try await function()
            await Turns.shared.end(name)
        } catch {
            await Turns.shared.end(name)
            throw error
        }
    }
}

extension Trait where Self == Alone {
    /// With `MailHost.shared`, `JudgingHost.strict` or another host that suites share.
    static func alone(with host: Any.Type) -> Alone { Alone(name: "\(host)") }
}

private actor Turns {
    static let shared = Turns()
    /// Those that wait for a name that somebody has.
    private var waiting: [String: [CheckedContinuation<Void, Never>]] = [:]

    func begin(_ name: String) async {
        guard waiting[name] != nil else {
            waiting[name] = []
            return
        }
        await withCheckedContinuation { waiting[name, default: []].append($0) }
    }

    func end(_ name: String) {
        guard var queue = waiting[name], !queue.isEmpty else {
            waiting[name] = nil
            return
        }
        let next = queue.removeFirst()
        waiting[name] = queue
        next.resume()
    }
}
