// The small words: header fields, replies, log lines, endpoints, times.

import Testing

@testable import PosternMail

@Suite("header fields and replies")
struct FieldTests {
    @Test(
        "names are compared without case and WSP before the colon",  // RFC 5322 §1.2.2, §4.5
        arguments: [
            ("Subject", true), ("SUBJECT", true), ("Subject ", true), ("sUbject \t ", true), ("Subjects", false),
            ("Subjec", false), ("", false), ("Sub ject", false), ("Subject\u{0}", false),
        ])
    func names(_ name: String, _ expected: Bool) {
        let field = HeaderField(name: Array(name.utf8), value: [])
        #expect(field.isNamed("Subject") == expected)
        #expect((field.lowercasedName == Array("subject".utf8)) == expected)
    }

    @Test("what a field takes on the wire")
    func octets() {
        #expect(HeaderField("A", "b").octets == Array("A: b\r\n".utf8).count)
    }

    @Test(
        "a reply is one line of printable ASCII",
        arguments: [
            ("plain text", "plain text"), ("a\r\nb", "a??b"), ("b\u{FC}cher", "b??cher"), ("\u{0}\t\u{7F}", "???"),
            (String(repeating: "x", count: 600), String(repeating: "x", count: Reply.maxTextOctets)), ("", ""),
        ])
    func replies(_ text: String, _ expected: String) {
        let reply = Reply(code: 550, enhanced: "5.7.1", text: text)
        #expect(reply.description == "550 5.7.1 \(expected)")
        #expect(reply.description.utf8.count + 2 <= 512)  // RFC 5321 §4.5.3.1.5
    }

    @Test(
        "the envelope sender's domain",
        arguments: [
            ("ann@example.org", "example.org"), ("\"a@b\"@Example.ORG", "example.org"), ("", nil), ("ann", nil),
            ("ann@", nil), ("ann@a..b", nil), ("ann@b\u{FC}cher.example", "xn--bcher-kva.example"),
        ])
    func mailFromDomain(_ mailFrom: String, _ domain: String?) {
        #expect(Envelope(mailFrom: Array(mailFrom.utf8)).mailFromDomain?.description == domain)
    }
}

@Suite("log lines")
struct LogLineTests {
    @Test(
        "octets of strangers",
        arguments: [
            ("ann@example.org", "ann@example.org"), ("", ""), ("a b", "a b"), ("a>b<c", "a\\x3Eb\\x3Cc"),
            ("a\\b", "a\\x5Cb"), ("a\r\nb", "a\\x0D\\x0Ab"), ("\u{0}\u{1B}[31m\u{7F}", "\\x00\\x1B[31m\\x7F"),
            ("b\u{FC}cher", "b\\xC3\\xBCcher"),
        ])
    func escaping(_ text: String, _ expected: String) {
        #expect(LogText.escaped(Array(text.utf8)) == expected)
    }

    @Test("long octets end in dots, and never inside an escape")
    func cap() {
        let most = Array(repeating: UInt8(0x61), count: LogText.maxOctets)
        #expect(LogText.escaped(most).utf8.count == LogText.maxOctets)
        #expect(LogText.escaped(most + [0x61]) == String(decoding: most, as: UTF8.self) + "...")
        let escapes = LogText.escaped(Array(repeating: 0, count: 1_000_000))
        #expect(escapes == String(repeating: "\\x00", count: LogText.maxOctets / 4) + "...")
        #expect(LogText.escaped(most.dropLast() + [0]) == String(decoding: most.dropLast(), as: UTF8.self) + "...")
    }

    @Test(
        "clients",
        arguments: [
            ("mx.example.net", "192.0.2.7", "mx.example.net[192.0.2.7]"),
            ("unknown", "192.0.2.7", "unknown[192.0.2.7]"),
            ("[192.0.2.7]", "192.0.2.7", "unknown[192.0.2.7]"), ("a b", "2001:db8::1", "unknown[2001:db8::1]"),
            ("x>\r\n", nil, "unknown[unknown]"), ("", nil, "unknown[unknown]"),
            ("localhost", nil, "localhost[unknown]"),
        ])
    func client(_ name: String, _ address: String?, _ expected: String) {
        let client = SMTPClient(name: Array(name.utf8), address: address.flatMap { IPAddress($0) })
        #expect(LogText.client(client) == expected)
    }

    @Test("one outcome, in Postfix's grammar")
    func outcome() {
        let client = SMTPClient(name: Array("mx.example.net".utf8), address: IPAddress("192.0.2.7"))
        let short = OutcomeLine(
            queueID: nil, action: "reject", stage: "CONNECT", client: client, text: "550 5.7.1 no")
        #expect(short.description == "NOQUEUE: reject: CONNECT from mx.example.net[192.0.2.7]: 550 5.7.1 no")
        let full = OutcomeLine(
            queueID: "4cXk2J1hz", action: "verify", stage: "END-OF-MESSAGE", client: client, text: "dkim=pass",
            mailFrom: [], recipient: Array("bo@example.org>".utf8), proto: "ESMTP", helo: Array("x\n".utf8))
        #expect(
            full.description == "4cXk2J1hz: verify: END-OF-MESSAGE from mx.example.net[192.0.2.7]: dkim=pass; "
                + "from=<> to=<bo@example.org\\x3E> proto=ESMTP helo=<x\\x0A>")
    }

    @Test("levels and their order")
    func levels() {
        #expect(LogLevel.allCases == [.debug, .info, .warning, .error, .critical])
        #expect(LogLevel.allCases.sorted() == LogLevel.allCases)
    }
}

