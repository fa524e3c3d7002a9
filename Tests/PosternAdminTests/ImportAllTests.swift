// `postern import all`: what several programs were told, as one configuration; and copies of keys for a signer of another
// user.

import Foundation
import PosternDaemon
import Testing

@testable import PosternAdmin

@Suite("import of all peers") struct ImportAllTests {
    /// A host's /etc.
    private static func host(_ files: [String: String]) throws -> Folder {
        let folder = try Folder()
        for (name, text) in files {
            let file = URL(filePath: folder.path).appending(path: "etc/\(name)")
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        return folder
    }

    private static let opendkim = """
        Domain example.org
        Selector old
        KeyFile /etc/dkimkeys/old.private
        Canonicalization relaxed/simple
        AuthservID example.org
        """
    private static let opendmarc = "AuthservID example.org\nRejectFailures true\n"

    @Test("tables of one name become one, and postern check takes what is printed")
    func merged() throws {
        let folder = try Self.host([
            "opendkim.conf": Self.opendkim, "opendmarc.conf": Self.opendmarc,
            "default/postgrey": "POSTGREY_OPTS=\"--inet=10023 --delay=60\"\n",
            "postgrey/whitelist_clients": "# names\nexample.net\n/^mx[0-9]/\n",
        ])
        let result = try Postern()("import", "all", "--root", folder.path, "--shadow")
        let text = result.text
        let problems = Configuration.read(Array(text.utf8), file: "p", folder: "/", for: .check).problems
        #expect(problems.filter { !$0.keyPath.hasSuffix(".file") }.map(\.description) == [], "\(text)")
        for head in ["[host]", "[dkim]", "[[dkim.key]]", "[dmarc]", "[greylist]"] {
            #expect(text.components(separatedBy: "\n").count { $0 == head } == 1, "\(head) in \(text)")
        }
        for line in [
            "authserv_id = \"example.org\"", "shadow = true  # without this line Postern decides",
            "verify = false  # postern-dmarc verifies, and tells all results in one field", "delay = \"60s\"",
            "    \"example.net\", \"*.example.net\",", "file = \"/etc/dkimkeys/old.private\"",
        ] {
            #expect(text.components(separatedBy: "\n").contains(line), "\(line) in \(text)")
        }
    }

    @Test("of two programs that were told differently the first counts, and the other is told")
    func conflict() throws {
        let folder = try Self.host([
            "opendkim.conf": Self.opendkim, "opendmarc.conf": "AuthservID other.example\n",
        ])
        let result = try Postern()("import", "all", "--root", folder.path)
        #expect(result.text.contains("authserv_id = \"example.org\""))
        #expect(!result.text.contains("other.example"))
        #expect(
            result.notes.contains("authserv_id = \"other.example\": left out: [host] has authserv_id of opendkim's"))
        #expect(result.status == 1)
    }

    @Test("one program alone is carried over as it is, and postern-dkim verifies then")
    func alone() throws {
        let folder = try Self.host(["opendkim.conf": Self.opendkim])
        let result = try Postern()("import", "all", "--root", folder.path)
        #expect(!result.text.contains("verify"))
        #expect(result.status == 0, "\(result.notes)")
    }

    @Test("copies of keys are named, and the commands that make them are printed for a shell")
    func keys() throws {
        let folder = try Self.host([
            "opendkim.conf": "KeyTable csl:k1=example.org:one:/etc/dkim/it's.pem,k2=%:two:/etc/two.pem\n"
                + "SigningTable refile:/etc/signing\n",
            "signing": "*@example.org k1\n*@shop.example k2\n",
        ])
        let result = try Postern()("import", "all", "--root", folder.path, "--keys", "/etc/postern/keys")
        let commands = result.text.components(separatedBy: "\n").filter { $0.hasPrefix("# run: ") }
        #expect(commands.count == 2, "\(result.text) \(result.notes)")
        #expect(result.text.contains("file = \"/etc/postern/keys/example.org/one.pem\""), "\(result.text)")
        #expect(result.text.contains("file = \"/etc/postern/keys/shop.example/two.pem\""), "\(result.text)")
        let install = "# run: install -D -m 0400 -o postern-dkim -g postern-dkim "
        #expect(commands.contains("\(install)\(folder.path)/etc/two.pem /etc/postern/keys/shop.example/two.pem"))
        #expect(commands.contains { $0.hasPrefix("\(install)'") && $0.contains("it'\\''s.pem' ") }, "\(commands)")
    }

    @Test("a wrong command line, and a host that has none of them")
    func nothing() throws {
        #expect(try Postern()("import", "all", "--keys", "keys").status == 64)
        #expect(try Postern()("import", "all", "--root", try Self.host([:]).path).status == 69)
    }
}
