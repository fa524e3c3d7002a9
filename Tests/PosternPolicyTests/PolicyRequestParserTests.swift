// The parser against the protocol as SMTPD_POLICY_README tells it, whole, octet by octet and many at once.

import PosternMail
import TestSupport
import Testing

@testable import PosternPolicy

/// What a stream of octets holds: its requests until the first malformed one.
private func parsed(_ pieces: some Sequence<[UInt8]>) -> (requests: [PolicyRequest], error: PolicyRequestError?) {
    var parser = PolicyRequestParser()
    var requests: [PolicyRequest] = []
    do throws(PolicyRequestError) {
        for piece in pieces {
            parser.append(piece)
            while let request = try parser.next() { requests.append(request) }
        }
        return (requests, nil)
    } catch {
        return (requests, error)
    }
}

private let minimal = "request=smtpd_access_policy\nprotocol_state=RCPT\n"

@Suite("policy requests")
struct PolicyRequestParserTests {
    @Test("every attribute of Postfix 3.12, in Postfix's words")
    func allAttributes() throws {
        // SMTPD_POLICY_README, the example.
        let text = """
            request=smtpd_access_policy
            protocol_state=RCPT
            protocol_name=SMTP
            helo_name=some.domain.tld
            queue_id=8045F2AB23
            sender=foo@bar.tld
            recipient=bar@foo.tld
            recipient_count=0
            client_address=1.2.3.4
            client_name=another.domain.tld
            reverse_client_name=another.domain.tld
            instance=123.456.7
            sasl_method=plain
            sasl_username=you
            sasl_sender=
            size=12345
            ccert_subject=solaris9.porcupine.org
            ccert_issuer=Wietse+20Venema
            ccert_fingerprint=C2:9D:F4:87:71:73:73:D9:18:E7:C2:F3:C1:DA:6E:04
            encryption_protocol=TLSv1/SSLv3
            encryption_cipher=DHE-RSA-AES256-SHA
            encryption_keysize=256
            etrn_domain=
            stress=
            ccert_pubkey_fingerprint=68:B3:29:DA:98:93:E3:40:99:C7:D8:AD:5C:B9:C9:40
            client_port=1234
            policy_context=submission
            server_address=10.3.2.1
            server_port=54321
            compatibility_level=3.8.0
            mail_version=3.8.0
            tls_sni=mail.example.com
            """
        let lines = text.split(separator: "\n")
        #expect(lines.count == PolicyAttribute.allCases.count)
        let (requests, error) = parsed([Array((text + "\n\n").utf8)])
        #expect(error == nil)
        let request = try #require(requests.first)
        #expect(requests.count == 1 && request.stage == .rcpt)
        for line in lines {
            let name = line.prefix { $0 != "=" }
            let attribute = try #require(PolicyAttribute.allCases.first { $0.name == name })
            #expect(String(decoding: request[attribute], as: UTF8.self) == line.dropFirst(name.count + 1))
        }
        #expect(request.client == .v4(0x0102_0304) && request.size == 12345 && request.number(.clientPort) == 1234)
    }

    struct Row: Sendable, CustomTestStringConvertible {
        let rule: String
        let octets: [UInt8]
        /// Senders of the requests that come out.
        var senders: [String]
        var error: PolicyRequestError?
        var testDescription: String { rule }

        init(_ rule: String, _ text: String, senders: [String] = [], error: PolicyRequestError? = nil) {
            self.init(rule, octets: Array(text.utf8), senders: senders, error: error)
        }
        init(_ rule: String, octets: [UInt8], senders: [String] = [], error: PolicyRequestError? = nil) {
            (self.rule, self.octets, self.senders, self.error) = (rule, octets, senders, error)
        }
    }

    private static func line(_ octets: Int) -> String { "sender=" + String(repeating: "x", count: octets - 7) }
    private static func unknown(_ count: Int) -> String { (0..<count).map { "x\($0)=\n" }.joined() }

