// How tests send and look: who sends, through which door, and what came out at the other side.

import Foundation
import PostfixHarness

/// Who sends.
enum Sender {
    /// A host that we do not know, at the MX.
    case stranger
    /// A user at the submission service, from anywhere.
    case user
    /// A user who logged in, from anywhere.
    case login
    /// A program on this host, by SMTP at the MX.
    case local
    /// A content filter that brings mail back through its own service.
    case filter
}

/// A message at the end of its way.
struct Arrival {
    let queueID: String
    let message: DeliveredMessage
    /// The lines of the daemon that the test is about, on this message.
    let log: [String]

    /// The values of the Authentication-Results fields, top to bottom; white space as one space.
    var results: [String] {
        message.fields("Authentication-Results").map {
            $0.value.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        }
    }
    var signatures: [String] { message.fields("DKIM-Signature").map(\.value) }
}

extension MailHost {
    /// An open session of such a sender.
    func session(_ sender: Sender) throws -> SMTPClient {
        switch sender {
        case .stranger:
            let client = try postfix.connect()
            try client.xclient(name: "mx.example.net", address: "192.0.2.7")
            try client.expect("EHLO mx.example.net")
            return client
        case .user:
            let client = try postfix.connect("submission")
            try client.xclient(name: "laptop.example.com", address: "198.51.100.9")
            try client.expect("EHLO laptop")
            return client
        case .login:
            let client = try postfix.connect("login")
            try client.xclient(name: "laptop.example.com", address: "198.51.100.9", login: "ann")
            try client.expect("EHLO laptop")
            return client
        case .local, .filter:
            let client = try postfix.connect(sender == .filter ? "reinject" : nil)
            try client.expect("EHLO localhost")
            return client
        }
    }

    /// Sends one message and waits for its delivery.
    /// - Parameter troubles: whether warnings were to be expected.
    func send(
        _ message: [UInt8], as sender: Sender, from: String, to: String = "bo@example.org", troubles: Bool = false
    ) throws -> Arrival {
        let client = try session(sender)
        let reply = try client.send(from: from, to: [to], message)
        guard let queueID = reply.queueID else { throw HarnessError("Postfix refused: \(reply)") }
        try client.quit()
        return try arrival(queueID, troubles: troubles)
    }

    func arrival(_ queueID: String, troubles expected: Bool = false) throws -> Arrival {
        let message = try postfix.delivered(queueID: queueID)
        let dkim = dkim
        _ = try dkim.outcome(queueID: queueID)
        guard expected || troubles.isEmpty else { throw HarnessError(troubles.joined(separator: "\n")) }
        return Arrival(queueID: queueID, message: message, log: dkim.lines(queueID: queueID))
    }

    /// A message of a stranger's, signed by a peer.
    func strangersMail(
        _ kind: PeerKey.Kind = .rsa, selector: String? = nil, _ text: String = Letter.text(from: "cy@example.net")
    ) throws -> [UInt8] {
        let (key, published) = keys.strangers(kind)
        let order = SigningOrder(
            Message.octets(text), key: key, domain: "example.net", selector: selector ?? published)
        return try DKIMPy.sign([order]).first ?? []
    }
}

/// Messages of the tests.
enum Letter {
    /// LF line ends.
    /// - Parameter fields: more of the header, each with its line end, on top.
    static func text(from: String, fields: String = "", body: String = "Hello\n\nBye  \n") -> String {
        """
        \(fields)From: Somebody <\(from)>
        To: bo@example.org
        Subject: a door
        Date: Sat, 21 Nov 2026 01:53:41 +0000
        Message-ID: <1@example.net>

        \(body)
        """
    }

    static func octets(from: String, fields: String = "", body: String = "Hello\n\nBye  \n") -> [UInt8] {
        Message.octets(text(from: from, fields: fields, body: body))
    }
}
