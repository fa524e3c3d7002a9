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

    @Test("what is shipped is spoken of: README or a page of contrib/doc names each file of contrib, or its folder")
    func everyFileIsNamed() throws {
        let contrib = SourceTree.root.appending(path: "contrib")
        let pages = try FileManager.default.contentsOfDirectory(atPath: contrib.appending(path: "doc").path)
        let words = try (["README.md"] + pages.map { "contrib/doc/\($0)" }).map(text).joined()
        // What stands beside a file that is named, as its part.
        let parts: Set = ["lib.sh", "package-boot", "package-try", "debian"]
        let entries = try FileManager.default.contentsOfDirectory(atPath: contrib.path)
        #expect(entries.count > 10)
        for entry in entries where !parts.contains(entry) { #expect(words.contains("contrib/\(entry)"), "\(entry)") }
        // Of a page somebody must lead to.
        let readme = try text("README.md")
        for page in pages { #expect(readme.contains("contrib/doc/\(page)"), "\(page)") }
    }

    @Test("what an admin is told to use comes with the package")
    func packaged() throws {
        let packed = try ["docs", "examples"].flatMap {
            try text("contrib/debian/postern.\($0)").split(separator: "\n").map(String.init)
        }
        // For who builds and measures; the sample becomes /etc/postern/postern.toml.
        let parts: Set = [
            "bench", "debian", "fuzz", "lib.sh", "package", "package-boot", "package-try", "postern.toml", "test",
            "try",
        ]
        let contrib = SourceTree.root.appending(path: "contrib")
        for entry in try FileManager.default.contentsOfDirectory(atPath: contrib.path) where !parts.contains(entry) {
            #expect(packed.contains("contrib/\(entry)"), "\(entry)")
        }
        for path in packed where path.hasPrefix("contrib/") {
            #expect(FileManager.default.fileExists(atPath: SourceTree.root.appending(path: path).path), "\(path)")
        }
    }

    /// `table.key` of every key in the sample.
    private func sampleKeys() throws -> Set<String> {
        var keys: Set<String> = []
        var table = ""
        for line in try text("contrib/postern.toml").split(separator: "\n") {
            if let head = line.firstMatch(of: /^(?:# ?)?\[\[?([a-z.]+)\]\]?/) {
                table = String(head.output.1)
            } else if let key = line.firstMatch(of: /^(?:# ?)?([a-z0-9_]+) += *./) {
                keys.insert("\(table).\(key.output.1)")
            }
        }
        return keys
    }

    @Test("every key that README and the pages of contrib/doc name is one of the configuration's")
    func keysInPages() throws {
        let keys = try sampleKeys()
        let tables = Set(keys.map { String($0[..<($0.lastIndex(of: ".") ?? $0.endIndex)]) })
        #expect(keys.count > 100)
        // `greylist.sqlite` is a file; log.md's are members of JSON lines.
        let endings: Set = ["sqlite", "snapshot", "journal", "password", "sock"]
        let pages = try FileManager.default.contentsOfDirectory(
            atPath: SourceTree.root.appending(path: "contrib/doc").path)
        var count = 0
        for page in ["README.md"] + pages.filter({ $0 != "log.md" }).map({ "contrib/doc/\($0)" }) {
            let words = try text(page)
            for match in words.matches(of: /(?:^|[\s`("])([a-z]+(?:\.[a-z]+)?)\.([a-z_0-9]+)(?=[\s`)",;:=])/) {
                let (table, key) = (String(match.output.1), String(match.output.2))
                guard tables.contains(table), !endings.contains(key), !tables.contains("\(table).\(key)") else {
                    continue
                }
                count += 1
                #expect(keys.contains("\(table).\(key)"), "\(page)")
            }
            // What can be copied.
            var (table, isTOML) = (String?.none, false)
            for line in words.split(separator: "\n", omittingEmptySubsequences: false) {
                let line = line.drop { $0 == " " }
                if line.hasPrefix("```") {
                    (table, isTOML) = (nil, line.hasPrefix("```toml"))
                } else if isTOML, let head = line.firstMatch(of: /^\[\[?([a-z.]+)\]\]?/) {
                    table = String(head.output.1)
                } else if isTOML, let table, let key = line.firstMatch(of: /^([a-z0-9_]+) += *./) {
                    let condition = key.output.1.replacing(/^not_/, with: "")
                    count += 1
                    #expect(keys.contains("\(table).\(condition)"), "\(page): \(line)")
                }
            }
        }
        #expect(count > 50)
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
        "a daemon may pass the folder of its own socket, which it dials before each sign of life",
        arguments: ["dkim", "dmarc", "policy", "rate", "dns"])
    func mayDial(key: String) throws {
        let service = try text("systemd/postern-\(key).service")
        let socket = try text("systemd/postern-\(key).socket")
        let folder = try #require(socket.firstMatch(of: /\nListenStream=(\/.*)\/[^\/\n]+\n/)?.output.1)
        let made = try #require(
            try text("systemd/tmpfiles.d/postern.conf").matches(of: /\nd (\S+) +([0-7]+) (\S+) +(\S+)/)
                .first { $0.output.1 == folder }, "\(folder)")
        let (mode, group) = (try #require(Int(made.output.2, radix: 8)), made.output.4)
        let groups = service.matches(of: /\n(?:Group|SupplementaryGroups)=(.*)/).flatMap {
            $0.output.1.split(separator: " ")
        }
        let isMember = groups.contains(group)
        #expect(mode & (isMember ? 0o010 : 0o001) != 0, "\(folder) is \(made.output.2) of \(group)")
        #expect(mode & 0o002 == 0 || mode & 0o1000 != 0, "everybody may remove sockets from \(folder)")
        // systemd makes the folder where tmpfiles.d has not: root's, so that the group has no say.
        let byUnit = try #require(socket.firstMatch(of: /\nDirectoryMode=([0-7]+)\n/), "0755 is systemd's own")
        let modeByUnit = try #require(Int(byUnit.output.1, radix: 8))
        #expect(isMember || modeByUnit & 0o001 != 0, "DirectoryMode=\(byUnit.output.1)")
        #expect(modeByUnit & 0o022 == 0)
    }

    @Test("postern-dkim may enter the folder of its keys, which tmpfiles.d gives to a group")
    func keys() throws {
        let made = try text("systemd/tmpfiles.d/postern.conf")
        let group = try #require(
            made.firstMatch(of: /\nd \/etc\/postern\/keys +0750 root ([\w-]+)/)?.output.1, "\(made)")
        // systemd.exec(5): with Group= a user's own group counts no more.
        let unit = try text("systemd/postern-dkim.service")
        let groups = unit.matches(of: /\n(?:Group|SupplementaryGroups)=(.*)/).flatMap {
            $0.output.1.split(separator: " ")
        }
        #expect(groups.contains(group), "\(groups)")
    }

    @Test(
        "a unit may open what its daemon's caps allow",
        arguments: ["postern-dkim", "postern-dmarc", "postern-policy", "postern-rate", "postern-dns"])
    func descriptors(unit: String) throws {
        let match = try text("systemd/\(unit).service").firstMatch(of: /\nLimitNOFILE=([0-9]+)\n/)
        let limit = try #require(match.flatMap { Int($0.output.1) }, "systemd's own limit is 1024")
        #expect(limit >= 512 * 6 + 4096)  // Forwarder.maxActiveInquiries, UpstreamState.maxTries, maxConnections
    }

    @Test(
        "every service is locked up: systemd rates its exposure below 2.0 of 10",
        .enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/systemd-analyze"), "needs systemd"))
    func exposure() throws {
        let folder = SourceTree.root.appending(path: "systemd")
        let services = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter {
            $0.hasSuffix(".service")
        }
        #expect(services.count > 4)
        for service in services {
            let result = try Program.run(
                "/usr/bin/systemd-analyze",
                ["security", "--offline=true", "--no-pager", "--threshold=19", folder.appending(path: service).path])
            #expect(result.status == 0, "\(service): \(result.text.split(separator: "\n").last ?? "")")
        }
    }

    @Test("what happens when something is down is asserted: each row of the table names a test")
    func failures() throws {
        let names = try Self.testNames()
        let rows = try text("contrib/doc/failures.md").split(separator: "\n").filter { $0.hasPrefix("| ") }.dropFirst()
        #expect(rows.count > 10)
        for row in rows {
            let name = row.split(separator: "|").last.map { $0.trimmingCharacters(in: .whitespaces) } ?? ""
            #expect(names.contains(name), "\(name)")
        }
    }

    /// What stands in @Test("...") of the end-to-end tests.
    private static func testNames() throws -> Set<String> {
        let folder = SourceTree.root.appending(path: "Tests/EndToEndTests")
        var names: Set<String> = []
        for file in try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil) {
            let source = try String(contentsOf: file, encoding: .utf8)
            names.formUnion(source.matches(of: /@Test\(\s*"([^"]*)"/).map { String($0.output.1) })
        }
        return names
    }
}
