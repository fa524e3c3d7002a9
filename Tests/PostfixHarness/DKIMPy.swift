// The peer dkimpy (PyPI), a signer and verifier that nobody here wrote. contrib/test puts it into .build-peers/.

import Foundation
import Glibc

public enum DKIMPy {
    /// Signature results in the order of the fields; a text says why a signature could not be checked.
    public enum Result: Sendable, Equatable, Decodable {
        case passed, failed, error(String)

        public init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            if let passed = try? value.decode(Bool.self) {  // else it is the error's text
                self = passed ? .passed : .failed
            } else {
                self = .error(try value.decode(String.self))
            }
        }
    }

    private struct VerifyRequest: Encodable {
        let `do` = "verify"
        let message: String
        let records: [String: String]
    }
    private struct VerifyAnswer: Decodable { let results: [Result] }
    private struct SignRequest: Encodable {
        let `do` = "sign"
        let message, domain, selector, key, algorithm, canonicalization: String
        let headers: [String]?
        let identity: String?
    }
    private struct SignAnswer: Decodable { let field: String }

    /// Verifies every DKIM-Signature field of a message.
    /// - Parameter records: TXT texts by name, joined strings.
    public static func verify(_ message: [UInt8], records: [String: String]) throws -> [Result] {
        let request = VerifyRequest(message: Data(message).base64EncodedString(), records: records)
        return try ask(request, VerifyAnswer.self).results
    }

    /// Signs a message.
    /// - Parameter algorithm: `rsa-sha256` or `ed25519-sha256`.
    /// - Parameter headers: what `h=` names; default: dkimpy's own choice.
    /// - Returns: the signed message.
    public static func sign(
        _ message: [UInt8], key: PeerKey, domain: String, selector: String,
        canonicalization: String = "relaxed/relaxed", headers: [String]? = nil, identity: String? = nil
    ) throws -> [UInt8] {
        let request = SignRequest(
            message: Data(message).base64EncodedString(), domain: domain, selector: selector, key: key.forDKIMPy,
            algorithm: key.algorithm, canonicalization: canonicalization, headers: headers, identity: identity)
        return Array(try ask(request, SignAnswer.self).field.utf8) + message
    }

    private static func ask<Answer: Decodable>(_ request: some Encodable, _ type: Answer.Type) throws -> Answer {
        let script = SourceTree.root.appending(path: "Tests/Peers/dkimpy_peer.py").path
        let input = Array(try JSONEncoder().encode(request))
        let result = try Program.run(try python(), [script], input: input)
        guard result.status == 0 else { throw HarnessError("dkimpy: status \(result.status)\n\(result.errors)") }
        return try JSONDecoder().decode(type, from: Data(result.output))
    }

    private static func python() throws -> String {
        let path = SourceTree.root.appending(path: ".build-peers/bin/python3").path
        guard access(path, X_OK) == 0 else {
            throw HarnessError("no dkimpy at \(path): contrib/test installs it")
        }
        return path
    }
}
