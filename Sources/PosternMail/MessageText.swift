// A whole message as a file holds it, split into header fields and body: what the command line reads. Daemons never
// do this; Postfix hands them fields and chunks.

public struct MessageText: Sendable {
    public var header: [HeaderField]
    /// The octets after the empty line, CRLF line ends.
    public var body: [UInt8]

    /// Splits a message. LF line ends are taken as CRLF (RFC 6376 §5.3 wants them so before signing); a CR that is not
    /// before LF stays as it is. A line in the header without a colon ends the header, as Postfix does it.
    public init(octets: some Collection<UInt8>) {
        let text = Self.withCRLF(octets)
        var header: [HeaderField] = []
        var rest = text[...]
        if Self.beginsWithSeparator(rest) { _ = Self.line(&rest) }
        while !rest.isEmpty {
            var after = rest
            var line = Self.line(&after)
            if line.isEmpty {
                rest = after
                break
            }
            guard let colon = line.firstIndex(of: 0x3A), Self.isName(line[..<colon]) else { break }
            while let next = after.first, next.isWSP {  // RFC 5322 §2.2.3: a folded line
                let fold = Self.line(&after)
                line = text[line.startIndex..<fold.endIndex]
            }
            header.append(HeaderField(name: Array(line[..<colon]), value: Array(line[(colon + 1)...])))
            rest = after
        }
        self.header = header
        body = Array(rest)
    }

    /// Whether a line of an mbox file comes first: `From `, and not a From field with WSP before its colon (RFC 5322
    /// §4.5).
    public static func beginsWithSeparator(_ text: ArraySlice<UInt8>) -> Bool {
        text.starts(with: Array("From ".utf8)) && text.dropFirst(4).first { !$0.isWSP } != 0x3A
    }

    /// Whether what stands before a colon is a field's name: printable ASCII, then perhaps WSP (RFC 5322 §3.6.8, §4.5).
    private static func isName(_ octets: ArraySlice<UInt8>) -> Bool {
        let name = octets.prefix { $0 > 0x20 && $0 < 0x7F }
        return !name.isEmpty && octets[name.endIndex...].allSatisfy(\.isWSP)
    }

    /// The next line without its CRLF; `rest` begins after it.
    private static func line(_ rest: inout ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var at = rest.startIndex
        while let lf = rest[at...].firstIndex(of: 0x0A) {
            if lf > rest.startIndex, rest[lf - 1] == 0x0D {
                defer { rest = rest[(lf + 1)...] }
                return rest[..<(lf - 1)]
            }
            at = lf + 1
        }
        defer { rest = rest[rest.endIndex...] }
        return rest
    }

    /// The octets with every bare LF made CRLF.
    @inlinable public static func withCRLF(_ octets: some Collection<UInt8>) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(octets.count + octets.count / 32)
        var last: UInt8 = 0
        for octet in octets {
            if octet == 0x0A, last != 0x0D { text.append(0x0D) }
            text.append(octet)
            last = octet
        }
        return text
    }
}
