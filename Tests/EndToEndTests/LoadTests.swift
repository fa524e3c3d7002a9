// Many messages in one session, and many sessions at once: each message gets its own verdict and no other's.

import Foundation
import PostfixHarness
import Synchronization
import Testing

extension EndToEnd {
    @Suite("many", .serialized, .alone(with: MailHost.self)) struct Many {
        @Test("messages on one connection, aborted ones between them")
        func oneConnection() throws {
            let host = try MailHost.shared()
            let good = try host.strangersMail()
            let altered = Array(String(decoding: good, as: UTF8.self).replacing("Hello", with: "Hallo").utf8)
            let unsigned = Letter.octets(from: "cy@example.net")
            let client = try host.session(.stranger)
            for round in 0..<30 {
                let (sent, result) =
                    switch round % 3 {
                    case 0: (good, "dkim=pass")
                    case 1: (altered, "dkim=fail")
                    default: (unsigned, "dkim=none")
                    }
                let reply = try client.send(from: "cy@example.net", to: ["bo@example.org"], sent)
                let arrival = try host.arrival(try #require(reply.queueID, "\(reply)"))
                #expect(arrival.results.count == 1)
                #expect(arrival.results.first?.contains(result) == true, "\(round): \(arrival.results)")
                #expect(arrival.log.count == 1)
                if round % 5 == 0 {
                    try client.expect("MAIL FROM:<nobody@example.net>")
                    try client.expect("RSET")
                }
            }
        }

        @Test("sessions at once, of ours and of strangers")
        func fiftySessions() throws {
            let host = try MailHost.shared()
            let mail = try host.strangersMail(.ed25519)
            let ours = Letter.octets(from: "ann@example.org")
            let outcomes = Mutex<[String]>([])
            let all = DispatchGroup()
            for index in 0..<50 {
                all.enter()
                Thread.detachNewThread {
                    defer { all.leave() }
                    do {
                        let isOurs = index.isMultiple(of: 2)
                        let client = try host.session(isOurs ? .user : .stranger)
                        for _ in 0..<2 {
                            let from = isOurs ? "ann@example.org" : "cy@example.net"
                            let reply = try client.send(from: from, to: ["bo@example.org"], isOurs ? ours : mail)
                            guard let queueID = reply.queueID else { throw HarnessError("\(reply)") }
                            let arrival = try host.arrival(queueID)
                            let isRight =
                                isOurs
                                ? arrival.signatures.count == 2 && arrival.results.isEmpty
                                : arrival.results.count == 1 && arrival.results.first?.contains("dkim=pass") == true
                            outcomes.withLock {
                                $0.append(isRight ? "right" : "wrong: \(arrival.results) \(arrival.log)")
                            }
                        }
                    } catch {
                        outcomes.withLock { $0.append("\(error)") }
                    }
                }
            }
            all.wait()
            #expect(outcomes.withLock { $0 } == Array(repeating: "right", count: 100))
        }
    }
}
