// What a Redis or Valkey server answers (RESP 2), as values. An error it answers is no value: it is thrown
// (StoreFailure), also where it stands inside an array, which only a transaction or a script of another kind makes.
// Not RESP 3: nobody asks for it (no HELLO), so that Redis 6, 7 and Valkey answer alike.

public enum StoreReply: Hashable, Sendable {
    /// There is no such thing.
    case null
    case integer(Int64)
    /// A string of octets, or a status such as `OK`.
    case octets([UInt8])
    case array([StoreReply])
}

extension StoreReply {
    /// Nil for anything but an integer.
    public var integer: Int64? { if case .integer(let number) = self { number } else { nil } }
    /// Nil for anything but octets.
    public var octets: [UInt8]? { if case .octets(let octets) = self { octets } else { nil } }
    /// Nil for anything but an array.
    public var array: [StoreReply]? { if case .array(let elements) = self { elements } else { nil } }
    /// Octets for display; nil for anything else.
    public var text: String? { octets.map { String(decoding: $0, as: UTF8.self) } }
}
