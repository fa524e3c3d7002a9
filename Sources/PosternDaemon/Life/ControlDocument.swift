// What travels over a control socket: one JSON value (RFC 8259). Written by a daemon; read by the CLI, which runs as
// root and therefore takes nothing on trust: depth, numbers and the count of values are capped, duplicate names are the
// first one's. No fractions and exponents: nothing of ours has any.

public enum ControlDocument: Hashable, Sendable {
    case text(String)
    case number(Int64)
    case boolean(Bool)
    case list([ControlDocument])
    case object([Member])
    case null

    public struct Member: Hashable, Sendable {
        public var key: String
        public var value: ControlDocument
        public init(_ key: String, _ value: ControlDocument) { (self.key, self.value) = (key, value) }
    }

    /// Deepest nesting that is read; ours has four levels.
    public static let maxDepth = 16
    /// Most values that are read: a list of little ones is thirty times as long in memory as it is as JSON.
    public static let maxValues = 1 << 20

    public static func number(_ value: Int) -> ControlDocument { .number(Int64(value)) }

    /// A member of an object; nil where there is none, it is null, or this is no object.
    public subscript(_ key: String) -> ControlDocument? {
        guard case .object(let members) = self, let value = members.first(where: { $0.key == key })?.value,
            value != .null
        else { return nil }
        return value
    }
    public var text: String? { if case .text(let text) = self { text } else { nil } }
    public var number: Int64? { if case .number(let number) = self { number } else { nil } }
    public var elements: [ControlDocument] { if case .list(let elements) = self { elements } else { [] } }
    public var members: [Member] { if case .object(let members) = self { members } else { [] } }
}

extension ControlDocument: ExpressibleByDictionaryLiteral {
    public init(dictionaryLiteral members: (String, ControlDocument)...) {
        self = .object(members.map { Member($0, $1) })
    }
}

extension ControlDocument: CustomStringConvertible {
    /// On one line.
    public var description: String {
        switch self {
        case .text(let text): JSONLine.quoted(text)
        case .number(let number): "\(number)"
        case .boolean(let flag): flag ? "true" : "false"
        case .list(let elements): "[" + elements.map(\.description).joined(separator: ",") + "]"
        case .object(let members):
            "{" + members.map { "\(JSONLine.quoted($0.key)):\($0.value)" }.joined(separator: ",") + "}"
        case .null: "null"
        }
    }
}

// MARK: Reading

/// Why octets are no document.
public struct ControlDocumentError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Counted from 0.
    public let offset: Int
    /// Where there are more values than this.
    public var maxValues: Int?
    public var description: String {
        if let maxValues { return "expected a JSON document of at most \(maxValues) values, found more" }
        return "expected a JSON document, found something else at octet \(offset)"
    }
}

extension ControlDocument {
    /// - Parameter octets: one JSON value, with white space around it at most.
    /// - Parameter maxValues: most values in it, lists and objects counted as well.
    public init(
        _ octets: [UInt8], maxValues: Int = ControlDocument.maxValues
    ) throws(ControlDocumentError) {
        var reader = Reader(rest: octets[...], maxValues: maxValues)
        self = try reader.value(depth: 0)
        reader.skipSpace()
        guard reader.rest.isEmpty else { throw reader.failure }
    }

    private struct Reader {
        var rest: ArraySlice<UInt8>
        let maxValues: Int
        private var values = 0

        init(rest: ArraySlice<UInt8>, maxValues: Int) { (self.rest, self.maxValues) = (rest, maxValues) }

        var failure: ControlDocumentError { ControlDocumentError(offset: rest.startIndex) }

        mutating func skipSpace() {
            rest = rest.drop { $0 == 0x20 || $0 == 0x09 || $0 == 0x0A || $0 == 0x0D }  // RFC 8259 §2
        }

        /// Takes a character, white space before it skipped.
        mutating func take(_ character: Unicode.Scalar) -> Bool {
            skipSpace()
            guard rest.first == UInt8(ascii: character) else { return false }
            rest = rest.dropFirst()
            return true
        }

        mutating func expect(_ character: Unicode.Scalar) throws(ControlDocumentError) {
            guard take(character) else { throw failure }
        }

