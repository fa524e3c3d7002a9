// JSON as the command line prints it (RFC 8259): one line, members in the order given. Written only, never read.

internal import PosternDaemon

enum JSONValue: Equatable, Sendable, CustomStringConvertible {
    case text(String)
    case number(Int)
    case boolean(Bool)
    case list([JSONValue])
    case object([Member])
    case null
    /// One value, written already.
    case written(String)

    struct Member: Equatable, Sendable {
        var key: String
        var value: JSONValue
    }

    /// `null` where nothing is known.
    static func optional(_ text: (some CustomStringConvertible)?) -> JSONValue {
        text.map { .text($0.description) } ?? .null
    }
    static func optional(_ number: Int?) -> JSONValue { number.map { .number($0) } ?? .null }

    /// Octets of a stranger; what is no UTF-8 becomes U+FFFD, since JSON is Unicode (RFC 8259 §8.1).
    static func octets(_ octets: [UInt8]) -> JSONValue { .text(String(decoding: octets, as: UTF8.self)) }

    var description: String {
        switch self {
        case .text(let text): JSONLine.quoted(text)
        case .number(let number): "\(number)"
        case .boolean(let flag): flag ? "true" : "false"
        case .list(let values): "[" + values.map(\.description).joined(separator: ",") + "]"
        case .object(let members):
            "{" + members.map { "\(JSONLine.quoted($0.key)):\($0.value)" }.joined(separator: ",") + "}"
        case .null: "null"
        case .written(let json): json
        }
    }
}

extension JSONValue: ExpressibleByDictionaryLiteral {
    init(dictionaryLiteral members: (String, JSONValue)...) {
        self = .object(members.map { Member(key: $0.0, value: $0.1) })
    }
}
