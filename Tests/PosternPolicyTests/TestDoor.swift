// A policy door on a socket of its own, with a service that does what a test says and writes down what it saw.

import Foundation
import Glibc
import PosternMail
import PosternSocket
import Synchronization
import TestSupport

@testable import PosternPolicy

/// What a service saw, and what it shall answer.
final class Script: Sendable {
    private let state = Mutex<[String]>([])
    /// By the recipient.
    let judge: @Sendable (PolicyRequest) -> PolicyOutcome

    init(_ judge: @escaping @Sendable (PolicyRequest) -> PolicyOutcome = { _ in .silent(.dunno) }) {
        self.judge = judge
    }

    func note(_ text: String) { state.withLock { $0.append(text) } }
    var events: [String] { state.withLock { $0 } }
    /// How many of the events begin so.
    func count(_ prefix: String) -> Int { events.count { $0.hasPrefix(prefix) } }
}

final class ScriptedTransaction: PolicyTransaction {
    private let script: Script
    private let name: String

    init(_ request: PolicyRequest, _ script: Script) {
        self.script = script
        name = String(decoding: request[.instance], as: UTF8.self)
        script.note("begin \(name)")
    }
    func answer(_ request: PolicyRequest) -> PolicyOutcome {
        script.note("\(request.stage.rawValue) \(name) \(String(decoding: request[.recipient], as: UTF8.self))")
        return script.judge(request)
    }
    func end() { script.note("end \(name)") }
}

final class TestDoor: Sendable {
    let path: String
    let server: PolicyServer
    let script: Script
    let log = RecordingLog()
    private let folder: String
    private let ended = DispatchSemaphore(value: 0)
    private let isStopped = Atomic<Bool>(false)

    /// - Parameter folder: of an older door, for one that takes its place.
    init(_ script: Script = Script(), folder: String? = nil, _ change: (inout PolicyLimits) -> Void = { _ in }) throws {
        var template = Array("/tmp/postern-test-XXXXXX".utf8CString)
        if folder == nil, mkdtemp(&template) == nil { throw PolicyClientError.system("mkdtemp", errno) }
        self.folder = folder ?? String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        path = self.folder + "/policy.sock"
        var limits = PolicyLimits()
        change(&limits)
        self.script = script
        server = try PolicyServer(listener: try Socket.listen(.unix(path: path)), log: log, limits: limits) {
            ScriptedTransaction($0, script)
        }
        let (server, ended) = (server, ended)
        Thread.detachNewThread {
            server.run()
            ended.signal()
        }
    }

    /// Stops and waits until nothing runs any more. Then everything is counted.
    func stop() {
        guard !isStopped.exchange(true, ordering: .relaxed) else { return }
        server.stop()
        ended.wait()
    }

    deinit {
        stop()
        unlink(path)
        rmdir(folder)  // another door's socket may still be in it
    }

    func client() throws -> PolicyClient { try PolicyClient(path: path) }

    /// A counter of the door's; `postern_policy_` and `_total` left out.
    func counted(_ name: String, _ label: String? = nil) -> UInt64? {
        server.counters(of: "policy").first {
            $0.name.metric == "postern_policy_\(name)_total" && $0.name.label?.value == label
        }?.value
    }
}

/// Holds all who pass until it is opened, and knows when somebody is held.
final class Gate: Sendable {
    private let state = Mutex((held: 0, isOpen: false))
    private let arrived = DispatchSemaphore(value: 0)
    private let release = DispatchSemaphore(value: 0)

    func pass() {
        let waits = state.withLock { state in
            guard !state.isOpen else { return false }
            state.held += 1
            return true
        }
        arrived.signal()
        if waits { release.wait() }
    }
    /// Waits until so many have come.
    func await(_ count: Int = 1) { for _ in 0..<count { arrived.wait() } }
    func open() {
        let held = state.withLock { state in
            state.isOpen = true
            return state.held
        }
        for _ in 0..<held { release.signal() }
    }
}
