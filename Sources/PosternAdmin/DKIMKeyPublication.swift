// What has to be published for a private key (RFC 6376 §3.6.1), as a zone file's lines and as JSON.

internal import PosternAuth
internal import PosternDaemon
internal import PosternMail

struct DKIMKeyPublication: Equatable, Sendable {
    let name: DomainName
    /// The record's text, unsplit.
    let value: String

    init(name: DKIMKeyName, key: PrivateKey) throws(CommandFailure) {
        self.name = name.record
        do throws(CryptoError) { value = try key.publicKeyRecord } catch {
            throw CommandFailure(.unavailable, "expected OpenSSL to tell the public key, found \(error)")
        }
    }

    /// The text in the pieces that DNS has room for.
    var strings: [String] { ZoneText.strings(Array(value.utf8)).map { String(decoding: $0, as: UTF8.self) } }

    var zoneText: String { ZoneText.record(name, txt: Array(value.utf8)) }

    var json: JSONValue {
        [
            "name": .text("\(name)"), "type": .text("txt"), "value": .text(value),
            "strings": .list(strings.map(JSONValue.text)),
        ]
    }

    /// The same, and where the private key is.
    func json(file: String, algorithm: String) -> JSONValue {
        guard case .object(let members) = json else { return json }
        return .object(
            members + [
                .init(key: "file", value: .text(file)), .init(key: "algorithm", value: .text(algorithm)),
            ])
    }
}
