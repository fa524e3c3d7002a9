// contrib/postfix/ on a real Postfix, while the daemons are down: what the comments in those files promise.

import Foundation
import PostfixHarness
import Testing

@Suite(
    "contrib/postfix, the daemons down", .onOwnThreads,
    .enabled(if: PostfixInstance.isAvailable, "needs root and Postfix"))
struct ShippedPostfixTests {
    static let forged = Message.octets(
        """
        Authentication-Results: example.org; dkim=pass header.d=example.net
        authentication-results : "MX1.example.org"/1; spf=pass smtp.mailfrom=example.net
        Authentication-Results:
         example.org.;
         none
        Authentication-Results: example.org.example.net; dkim=pass
        Authentication-Results: mx.example.net; dkim=pass header.d=example.net
        From: Ann <ann@example.net>
        Subject: forged

        body

        """)

    @Test("incoming mail flows without plain forgeries, users' mail waits")
    func down() throws {
        let postfix = try PostfixInstance(try .shipped())
        let stranger = try postfix.connect()
        try stranger.xclient(name: "mx.example.net", address: "192.0.2.7")
        try stranger.expect("EHLO mx.example.net")
        let reply = try stranger.send(from: "ann@example.net", to: ["bo@example.org"], Self.forged)
        let queueID = try #require(reply.queueID, "\(reply)")
        let message = try postfix.delivered(queueID: queueID)
        #expect(
            message.fields("Authentication-Results").map(\.value) == [
                "example.org.example.net; dkim=pass", "mx.example.net; dkim=pass header.d=example.net",
            ])

        let user = try postfix.connect("submission")
        try user.expect("EHLO laptop")
        let refused = try user.send(from: "bo@example.org", to: ["ann@example.net"], Self.forged)
        #expect(refused.code == 451, "\(refused)")

        let local = try postfix.sendmail(from: "root@example.org", to: "ann@example.net", Self.forged)
        try Await.until("the mail's return to the queue") {
            postfix.log(queueID: local).contains { $0.text.contains("milter-reject: ") || $0.text.contains("4.7.1") }
        }
        #expect(try postfix.messages(to: "ann@example.net").isEmpty)
        #expect(try postfix.queued().contains("ann@example.net"))

        // Every complaint is about a milter that is not there; none is about the files.
        let others = postfix.troubles.filter {
            !$0.text.contains("postern/dkim.sock: No such file or directory")
                && !$0.text.contains("postern/dmarc.sock: No such file or directory")
        }
        #expect(others.map(\.description) == [])
        let check = try postfix.command("postconf", ["-n"])
        #expect(check.errors == "")
    }
}
