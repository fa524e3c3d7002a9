// The end of every archive: SHA-256 of all octets before it. What breaks off has no trailer, and one flipped bit
// anywhere, in padding too, makes another hash; tar and Zstandard alone would notice neither everywhere.
//
// It is a skippable frame of Zstandard, so that `zstd -d` and `tar --zstd` go on to read our archives (RFC 8878
// §3.1.2):
//
//     magic(4) 5E 2A 4D 18, size(4) 28 00 00 00, "postern1", hash(32)
//
// It shows damage, not forgery: whoever can write the file can write a right trailer.

enum ArchiveTrailer {
    private static let head: [UInt8] = [0x5E, 0x2A, 0x4D, 0x18, 0x28, 0x00, 0x00, 0x00] + Array("postern1".utf8)

    static let octets = 48

    static func make(hash: [UInt8]) -> [UInt8] { head + hash }

    /// The hash that a trailer names.
    /// - Returns: nil for octets that are no trailer.
    static func hash(in octets: [UInt8]) -> [UInt8]? {
        guard octets.count == Self.octets, octets.starts(with: head) else { return nil }
        return Array(octets.dropFirst(head.count))
    }
}
