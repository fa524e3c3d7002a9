// What an admin does while mail flows: reloading with good and bad files; and the worst, daemons that die. No message
// is lost, none is refused for good, none carries half a judgement.

import Foundation
import Glibc
import PostfixHarness
import Synchronization
import Testing

extension EndToEnd {
    @Suite("reload and crash under load", .serialized) struct Reload {
        static let reloads = 100

        @Test("a hundred reloads with good and bad files: each message is judged by one whole configuration")
        func reload() throws {
            let host = try MailHost()
            let text = try String(contentsOfFile: host.configurationPath, encoding: .utf8)
            let folder = URL(filePath: host.configurationPath).deletingLastPathComponent().appending(path: "run").path
            let load = try MailLoad(host)
            var (generation, ids) = (1, ["example.org"])
            for round in 1...Self.reloads {
                let isGood = !round.isMultiple(of: 2)
                let id = "round\(round).example.org"
                let good = text.replacing("authserv_id = \"example.org\"", with: "authserv_id = \"\(id)\"")
                try (isGood ? good : Self.spoiled(good, round / 2)).write(
                    toFile: host.configurationPath, atomically: true, encoding: .utf8)
                let dkim = host.dkim
                if isGood {
                    generation += 1
                    ids.append(id)
                }
                if round.isMultiple(of: 5) {
                    let before = dkim.lines.count
                    dkim.send(signal: SIGHUP)
                    try dkim.await(line: "outcome of reload \(round)", after: before) { line in
                        line.hasSuffix(isGood ? ": generation \(generation)" : "going on with generation \(generation)")
                    }
                } else {
                    let result = try host.postern(["reload", "dkim", "--control", folder])
                    #expect(result.status == (isGood ? 0 : 78), "\(round): \(result.text)\(result.errors)")
                    #expect(result.text.hasPrefix("postern-dkim: \(isGood ? "reloaded" : "refused")"))
                    #expect(result.text.split(separator: "\n").first?.hasSuffix("generation \(generation)") == true)
                }
                try load.awaitMore(2)
            }
            let sent = try load.stop()
            #expect(load.troubles == [])
            let delivered = try host.delivered(sent)
            var sessions: [Int: Set<String>] = [:]
            for message in sent {
                let arrived = try #require(delivered[message.queueID], "\(message) was lost")
                let results = arrived.fields("Authentication-Results").map(\.value)
                guard message.isOurs else {
                    #expect(
                        results.count == 1 && results.first?.contains("dkim=pass") == true, "\(message): \(results)")
                    let id = String(results.first?.prefix { $0 != ";" } ?? "")
                    #expect(ids.contains(id), "\(message): \(results)")
                    sessions[message.session, default: []].insert(id)
                    continue
                }
                #expect(results == [] && arrived.fields("DKIM-Signature").count == 2, "\(message): \(arrived.fields)")
            }
            for (session, names) in sessions {
                #expect(names.count == 1, "session \(session) was judged by \(names)")
            }
            // The load met the reloads: many of the configurations judged something.
            #expect(Set(sessions.values.flatMap(\.self)).count > Self.reloads / 8)

            try text.write(toFile: host.configurationPath, atomically: true, encoding: .utf8)
            let status = try host.postern(["status", "dkim", "--json", "--config", host.configurationPath])
            #expect(status.status == 0)
            #expect(status.text.contains("\"generation\":\(generation),"))
            #expect(status.text.contains("\"label_value\":\"signed\",\"value\":\(sent.count { $0.isOurs })}"))
            #expect(status.text.contains("\"label_value\":\"verified\",\"value\":\(sent.count { !$0.isOurs })}"))
            #expect(host.postfix.troubles.map(\.description) == [])
        }

        /// A file with a mistake, each round another kind.
        static func spoiled(_ text: String, _ kind: Int) -> String {
            switch kind % 5 {
            case 0: text + "[[\n"
            case 1: text.replacing("[host]", with: "[host]\nnmae = \"x\"")
            case 2: text.replacing("org-r1.pem", with: "none.pem")
            case 3: text + "[dmarc]\non_reject = \"perhaps\"\n"
            default: String(text.dropLast(4))  // as a file that is still being written: the last string has no end
            }
        }

        @Test("postern-dkim killed under load: ours wait and strangers' pass; the next one judges again")
        func dkimKilled() throws {
            let host = try MailHost()
            let load = try MailLoad(host)
            for _ in 0..<5 {
                try load.awaitMore(5)
                host.dkim.kill()
                try load.awaitTries(5)
                try host.restartDKIM()
                try Self.expectJudged(host)
            }
            let sent = try load.stop()
            #expect(load.troubles == [])
            let delivered = try host.delivered(sent)
            for message in sent {
                let arrived = try #require(delivered[message.queueID], "\(message) was lost")
                let results = arrived.fields("Authentication-Results").map(\.value)
                if message.isOurs {
                    #expect(arrived.fields("DKIM-Signature").count == 2, "\(message): \(arrived.fields)")
                } else {
                    #expect(results.count <= 1 && results.allSatisfy { $0.contains("dkim=pass") }, "\(results)")
                }
            }
            #expect(load.retries > 0, "nothing of ours met a dead postern-dkim")
        }

