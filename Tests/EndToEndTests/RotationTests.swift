// The life of a key on a real Postfix, as README tells an admin to lead it: `postern dkim rotate`, the record published,
// the older one kept for its time, then removed. No mail is unsigned on the way, and nothing warns.

import Foundation
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("keys that take turns", .serialized) struct Rotation {
        @Test("rotate, publish, take over, keep, remove: each message is signed by a key that DNS has")
        func rotation() throws {
            let host = try RotationHost()
            let first = try host.rotate()
            try host.publish([first])
            try host.awaitLine("\(first.name): DNS publishes it") { try host.told(first)["published"] as? Bool == true }
            let early = try host.send(signedBy: first)

            // The next key waits for its record, for as long as that takes.
            let second = try host.rotate()
            #expect(second.name != first.name)
            try host.awaitLine("\(second.name): DNS does not publish it; another of its directory signs")
            try host.send(signedBy: first)
            #expect(try host.told(second)["signs"] as? Bool == false)
            let waiting = try host.testkey()
            #expect(waiting.status == 0 && waiting.text.contains("\(second.name): waiting "), "\(waiting.text)")
            #expect(waiting.text.contains("; \(first.name) signs until then"))
            #expect(try host.testkey(second).status == 1)

            // Published, it takes over; what the older one has signed can still be verified.
            try host.publish([first, second])
            try host.awaitLine(
                "\(second.name): takes over from \(first.name), whose record stays published for 7d more")
            let late = try host.send(signedBy: second)
            let records = [first.name: first.record, second.name: second.record]
            #expect(try DKIMPy.verify([early, late], records: records) == [[.passed], [.passed]])
            #expect(try host.testkey().status == 0)
            let mayGo = try #require(try host.told(first)["record_may_go"] as? String)
            #expect(try Date(mayGo, strategy: .iso8601) > Date(timeIntervalSinceNow: 6.9 * 86_400))

            // A restart changes nothing, and the time for the older record goes on.
            try host.restart()
            try host.send(signedBy: second)
            try host.clock.set(7 * 86_400 - 600)
            try host.send(signedBy: second)
            #expect(!host.dkim.lines.contains { $0.contains("may go") })
            #expect(try host.told(first)["record_may_go"] as? String == mayGo)
            try host.clock.set(7 * 86_400)
            try host.awaitLine("\(first.name): its record may go now: revoke it by an empty p= or remove it")

            // Removed, it is missed by nobody.
            try host.publish([second])
            try host.awaitLine("\(first.name): its record is gone; its file may go")
            try host.send(signedBy: second)
            let retired = try host.testkey()
            #expect(retired.status == 0 && retired.text.contains("\(first.name): retired "), "\(retired.text)")
            let found = try host.doctor()
            #expect(found.allSatisfy { $0["id"] as? String != "dkim_key" }, "\(found)")
            let keys = try host.postern(["dkim", "keys"])
            #expect(keys.text.contains("superseded, and its record is gone: the file may go"), "\(keys.text)")
            try host.removeFile(of: first)
            try host.reload()
            try host.send(signedBy: second)
            #expect(host.troubles == [])
        }
    }
}

/// A key of the directory.
struct RotatedKey {
    /// Of its record.
    let name: String
    let record: String
    let file: String

    var selector: String { String(name.prefix { $0 != "." }) }
}

/// Postfix, postern-dkim with an empty key directory and a wall clock of the test's, and postern-dns with the zone.
private final class RotationHost {
    let clock: FakeClock
    private(set) var dkim: Daemon
    private let dns: Daemon
    private let postfix: PostfixInstance
    private let folder: TemporaryFolder

    init() throws {
        clock = try FakeClock()
        postfix = try PostfixInstance(try .shipped(without: "dmarc"))
        folder = try TemporaryFolder(isGuarded: true)
        try folder.shareRunAndState()
        try FileManager.default.createDirectory(at: folder.file("keys"), withIntermediateDirectories: true)
        let configuration = """
            [host]
            name = "mx1.example.org"
            \(postfix.places(of: ["dkim"], in: folder.path))
            [[dkim.key]]
            domain = "example.org"
            directory = "keys"

            """
        try folder.write("postern.toml", configuration)
        try folder.write("static.zone", Self.zone([]))
        dns = try Daemon("postern-dns", configuration: folder.file("postern.toml").path, as: .of("postern-dns"))
        dkim = try Self.dkim(folder, clock)
    }

    /// As root: this machine may have no user postern-dkim, and `rotate` then makes the keys root's.
    private static func dkim(_ folder: TemporaryFolder, _ clock: FakeClock) throws -> Daemon {
        try Daemon(
            "postern-dkim", configuration: folder.file("postern.toml").path, environment: clock.environment)
    }

