// Lines of `Name value` or `name = value` with # comments, as opendkim.conf, opendmarc.conf and policyd-spf.conf have
// them. Source: opendkim.conf(5), opendmarc.conf(5), policyd-spf.conf(5).

internal import PosternMail

/// A parameter with its value, and the line that both stand in.
struct ParameterLine: Hashable, Sendable {
    /// As it is written.
    let name: String
    /// Without white space around it; may be empty.
    let value: String
    let line: ImportedLine

    /// In lower case, by which all of these programs but policyd-spf know it.
    var key: String { String(decoding: Array(name.utf8).asciiLowercased, as: UTF8.self) }

    /// As opendkim and opendmarc read it, by the first sign; nil for what they refuse.
    var truth: Bool? {
        switch value.utf8.first {
        case UInt8(ascii: "t"), UInt8(ascii: "T"), UInt8(ascii: "y"), UInt8(ascii: "Y"), UInt8(ascii: "1"): true
        case UInt8(ascii: "f"), UInt8(ascii: "F"), UInt8(ascii: "n"), UInt8(ascii: "N"), UInt8(ascii: "0"): false
        default: nil
        }
    }

    /// - Parameter separator: between name and value; nil for white space.
    static func lines(of octets: [UInt8], file: String, separator: UInt8? = nil) -> [ParameterLine] {
        ImportedText.lines(octets).enumerated().compactMap { index, line in
            let text = ImportedText.trimmed(line.prefix { $0 != UInt8(ascii: "#") })
            guard !text.isEmpty else { return nil }
            let end =
                text.firstIndex { $0 == separator || separator == nil && ImportedText.isSpace($0) } ?? text.endIndex
            let value = text[end...].dropFirst()
            return ParameterLine(
                name: String(decoding: ImportedText.trimmed(text[..<end]), as: UTF8.self),
                value: String(decoding: ImportedText.trimmed(value), as: UTF8.self),
                line: ImportedLine(
                    file: file, number: index + 1, text: String(decoding: text, as: UTF8.self)))
        }
    }
}

/// Clients as opendkim's and opendmarc's lists and policyd-spf name them: what of them is an address or a network.
struct ImportedClients {
    /// As our configuration has them.
    private(set) var networks: [String] = []
    /// Names, negations and what else is no address, with the reason.
    private(set) var others: [(line: ImportedLine, reason: String)] = []

    /// The machine itself.
    static let loopback = ["127.0.0.0/8", "::1/128"]

    init(_ entries: [ImportedLine]) {
        for entry in entries {
            let text = entry.text.filter { $0 != "[" && $0 != "]" }
            if text == "localhost" {
                append(Self.loopback)
            } else if text.hasPrefix("!") {
                others.append((entry, "expected a client, found an exclusion: list the networks that remain"))
            } else if let network = Self.network(text) {
                append([network.description])
            } else if text.contains("$") {
                others.append((entry, "expected an address or a network, found a parameter: postconf -x has its value"))
            } else if text.contains(":/") || text.hasPrefix("/") {
                others.append((entry, "expected an address or a network, found a table: list what is in it"))
            } else {
                others.append(
                    (entry, "expected an address or a network: a client's name is what its owner's DNS says"))
            }
        }
    }

    /// Bits after the prefix do not matter to these programs.
    private static func network(_ text: String) -> Network? {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let host = parts.first, let address = IPAddress(host) else { return nil }
        let most = address.octets.count * 8
        guard let length = parts.dropFirst().first else { return Network(containing: address, prefixLength: most) }
        guard (1...3).contains(length.utf8.count), length.utf8.allSatisfy(\.isASCIIDigit), let bits = Int(length),
            bits <= most
        else { return nil }
        return Network(containing: address, prefixLength: bits)
    }

    private mutating func append(_ texts: [String]) {
        for text in texts where !networks.contains(text) { networks.append(text) }
    }

    /// Whether mail that this machine hands in itself is among them.
    var holdLoopback: Bool { networks.contains { $0.hasPrefix("127.") } }

    /// Those that are not this machine.
    var strangers: [String] {
        networks.filter { !$0.hasPrefix("127.") && $0 != "::1/128" && !$0.hasPrefix("::ffff:127.") }
    }
}
