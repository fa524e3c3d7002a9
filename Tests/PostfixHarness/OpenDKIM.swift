// The peer OpenDKIM (Debian's 2.11 beta), a signer and verifier that nobody here wrote: its test mode reads one message
// and prints what it would do to it, and as a milter it sits behind a Postfix.

import Foundation
import Glibc

public enum OpenDKIM {
    /// What its Authentication-Results field would say.
    public struct Verification: Sendable {
        /// `pass`, `fail`, ... of each `dkim=`, in the order of the field.
        public let results: [String]
        /// The whole field, for a failure's text.
        public let field: String
    }

    /// Verifies a message in test mode. Source: opendkim(8) -t.
    /// - Parameter records: TXT texts by name, joined strings.
    public static func verify(_ message: [UInt8], records: [String: String]) throws -> Verification {
        let folder = try TemporaryFolder()
        try writeVerifier(folder, records: records)
        let file = try folder.write("message", message)
        let result = try Program.run(
            "/usr/sbin/opendkim", ["-x", folder.file("conf").path, "-vvvv", "-t", file.path])
        // A message that does not verify is no failure of the run: the field tells.
        guard let field = inserted("Authentication-Results", result.text) else {
            throw HarnessError("opendkim said: \(result.text) \(result.errors)")
        }
        let results = field.matches(of: #/\bdkim=([a-z]+)/#).map { String($0.output.1) }
        return Verification(results: results, field: field)
    }

    /// Signs a message in test mode.
    /// - Returns: the signed message.
    public static func sign(_ order: SigningOrder) throws -> [UInt8] {
        let folder = try TemporaryFolder()
        try folder.write("key.pem", order.key.pem, mode: 0o600)
        try folder.write(
            "conf",
            """
            Mode s
            RequireSafeKeys no
            Syslog no
            Domain \(order.domain)
            Selector \(order.selector)
            KeyFile \(folder.file("key.pem").path)
            SignatureAlgorithm \(order.key.algorithm)
            Canonicalization \(order.canonicalization)

            """)
        let file = try folder.write("message", order.message)
        let result = try Program.run(
            "/usr/sbin/opendkim", ["-x", folder.file("conf").path, "-vvvv", "-b", "s", "-t", file.path])
        guard result.status == 0, let value = inserted("DKIM-Signature", result.text) else {
            throw HarnessError("opendkim: status \(result.status)\n\(result.text)\n\(result.errors)")
        }
        let spaced = value.first == " " ? value : " " + value
        return Array("DKIM-Signature:\(spaced)".utf8).withCRLFLines + [0x0D, 0x0A] + order.message
    }

    /// The signatures that it would add by a configuration of the test's own, in test mode.
    /// - Returns: the values of the fields; none where it does not sign.
    public static func signatures(_ message: [UInt8], configuration: String) throws -> [String] {
        let folder = try TemporaryFolder()
        let file = try folder.write("message", message)
        let result = try Program.run("/usr/sbin/opendkim", ["-x", configuration, "-vvvv", "-b", "s", "-t", file.path])
        return result.text.matches(of: #/hname='DKIM-Signature' hvalue='([^']*)'/#).map { String($0.output.1) }
    }

    /// The value in `### INSHEADER: idx=0 hname='NAME' hvalue='VALUE'`.
    private static func inserted(_ name: String, _ text: String) -> String? {
        guard let start = text.range(of: "hname='\(name)' hvalue='"),
            let end = text.range(of: "'\n", range: start.upperBound..<text.endIndex)
        else { return nil }
        return String(text[start.upperBound..<end.lowerBound])
    }

    private static func writeVerifier(_ folder: TemporaryFolder, records: [String: String], more: String = "") throws {
        try folder.write("records", records.map { "\($0.key) \($0.value)\n" }.sorted().joined())
        try folder.write(
            "conf",
            """
            Mode v
            Syslog no
            AlwaysAddARHeader yes
            AuthservID peer.example
            TestDNSData file:\(folder.file("records").path)
            \(more)

            """)
    }
}

extension [UInt8] {
    fileprivate var withCRLFLines: [UInt8] { Message.withCRLF(self) }
}
