// SHA-256 of what is read piece by piece, for who keeps checksums of files: the command line's backups. Judges of mail
// have DigestContext itself.

/// One SHA-256 computation. Source: FIPS 180-4.
public struct FileDigest: ~Copyable {
    /// Size of the hash.
    public static let octets = DigestContext.octets

    private let context: DigestContext

    public init() throws(CryptoError) { context = try DigestContext() }

    /// Adds octets to what is hashed.
    public func update(_ octets: Span<UInt8>) throws(CryptoError) { try context.update(octets) }

    /// The hash; asked once, after the last `update`.
    public consuming func finish() throws(CryptoError) -> [UInt8] { try context.finish() }
}