        mutating func word(_ word: StaticString, _ value: ControlDocument) throws(ControlDocumentError)
            -> ControlDocument
        {
            let octets = UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount)
            guard rest.starts(with: octets) else { throw failure }
            rest = rest.dropFirst(octets.count)
            return value
        }

        mutating func value(depth: Int) throws(ControlDocumentError) -> ControlDocument {
            skipSpace()
            guard depth < ControlDocument.maxDepth, let first = rest.first else { throw failure }
            values += 1
            guard values <= maxValues else {
                throw ControlDocumentError(offset: rest.startIndex, maxValues: maxValues)
            }
            switch first {
            case UInt8(ascii: "{"): return .object(try members(depth: depth))
            case UInt8(ascii: "["): return .list(try elements(depth: depth))
            case UInt8(ascii: "\""): return .text(try text())
            case UInt8(ascii: "t"): return try word("true", .boolean(true))
            case UInt8(ascii: "f"): return try word("false", .boolean(false))
            case UInt8(ascii: "n"): return try word("null", .null)
            default: return .number(try number())
            }
        }

        private mutating func members(depth: Int) throws(ControlDocumentError) -> [Member] {
            try expect("{")
            var members: [Member] = []
            if take("}") { return members }
            repeat {
                skipSpace()
                let key = try text()
                try expect(":")
                members.append(Member(key, try value(depth: depth + 1)))
            } while take(",")
            try expect("}")
            return members
        }

        private mutating func elements(depth: Int) throws(ControlDocumentError) -> [ControlDocument] {
            try expect("[")
            var elements: [ControlDocument] = []
            if take("]") { return elements }
            repeat { elements.append(try value(depth: depth + 1)) } while take(",")
            try expect("]")
            return elements
        }

        private mutating func number() throws(ControlDocumentError) -> Int64 {
            let digits = rest.prefix { ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2D }
            guard let value = Int64(String(decoding: digits, as: UTF8.self)) else { throw failure }
            rest = rest.dropFirst(digits.count)
            return value
        }

        /// RFC 8259 §7.
        private mutating func text() throws(ControlDocumentError) -> String {
            guard rest.first == UInt8(ascii: "\"") else { throw failure }
            rest = rest.dropFirst()
            var text = ""
            while true {
                let plain = rest.prefix { $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }
                text += String(decoding: plain, as: UTF8.self)
                rest = rest.dropFirst(plain.count)
                guard let next = rest.first, next >= 0x20 else { throw failure }
                rest = rest.dropFirst()
                if next == UInt8(ascii: "\"") { return text }
                text.unicodeScalars.append(try escape())
            }
        }

        private mutating func escape() throws(ControlDocumentError) -> Unicode.Scalar {
            guard let letter = rest.popFirst() else { throw failure }
            switch letter {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(letter)
            case UInt8(ascii: "n"): return "\n"
            case UInt8(ascii: "r"): return "\r"
            case UInt8(ascii: "t"): return "\t"
            case UInt8(ascii: "b"): return "\u{8}"
            case UInt8(ascii: "f"): return "\u{C}"
            case UInt8(ascii: "u"):
                let first = try unit()
                guard first & 0xFC00 == 0xD800 else { return Unicode.Scalar(first) ?? "\u{FFFD}" }
                // A surrogate pair; half of one is no character.
                guard rest.starts(with: [UInt8(ascii: "\\"), UInt8(ascii: "u")]) else { return "\u{FFFD}" }
                rest = rest.dropFirst(2)
                let second = try unit()
                guard second & 0xFC00 == 0xDC00 else { return "\u{FFFD}" }
                let code = 0x10000 + (UInt32(first & 0x3FF) << 10 | UInt32(second & 0x3FF))
                return Unicode.Scalar(code) ?? "\u{FFFD}"
            default: throw failure
            }
        }

        private mutating func unit() throws(ControlDocumentError) -> UInt16 {
            let digits = rest.prefix(4)
            let isHex = digits.count == 4 && digits.allSatisfy { Unicode.Scalar($0).properties.isASCIIHexDigit }
            guard isHex, let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16) else { throw failure }
            rest = rest.dropFirst(4)
            return unit
        }
    }
}
