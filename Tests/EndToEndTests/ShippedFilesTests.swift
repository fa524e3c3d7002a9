// The files that an admin copies hang together: README names what exists, and units and folders fit the defaults.

import Foundation
import PostfixHarness
import Testing

@Suite("shipped files") struct ShippedFilesTests {
    private func text(_ path: String) throws -> String {
        try String(contentsOf: SourceTree.root.appending(path: path), encoding: .utf8)
    }

    @Test("README names what exists")
    func readme() throws {
        // Not below another folder, as /etc/systemd/system is.
        let path = /(?:^|[^\w\/])((?:contrib|systemd|Sources|Tests)\/[\w.\/-]*\w)/.anchorsMatchLineEndings()
        let named = try text("README.md").matches(of: path).map { String($0.output.1) }
        #expect(named.count > 10)
        for name in named {
            let path = SourceTree.root.appending(path: name).path
            // `postern-*.service` is cut at its star.
            let folder = URL(filePath: path).deletingLastPathComponent().path
            let exists = try FileManager.default.contentsOfDirectory(atPath: folder).contains {
                $0.hasPrefix(URL(filePath: path).lastPathComponent)
            }
            #expect(exists, "\(name)")
        }
    }

    @Test("every socket's folder is made by tmpfiles.d, and its unit opens the socket there")
    func folders() throws {
        let sample = try text("contrib/postern.toml")
        let made = try text("systemd/tmpfiles.d/postern.conf")
        for key in ["dkim", "dmarc", "policy", "rate", "dns"] {
            let unit = "postern-\(key)"
            let pattern = try Regex("(?m)^#? *\(key) = .*?unix:((/[^\"]+)/[^/\"]+)\"").anchorsMatchLineEndings()
            let match = try #require(try pattern.firstMatch(in: sample), "listen.\(key) in contrib/postern.toml")
            let path = try #require(match.output[1].substring)
            let folder = try #require(match.output[2].substring)
            #expect(made.contains("d \(folder) "), "\(folder)")
            #expect(try text("systemd/\(unit).socket").contains("ListenStream=\(path)\n"))
            #expect(try text("systemd/\(unit).service").contains("Requires=\(unit).socket\n"))
        }
    }

    @Test(
        "a unit may open what its daemon's caps allow",
        arguments: ["postern-dkim", "postern-dmarc", "postern-policy", "postern-rate", "postern-dns"])
    func descriptors(unit: String) throws {
        let match = try text("systemd/\(unit).service").firstMatch(of: /\nLimitNOFILE=([0-9]+)\n/)
        let limit = try #require(match.flatMap { Int($0.output.1) }, "systemd's own limit is 1024")
        #expect(limit >= 512 * 6 + 4096)  // Forwarder.maxActiveInquiries, UpstreamState.maxTries, maxConnections
    }
}
