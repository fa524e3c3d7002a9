// Messages whose canonical forms are easy to get wrong, for interoperation with the peers.

import Foundation
import PostfixHarness

enum Corpus {
    struct Entry: Sendable {
        let name: String
        let octets: [UInt8]
    }

    static let canonicalizations = ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"]

    /// OpenDKIM 2.11 makes wrong Ed25519 signatures with simple headers: neither dkimpy nor itself verifies them.
    static func openDKIMSigns(_ kind: PeerKey.Kind, _ canonicalization: String) -> Bool {
        kind == .rsa || canonicalization.hasPrefix("relaxed/")
    }

    /// Each with the author given.
    static func messages(from author: String) -> [Entry] {
        func entry(_ name: String, header: String = "Subject: plain\n", body: String) -> Entry {
            let fixed = "From: Ann <\(author)>\nTo: bo@example.org\nMessage-ID: <\(name)@example.net>\n"
            let date = "Date: Sat, 21 Nov 2026 01:53:41 +0000\n"
            return Entry(name: name, octets: Message.octets(fixed + date + header + "\n" + body))
        }
        return [
            entry("plain", body: "Hello\n"),
            entry("folded", header: "Subject: one\n  two \t three\n\tfour\nX-Spaced:   a   b  \n", body: "Hello\n"),
            entry("empty-body", body: ""),
            entry("empty-lines", body: "\n\n\n"),  // RFC 6376 §3.4.3: they are an empty body
            entry("trailing", body: " two  words \t\nend \n \n\t\n\n"),  // RFC 6376 §3.4.4
            entry("8-bit", header: "Subject: Gr\u{FC}\u{DF}e\n", body: "Gr\u{FC}\u{DF}e \u{20AC}\n"),
            entry("repeated", header: "Subject: a\nComments: 1\nComments: 2\ncomments: 3\n", body: "x\n"),
            entry("dots", body: ".\n..\n.x\n"),
            entry("long-line", body: String(repeating: "0123456789", count: 98) + "\n"),  // RFC 5321 §4.5.3.1.6: 998
        ]
    }

    /// 2 MiB of lines that look like an attachment.
    static func large(from author: String) -> Entry {
        let header = "From: Ann <\(author)>\r\nTo: bo@example.org\r\nMessage-ID: <large@example.net>\r\n"
        let rest = "Date: Sat, 21 Nov 2026 01:53:41 +0000\r\nSubject: large\r\n\r\n"
        let line = Array((String(repeating: "TWFu", count: 19) + "\r\n").utf8)
        let body = (0..<((2 << 20) / line.count + 1)).flatMap { _ in line }
        return Entry(name: "large", octets: Array((header + rest).utf8) + body)
    }
}
