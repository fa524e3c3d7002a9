// A private key just made, in its file, and what is told of it: `dkim genkey` and `dkim rotate`.

internal import PosternAuth
internal import PosternDaemon
internal import PosternMail

struct MadeKey {
    let name: DKIMKeyName
    let path: String
    let record: DKIMKeyPublication
    /// For standard error.
    private(set) var notes: [String] = []
    private let key: PrivateKey

    /// Makes it and writes its file.
    /// - Parameter replace: whether a file of that name may go.
    init(
        _ kind: PrivateKey.Kind, _ name: DKIMKeyName, path: String, owner: KeyOwner, replace: Bool
    ) throws(CommandFailure) {
        self.name = name
        self.path = path
        do throws(KeyError) { key = try PrivateKey.generate(kind) } catch {
            throw CommandFailure(.unavailable, "expected OpenSSL to make a key, found \(error)")
        }
        record = try DKIMKeyPublication(name: name, key: key)
        do throws(FileFailure) {
            try KeyFile.write(try Self.pem(key), to: path, owner: owner, replace: replace)
        } catch { throw CommandFailure(error) }
        if case .caller(let reason) = owner {
            notes.append(
                "warning: \(path) belongs to you, since \(reason); "
                    + "before it signs: chown \(KeyOwner.daemonUser) \(path)")
        }
        if let advice = KeyAdvice.onSize(of: key) { notes.append("warning: \(advice)") }
    }

    private static func pem(_ key: PrivateKey) throws(FileFailure) -> [UInt8] {
        do throws(CryptoError) { return try key.pem } catch {
            throw .encoding("\(error)")
        }
    }

    var json: JSONValue { record.json(file: path, algorithm: key.algorithm.rawValue) }

    /// A comment, and the record below it.
    var zoneText: String {
        ZoneText.comment(
            "DKIM key \(name.selector) of \(name.domain), \(key.algorithm.rawValue), \(key.bits) bits, in \(path)")
            + record.zoneText
    }
}
