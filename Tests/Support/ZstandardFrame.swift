// Zstandard without compressing, for tests that make archives of any octets.

public enum ZstandardFrame {
    /// A frame of raw blocks. Source: RFC 8878 §3.1.1.
    public static func raw(_ octets: [UInt8]) -> [UInt8] {
        var frame: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0xA0]
        frame += (0..<4).map { UInt8(truncatingIfNeeded: octets.count >> ($0 * 8)) }
        var rest = octets[...]
        repeat {
            let block = rest.prefix(100_000)
            rest = rest.dropFirst(block.count)
            let head = block.count << 3 | (rest.isEmpty ? 1 : 0)
            frame += (0..<3).map { UInt8(truncatingIfNeeded: head >> ($0 * 8)) } + block
        } while !rest.isEmpty
        return frame
    }

    /// A frame that begins with blocks of any octets, goes on with little that unpacks to many zeros, and does not end.
    /// - Parameter mebibytes: of zeros. Source: RFC 8878 §3.1.1.2.2, RLE_Block.
    public static func open(_ octets: [UInt8], mebibytes: Int) -> [UInt8] {
        var frame: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0, 0x58]  // a window of 2 MiB, no size of the content
        var rest = octets[...]
        while !rest.isEmpty {
            let block = rest.prefix(100_000)
            rest = rest.dropFirst(block.count)
            let head = block.count << 3
            frame += (0..<3).map { UInt8(truncatingIfNeeded: head >> ($0 * 8)) } + block
        }
        return frame + (0..<mebibytes * 8).flatMap { _ in [0x02, 0x00, 0x10, 0] as [UInt8] }
    }
}
