// The framing of DNS messages on streams: two octets of length before each. Source: RFC 1035 §4.2.2.

import NIOCore
import PosternDNS

enum MessageFraming {
    /// The next whole message in `buffer`, which moves behind it; `nil` while it is not there as a whole.
    static func next(in buffer: inout ByteBuffer) -> [UInt8]? {
        guard isWhole(buffer), let length = buffer.readInteger(as: UInt16.self) else { return nil }
        return buffer.readBytes(length: Int(length))
    }

    /// Whether a whole message stands at the beginning of `buffer`.
    static func isWhole(_ buffer: ByteBuffer) -> Bool {
        guard let length = buffer.getInteger(at: buffer.readerIndex, as: UInt16.self) else { return false }
        return buffer.readableBytes >= 2 + Int(length)
    }

    /// - Parameter message: at most 65,535 octets, which is what our encoders make.
    static func framed(_ message: [UInt8]) -> [UInt8] {
        let length = UInt16(clamping: message.count)
        return [UInt8(length >> 8), UInt8(length & 0xFF)] + message.prefix(Int(length))
    }
}
