// Searching in a line of a log without making a String of it: a report goes through gigabytes. Everything here is
// total: whatever is in the line, the answer is a part of it or nil.

internal import Glibc
internal import PosternMail

extension ArraySlice<UInt8> {
    /// Where an octet is found first; an index of this slice.
    func place(of octet: UInt8) -> Int? {
        withUnsafeBytes { octets in
            guard let start = octets.baseAddress, let found = memchr(start, Int32(octet), octets.count) else {
                return nil
            }
            return start.distance(to: UnsafeRawPointer(found)) + startIndex
        }
    }

    /// Where a text is found first; an index of this slice.
    func place(of text: StaticString) -> Int? {
        let length = text.utf8CodeUnitCount
        guard length > 0, count >= length else { return nil }
        return withUnsafeBytes { octets in
            guard let start = octets.baseAddress else { return nil }
            // As memmem(3), which Swift does not see: _GNU_SOURCE.
            var from = start
            let end = start + (octets.count - length + 1)
            while from < end, let found = memchr(from, Int32(text.utf8Start.pointee), from.distance(to: end)) {
                if memcmp(found, text.utf8Start, length) == 0 {
                    return start.distance(to: UnsafeRawPointer(found)) + startIndex
                }
                from = UnsafeRawPointer(found) + 1
            }
            return nil
        }
    }

    /// Where a text is found last; an index of this slice.
    func lastPlace(of text: StaticString) -> Int? {
        var found: Int?
        var rest = self
        while let place = rest.place(of: text) {
            found = place
            rest = rest[(place + 1)...]
        }
        return found
    }

    func contains(_ text: StaticString) -> Bool { place(of: text) != nil }

    func begins(with text: StaticString) -> Bool {
        let length = text.utf8CodeUnitCount
        guard count >= length else { return false }
        return withUnsafeBytes { octets in
            octets.baseAddress.map { memcmp($0, text.utf8Start, length) == 0 } ?? (length == 0)
        }
    }

    func ends(with text: StaticString) -> Bool {
        count >= text.utf8CodeUnitCount && suffix(text.utf8CodeUnitCount).begins(with: text)
    }

    func equals(_ text: StaticString) -> Bool { count == text.utf8CodeUnitCount && begins(with: text) }

    /// What stands before and behind the first `text`.
    func parted(at text: StaticString) -> (before: ArraySlice<UInt8>, after: ArraySlice<UInt8>)? {
        guard let place = place(of: text) else { return nil }
        return (self[..<place], self[(place + text.utf8CodeUnitCount)...])
    }

    /// What stands before and behind the first `octet`.
    func parted(at octet: UInt8) -> (before: ArraySlice<UInt8>, after: ArraySlice<UInt8>)? {
        guard let place = place(of: octet) else { return nil }
        return (self[..<place], self[(place + 1)...])
    }

    /// Takes `text` from the front.
    mutating func take(_ text: StaticString) -> Bool {
        guard begins(with: text) else { return false }
        self = dropFirst(text.utf8CodeUnitCount)
        return true
    }

    /// Takes a decimal number from the front.
    /// - Returns: nil where there is none, or one of more than `digits` digits.
    mutating func takeNumber(digits most: Int = 15) -> Int? {
        let digits = prefix { $0.isASCIIDigit }
        guard (1...most).contains(digits.count), most <= 18 else { return nil }
        self = dropFirst(digits.count)
        return digits.reduce(0) { $0 * 10 + Int($1 & 15) }
    }

    /// The first word, up to a space.
    var firstWord: ArraySlice<UInt8> { place(of: 0x20).map { self[..<$0] } ?? self }

    /// The octets as text that moves no cursor and hides nothing: what is no character, or none to be seen, is `?`.
    var shown: String { DaemonControl.printable(String(decoding: self, as: UTF8.self)) }
}

extension ArraySlice<UInt8> {
    /// What stands in the angle brackets that this begins with. Brackets in a quoted local part do not end it.
    /// - Returns: nil where it does not begin with one, or it never ends.
    /// - Source: RFC 5321 §4.1.2 (Quoted-string); postconf(5), info_log_address_format.
    var inAngleBrackets: ArraySlice<UInt8>? {
        guard first == UInt8(ascii: "<") else { return nil }
        let inner = dropFirst()
        guard let close = inner.place(of: UInt8(ascii: ">")) else { return nil }
        // Nearly all addresses: no quotes before the first bracket.
        guard inner[..<close].contains(UInt8(ascii: "\"")) else { return inner[..<close] }
        var isQuoted = false
        var isEscaped = false
        for (index, octet) in zip(inner.indices, inner) {
            if isEscaped {
                isEscaped = false
            } else if octet == UInt8(ascii: "\\"), isQuoted {
                isEscaped = true
            } else if octet == UInt8(ascii: "\"") {
                isQuoted.toggle()
            } else if octet == UInt8(ascii: ">"), !isQuoted {
                return inner[..<index]
            }
        }
        return inner[..<close]
    }
}
