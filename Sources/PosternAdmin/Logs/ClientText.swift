// `name[address]`, as Postfix and Postern write a client. The name was looked up in DNS: neither believes one that is
// no host name, so that it holds no bracket.

internal import PosternMail

struct ClientText {
    var name: ArraySlice<UInt8>
    var address: ArraySlice<UInt8>
    /// What stands behind the closing bracket.
    var rest: ArraySlice<UInt8>

    /// Longest name, bracket and address, in octets.
    private static let maxOctets = 255 + 2 + 64

    init?(_ text: ArraySlice<UInt8>) {
        let head = text.prefix(Self.maxOctets)
        guard let open = head.place(of: UInt8(ascii: "[")), let close = head[open...].place(of: UInt8(ascii: "]")),
            !head[..<open].contains(0x20), !head[open..<close].contains(0x20)
        else { return nil }
        (name, address, rest) = (text[..<open], text[(open + 1)..<close], text[(close + 1)...])
    }
}
