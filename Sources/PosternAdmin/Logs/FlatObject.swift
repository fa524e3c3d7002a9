// A JSON object, its own members read by name (RFC 8259): a line of ours with log.format = "json". Values are handed over
// as octets of the line; only a text with escapes in it is copied. Lists and objects in it, the words of metrics, are
// passed over. What is no such object yields nothing.

internal import PosternDaemon
internal import PosternMail

struct FlatObject {
    enum Value {
        case text(ArraySlice<UInt8>)
        /// A number, true or false.
        case word(ArraySlice<UInt8>)
        case null
        /// A list or an object.
        case nested
    }

    /// Most members that are read; ours have some twenty.
    static let maxMembers = 64
    /// Most lists and objects within each other; ours are two.
    private static let maxDepth = 8

    /// Calls `take` with each member, in order.
    /// - Returns: false when the octets are no object of texts, numbers, booleans and null.
    static func read(_ octets: ArraySlice<UInt8>, _ take: (ArraySlice<UInt8>, Value) -> Void) -> Bool {
        var rest = octets
        guard token(&rest, "{") else { return false }
        if token(&rest, "}") { return isEnd(rest) }
        for _ in 0..<maxMembers {
            guard let key = text(&rest), token(&rest, ":") else { return false }
            rest = rest.drop(while: \.isJSONSpace)
            if rest.first == UInt8(ascii: "\"") {
                guard let value = text(&rest) else { return false }
                take(key, .text(value))
            } else if rest.first == UInt8(ascii: "{") || rest.first == UInt8(ascii: "[") {
                guard skipNested(&rest) else { return false }
                take(key, .nested)
            } else {
                let word = rest.prefix { $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2D || $0 == 0x2E || $0 == 0x2B }
                guard !word.isEmpty else { return false }
                rest = rest.dropFirst(word.count)
                take(key, word.equals("null") ? .null : .word(word))
            }
            if token(&rest, "}") { return isEnd(rest) }
            guard token(&rest, ",") else { return false }
        }
        return false
    }

    /// Passes over a list or an object. What stands in it is looked at no closer than to find its end.
    private static func skipNested(_ rest: inout ArraySlice<UInt8>) -> Bool {
        var open: [UInt8] = []
        while let octet = rest.first {
            switch octet {
            case UInt8(ascii: "\""):
                guard text(&rest) != nil else { return false }
                continue
            case UInt8(ascii: "{"): open.append(UInt8(ascii: "}"))
            case UInt8(ascii: "["): open.append(UInt8(ascii: "]"))
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                guard open.popLast() == octet else { return false }
            default: break
            }
            guard open.count <= maxDepth else { return false }
            rest = rest.dropFirst()
            if open.isEmpty { return true }
        }
        return false
    }

    private static func isEnd(_ rest: ArraySlice<UInt8>) -> Bool { rest.allSatisfy(\.isJSONSpace) }

    private static func token(_ rest: inout ArraySlice<UInt8>, _ token: StaticString) -> Bool {
        if rest.first?.isJSONSpace == true { rest = rest.drop(while: \.isJSONSpace) }
        return rest.take(token)
    }

    /// A string, without its quotation marks.
    private static func text(_ rest: inout ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard token(&rest, "\""), let close = rest.place(of: UInt8(ascii: "\"")) else { return nil }
        let plain = rest[..<close]
        guard plain.contains(UInt8(ascii: "\\")) else {
            rest = rest[(close + 1)...]
            return plain
        }
        // RFC 8259 §7: an escaped quotation mark does not end it.
        var isEscaped = false
        for (index, octet) in zip(rest.indices, rest) {
            if isEscaped {
                isEscaped = false
            } else if octet == UInt8(ascii: "\\") {
                isEscaped = true
            } else if octet == UInt8(ascii: "\"") {
                let escaped = rest[..<index]
                rest = rest[(index + 1)...]
                return unescaped(escaped)
            }
        }
        return nil
    }

    /// The daemons' own reader knows the escapes.
    private static func unescaped(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        let quotationMark = [UInt8(ascii: "\"")]
        // No JSON string: the caller's line is no object then.
        guard case .text(let text)? = try? ControlDocument(quotationMark + text + quotationMark) else { return nil }
        return Array(text.utf8)[...]
    }
}

extension UInt8 {
    /// Source: RFC 8259 §2, ws.
    fileprivate var isJSONSpace: Bool { self == 0x20 || self == 0x09 || self == 0x0A || self == 0x0D }
}
