// What is right about a key and yet worth a warning, and what every subcommand that opens private keys says to who may
// not.

internal import PosternAuth
internal import PosternDaemon
internal import PosternMail

enum KeyAdvice {
    /// RFC 8301 §3.2: signers SHOULD use at least 2048 bits.
    static let goodRSABits = 2048

    /// For a key that receivers may find too small.
    static func onSize(of key: PrivateKey) -> String? {
        guard key.algorithm == .rsaSHA256, key.bits < goodRSABits else { return nil }
        return "receivers may refuse an RSA key of \(key.bits) bits; RFC 8301 §3.2 wants \(goodRSABits)"
    }

    /// For who may not read the daemon's keys; nil for who may, and where there is no daemon's user.
    static func onRights(
        of user: UserIdentity, daemon: UserIdentity? = UserIdentity(named: KeyOwner.daemonUser)
    ) -> String? {
        guard let daemon, user.uid != 0, user.uid != daemon.uid else { return nil }
        return "only root and user \(KeyOwner.daemonUser) may read its keys; run this as one of them: sudo postern …"
    }
}
