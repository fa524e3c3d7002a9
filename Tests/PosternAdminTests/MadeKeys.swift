// Keys for these tests, made once, and a folder with them for each test.

import Foundation
import Glibc
import Testing

@testable import PosternAdmin

/// Two keys of example.com, RSA and Ed25519, and their zone, made once: an RSA key takes longer than all that is done
/// with it here.
struct MadeKeys: Sendable {
    var files: [String: [UInt8]] = [:]
    var zone = ""

    static let shared = Result { try MadeKeys() }

    init() throws {
        let folder = try Folder()
        for (selector, options) in [("r", []), ("e", ["--ed25519"])] {
            let name = selector + ".pem"
            zone += try Postern().run(
                ["dkim", "genkey", "--domain", "example.com", "--selector", selector, "--out", folder.file(name)]
                    + options
            ).text
            files[name] = try folder.read(name)
        }
    }
}

/// The keys in a folder of one test.
struct Keys {
    let folder: Folder
    let zone: String

    init() throws {
        let made = try MadeKeys.shared.get()
        folder = try Folder()
        zone = made.zone
        for (name, octets) in made.files {
            try folder.write(octets, to: name)
            guard chmod(folder.file(name), 0o400) == 0 else { throw POSIXError(.EPERM) }
        }
    }

    var options: [String] {
        ["--key", "example.com:r:\(folder.file("r.pem"))", "--key", "example.com:e:\(folder.file("e.pem"))"]
    }
    /// A configuration with both keys, `more` in the blocks of the Ed25519 key, which is the second.
    func configuration(_ head: String = "", more: String = "") throws -> String {
        try folder.write(
            """
            \(head)
            [[dkim.key]]
            domain = "example.com"
            selector = "r"
            file = "r.pem"
            [[dkim.key]]
            domain = "example.com"
            selector = "e"
            file = "e.pem"
            \(more)

            """, to: "postern.toml")
    }
    /// What is to be published for a key.
    func value(_ selector: String) throws -> String {
        let result = try Postern()(
            "dkim", "record", folder.file("\(selector).pem"), "--domain", "example.com", "--selector", selector,
            "--json")
        return try #require(try result.json()["value"] as? String)
    }
    func sign(_ message: [UInt8], _ more: String...) throws -> Postern.Result {
        try Postern(input: message).run(["dkim", "sign", "-"] + options + more)
    }
    func verify(_ message: [UInt8], _ more: String...) throws -> Postern.Result {
        try Postern(zone: zone, input: message).run(["dkim", "verify", "-"] + more)
    }
}
