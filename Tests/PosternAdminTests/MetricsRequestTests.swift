// HTTP/1.1 requests as the metrics page reads them: a row for each rule of RFC 9112, and damaged ones.

import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("requests for metrics") struct MetricsRequestTests {
    static func request(_ text: String) throws(HTTPFault) -> HTTPRequest {
        let octets = Array(text.utf8)
        return try HTTPRequest(head: octets[..<(HTTPRequest.end(of: octets) ?? octets.count)])
    }

    @Test(
        "what is a request",
        arguments: [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/metrics", nil),
            ("\r\nGET / HTTP/1.1\r\nHost:\r\n\r\n", "GET", "/", nil),  // RFC 9112 §2.2, §3.2
            ("GET /metrics HTTP/1.0\r\n\r\n", "GET", "/metrics", nil),
            (
                "HEAD /metrics?a=b&c HTTP/1.1\r\nhOsT: [::1]:9154\r\nAccept:\ttext/plain \r\n\r\n", "HEAD", "/metrics",
                "text/plain"
            ),
            ("GET http://a.example:9154/metrics HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/metrics", nil),  // §3.2.2
            ("GET http://a.example HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/", nil),
            ("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "POST", "/metrics", nil),
            ("GET /a//../metrics HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/a//../metrics", nil),
            ("GET /x HTTP/1.1\r\nHost: a\r\nAccept: a/b\r\nX: \u{FC}\r\nAccept: */*\r\n\r\n", "GET", "/x", "a/b, */*"),
        ] as [(String, String, String, String?)])
    func good(_ text: String, _ method: String, _ path: String, _ accept: String?) throws {
        let request = try Self.request(text)
        #expect(request.method == method && request.path == path && request.accept == accept)
    }

    @Test(
        "what is none",
        arguments: [
            "GET /metrics\r\n\r\n", "GET  /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /metrics HTTP/1.1 \r\nHost: a\r\n\r\n",
            "GET /metrics HTTP/1.1\r\n\r\n",  // §3.2: no Host
            "GET /metrics HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET /metrics HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "GET metrics HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "G\u{E9}T / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\u{E9} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",  // §5.1
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",  // §5.2: a line that goes on
            "GET / HTTP/1.1\r\n: a\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",  // §2.2: bare LF, CR
            "GET / HTTP/1.1\r\nHost: a\u{0}\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\u{7F}\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",  // §6.1: smuggling
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n", "GET / http/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTX/1.1\r\nHost: a\r\n\r\n", "\r\n\r\n", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "", "\r\n",
        ])
    func bad(_ text: String) {
        #expect(throws: HTTPFault.badRequest) { try Self.request(text) }
    }

    @Test("another version is told apart; too many fields are too many")
    func others() {
        for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/1.11"] {
            #expect(throws: HTTPFault.unknownVersion) { try Self.request("GET / \(version)\r\nHost: a\r\n\r\n") }
        }
        func fields(_ count: Int) -> String { String(repeating: "X: y\r\n", count: count) }
        let head = "GET / HTTP/1.1\r\nHost: a\r\n"
        #expect(throws: Never.self) { try Self.request(head + fields(HTTPRequest.maxFields - 1) + "\r\n") }
        #expect(throws: HTTPFault.headTooLarge) { try Self.request(head + fields(HTTPRequest.maxFields) + "\r\n") }
    }

    @Test("a head's end is found wherever octets were cut")
    func cuts() {
        let octets = Array("GET / HTTP/1.1\r\nA: \r\r\nHost: a\r\n\r\nmore\r\n\r\n".utf8)
        let end = HTTPRequest.end(of: octets)
        #expect(end.map { String(decoding: octets[..<$0].suffix(11), as: UTF8.self) } == "Host: a\r\n\r\n")
        var known = 0
        var found: Int?
        for count in 0...octets.count where found == nil {
            found = HTTPRequest.end(of: Array(octets.prefix(count)), known: known)
            known = count
        }
        #expect(found == end)
    }

    @Test("a TLS client is told at once; nothing is said of what may become a request")
    func beginnings() {
        for octets in [[], [0x0D], [0x0D, 0x0A], [0x47], Array("GET /".utf8)] as [[UInt8]] {
            #expect(HTTPRequest.canBegin(octets))
        }
        for octets in [[0x16, 0x03, 0x01], [0x20], [0x0A], [0x0D, 0x20], [0x80], [0x00]] as [[UInt8]] {
            #expect(!HTTPRequest.canBegin(octets), "\(octets)")
        }
    }

    @Test("damaged requests never trap, and what is read is what a request can say")
    func mutations() {
        var good = 0
        Mutations.of(
            [
                "GET /metrics HTTP/1.1\r\nHost: localhost:9154\r\nUser-Agent: Prometheus/2.42.0\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\nAccept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n",
                "HEAD http://a/b?c HTTP/1.0\r\nA: b\r\n\r\n",
            ].map { Array($0.utf8) },
            tokens: ["\r\n", "\r", "\n", " ", ":", "\t", "\r\n\r\n", "://", "?"].map { Array($0.utf8) }, count: 20_000,
            seed: 9112
        ) { octets in
            _ = HTTPRequest.canBegin(octets)
            let end = HTTPRequest.end(of: octets) ?? octets.count
            guard let request = try? HTTPRequest(head: octets[..<end]) else { return }  // refused
            good += 1
            #expect(request.path.hasPrefix("/") && !request.path.contains("?") && !request.path.contains(" "))
            #expect(!request.method.isEmpty && request.method.allSatisfy(\.isASCII))
            _ = MetricsFormat(accept: request.accept)
        }
        #expect(good > 1000)
    }

    @Test(
        "the form by what is wanted",  // RFC 9110 §12.5.1
        arguments: [
            (nil, .text), ("", .text), ("*/*", .text), ("text/html,application/xhtml+xml,*/*;q=0.8", .text),
            ("application/openmetrics-text", .openMetrics),
            ("application/openmetrics-text; version=1.0.0", .openMetrics),
            (  // Prometheus 2.42
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                .openMetrics
            ),
            ("application/openmetrics-text;version=0.0.1", .text),
            ("application/openmetrics-text;version=2.0.0", .text),
            ("application/openmetrics-text;q=0", .text), ("application/openmetrics-text;q=0.000,*/*", .text),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.5", .text),
            ("text/plain;version=0.0.4;q=0.3, APPLICATION/OpenMetrics-Text ; Q=0.4", .openMetrics),
            ("application/openmetrics-text;q=1.5", .openMetrics), ("application/openmetrics-text;q=0.0001", .text),
            ("application/openmetrics-text;q=x", .text), ("application/openmetrics-text;q=-1", .text),
            (
                "application/vnd.google.protobuf;proto=x;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.2",
                .openMetrics
            ),
        ] as [(String?, MetricsFormat)])
    func format(_ accept: String?, _ format: MetricsFormat) {
        #expect(MetricsFormat(accept: accept) == format)
    }

    @Test(
        "the date of an answer",  // RFC 9110 §5.6.7
        arguments: [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1_795_248_000, "Sat, 21 Nov 2026 08:00:00 GMT"), (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
        ] as [(Int64, String)])
    func date(_ seconds: Int64, _ text: String) {
        #expect(HTTPResponse.date(UnixTime(seconds: seconds)) == text)
    }
}
