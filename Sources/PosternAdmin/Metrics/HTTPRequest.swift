// The head of one HTTP/1.1 request (RFC 9112), read strictly: what is not exactly a request is refused. Only what a page
// of metrics needs is kept. No bodies: a request that announces one is refused, and a connection serves one request.

internal import PosternMail

struct HTTPRequest: Hashable, Sendable {
    let method: String
    /// Without the query.
    let path: String
    /// All Accept fields; nil where there is none.
    let accept: String?

    /// Octets of a head: Prometheus sends some 400.
    static let maxHeadOctets = 8192
    static let maxFields = 64

    /// Where a head ends, its empty line included; nil when it has not come yet.
    /// - Parameter known: octets that were looked at before.
    static func end(of octets: [UInt8], known: Int = 0) -> Int? {
        let from = max(0, min(known, octets.count) - 3)
        var rest = octets[from...]
        while let place = rest.firstIndex(of: 0x0D) {
            if octets[place...].starts(with: [0x0D, 0x0A, 0x0D, 0x0A]) { return place + 4 }
            rest = octets[(place + 1)...]
        }
        return nil
    }

    /// Whether octets can begin a request at all; a TLS client's cannot.
    static func canBegin(_ octets: [UInt8]) -> Bool {
        octets.prefix(2) == [0x0D, 0x0A] || octets == [0x0D] || octets.first.map(isTokenOctet) ?? true
    }

    /// - Parameter head: up to its empty line.
    init(head: ArraySlice<UInt8>) throws(HTTPFault) {
        // RFC 9112 §2.2: one empty line before the request is passed over.
        let head = head.starts(with: [0x0D, 0x0A]) ? head.dropFirst(2) : head
        var lines = try Self.lines(head)[...]
        guard let first = lines.popFirst() else { throw .badRequest }
        let version: HTTPVersion
        (method, path, version) = try Self.requestLine(first)
        guard lines.count <= Self.maxFields else { throw .headTooLarge }
        var (hosts, accepted): (Int, [String]) = (0, [])
        for line in lines {
            let (name, value) = try Self.field(line)
            switch name {
            case "host": hosts += 1
            case "accept": accepted.append(value)
            case "transfer-encoding": throw .badRequest
            case "content-length": guard value == "0" else { throw .badRequest }
            default: break
            }
        }
        // RFC 9112 §3.2: exactly one, from 1.1 on.
        guard hosts == 1 || (hosts == 0 && version == .oldest) else { throw .badRequest }
        accept = accepted.isEmpty ? nil : accepted.joined(separator: ", ")
    }

    private enum HTTPVersion { case oldest, current }

    /// RFC 9112 §2.2: lines end in CRLF; a CR or LF elsewhere could mean another thing to somebody else.
    private static func lines(_ head: ArraySlice<UInt8>) throws(HTTPFault) -> [ArraySlice<UInt8>] {
        var lines: [ArraySlice<UInt8>] = []
        var rest = head
        while let end = rest.firstIndex(of: 0x0D) {
            guard rest[end...].dropFirst().first == 0x0A else { throw .badRequest }
            let line = rest[..<end]
            guard line.allSatisfy({ $0 == 0x09 || ($0 >= 0x20 && $0 != 0x7F) }) else { throw .badRequest }
            rest = rest[end...].dropFirst(2)
            if line.isEmpty { break }
            lines.append(line)
            guard lines.count <= maxFields + 1 else { throw .headTooLarge }
        }
        guard rest.isEmpty else { throw .badRequest }
        return lines
    }

    /// RFC 9112 §3: three words, one space between them.
    private static func requestLine(
        _ line: ArraySlice<UInt8>
    ) throws(HTTPFault) -> (String, String, HTTPVersion) {
        let words = line.split(separator: 0x20, omittingEmptySubsequences: false)
        guard words.count == 3, let method = words.first, let target = words.dropFirst().first,
            let version = words.last.map({ String(decoding: $0, as: UTF8.self) }),
            !method.isEmpty, method.allSatisfy(isTokenOctet), !target.isEmpty,
            target.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else { throw .badRequest }
        let path = try path(String(decoding: target, as: UTF8.self))
        switch version {
        case "HTTP/1.1": return (String(decoding: method, as: UTF8.self), path, .current)
        case "HTTP/1.0": return (String(decoding: method, as: UTF8.self), path, .oldest)
        default: throw version.hasPrefix("HTTP/") ? .unknownVersion : .badRequest
        }
    }

    /// RFC 9112 §3.2: the origin form, or the absolute one, which every server must take.
    private static func path(_ target: String) throws(HTTPFault) -> String {
        var rest = target[...]
        if let scheme = rest.firstRange(of: "://"), !rest.hasPrefix("/") {
            rest = rest[scheme.upperBound...]
            rest = rest.firstIndex(of: "/").map { rest[$0...] } ?? "/"
        }
        guard rest.hasPrefix("/") else { throw .badRequest }  // `*` and authorities are not for GET
        return String(rest.prefix { $0 != "?" })
    }

    /// RFC 9112 §5: no space before the colon, no line that goes on.
    private static func field(_ line: ArraySlice<UInt8>) throws(HTTPFault) -> (name: String, value: String) {
        guard let colon = line.firstIndex(of: 0x3A), colon > line.startIndex,
            line[..<colon].allSatisfy(isTokenOctet)
        else { throw .badRequest }
        var value = line[colon...].dropFirst().drop { $0 == 0x20 || $0 == 0x09 }
        while let last = value.last, last == 0x20 || last == 0x09 { value.removeLast() }
        return (String(decoding: line[..<colon], as: UTF8.self).lowercased(), String(decoding: value, as: UTF8.self))
    }

    /// RFC 9110 §5.6.2.
    private static func isTokenOctet(_ octet: UInt8) -> Bool {
        octet.isASCIILetter || octet.isASCIIDigit || "!#$%&'*+-.^_`|~".utf8.contains(octet)
    }
}

/// Why a request is not answered as it wants.
enum HTTPFault: Error, Hashable, Sendable {
    case badRequest, timeout, headTooLarge, unknownVersion
}
