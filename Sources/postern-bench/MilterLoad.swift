// A load of messages on a milter, spoken as Postfix speaks: smtpd's part of a session and cleanup's in one connection,
// one message a connection or many. What it costs is read from the accounts of the processes that work for it.

import Foundation
import PosternMail
import Synchronization
import TestSupport

struct MilterLoad: Sendable {
    var socket: String
    var message: MessageText
    var sender = "ann@example.org"
    /// Strangers' mail is verified, `127.0.0.1` signed.
    var clientAddress = "192.0.2.7"
    var sessions = 8
    var messages = 2000
    var messagesPerConnection = 1
    /// The milter and whoever else works for it; their children count too.
    var processes: [Int32] = []
    /// What an answer must hold, so that a milter that does nothing is not measured by mistake.
    var expected: String?

    struct Result: Sendable {
        var messages: Int
        var seconds: Double
        /// CPU microseconds a message, by process.
        var cpu: [(pid: Int32, microseconds: Double)]
        var residentKiB: [(pid: Int32, kibibytes: Int)]
        var total: Double { cpu.reduce(0) { $0 + $1.microseconds } }
    }

    func run() throws -> Result {
        try load(messages: max(sessions, min(200, messages / 10)))  // warm-up
        let before = processes.map { ($0, cpu($0)) }
        let start = Date()
        try load(messages: messages)
        let seconds = Date().timeIntervalSince(start)
        return Result(
            messages: messages, seconds: seconds,
            cpu: before.map { ($0.0, (cpu($0.0) - $0.1) * 1_000_000 / Double(messages)) },
            residentKiB: processes.map { pid in
                (pid, ProcessAccount.tree(pid).compactMap(ProcessAccount.residentKiB).reduce(0, +))
            })
    }

    private func cpu(_ pid: Int32) -> Double {
        ProcessAccount.tree(pid).compactMap(ProcessAccount.cpuSeconds).reduce(0, +)
    }

    private func load(messages: Int) throws {
        let left = Atomic<Int>(messages)
        let failure = Mutex<String?>(nil)
        let group = DispatchGroup()
        for number in 0..<sessions {
            group.enter()
            Thread.detachNewThread {
                defer { group.leave() }
                do { try worker(number, left) } catch { failure.withLock { $0 = $0 ?? "\(error)" } }
            }
        }
        group.wait()
        if let text = failure.withLock({ $0 }) { throw BenchError.wrongResult(text) }
    }

    private func worker(_ number: Int, _ left: borrowing Atomic<Int>) throws {
        let header = message.header.map { ($0.name, $0.value) }
        while true {
            let client = try MilterClient(path: socket)
            try client.negotiate()
            try client.connect(name: "mx.example.org", address: clientAddress)
            try client.helo("mx.example.org")
            for _ in 0..<messagesPerConnection {
                guard left.subtract(1, ordering: .relaxed).newValue >= 0 else { return try client.quit() }
                let (changes, answer) = try client.message(
                    from: sender, header: header, body: message.body, queueID: "4bench\(number)")
                if let expected, !changes.contains(where: { "\(text($0))".contains(expected) }) {
                    throw BenchError.wrongResult(
                        "expected a change with \(expected), got \(changes.map(text)) and \(answer)")
                }
            }
            try client.quit()
        }
    }

    private func text(_ change: MilterClient.Change) -> String {
        switch change {
        case .insert(_, let name, let value), .change(_, let name, let value):
            "\(name):\(String(decoding: value, as: UTF8.self))"
        case .quarantine(let reason): reason
        }
    }
}
