// contrib/postern.toml is held equal to the declarations, and to what the daemons take.

import Foundation
import PosternMail
import Testing

@testable import PosternDaemon

@Suite("sample configuration")
struct SampleConfigurationTests {
    private static let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "contrib/postern.toml")

    @Test("contrib/postern.toml is what the declarations make; POSTERN_UPDATE_SAMPLE=1 rewrites it")
    func sampleFile() throws {
        if ProcessInfo.processInfo.environment["POSTERN_UPDATE_SAMPLE"] == "1" {
            try Data(SampleConfiguration.text.utf8).write(to: Self.file)
        }
        #expect(try String(contentsOf: Self.file, encoding: .utf8) == SampleConfiguration.text)
    }

    @Test("the sample as it is says the same as an empty file")
    func sampleIsEmpty() {
        let result = read(SampleConfiguration.text)
        #expect(result.problems.map(\.description) == [])
        #expect(result.configuration?.differences == "")
    }

    @Test(
        "the sample with all keys uncommented is valid but for the key file, and differs only where it gives examples")
    func uncommented() {
        let text = SampleConfiguration.text.split(separator: "\n").map { line in
            line.hasPrefix("#") && !line.hasPrefix("# ") ? line.dropFirst() : line
        }.joined(separator: "\n")
        let result = read(text, for: .dns)  // opens no key files; the zone file is not there
        #expect(result.problems.map(\.keyPath) == ["dns.static", "dkim.key[1].directory"])  // a key has one form
        let withoutZone = text.replacing("static = ", with: "# static = ")
            .replacing("\ndirectory = \"keys", with: "\n# directory = \"keys")
        let differences = read(withoutZone, for: .dns).configuration?.differences ?? ""
        #expect(
            differences.hasPrefix(
                """
                [host]
                name = "mx1.example.com"
                authserv_id = "example.com"
                strip_authserv_ids = ["*.example.com"]

                [[dns.zone]]
                name = "zen.spamhaus.org"
                upstream = ["127.0.0.1:5353"]
                timeout = "1s"
                ttl_min = "10s"
                ttl_max = "1h"
                stale = "0s"
                questions_per_second = 200

                [[dkim.key]]
                domain = "example.com"
                selector = "2026q4"
                file = "/nonexistent/keys/example.com/2026q4.pem"
                from = ["*@example.com"]

                [[dmarc.exception]]
                client = ["203.0.113.0/24"]
                dkim_domain = ["example.net"]
                author = ["example.com"]

                [[rule]]
                name = "partner"
                action = "reject 5.7.1 You are not me"
                client = ["203.0.113.0/24"]
                client_name = ["*.example.com"]
                reverse_client_name = ["unknown"]
                helo = ["mx1.example.com", "/^\\\\[/"]

                """.dropLast()))
        // Whatever an example says is told: no example is the default.
        for table in Configuration.schema.flatMap(\.withAllBelow) where table.isArray {
            for key in table.keys where key.isInSample && key.isRequired {
                #expect(differences.contains("\n\(key.name) = \(key.sample)\n") || key.name == "file")
            }
        }
    }

    @Test("every key has a sentence, and no name is declared twice in a table")
    func declarations() {
        for table in Configuration.schema.flatMap(\.withAllBelow) {
            #expect(Set(table.keys.map(\.name)).count == table.keys.count)
            for key in table.keys {
                #expect(key.doc.hasSuffix("."), "\(table.path).\(key.name)")
                #expect(!key.sample.isEmpty, "\(table.path).\(key.name)")
                #expect(key.name.utf8.allSatisfy { $0 == 0x5F || $0.isASCIIDigit || ($0 >= 0x61 && $0 <= 0x7A) })
            }
        }
        #expect(SampleConfiguration.text.split(separator: "\n").allSatisfy { $0.count <= 120 })
    }
}

/// Reads a configuration as if it lay in a folder that is empty, on a machine named mx1.example.com, for root.
func read(_ text: String, for role: ConfigurationRole = .check) -> LoadResult {
    read(Array(text.utf8), for: role)
}
func read(
    _ octets: [UInt8], folder: String = "/nonexistent", for role: ConfigurationRole = .check,
    as user: UserIdentity = UserIdentity(name: "root", uid: 0, gid: 0)
) -> LoadResult {
    Configuration.read(octets, file: "postern.toml", folder: folder, for: role, as: user) { Example.host }
}