    private static func zone(_ keys: [RotatedKey]) -> String {
        "$TTL 300\nexample.org. IN SOA ns.example.org. admin.example.org. 1 3600 600 86400 60\n"
            + keys.map { ZoneText.txt(name: $0.name, $0.record) }.joined()
    }

    // MARK: What an admin does

    func postern(_ arguments: [String]) throws -> ProgramResult {
        try Program.run(try Products.path("postern"), arguments + ["--config", folder.file("postern.toml").path])
    }

    private func object(_ arguments: [String]) throws -> [String: Any] {
        let result = try postern(arguments + ["--json"])
        guard let object = try JSONSerialization.jsonObject(with: Data(result.output)) as? [String: Any] else {
            throw HarnessError("\(arguments): \(result.text)\(result.errors)")
        }
        return object
    }

    /// Makes the next key.
    func rotate() throws -> RotatedKey {
        let made = try object(["dkim", "rotate", "example.org", "--ed25519"])
        guard made["reloaded"] as? Bool == true, let keys = made["keys"] as? [[String: Any]], keys.count == 1,
            let name = keys.first?["name"] as? String, let record = keys.first?["value"] as? String,
            let file = keys.first?["file"] as? String
        else { throw HarnessError("rotate: \(made)") }
        return RotatedKey(name: name, record: record, file: file)
    }

    /// Makes DNS hold these keys' records, and no others.
    func publish(_ keys: [RotatedKey]) throws {
        try folder.write("static.zone", Self.zone(keys))
        for daemon in ["dns", "dkim"] {
            let result = try postern(["reload", daemon])
            guard result.status == 0 else { throw HarnessError("reload \(daemon): \(result.text)\(result.errors)") }
        }
    }

    func reload() throws {
        let result = try postern(["reload", "dkim"])
        guard result.status == 0 else { throw HarnessError("reload dkim: \(result.text)\(result.errors)") }
    }

    func restart() throws {
        guard try dkim.stop() == 0 else { throw HarnessError("postern-dkim: \(dkim.lines)") }
        dkim = try Self.dkim(folder, clock)
    }

    func removeFile(of key: RotatedKey) throws { try FileManager.default.removeItem(atPath: key.file) }

    /// What `dkim keys` tells of a key.
    func told(_ key: RotatedKey) throws -> [String: Any] {
        let keys = try object(["dkim", "keys"])["keys"] as? [[String: Any]] ?? []
        return keys.first { $0["name"] as? String == key.name } ?? [:]
    }

    /// - Parameter key: nil for all.
    func testkey(_ key: RotatedKey? = nil) throws -> ProgramResult {
        try postern(["dkim", "testkey"] + (key.map { ["example.org", $0.selector] } ?? []))
    }

    /// What the doctor finds.
    func doctor() throws -> [[String: Any]] {
        let resolver = "unix:\(folder.file("run/dns.sock").path)"
        let found = try object(
            ["doctor", "--postfix-config", postfix.configurationFolder, "--resolver", resolver])
        return found["findings"] as? [[String: Any]] ?? []
    }

    // MARK: What comes of it

    /// Waits for a line of postern-dkim about a key, or for what it should say.
    func awaitLine(_ text: String, or condition: () throws -> Bool = { false }) throws {
        try Await.until("\(text)", context: { self.dkim.lines.joined(separator: "\n") }) {
            if dkim.lines.contains(where: { $0.contains("]: key \(text)") }) { return true }
            return try condition()
        }
    }

    /// Sends a message of ours.
    /// - Returns: it as it was delivered, signed once, by this key.
    @discardableResult
    func send(signedBy key: RotatedKey) throws -> [UInt8] {
        let client = try postfix.connect("submission")
        try client.expect("EHLO laptop")
        let reply = try client.send(
            from: "ann@example.org", to: ["bo@example.org"], Letter.octets(from: "ann@example.org"))
        guard let queueID = reply.queueID else { throw HarnessError("Postfix refused: \(reply)") }
        try client.quit()
        let message = try postfix.delivered(queueID: queueID)
        let signatures = message.fields("DKIM-Signature").map(\.value)
        guard signatures.count == 1,
            signatures.first?.split(whereSeparator: { $0.isWhitespace || $0 == ";" }).contains("s=\(key.selector)")
                == true
        else {
            throw HarnessError("expected a signature of \(key.selector), found \(signatures)")
        }
        return message.octets
    }

    /// What somebody would have to look at.
    var troubles: [String] {
        dkim.lines.filter { line in ["warning: ", "error: ", "critical: "].contains { line.contains("]: \($0)") } }
            + postfix.troubles.map(\.description)
    }
}
