// What daemons read and write: the configuration, libmilter's values, log lines.

import Glibc
import PosternMail

@testable import PosternDaemon
@testable import PosternMilter

/// A configuration. The role opens no key files; the folder of lists and of the static zone is not there.
@Sendable func fuzzConfiguration(_ input: inout FuzzInput) {
    let octets = input.remainder()
    let result = Configuration.read(octets, file: "postern.toml", folder: "/nonexistent/postern", for: .dns)
    require(
        (result.configuration == nil) == result.problems.contains { $0.severity == .error },
        "errors and a configuration")
    let lines = octets.count { $0 == 0x0A } + 1
    for problem in result.problems {
        require(problem.file != "postern.toml" || problem.line <= lines, "\(problem) in a file of \(lines) lines")
        let isOneLine = problem.description.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }
        require(isOneLine, "problem \(shown(problem.description.utf8))")
    }
}

/// What libmilter's callbacks are handed: C strings, and an address of any family.
@Sendable func fuzzMilterValues(_ input: inout FuzzInput) {
    let text = input.piece()
    (text + [0]).withUnsafeBytes { buffer in
        let string = buffer.assumingMemoryBound(to: CChar.self).baseAddress
        require(MilterValues.octets(string) == text, "octets of a C string")
        let value = MilterValues.headerValue(string)
        require(value == MessageText.withCRLF(text), "line ends of a header value")
        let path = MilterValues.path(string)
        require(path == text || [0x3C] + path + [0x3E] == text, "path of \(shown(text))")
    }
    var octets = input.remainder()
    octets = Array((octets + [UInt8](repeating: 0, count: 128)).prefix(128))
    var address = sockaddr_storage()
    withUnsafeMutableBytes(of: &address) { $0.copyBytes(from: octets) }
    let families = [sa_family_t(AF_INET), sa_family_t(AF_INET6), address.ss_family]
    for family in families {
        address.ss_family = family
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                let (found, port) = MilterValues.address($0)
                let isInternet = [AF_INET, AF_INET6].contains(Int32(family))
                require((found != nil) == isInternet && (isInternet || port == 0), "address of family \(family)")
            }
        }
    }
}

/// Log lines with a stranger's octets in every place: one line, nothing in it that is no printable character.
@Sendable func fuzzLog(_ input: inout FuzzInput) {
    let choice = input.octet()
    var pieces: [[UInt8]] = []
    while pieces.count < 5 { pieces.append(input.piece()) }
    func piece(_ index: Int) -> [UInt8] { pieces[index % pieces.count] }
    func text(_ index: Int) -> String { String(decoding: piece(index), as: UTF8.self) }
    let rest = input.remainder()
    let line = OutcomeLine(
        queueID: choice & 1 == 0 ? nil : text(0), action: "verify", stage: "END-OF-MESSAGE",
        client: SMTPClient(name: piece(1), address: IPAddress(octets: rest.prefix(choice & 2 == 0 ? 4 : 16))),
        text: text(2), mailFrom: choice & 4 == 0 ? nil : piece(3), recipient: choice & 8 == 0 ? nil : piece(4),
        proto: choice & 16 == 0 ? nil : text(0), helo: choice & 32 == 0 ? nil : piece(1))
    let now = UnixTime(nanoseconds: rest.prefix(8).reduce(Int64(0)) { $0 << 8 | Int64($1) })
    let events: [LogEvent] = [.outcome(line), .note(.warning, String(decoding: rest, as: UTF8.self))]
    for event in events {
        for format in LogFormat.allCases {
            let rendering = LogRendering(program: "postern-dkim", pid: 1, format: format)
            let written = rendering.message(of: event, at: now)
            require(written.isOneLine, "\(format) line \(shown(written.utf8))")
            guard format == .json else { continue }
            require(written.utf8.count < LogRendering.maxLineOctets, "a JSON line of \(written.utf8.count) octets")
            require(written.isOneObject, "no JSON object: \(shown(written.utf8))")
        }
    }
    let client = LogText.client(line.client)
    require(client.isOnePlainLine, "client \(client)")
    let escaped = LogText.escaped(rest)
    require(escaped.isOnePlainLine && escaped.utf8.count <= LogText.maxOctets + 3, "escaped \(escaped)")
    require(!escaped.contains("<") && !escaped.contains(">"), "angle brackets in \(escaped)")
}

extension String {
    /// Whether nothing in it can end a line, or hide a part of it.
    fileprivate var isOneLine: Bool {
        unicodeScalars.allSatisfy { scalar in
            switch scalar.properties.generalCategory {
            case .control, .lineSeparator, .paragraphSeparator, .surrogate: false
            default: true
            }
        }
    }

    /// Whether it is one JSON object of strings, numbers and null, without nesting. Source: RFC 8259 §4, §7.
    fileprivate var isOneObject: Bool {
        var rest = utf8[...]
        func skip(_ word: String) -> Bool {
            guard rest.starts(with: word.utf8) else { return false }
            rest = rest.dropFirst(word.utf8.count)
            return true
        }
        func string() -> Bool {
            guard skip("\"") else { return false }
            while let octet = rest.popFirst() {
                if octet == 0x22 { return true }
                guard octet == 0x5C else { continue }
                guard let escape = rest.popFirst() else { return false }
                if escape == 0x75 {
                    guard rest.prefix(4).allSatisfy(\.isHexDigit), rest.count >= 4 else { return false }
                    rest = rest.dropFirst(4)
                } else if !"\"\\/bfnrt".utf8.contains(escape) {
                    return false
                }
            }
            return false
        }
        guard skip("{") else { return false }
        repeat {
            guard string(), skip(":") else { return false }
            if skip("null") || string() { continue }
            let digits = rest.prefix { (0x30...0x39).contains($0) }
            guard !digits.isEmpty else { return false }
            rest = rest.dropFirst(digits.count)
        } while skip(",")
        return skip("}") && rest.isEmpty
    }
}

extension UInt8 {
    fileprivate var isHexDigit: Bool {
        (0x30...0x39).contains(self) || (0x41...0x46).contains(self) || (0x61...0x66).contains(self)
    }
}
