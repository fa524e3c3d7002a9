// Results in our name that somebody else wrote are gone, however they are spelt; others' results stay.

import Foundation
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("forged results", .serialized, .alone(with: MailHost.self)) struct Forged {
        /// Fields that some reader takes for results of example.org. Source: RFC 8601 §2.2, RFC 5322 §3.2.2, §4.2.
        static let spellings = [
            "Authentication-Results: example.org; dkim=pass header.d=bank.example\n",
            "authentication-RESULTS: EXAMPLE.ORG; dkim=pass header.d=bank.example\n",
            "Authentication-Results : example.org; dkim=pass header.d=bank.example\n",
            "Authentication-Results\t:\texample.org; dkim=pass header.d=bank.example\n",
            "Authentication-Results: \"example.org\"; dkim=pass header.d=bank.example\n",
            "Authentication-Results: \"ex\\ample.org\"; dkim=pass header.d=bank.example\n",
            "Authentication-Results: (a comment (in it)) example.org; dkim=pass header.d=bank.example\n",
            "Authentication-Results:\n example.org\n (x) 1; dkim=pass header.d=bank.example\n",
            "Authentication-Results: example.org.; dkim=pass header.d=bank.example\n",
            "Authentication-Results: mx1.example.org/1; dkim=pass header.d=bank.example\n",
            "Authentication-Results: example.org/1 dkim=pass header.d=bank.example\n",
            "Authentication-Results: (unended example.org; dkim=pass header.d=bank.example\n",
        ]
        static let others = "Authentication-Results: mx.example.net; dkim=pass header.d=example.net\n"

        @Test("of every spelling are gone", arguments: [Sender.stranger, .user, .local])
        func gone(sender: Sender) throws {
            let host = try MailHost.shared()
            let client = try host.session(sender)
            for spelling in Self.spellings {
                let from = sender == .stranger ? "cy@example.net" : "ann@example.org"
                let sent = Letter.octets(from: from, fields: Self.others + spelling)
                let reply = try client.send(from: from, to: ["bo@example.org"], sent)
                let arrival = try host.arrival(try #require(reply.queueID, "\(reply)"))
                let text = String(decoding: arrival.message.octets, as: UTF8.self)
                #expect(!text.contains("bank.example"), "\(spelling)")
                let expected = ["mx.example.net; dkim=pass header.d=example.net"]
                #expect(arrival.results == (sender == .stranger ? ["example.org; dkim=none"] : []) + expected)
            }
        }

        @Test("more than fifty are refused")
        func tooMany() throws {
            let host = try MailHost.shared()
            // With a comment, so that header_checks leaves them to the milter.
            let field = "Authentication-Results: (x) example.org; dkim=pass\n"
            for (count, code) in [(50, 250), (51, 550)] {
                for sender in [Sender.stranger, .user] {
                    let fields = String(repeating: field, count: count)
                    let sent = Letter.octets(from: "cy@example.net", fields: fields)
                    let client = try host.session(sender)
                    let reply = try client.send(from: "cy@example.net", to: ["bo@example.org"], sent)
                    #expect(reply.code == code, "\(reply)")
                    if code == 550 {
                        #expect(reply.lines.first?.hasPrefix("5.7.1 ") == true, "\(reply)")
                    } else {
                        let arrival = try host.arrival(try #require(reply.queueID))
                        #expect(arrival.results == (sender == .stranger ? ["example.org; dkim=none"] : []))
                    }
                }
            }
        }
    }
}