    /// SMTPD_POLICY_README throughout.
    static let rows: [Row] = [
        Row("one request", minimal + "sender=a\n\n", senders: ["a"]),
        Row(
            "the order does not matter", "sender=a\nprotocol_state=RCPT\nrequest=smtpd_access_policy\n\n",
            senders: ["a"]),
        Row("two at once", minimal + "sender=a\n\n" + minimal + "sender=b\n\n", senders: ["a", "b"]),
        Row(
            "what follows a request may be part of one", minimal + "sender=a\n\n" + minimal + "sender=b", senders: ["a"]
        ),
        Row("unknown attributes are ignored", minimal + "future=x\nsender=a\n\n", senders: ["a"]),
        Row("the name ends at the first =", minimal + "sender=a=b=c\n\n", senders: ["a=b=c"]),
        Row("an absent attribute is empty", minimal + "\n", senders: [""]),
        Row("an empty value is empty", minimal + "sender=\n\n", senders: [""]),
        Row("names are told apart by case", minimal + "SENDER=a\n\n", senders: [""]),
        Row(
            "values hold anything but LF and NUL",
            octets: Array((minimal + "sender=").utf8) + (1...255).filter { $0 != 10 } + [10, 10],
            senders: [String(decoding: (UInt8(1)...255).filter { $0 != 10 }, as: UTF8.self)]),
        Row("no empty line, no request", minimal + "sender=a\n"),
        Row("nothing at all", ""),
        Row("the longest line", minimal + line(16_384) + "\n\n", senders: [String(line(16_384).dropFirst(7))]),
        Row("a longer line", minimal + line(16_385) + "\n\n", error: .lineTooLong),
        Row("a longer line without end", minimal + line(16_385), error: .lineTooLong),
        Row(
            "three lines that are too long together",
            minimal + "a=\(line(16_000))\nb=\(line(16_000))\nc=\(line(1000))", error: .requestTooLong),
        Row("as many attributes as there may be", minimal + "sender=a\n" + unknown(125) + "\n", senders: ["a"]),
        Row("more attributes", minimal + "sender=a\n" + unknown(126) + "\n", error: .tooManyAttributes),
        Row("a line without =", minimal + "sender\n\n", error: .noAttribute),
        Row("a line without name", minimal + "=a\n\n", error: .noAttribute),
        Row("CRLF is not LF", "request=smtpd_access_policy\r\n", error: .unknownRequest),
        Row("NUL in a value", octets: Array((minimal + "sender=a").utf8) + [0, 10], error: .nul),
        Row("NUL in a name", octets: Array(minimal.utf8) + [0x61, 0, 0x3D, 10], error: .nul),
        Row("an attribute twice", minimal + "sender=a\nsender=a\n\n", error: .repeated(.sender)),
        Row("an empty attribute twice", minimal + "helo_name=\nhelo_name=\n\n", error: .repeated(.heloName)),
        Row("an unknown attribute twice", minimal + "sender=a\nx=\nx=\n\n", senders: ["a"]),
        Row("no request attribute", "protocol_state=RCPT\n\n", error: .unknownRequest),
        Row("another request", "request=junk\nprotocol_state=RCPT\n\n", error: .unknownRequest),
        Row("an empty request", "\n", error: .unknownRequest),
        Row("no state", "request=smtpd_access_policy\n\n", error: .unknownStage),
        Row("an unknown state", "request=smtpd_access_policy\nprotocol_state=rcpt\n\n", error: .unknownStage),
        Row(
            "requests before a malformed one are whole", minimal + "sender=a\n\n" + minimal + "b\n\n", senders: ["a"],
            error: .noAttribute),
    ]

    @Test("rules of the protocol", arguments: rows)
    func rules(row: Row) {
        for pieces in [[row.octets], row.octets.map { [$0] }, row.octets.chunks(of: 7), row.octets.chunks(of: 4096)] {
            let (requests, error) = parsed(pieces)
            #expect(requests.map { String(decoding: $0[.sender], as: UTF8.self) } == row.senders)
            #expect(error == row.error)
        }
    }

    @Test("all stages of Postfix", arguments: PolicyStage.allCases)
    func stages(stage: PolicyStage) {
        let (requests, _) = parsed([PolicyQuery(state: stage.rawValue).octets])
        #expect(requests.map(\.stage) == [stage])
    }

    @Test("equal requests are equal, whatever came before them")
    func equality() {
        let (requests, _) = parsed([PolicyQuery().octets + PolicyQuery().with("future", "x").octets])
        #expect(requests.count == 2 && requests.first?[.sender] == requests.last?[.sender])
        let (others, _) = parsed([PolicyQuery(sender: "other@example.net").octets + PolicyQuery().octets])
        #expect(others.last == requests.first)
    }

    @Test("many requests in one buffer stay within bounds")
    func manyAtOnce() throws {
        var parser = PolicyRequestParser()
        parser.append((0..<2000).flatMap { PolicyQuery(recipient: "\($0)@example.org").octets })
        var count = 0
        while let request = try parser.next() {
            #expect(request[.recipient].elementsEqual("\(count)@example.org".utf8))
            count += 1
        }
        #expect(count == 2000 && parser.isBetweenRequests)
        #expect(parser.input.capacity < 100_000)
        parser.append("r".utf8)
        #expect(try parser.next() == nil && !parser.isBetweenRequests)
    }

    @Test("damaged requests never trap, and what is parsed is what was sent")
    func mutations() {
        let samples = [
            PolicyQuery().octets, PolicyQuery(state: "END-OF-MESSAGE", sender: "", instance: "1.2.3.4").octets,
            PolicyQuery().octets + PolicyQuery(client: "2001:db8::1", recipient: "").octets, Array(minimal.utf8) + [10],
        ]
        let tokens = ["\n", "\n\n", "=", "request=", "instance=x\n", "\u{0}"].map { Array($0.utf8) }
        var (whole, broken) = (0, 0)
        Mutations.of(samples, tokens: tokens, count: 4000, seed: 6) { octets in
            let once = parsed([octets])
            let slowly = parsed(octets.chunks(of: 5))
            #expect(once.requests == slowly.requests && once.error == slowly.error)
            whole += once.requests.count
            broken += once.error == nil ? 0 : 1
            for request in once.requests {
                for attribute in PolicyAttribute.allCases where !request[attribute].isEmpty {
                    let line = Array("\(attribute.name)=".utf8) + request[attribute] + [10]
                    #expect(octets.contains(line) && !request[attribute].contains(0))
                }
            }
        }
        #expect(whole > 500 && broken > 500)
    }
}

extension Array {
    /// In pieces of that size; the last may be shorter.
    fileprivate func chunks(of size: Int) -> [[Element]] {
        stride(from: 0, to: count, by: size).map { Array(self[$0..<Swift.min(count, $0 + size)]) }
    }
}

extension [UInt8] {
    fileprivate func contains(_ piece: [UInt8]) -> Bool {
        indices.contains { self[$0...].starts(with: piece) }
    }
}
