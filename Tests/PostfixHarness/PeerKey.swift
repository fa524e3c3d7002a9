// A fresh key pair for tests, made by openssl(1), in the forms that our daemons, dkimpy and OpenDKIM read.

import Foundation

public struct PeerKey: Sendable {
    public enum Kind: String, Sendable, CaseIterable {
        case rsa = "rsa-sha256"
        case ed25519 = "ed25519-sha256"
    }
    public let kind: Kind
    /// PKCS #8 PEM.
    public let pem: String
    /// The key record, one string. Source: RFC 6376 §3.6.1, RFC 8463 §4.
    public let record: String
    /// dkimpy takes PEM for RSA, and the base64 of the 32 seed octets for Ed25519.
    let forDKIMPy: String

    public var algorithm: String { kind.rawValue }

    /// - Parameter bits: of an RSA key.
    public init(_ kind: Kind, bits: Int = 2048) throws {
        self.kind = kind
        let arguments =
            kind == .rsa ? ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:\(bits)"] : ["-algorithm", "ed25519"]
        pem = try Self.openssl(["genpkey"] + arguments).text
        let publicDER = try Self.openssl(["pkey", "-pubout", "-outform", "DER"], input: Array(pem.utf8)).output
        switch kind {
        case .rsa:
            record = "v=DKIM1; k=rsa; p=\(Data(publicDER).base64EncodedString())"
            // dkimpy 1.1 reads PKCS #1 and #8 alike.
            forDKIMPy = pem
        case .ed25519:
            // RFC 8410 §4: the last 32 octets of SubjectPublicKeyInfo and of a PKCS #8 key without attributes.
            record = "v=DKIM1; k=ed25519; p=\(Data(publicDER.suffix(32)).base64EncodedString())"
            let privateDER = try Self.openssl(["pkey", "-outform", "DER"], input: Array(pem.utf8)).output
            forDKIMPy = Data(privateDER.suffix(32)).base64EncodedString()
        }
    }

    /// The record as a line of a zone file, in strings of at most 255 octets (RFC 1035 §3.3).
    public func zoneLine(name: String) -> String { ZoneText.txt(name: name, record) }

    private static func openssl(_ arguments: [String], input: [UInt8]? = nil) throws -> ProgramResult {
        let result = try Program.run("openssl", arguments, input: input)
        guard result.status == 0 else { throw HarnessError("openssl \(arguments): \(result.errors)") }
        return result
    }
}

public enum ZoneText {
    /// `NAME. IN TXT "..." "..."`.
    public static func txt(name: String, _ text: String) -> String {
        var rest = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")[...]
        var strings: [String] = []
        repeat {
            strings.append("\"\(rest.prefix(200))\"")
            rest = rest.dropFirst(200)
        } while !rest.isEmpty
        return "\(name). IN TXT \(strings.joined(separator: " "))\n"
    }
}
