// What a request is answered with (RFC 9110): the page, a link to it, or why not. Every answer ends its connection.

internal import Glibc
internal import PosternMail

struct HTTPResponse: Sendable {
    let status: Int
    let reason: String
    let contentType: String
    let body: [UInt8]
    /// More header fields, each with its end.
    var fields = ""

    static func page(_ octets: [UInt8], _ format: MetricsFormat) -> HTTPResponse {
        HTTPResponse(status: 200, reason: "OK", contentType: format.contentType, body: octets)
    }

    static let link = HTTPResponse(
        status: 200, reason: "OK", contentType: "text/html; charset=utf-8",
        body: Array(
            """
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8"><title>Postern</title></head>
            <body><h1>Postern</h1><p><a href="/metrics">Metrics</a></p></body></html>

            """.utf8))

    static let notFound = plain(404, "Not Found", "expected /metrics or /")
    /// RFC 9110 §15.5.6: with the methods that are allowed.
    static let methodNotAllowed = plain(
        405, "Method Not Allowed", "expected GET or HEAD", fields: "Allow: GET, HEAD\r\n")
    static let unavailable = plain(503, "Service Unavailable", "the daemons cannot be asked now")

    init(_ fault: HTTPFault) {
        self =
            switch fault {
            case .badRequest: Self.plain(400, "Bad Request", "expected a request of HTTP/1.1 without a body")
            case .timeout: Self.plain(408, "Request Timeout", "expected a whole request, found its beginning")
            case .headTooLarge:
                Self.plain(
                    431, "Request Header Fields Too Large",
                    "expected at most \(HTTPRequest.maxHeadOctets) octets and \(HTTPRequest.maxFields) fields")
            case .unknownVersion: Self.plain(505, "HTTP Version Not Supported", "expected HTTP/1.1 or HTTP/1.0")
            }
    }

    private init(status: Int, reason: String, contentType: String, body: [UInt8], fields: String = "") {
        (self.status, self.reason, self.contentType, self.body) = (status, reason, contentType, body)
        self.fields = fields
    }

    private static func plain(_ status: Int, _ reason: String, _ text: String, fields: String = "") -> HTTPResponse {
        HTTPResponse(
            status: status, reason: reason, contentType: "text/plain; charset=utf-8", body: Array("\(text)\n".utf8),
            fields: fields)
    }

    /// - Parameter withBody: false for HEAD, whose fields are the same. Source: RFC 9110 §9.3.2.
    func octets(withBody: Bool, at now: UnixTime) -> [UInt8] {
        let head = """
            HTTP/1.1 \(status) \(reason)\r
            Date: \(Self.date(now))\r
            Content-Type: \(contentType)\r
            Content-Length: \(body.count)\r
            Cache-Control: no-store\r
            X-Content-Type-Options: nosniff\r
            \(fields)Connection: close\r
            \r

            """
        return Array(head.utf8) + (withBody ? body : [])
    }

    /// RFC 9110 §5.6.7: `Sat, 21 Nov 2026 08:00:00 GMT`, whatever the locale is.
    static func date(_ now: UnixTime) -> String {
        var seconds = time_t(now.seconds)
        var parts = tm()
        gmtime_r(&seconds, &parts)  // cannot fail: UnixTime is of the years 1678 to 2262
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let (day, month) = (days[Int(parts.tm_wday) % 7], months[Int(parts.tm_mon) % 12])
        return "\(day), \(two(parts.tm_mday)) \(month) \(parts.tm_year + 1900) "
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT"
    }
}

extension MetricsFormat {
    /// Media ranges that are looked at.
    private static let maxRanges = 32

    /// What a client wants (RFC 9110 §12.5.1): OpenMetrics where it is asked for by name, and not liked less than the
    /// older form; else the older form, which everybody can read.
    init(accept: String?) {
        var (open, text) = (0, 0)
        for range in (accept ?? "").split(separator: ",").prefix(Self.maxRanges) {
            var words = range.split(separator: ";").map { $0.trimmed.lowercased() }[...]
            let type = words.popFirst() ?? ""
            let weight = words.first { $0.hasPrefix("q=") }.map { Self.thousandths($0.dropFirst(2)) } ?? 1000
            let version = words.first { $0.hasPrefix("version=") }?.dropFirst(8)
            switch type {
            case "application/openmetrics-text" where version == nil || version == "1.0.0": open = max(open, weight)
            case "text/plain" where version == nil || version == "0.0.4": text = max(text, weight)
            case "text/*", "*/*": text = max(text, weight)
            default: break
            }
        }
        self = open > 0 && open >= text ? .openMetrics : .text
    }

    /// RFC 9110 §12.4.2: `0.5`; 0 for what is no weight.
    private static func thousandths(_ text: Substring) -> Int {
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let digits = parts.count > 1 ? parts.last ?? "" : ""
        guard let whole = parts.first, whole == "0" || whole == "1", digits.count <= 3,
            digits.utf8.allSatisfy(\.isASCIIDigit),
            let fraction = Int(digits + String(repeating: "0", count: 3 - digits.count))
        else { return 0 }
        return min(1000, (whole == "1" ? 1000 : 0) + fraction)
    }
}

extension Substring {
    /// Without the white space around it.
    fileprivate var trimmed: Substring {
        var text = self.drop { $0 == " " || $0 == "\t" }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return text
    }
}
