// The mail that benchmarks run on: made from a seed, so that every run and every machine has the same octets.

import PosternMail

/// Steele's SplitMix64 (2014): small, seeded, the same everywhere.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

enum Corpus {
    static let seed: UInt64 = 20_261_121

    /// How a body looks: prose has words, spaces and line ends of every length; base64 has lines of 76 octets.
    enum Style: String, CaseIterable { case prose, base64 }

    /// A body of about `octets` octets, CRLF line ends.
    static func body(_ style: Style, octets: Int) -> [UInt8] {
        var random = SeededGenerator(seed: seed)
        var body: [UInt8] = []
        body.reserveCapacity(octets + 80)
        let letters = Array("etaoinshrdlucmfwypvbgkjqxz".utf8)
        let base64 = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        while body.count < octets {
            switch style {
            case .prose:
                var column = 0
                let width = Int.random(in: 40...76, using: &random)
                while column < width {
                    let length = Int.random(in: 1...11, using: &random)
                    for _ in 0..<length { body.append(letters[Int.random(in: 0..<letters.count, using: &random)]) }
                    body.append(0x20)
                    column += length + 1
                }
                body[body.count - 1] = 0x2E
                if Int.random(in: 0..<12, using: &random) == 0 { body += [0x0D, 0x0A] }
            case .base64:
                for _ in 0..<76 { body.append(base64[Int.random(in: 0..<64, using: &random)]) }
            }
            body += [0x0D, 0x0A]
        }
        return body
    }

    /// A header as mail through two hosts and a mailer has it: 12 fields, 1.1 KiB.
    static let header: [HeaderField] = [
        HeaderField(
            "Received",
            "from mail.example.org (mail.example.org [192.0.2.10])\r\n\tby mx.example.net (Postfix) with ESMTPS id 4cXk2J1hz\r\n\tfor <bo@example.net>; Sat, 21 Nov 2026 01:02:03 +0000 (UTC)"
        ),
        HeaderField(
            "Received",
            "from [192.0.2.77] (unknown [192.0.2.77])\r\n\tby mail.example.org (Postfix) with ESMTPSA id 4cXk2H9aa\r\n\tfor <bo@example.net>; Sat, 21 Nov 2026 01:02:02 +0000 (UTC)"
        ),
        HeaderField("From", "Ann Example <ann@example.org>"),
        HeaderField("To", "Bo Example <bo@example.net>"),
        HeaderField("Cc", "Cy Example <cy@example.net>, Di Example <di@example.com>"),
        HeaderField("Subject", "Minutes of the meeting on Thursday, and what we decided about the door"),
        HeaderField("Date", "Sat, 21 Nov 2026 02:02:01 +0100"),
        HeaderField("Message-ID", "<20261121010201.GA1234@mail.example.org>"),
        HeaderField(
            "References", "<20261120090807.XY9876@mail.example.net>\r\n\t<20261120111213.ZZ5555@mail.example.org>"),
        HeaderField("MIME-Version", "1.0"),
        HeaderField("Content-Type", "text/plain; charset=\"utf-8\""),
        HeaderField("User-Agent", "Example Mailer 1.0 (X11; Linux x86_64)"),
    ]

    /// A message as a file: CRLF line ends.
    static func octets(header: [HeaderField], body: [UInt8]) -> [UInt8] {
        var message: [UInt8] = []
        for field in header {
            message += field.name
            message.append(0x3A)
            message += field.value
            message += [0x0D, 0x0A]
        }
        return message + [0x0D, 0x0A] + body
    }

    /// The sizes and styles that DESIGN §6 names.
    static let messages: [(name: String, style: Style, octets: Int)] = [
        ("4k-prose", .prose, 4096), ("40k-prose", .prose, 40_960), ("1m-prose", .prose, 1_048_576),
        ("1m-base64", .base64, 1_048_576),
    ]
}
