// postern-dkim's life under a running Postfix: a stop that finishes what is open, a crash, another start.

import Foundation
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("life of postern-dkim", .serialized, .alone(with: MailHost.self)) struct Life {
        @Test("SIGTERM: the open message is signed, the socket goes, mail flows unverified or waits")
        func stop() throws {
            let host = try MailHost()
            let sent = Letter.octets(from: "ann@example.org")
            let open = try host.session(.user)
            try open.expect("MAIL FROM:<ann@example.org>")
            try open.expect("RCPT TO:<cy@example.net>")
            try open.expect("DATA")

            let dkim = host.dkim
            // Postfix waits for no answer to MAIL and RCPT (SMFIP_NR_*): it may be ahead of the milter.
            try Await.until("the open message") {
                try host.postern(["status", "dkim", "--json", "--config", host.configurationPath]).text
                    .contains("\"open_transactions\":1,")
            }
            dkim.send(signal: SIGTERM)
            let reply = try open.endOfData(sent)
            let arrival = try host.arrival(try #require(reply.queueID, "\(reply)"))
            #expect(arrival.signatures.count == 2)
            #expect(try dkim.stop() == 0)
            #expect(!FileManager.default.fileExists(atPath: host.postfix.socketPath("dkim.sock")))

            try expectDown(host)
            try host.restartDKIM()
            #expect(try host.send(sent, as: .user, from: "ann@example.org", troubles: true).signatures.count == 2)
        }

        @Test("SIGKILL: the same, and the next one takes over the stale socket")
        func crash() throws {
            let host = try MailHost()
            host.dkim.kill()
            #expect(FileManager.default.fileExists(atPath: host.postfix.socketPath("dkim.sock")))
            try expectDown(host)
            try host.restartDKIM()
            let sent = Letter.octets(from: "ann@example.org")
            #expect(try host.send(sent, as: .user, from: "ann@example.org", troubles: true).signatures.count == 2)
        }

        @Test("a second one does not take a living one's socket")
        func second() throws {
            let host = try MailHost.shared()
            let error = #expect(throws: HarnessError.self) {
                try Daemon("postern-dkim", configuration: host.configurationPath)
            }
            // EX_UNAVAILABLE, sysexits.h.
            #expect(error?.description.contains("postern-dkim ended with 69") == true, "\(String(describing: error))")
            let sent = Letter.octets(from: "ann@example.org")
            #expect(try host.send(sent, as: .user, from: "ann@example.org").signatures.count == 2)
        }

        @Test("a mistake at a start: exit status 78 with its line; strangers' mail flows, ours waits")
        func mistake() throws {
            let host = try MailHost()
            #expect(try host.dkim.stop() == 0)
            let right = try String(contentsOfFile: host.configurationPath, encoding: .utf8)
            let wrong = right + "[[dkim.key]]\nselector = \"s9\"\nnonsense = 1\n"
            try Data(wrong.utf8).write(to: URL(filePath: host.configurationPath))
            let error = #expect(throws: HarnessError.self) { try host.restartDKIM() }
            let text = error?.description ?? ""
            // EX_CONFIG, sysexits.h.
            #expect(text.contains("postern-dkim ended with 78"), "\(text)")
            let line = right.split(separator: "\n", omittingEmptySubsequences: false).count + 2
            #expect(text.contains("postern.toml:\(line):"), "\(text)")
            try expectDown(host)
            try Data(right.utf8).write(to: URL(filePath: host.configurationPath))
            try host.restartDKIM()
            let sent = Letter.octets(from: "ann@example.org")
            #expect(try host.send(sent, as: .user, from: "ann@example.org", troubles: true).signatures.count == 2)
        }

        private func expectDown(_ host: MailHost) throws {
            let stranger = try host.session(.stranger)
            let sent = Letter.octets(from: "cy@example.net")
            let reply = try stranger.send(from: "cy@example.net", to: ["bo@example.org"], sent)
            let message = try host.postfix.delivered(queueID: try #require(reply.queueID, "\(reply)"))
            #expect(message.fields("Authentication-Results").isEmpty)
            let user = try host.session(.user)
            #expect(try user.send(from: "ann@example.org", to: ["bo@example.org"], sent).code == 451)
        }
    }
}
