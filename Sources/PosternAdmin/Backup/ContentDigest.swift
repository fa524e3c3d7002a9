// SHA-256 of contents, with OpenSSL's trouble as the command line tells it.

internal import PosternAuth
internal import PosternDaemon

final class ContentDigest {
    private var digest: FileDigest?

    init() throws(CommandFailure) {
        do throws(CryptoError) { digest = try FileDigest() } catch { throw Self.failure(error) }
    }

    func update(_ octets: [UInt8]) throws(CommandFailure) {
        do throws(CryptoError) { try digest?.update(octets.span) } catch { throw Self.failure(error) }
    }

    /// Asked once.
    func finish() throws(CommandFailure) -> [UInt8] {
        guard let digest = digest.take() else { preconditionFailure("a digest is finished once") }
        do throws(CryptoError) { return try digest.finish() } catch { throw Self.failure(error) }
    }

    static func hash(_ octets: [UInt8]) throws(CommandFailure) -> [UInt8] {
        let digest = try ContentDigest()
        try digest.update(octets)
        return try digest.finish()
    }

    private static func failure(_ error: CryptoError) -> CommandFailure {
        CommandFailure(.unavailable, "cannot make a SHA-256: \(error)")
    }
}
