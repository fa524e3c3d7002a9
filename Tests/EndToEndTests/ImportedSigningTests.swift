// A host that signs by OpenDKIM moves: what `postern import opendkim` prints makes signatures of the same domains,
// selectors and canonicalizations for the same mail, with OpenDKIM itself as the witness.

import Foundation
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("import", .serialized) struct Imported {
        /// opendkim.conf below the folder of its keys, which stands in the text as DIR.
        struct Case: Sendable, CustomStringConvertible {
            let description: String
            let conf: String
            var files: [String: String] = [:]
        }

        private static let authors = [
            "ann@example.org", "bo@example.org", "ann@sub.example.org", "ann@shop.example", "cy@shop.example",
            "ann@other.example",
        ]

        @Test(
            "the same mail gets the same signatures",
            arguments: [
                Case(
                    description: "one key",
                    conf:
                        "Domain example.org, shop.example\nSelector one\nKeyFile DIR/one.pem\nCanonicalization relaxed/simple\n"
                ),
                Case(
                    description: "subdomains, and OpenDKIM's own canonicalization",
                    conf: "Domain example.org\nSelector one\nKeyFile DIR/one.pem\nSubDomains yes\n"),
                Case(
                    description: "tables of patterns",
                    conf:
                        "KeyTable file:DIR/keytable\nSigningTable refile:DIR/signing\nCanonicalization relaxed/relaxed\n",
                    files: [
                        "keytable": "k1 example.org:one:DIR/one.pem\nk2 shop.example:two:DIR/two.pem\n",
                        "signing": "*@example.org k1\n*@*.example.org k1\n*@shop.example k2\n",
                    ]),
                Case(
                    description: "tables that are looked up, and a key for one author",
                    conf: "KeyTable DIR/keytable\nSigningTable DIR/signing\nCanonicalization simple\n",
                    files: [
                        "keytable": "k1 example.org:one:DIR/one.pem\nk2 shop.example:two:DIR/two.pem\n",
                        "signing": "example.org k1\n.example.org k1\nann@shop.example k2\n",
                    ]),
                Case(
                    description: "the author's own domain, and several keys",
                    conf: "KeyTable csl:k1=%:one:DIR/one.pem,k2=%:two:DIR/two.pem\nMultipleSignatures yes\n"
                        + "SigningTable refile:DIR/signing\nCanonicalization relaxed/relaxed\n",
                    files: ["signing": "*@example.org k1\n*@example.org k2\n*@shop.example k1\n"]),
            ])
        func sameSignatures(_ row: Case) throws {
            let folder = try TemporaryFolder()
            for name in ["one.pem", "two.pem"] { try folder.write(name, try PeerKey(.rsa).pem, mode: 0o600) }
            for (name, text) in row.files {
                try folder.write(name, text.replacing("DIR", with: folder.path))
            }
            let conf = row.conf.replacing("DIR", with: folder.path) + "Syslog no\nRequireSafeKeys no\n"
            let theirs = try folder.write("opendkim.conf", conf)
            let imported = try Program.run(try Products.path("postern"), ["import", "opendkim", theirs.path])
            #expect(imported.status == 0, "\(imported.errors)")
            let ours = try folder.write("postern.toml", imported.text)
            var signed = 0
            for author in Self.authors {
                let message = Letter.octets(from: author, body: "Hello\r\n")
                let expected = try OpenDKIM.signatures(message, configuration: theirs.path)
                let result = try Program.run(
                    try Products.path("postern"), ["dkim", "sign", "--config", ours.path, "-"], input: message)
                #expect(result.status == (expected.isEmpty ? 1 : 0), "\(author): \(result.errors)")
                #expect(Self.tags(Self.fields(result.text)) == Self.tags(expected), "\(author)")
                signed += expected.count
            }
            #expect(signed > 0)
        }

        /// d=, s= and c= of signatures, in no order.
        private static func tags(_ values: [String]) -> Set<String> {
            Set(
                values.map { value in
                    let tags = value.split(separator: ";").map { $0.filter { !$0.isWhitespace } }
                    return tags.filter { ["d=", "s=", "c="].contains($0.prefix(2)) }.sorted().joined(separator: ";")
                })
        }

        /// The values of the DKIM-Signature fields on top of a message.
        private static func fields(_ message: String) -> [String] {
            let header = message.replacing("\r\n", with: "\n").components(separatedBy: "\n\n").first ?? ""
            return header.replacing("\n\t", with: " ").replacing("\n ", with: " ").split(separator: "\n")
                .filter { $0.hasPrefix("DKIM-Signature:") }.map { String($0.dropFirst("DKIM-Signature:".count)) }
        }
    }
}
