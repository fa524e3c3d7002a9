// Mail that flows all the time while a host changes: own users, own programs, strangers who are known and who are not,
// forged results and spoofs. Each message is counted when Postfix takes it; what is put off is sent again, as any mail
// server does. What must not be refused and is, or is taken and must not be, is kept for the test.

import Foundation
import Glibc
import PostfixHarness
import Synchronization

final class MigrationTraffic: Sendable {
    enum Kind: String, CaseIterable, Sendable {
        /// A program on this host, at the MX.
        case local
        /// A user who logged in, at submission.
        case user
        /// A stranger whom greylisting knows.
        case known
        /// A stranger from an address that nobody has seen.
        case new
        /// A known stranger's mail with results in our name.
        case forged
        /// A bank's mail, from somewhere else.
        case spoof

        var isOurs: Bool { self == .local || self == .user }
    }

    struct Sent: Sendable {
        let number: Int
        let kind: Kind
        /// What was going on when it was taken.
        let phase: String
        let queueID: String
        /// How often it was put off before.
        let delays: Int
    }

    private struct Work: Sendable {
        let number: Int
        let kind: Kind
        var delays = 0
    }

    private struct State {
        var phase = "before"
        var sent: [Sent] = []
        var refusedSpoofs = 0
        var wrong: [String] = []
        var isEnding = false
        var hasEnded = false
    }

    private let state = Mutex(State())
    private let postfix: PostfixInstance
    /// Mail servers wait longer; nobody shall wait for that here.
    private static let pause: UInt32 = 20_000
    private static let maxDelays = 500

    init(through postfix: PostfixInstance) { self.postfix = postfix }

    func start() {
        let thread = Foundation.Thread { [self] in self.run() }
        thread.start()
    }

    var phase: String {
        get { state.withLock { $0.phase } }
        set { state.withLock { $0.phase = newValue } }
    }

    var sent: [Sent] { state.withLock { $0.sent } }
    var wrong: [String] { state.withLock { $0.wrong } }
    var refusedSpoofs: Int { state.withLock { $0.refusedSpoofs } }

    /// Waits until each kind was sent some times more.
    func awaitMore(_ count: Int = 4) throws {
        let (before, spoofs) = state.withLock { ($0.sent, $0.refusedSpoofs) }
        func new(_ kind: Kind, _ all: [Sent]) -> Int {
            all.dropFirst(before.count).count { $0.kind == kind }
        }
        let end = { self.wrong.joined(separator: "\n") }
        try Await.until("more mail of each kind", context: end) {
            let (sent, refused) = state.withLock { ($0.sent, $0.refusedSpoofs) }
            return refused >= spoofs + count
                && Kind.allCases.allSatisfy { $0 == .spoof || new($0, sent) >= count }
        }
    }

    /// Sends what was put off, and nothing more.
    func end() throws {
        state.withLock { $0.isEnding = true }
        let end = { self.wrong.joined(separator: "\n") }
        try Await.until("the end of the mail", context: end) {
            state.withLock { $0.hasEnded }
        }
    }

    // MARK: The sender

    private func run() {
        var number = 0
        var waiting: [Work] = []
        while true {
            let isEnding = state.withLock { $0.isEnding }
            if isEnding, waiting.isEmpty { break }
            if !isEnding {
                number += 1
                let kind = Kind.allCases[number % Kind.allCases.count]
                waiting.append(Work(number: number, kind: kind))
            }
            let batch = waiting
            waiting = []
            for work in batch {
                if let again = attempt(work) { waiting.append(again) }
            }
            usleep(Self.pause)
        }
        state.withLock { $0.hasEnded = true }
    }

    /// - Returns: the work, when it is put off.
    private func attempt(_ work: Work) -> Work? {
        do {
            let reply = try send(work)
            if work.kind == .spoof, reply.code / 100 == 5 {
                state.withLock { $0.refusedSpoofs += 1 }
                return nil
            }
            if let queueID = reply.queueID, work.kind != .spoof {
                state.withLock {
                    $0.sent.append(
                        Sent(
                            number: work.number, kind: work.kind, phase: $0.phase, queueID: queueID, delays: work.delays
                        ))
                }
                return nil
            }
            // Greylisting, or a program that is not there at this moment.
            if reply.code / 100 == 4, work.delays < Self.maxDelays {
                if work.kind != .new, work.kind != .spoof {
                    state.withLock { $0.wrong.append("\($0.phase): \(work.kind) \(work.number) was put off: \(reply)") }
                }
                var again = work
                again.delays += 1
                return again
            }
            state.withLock { $0.wrong.append("\($0.phase): \(work.kind) \(work.number): \(reply)") }
        } catch {
            state.withLock { $0.wrong.append("\($0.phase): \(work.kind) \(work.number): \(error)") }
        }
        return nil
    }

    private func send(_ work: Work) throws -> SMTPReply {
        let client = try postfix.connect(work.kind == .user ? "submission" : nil)
        defer { try? client.quit() }  // the answer to the message is what counts
        let sender: String
        var fields = "Message-ID: <\(work.number)@migration.example>\nSubject: \(work.kind.rawValue)\n"
        switch work.kind {
        case .local:
            sender = "ann@example.org"
            try client.expect("EHLO localhost")
        case .user:
            sender = "ann@example.org"
            try client.xclient(name: "laptop.example.com", address: "198.51.100.9", login: "ann")
            try client.expect("EHLO laptop")
        case .known, .forged:
            sender = "cy@example.net"
            try client.xclient(name: "mx.example.net", address: "192.0.2.7")
            try client.expect("EHLO mx.example.net")
            if work.kind == .forged {
                fields += "Authentication-Results: example.org; dkim=pass header.d=bank.example\n"
            }
        case .new:
            sender = "di\(work.number)@new.example"
            let network = "203.\(work.number / 200 % 200).\(work.number % 200)"
            try client.xclient(name: "[UNAVAILABLE]", address: "\(network).5")
            try client.expect("EHLO mx.new.example")
        case .spoof:
            sender = "desk@bank.example"
            try client.xclient(name: "[UNAVAILABLE]", address: "192.0.2.66")
            try client.expect("EHLO mx.evil.example")
        }
        let text = "\(fields)From: <\(sender)>\nTo: bo@example.org\nDate: Sat, 21 Nov 2026 01:53:41 +0000\n\nHello\n"
        return try client.send(from: sender, to: ["bo@example.org"], Message.octets(text))
    }
}
