// The harness holds what it promises, without any daemon of ours: tests that stand on it may blame what they test.

import Foundation
import Testing

@testable import PostfixHarness

@Suite("a private Postfix", .onOwnThreads, .enabled(if: PostfixInstance.isAvailable, "needs root and Postfix"))
struct HarnessTests {
    static let letter = Message.octets(
        """
        From: Ann <ann@example.org>
        To: bo@example.net
        Subject: a fold
         and more
        Message-ID: <1@example.org>
        Date: Sat, 21 Nov 2026 01:53:41 +0000

        .a dot first
        Gr\u{FC}\u{DF}e
        ..

        """)

    @Test(
        "a machine's own clocks are no trouble of ours",
        arguments: [
            ("warning: file system clock is 1 seconds ahead of local clock", false),
            ("warning: file system clock is 2 seconds behind local clock", false),
            ("warning: resetting file time stamps - this hurts performance", false),
            ("warning: milter unix:x: can't read SMFIC_BODYEOB reply", true), ("fatal: open lock file", true),
            ("4cXk2J1hz: message-id=<1@example.org>", false),
        ])
    func clocks(_ text: String, _ isTrouble: Bool) throws {
        let line = try #require(PostfixLogLine("Nov 21 04:15:00 mx postfix/cleanup[7711]: \(text)"))
        #expect(line.isTrouble == isTrouble)
    }

    @Test("octets, XCLIENT, sendmail(1), logs by queue id")
    func wholeWay() throws {
        let postfix = try PostfixInstance()
        let client = try postfix.connect()
        try client.xclient(name: "mx.example.net", address: "192.0.2.7")
        try client.expect("EHLO mx.example.net")

        let first = try client.send(from: "ann@example.org", to: ["bo@example.net"], Self.letter)
        let firstID = try #require(first.queueID, "\(first)")
        let message = try postfix.delivered(queueID: firstID)
        #expect(message.octets.suffix(Self.letter.count) == Self.letter[...])
        #expect(message.fields.map(\.name) == ["Received", "From", "To", "Subject", "Message-ID", "Date"])
        #expect(message.fields("subject").map(\.value) == ["a fold and more"])
        #expect(message.fields("received").first?.value.contains("mx.example.net [192.0.2.7]") == true)
        #expect(message.body == Message.octets(".a dot first\nGr\u{FC}\u{DF}e\n..\n"))

        let second = try client.send(from: "", to: ["bo@example.net", "cy@example.net"], Self.letter)
        let secondID = try #require(second.queueID)
        #expect(secondID != firstID)
        _ = try postfix.delivered(queueID: secondID)
        #expect(try postfix.messages(to: "bo@example.net").count == 2)
        #expect(try postfix.messages(to: "cy@example.net").count == 1)
        try client.quit()

        let log = postfix.log(queueID: firstID).map(\.description)
        #expect(log.first == "smtpd: \(firstID): client=mx.example.net[192.0.2.7]")
        #expect(log.contains("qmgr: \(firstID): removed"))

        let thirdID = try postfix.sendmail(from: "root@example.org", to: "di@example.net", Self.letter)
        #expect(try postfix.delivered(queueID: thirdID).body == message.body)
        #expect(postfix.troubles.map(\.description) == [])
    }

    @Test("several at once, chrooted too; they end when asked")
    func several() throws {
        var settings = PostfixSettings()
        settings.isChrooted = true
        settings.services.append(.originating())
        let one = try PostfixInstance(settings)
        let two = try PostfixInstance()
        #expect(try one.port() != two.port())
        for service in ["smtp", "submission"] {
            let client = try one.connect(service)
            try client.expect("EHLO localhost")
            let reply = try client.send(from: "ann@example.org", to: ["bo@example.net"], Self.letter)
            _ = try one.delivered(queueID: try #require(reply.queueID))
        }
        one.stop()
        #expect(!one.isRunning)
        #expect(two.isRunning)
        #expect(throws: HarnessError.self) { try one.connect() }
    }

    @Test("the peers agree with each other", arguments: PeerKey.Kind.allCases)
    func peers(kind: PeerKey.Kind) throws {
        let key = try PeerKey(kind)
        let records = ["s._domainkey.example.org": key.record]
        for canonicalization in Corpus.canonicalizations {
            let orders = Corpus.messages(from: "ann@example.org").prefix(3).map {
                SigningOrder(
                    $0.octets, key: key, domain: "example.org", selector: "s", canonicalization: canonicalization)
            }
            var signed = try DKIMPy.sign(orders)
            if Corpus.openDKIMSigns(kind, canonicalization) { signed += try orders.map(OpenDKIM.sign) }
            let damaged = signed.map { $0 + Array("more\r\n".utf8) }
            let opinions = try DKIMPy.verify(signed + damaged, records: records)
            #expect(opinions.prefix(signed.count).allSatisfy { $0 == [.passed] }, "\(canonicalization): \(opinions)")
            #expect(!opinions.dropFirst(signed.count).contains([.passed]))
            for (index, message) in signed.enumerated() {
                let opinion = try OpenDKIM.verify(message, records: records)
                #expect(opinion.results == ["pass"], "\(canonicalization) \(index): \(opinion.field)")
            }
            for message in damaged { #expect(try OpenDKIM.verify(message, records: records).results == ["fail"]) }
        }
    }
}
