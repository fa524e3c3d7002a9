// Mail that keeps coming while a test does something to postern-policy, and what was wrong with the answers.

import Foundation
import PostfixHarness
import Synchronization

/// Strangers who send mail for as long as they are let: some whom no rule knows, some who are greylisted.
final class PolicyLoad: Sendable {
    private let host: PolicyHost
    private let state = Mutex((messages: 0, wrong: [String](), isRunning: false))
    private let threads = DispatchGroup()

    init(_ host: PolicyHost) { self.host = host }

    /// Messages that have come to an end of their own, whichever.
    var messages: Int { state.withLock { $0.messages } }
    /// What nobody should have been told.
    var wrong: [String] { state.withLock { $0.wrong } }

    /// Starts it, where it does not run.
    func start() {
        let wasRunning = state.withLock { state in
            defer { state.isRunning = true }
            return state.isRunning
        }
        guard !wasRunning else { return }
        for number in 0..<4 {
            threads.enter()
            Thread.detachNewThread { [self] in
                defer { threads.leave() }
                var turn = 0
                while state.withLock({ $0.isRunning }) {
                    turn += 1
                    let problem = Self.problem { try self.message(number, turn) }
                    state.withLock { state in
                        state.messages += 1
                        if let problem { state.wrong.append(problem) }
                    }
                }
            }
        }
    }

    func stop() {
        state.withLock { $0.isRunning = false }
        threads.wait()
    }

    /// Waits for so many more.
    func awaitMessages(_ count: Int) throws {
        let before = messages
        try Await.until("\(count) messages") { messages >= before + count }
    }

    private static func problem(_ body: () throws -> String?) -> String? {
        do { return try body() } catch { return "\(error)" }
    }

    /// - Returns: what is wrong with what was answered.
    private func message(_ number: Int, _ turn: Int) throws -> String? {
        if turn.isMultiple(of: 2) {
            let reply = try host.rcpt("10.\(number).\(turn / 250).7", from: "u\(turn)@new.example.net")
            return reply.isGreylisting ? nil : "\(reply)"
        }
        let client = try host.session("203.0.113.\(number)")
        let reply = try client.send(
            from: "u\(turn)@example.com", to: [EndToEnd.PolicyLife.recipient], PolicyHost.letter)
        return reply.queueID == nil ? "\(reply)" : nil
    }
}
