// The peer dkimpy (PyPI), a signer and verifier that nobody here wrote. contrib/test puts it into .build-peers/.
// Many orders go to one run of Python, whose start is what costs.

import Foundation
import Glibc

public enum DKIMPy {
    /// What it says of one signature; a text says why a signature could not be checked.
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

    private struct Order: Encodable {
        struct Verify: Encodable {
            let message: String
            let records: [String: String]
        }
        struct Sign: Encodable {
            let message, domain, selector, key, algorithm, canonicalization: String
            let headers: [String]?
        }
        var verify: Verify?
        var sign: Sign?
    }
    private struct Answer: Decodable {
        let results: [Result]?
        let field: String?
    }

    /// Verifies every DKIM-Signature field of each message, in the order of the fields.
    /// - Parameter records: TXT texts by name, joined strings.
    public static func verify(_ messages: [[UInt8]], records: [String: String]) throws -> [[Result]] {
        let orders = messages.map {
            Order(verify: .init(message: Data($0).base64EncodedString(), records: records))
        }
        return try ask(orders).map { $0.results ?? [] }
    }

    public static func verify(_ message: [UInt8], records: [String: String]) throws -> [Result] {
        try verify([message], records: records).first ?? []
    }

    /// Signs each message as its order says.
    /// - Parameter headers: what `h=` names; default: dkimpy's own choice.
    /// - Returns: the signed messages.
    public static func sign(_ orders: [SigningOrder], headers: [String]? = nil) throws -> [[UInt8]] {
        let answers = try ask(
            orders.map { order in
                Order(
                    sign: .init(
                        message: Data(order.message).base64EncodedString(), domain: order.domain,
                        selector: order.selector, key: order.key.forDKIMPy, algorithm: order.key.algorithm,
                        canonicalization: order.canonicalization, headers: headers))
            })
        return zip(orders, answers).map { order, answer in Array((answer.field ?? "").utf8) + order.message }
    }

    private static func ask(_ orders: [Order]) throws -> [Answer] {
        let script = SourceTree.root.appending(path: "Tests/Peers/dkimpy_peer.py").path
        let result = try Program.run(try python(), [script], input: Array(try JSONEncoder().encode(orders)))
        guard result.status == 0 else { throw HarnessError("dkimpy: status \(result.status)\n\(result.errors)") }
        return try JSONDecoder().decode([Answer].self, from: Data(result.output))
    }

    static func python() throws -> String {
        let path = SourceTree.root.appending(path: ".build-peers/bin/python3").path
        guard access(path, X_OK) == 0 else {
            throw HarnessError("no dkimpy at \(path): contrib/test installs it")
        }
        return path
    }
}

/// One message for a peer to sign.
public struct SigningOrder: Sendable {
    public var message: [UInt8]
    public var key: PeerKey
    public var domain: String
    public var selector: String
    /// `header/body`.
    public var canonicalization: String

    public init(
        _ message: [UInt8], key: PeerKey, domain: String, selector: String, canonicalization: String = "relaxed/relaxed"
    ) {
        self.message = message
        self.key = key
        self.domain = domain
        self.selector = selector
        self.canonicalization = canonicalization
    }
}