@Suite("endpoints")
struct EndpointTests {
    @Test(
        "spellings",
        arguments: [
            ("unix:/run/postern/dns.sock", Endpoint.unix(path: "/run/postern/dns.sock")),
            ("unix:postern/dkim.sock", .unix(path: "postern/dkim.sock")), ("local:/a", .unix(path: "/a")),
            ("unix:/a:b", .unix(path: "/a:b")),
            ("inet:8891@localhost", .tcp(host: "localhost", port: 8891)),
            ("inet:localhost:8891", .tcp(host: "localhost", port: 8891)),
            ("inet6:8891@::1", .tcp(host: "::1", port: 8891)), ("inet:8891@[::1]", .tcp(host: "::1", port: 8891)),
            ("tcp:[::1]:53", .tcp(host: "::1", port: 53)),
            ("tcp:192.0.2.1:65535", .tcp(host: "192.0.2.1", port: 65535)),
            ("udp:127.0.0.1:5300", .udp(host: "127.0.0.1", port: 5300)),
        ])
    func reading(_ text: String, _ endpoint: Endpoint) throws {
        #expect(try Endpoint(text) == endpoint)
        #expect(try Endpoint(endpoint.description) == endpoint)
    }

    @Test(
        "no endpoints",
        arguments: [
            "", "unix", "unix:", "unix:a\u{0}b", "/run/x.sock", "inet:", "inet:8891", "inet:@localhost", "inet:8891@",
            "inet:localhost:", "tcp:::1:53", "tcp:localhost:65536", "tcp:localhost:-1", "tcp:localhost:+1",
            "tcp:localhost:x", "tcp:[]:53", "tcp::53", "http:localhost:80", "UNIX:/a", "tcp:[::1:53",
            "inet:8891@a@b", "inet:8891@a b", "inet:8891@[a", "inet:8891@a]:1", "tcp:a\u{7F}:1", "tcp:[[a]]:1",
            "unix:/" + String(repeating: "a", count: Endpoint.maxPathOctets),
        ])
    func wrong(_ text: String) { #expect(throws: EndpointError.self) { try Endpoint(text) } }

    @Test("the longest path")  // unix(7)
    func longest() throws {
        let path = "/" + String(repeating: "a", count: Endpoint.maxPathOctets - 1)
        #expect(try Endpoint("unix:\(path)") == .unix(path: path))
        #expect(throws: EndpointError.pathTooLong(path + "a")) { try Endpoint("unix:\(path)a") }
    }
}

@Suite("times")
struct UnixTimeTests {
    static let first = UnixTime(nanoseconds: .min)
    static let last = UnixTime(nanoseconds: .max)

    @Test("seconds are rounded down and clamped")
    func seconds() {
        #expect(UnixTime(seconds: 1).nanoseconds == 1_000_000_000)
        #expect(UnixTime(seconds: 9_223_372_037) == Self.last)
        #expect(UnixTime(seconds: -9_223_372_037) == Self.first)
        #expect(UnixTime(seconds: .max) == Self.last)
        #expect(UnixTime(seconds: .min) == Self.first)
        #expect(UnixTime(nanoseconds: -1).seconds == -1)
        #expect(UnixTime(nanoseconds: 999_999_999).seconds == 0)
        #expect(UnixTime(nanoseconds: -1_000_000_000).seconds == -1)
        #expect(Self.first.seconds == -9_223_372_037)
        #expect(Self.last.seconds == 9_223_372_036)
    }

    @Test("sums and differences are clamped")
    func arithmetic() {
        #expect(UnixTime(seconds: 10) + .milliseconds(-500) == UnixTime(nanoseconds: 9_500_000_000))
        #expect(Self.last + .nanoseconds(1) == Self.last)
        #expect(Self.first + .nanoseconds(-1) == Self.first)
        #expect(Self.first + .seconds(Int64.max) == UnixTime(nanoseconds: -1))
        #expect(UnixTime(seconds: 0) + .seconds(Int64.max) == Self.last)
        #expect(UnixTime(seconds: 0) + .seconds(Int64.min) == Self.first)
        #expect(UnixTime(seconds: 3) - UnixTime(seconds: 5) == .seconds(-2))
        #expect(Self.last - Self.first == .nanoseconds(Int64.max))
        #expect(Self.first - Self.last == .nanoseconds(Int64.min))
        #expect(Self.first < Self.last)
    }

    @Test("durations in nanoseconds")
    func durations() {
        #expect(Duration.milliseconds(-1_500).nanoseconds == -1_500_000_000)
        #expect(Duration.seconds(9_223_372_036).nanoseconds == 9_223_372_036_000_000_000)
        #expect(Duration.seconds(9_223_372_037).nanoseconds == .max)
        #expect(Duration.seconds(-9_223_372_037).nanoseconds == .min)
        #expect(
            Duration(secondsComponent: 9_223_372_036, attosecondsComponent: 999_999_999_999_999_999).nanoseconds == .max
        )
    }
}