        @Test("postern-dns killed under load: temperror at worst, and ours are signed all the time")
        func dnsKilled() throws {
            let host = try MailHost()
            let load = try MailLoad(host)
            for _ in 0..<5 {
                try load.awaitMore(5)
                try host.withoutDNS { try load.awaitMore(5) }
                try Self.expectJudged(host)
            }
            let sent = try load.stop()
            #expect(load.troubles == [])
            #expect(load.retries == 0)
            let delivered = try host.delivered(sent)
            var temporary = 0
            for message in sent {
                let arrived = try #require(delivered[message.queueID], "\(message) was lost")
                let results = arrived.fields("Authentication-Results").map(\.value)
                if message.isOurs {
                    #expect(
                        arrived.fields("DKIM-Signature").count == 2 && results == [], "\(message): \(arrived.fields)")
                    continue
                }
                let isTemporary = results.first?.contains("dkim=temperror") == true
                if isTemporary { temporary += 1 }
                #expect(
                    results.count == 1 && (isTemporary || results.first?.contains("dkim=pass") == true), "\(results)")
            }
            #expect(temporary > 0, "no message met a dead postern-dns")
        }

        /// A new session is judged in full.
        private static func expectJudged(_ host: MailHost) throws {
            let mail = try host.strangersMail(.ed25519)
            let arrival = try host.send(mail, as: .stranger, from: "cy@example.net", troubles: true)
            #expect(arrival.results.count == 1 && arrival.results.first?.contains("dkim=pass") == true)
        }
    }
}

/// Strangers and users who send without a pause, as MTAs do: what is not accepted is tried again in a new session.
private final class MailLoad: Sendable {
    struct Sent: CustomStringConvertible {
        let queueID: String
        let session: Int
        let isOurs: Bool
        var description: String { "\(isOurs ? "ours" : "a stranger's") \(queueID) of session \(session)" }
    }
    private struct State {
        var sent: [Sent] = []
        var tries = 0
        var retries = 0
        var sessions = 0
        var troubles: [String] = []
        var isOver = false
    }

    private let host: MailHost
    private let strangers: [UInt8]
    private let state = Mutex(State())
    private let all = DispatchGroup()
    private static let messagesInSession = 3
    /// Mail servers wait longer before they come again; nobody shall wait for that here.
    private static let pause: UInt32 = 20_000

    /// Begins to send.
    init(_ host: MailHost) throws {
        self.host = host
        strangers = try host.strangersMail(.ed25519)
        for index in 0..<4 {
            all.enter()
            Thread.detachNewThread { [self] in
                while !state.withLock({ $0.isOver }) { session(isOurs: index.isMultiple(of: 2)) }
                all.leave()
            }
        }
    }

    /// Ends after the messages under way.
    func stop() throws -> [Sent] {
        state.withLock { $0.isOver = true }
        all.wait()
        return state.withLock { $0.sent }
    }

    /// Permanent refusals, which must not be.
    var troubles: [String] { state.withLock { $0.troubles } }
    /// Tries that were told to come again, or were hung up on.
    var retries: Int { state.withLock { $0.retries } }

    /// Waits until so many more messages were accepted.
    func awaitMore(_ count: Int) throws {
        let before = state.withLock { $0.sent.count }
        try Await.until("\(count) more messages") { state.withLock { $0.sent.count } >= before + count }
    }

    /// Waits until so many more were tried, accepted or not.
    func awaitTries(_ count: Int) throws {
        let before = state.withLock { $0.tries }
        try Await.until("\(count) more tries") { state.withLock { $0.tries } >= before + count }
    }

    private func session(isOurs: Bool) {
        let number = state.withLock { state in
            state.sessions += 1
            return state.sessions
        }
        let from = isOurs ? "ann@example.org" : "cy@example.net"
        let message = isOurs ? Letter.octets(from: from) : strangers
        do {
            let client = try host.session(isOurs ? .user : .stranger)
            for _ in 0..<Self.messagesInSession {
                let reply = try client.send(from: from, to: ["bo@example.org"], message)
                let isDone = state.withLock { state in
                    state.tries += 1
                    if let queueID = reply.queueID {
                        state.sent.append(Sent(queueID: queueID, session: number, isOurs: isOurs))
                        return false
                    }
                    if reply.code >= 500 { state.troubles.append("\(reply)") } else { state.retries += 1 }
                    return true
                }
                guard isDone else { continue }
                usleep(Self.pause)
                break
            }
            try client.quit()
        } catch {
            // Postfix hung up, as it may with 421: a sender comes again.
            state.withLock {
                $0.tries += 1
                $0.retries += 1
            }
            usleep(Self.pause)
        }
    }
}

extension MailHost {
    /// Waits until all are delivered.
    /// - Returns: them by their queue id.
    fileprivate func delivered(_ sent: [MailLoad.Sent]) throws -> [String: DeliveredMessage] {
        let wanted = Set(sent.map(\.queueID))
        return try Await.value("delivery of \(wanted.count) messages") {
            var found: [String: DeliveredMessage] = [:]
            for message in try postfix.messages() {
                if let id = message.queueID { found[id] = message }
            }
            return wanted.isSubset(of: found.keys) ? found : nil
        }
    }
}

extension Daemon {
    /// Waits for a line below the first `count`.
    fileprivate func await(line what: String, after count: Int, matching condition: (String) -> Bool) throws {
        let _: String = try Await.value("a line of \(name): \(what)") { lines.dropFirst(count).first(where: condition) }
    }
}
