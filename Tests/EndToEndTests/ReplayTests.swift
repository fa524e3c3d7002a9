// What Postfix has asked is recorded, and another configuration is tried on it.

import Foundation
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("replay") struct Replay {
        /// What `postern replay` says of a configuration that is tried.
        private func replay(
            _ host: PolicyHost, _ edit: (String) -> String, _ arguments: [String] = []
        ) throws -> ProgramResult {
            let old = host.path(of: "postern.toml")
            try host.write("new.toml", edit(try String(contentsOfFile: old, encoding: .utf8)))
            return try Program.run(
                try Products.path("postern"),
                ["replay", "--config", host.path(of: "new.toml"), "--against", old] + arguments)
        }

        private func object(_ result: ProgramResult) throws -> [String: Any] {
            try #require(
                try JSONSerialization.jsonObject(with: Data(result.text.utf8)) as? [String: Any], "\(result)")
        }

        @Test("mail is recorded; a changed score, a new rule and greylisting show what they would have done")
        func recorded() throws {
            let host = try PolicyHost()
            try Await.until("the list to be proved") { try host.postern(["dnsbl", "status"]).status == 0 }
            try host.configure(rules: PolicyHost.rules + "[policy]\nrecord = \"7d\"\n")
            #expect(try host.postern(["reload", "policy"]).status == 0)
            #expect(try host.rcpt("192.0.2.7", from: "ann@example.net").isPositive)
            #expect(try host.rcpt("192.0.2.7", from: "spam@example.net").code == 550)
            #expect(try host.rcpt("203.0.113.66", from: "eve@example.com").code == 554)
            let sent = try host.session("192.0.2.8").send(
                from: "marked@example.net", to: ["bo@example.org", "cy@example.org"], PolicyHost.letter)
            #expect(sent.isPositive, "\(sent)")
            // Four times a second they are written.
            try Await.until("five records") {
                let same = try replay(host) { $0 }
                return same.status == 0 && same.text.contains("5 requests, 0 decided otherwise")
                    && same.text.contains("agrees with 5 of 5 decisions (100.0 %)")
            }
            let names = try FileManager.default.contentsOfDirectory(atPath: host.state.path)
            let file = try #require(names.first { $0.hasPrefix("policy-requests.") })
            let attributes = try FileManager.default.attributesOfItem(
                atPath: host.state.appending(path: file).path)
            #expect(attributes[.posixPermissions] as? Int == 0o600)

            let lenient = try replay(host, { $0.replacingOccurrences(of: "[2..11]\" = 4", with: "[2..11]\" = 3") })
            #expect(lenient.status == 1 && lenient.errors == "", "\(lenient)")
            #expect(lenient.text.contains("reject -> pass  dnsbl"), "\(lenient.text)")
            #expect(lenient.text.contains("[203.0.113.66] from=<eve@example.com>"), "\(lenient.text)")
            let stricter = try object(
                try replay(
                    host, { $0.replacingOccurrences(of: "prepend X-Policy: marked", with: "reject No") }, ["--json"]))
            #expect(stricter["changed"] as? Int == 2 && stricter["agreeing"] as? Int == 5)
            let greylisted = try object(
                try replay(
                    host, { $0.replacingOccurrences(of: "[greylist]", with: "[greylist]\nclients = \"all\"") },
                    ["--json"]))
            // ann, and both recipients of the marked one.
            #expect(greylisted["changed"] as? Int == 3, "\(greylisted)")
            #expect(host.troubles == [])

            // Recording is switched off: what was kept is gone.
            try host.configure(rules: PolicyHost.rules)
            #expect(try host.postern(["reload", "policy"]).status == 0)
            let left = try FileManager.default.contentsOfDirectory(atPath: host.state.path)
            #expect(!left.contains { $0.hasPrefix("policy-requests.") })
            #expect(try replay(host, { $0 }).status == 69)
        }
    }
}
