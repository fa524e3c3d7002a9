// The machine that tests of postern-policy share, or one of a test's own: Postfix with the lines of
// contrib/postfix/main.cf.policy, postern-policy, postern-dns with a zone of its own.

import Foundation
import Glibc
import PostfixHarness
import Testing

final class PolicyHost: @unchecked Sendable {
    // Unchecked: daemons are replaced by the test that owns the host, which is one thread.
    let postfix: PostfixInstance
    private(set) var policy: Daemon
    private var dns: Daemon
    private let folder: TemporaryFolder
    private let delay: String
    private let clock: FakeClock?
    /// Where greylist.sqlite is.
    let state: URL

    private static let made = Result { try PolicyHost() }
    /// The one of this run.
    static func shared() throws -> PolicyHost { try made.get() }

    static let letter = Array("From: Ann <ann@example.net>\r\nSubject: a letter\r\n\r\nHello\r\n".utf8)

    /// - Parameter disk: holds greylist.sqlite, in place of the host's own folder.
    /// - Parameter clock: postern-policy's wall clock.
    /// - Parameter delay: `greylist.delay`.
    init(disk: SmallDisk? = nil, clock: FakeClock? = nil, delay: String = "1s") throws {
        self.delay = delay
        self.clock = clock
        var settings = PostfixSettings()
        settings.isChrooted = true
        let shipped = SourceTree.root.appending(path: "contrib/postfix/main.cf.policy")
        settings.mainLines = try String(contentsOf: shipped, encoding: .utf8).components(separatedBy: "\n")
        settings.mainLines += [
            "inet_protocols = all",
            "virtual_mailbox_domains = example.org",
            "virtual_mailbox_maps = inline:{ bo@example.org=box/, cy@example.org=box/ }",
        ]
        postfix = try PostfixInstance(settings)
        folder = try TemporaryFolder(isGuarded: true)
        state = disk?.url ?? folder.file("state")
        try folder.write("static.zone", Self.zone)
        for folder in [folder.file("run"), state] { try TemporaryFolder.share(folder) }
        let path = folder.file("postern.toml").path
        let text = Self.configuration(folder.path, state: state.path, delay: delay, postfix)
        try folder.write("postern.toml", text + Self.rules)
        dns = try Daemon("postern-dns", configuration: path)
        policy = try Daemon(
            "postern-policy", configuration: path, as: .of("postern-policy"), environment: clock?.environment ?? [:])
    }

    private static let zone = """
        $TTL 300
        example.net. IN SOA ns.example.net. admin.example.net. 1 3600 600 86400 60
        example.net. IN TXT "v=spf1 ip4:192.0.2.0/24 -all"
        pool.example.net. IN TXT "v=spf1 ip4:198.18.0.0/16 -all"
        all.example.net. IN TXT "v=spf1 +all"
        bl.example.org. IN SOA ns.example.org. admin.example.org. 1 3600 600 86400 60
        2.0.0.127.bl.example.org. IN A 127.0.0.2
        66.113.0.203.bl.example.org. IN A 127.0.0.2
        6.6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example.org. IN A 127.0.0.2

        """

    private static func configuration(
        _ folder: String, state: String, delay: String, _ postfix: PostfixInstance
    ) -> String {
        """
        [host]
        name = "mx1.example.org"
        \(postfix.places(of: ["policy"], in: folder, state: state))
        [[dnsbl.list]]
        zone = "bl.example.org"
        scores = { "127.0.0.[2..11]" = 4 }
        [greylist]
        delay = "\(delay)"

        """
    }

    static let rules = """
        [[rule]]
        name = "no spam"
        sender = ["spam@example.net"]
        action = "reject 5.7.1 No spam"
        [[rule]]
        name = "marked"
        sender = ["marked@example.net"]
        action = "prepend X-Policy: marked"
        [[rule]]
        name = "new here"
        sender_domain = ["new.example.net", "pool.example.net", "all.example.net"]
        action = "greylist"

        """

    // MARK: Its daemons

    /// Writes the file anew; a reload or another start reads it.
    func configure(rules: String) throws {
        try write(
            "postern.toml", Self.configuration(folder.path, state: state.path, delay: delay, postfix) + rules)
    }

    /// Where a file of the configuration's folder is.
    func path(of name: String) -> String { folder.file(name).path }

    /// Writes a file into the configuration's folder.
    func write(_ name: String, _ text: String) throws { try folder.write(name, text) }

    /// Starts another postern-policy in the dead one's place.
    func restart() throws {
        policy = try Daemon(
            "postern-policy", configuration: folder.file("postern.toml").path, as: .of("postern-policy"),
            environment: clock?.environment ?? [:])
    }

    /// Runs `body` while postern-dns is dead, and starts a new one after it.
    func withoutDNS(_ body: () throws -> Void) throws {
        dns.kill()
        let outcome = Result { try body() }
        dns = try Daemon("postern-dns", configuration: folder.file("postern.toml").path)
        try outcome.get()
    }

    /// Runs the CLI.
    func postern(_ arguments: [String]) throws -> ProgramResult {
        try Program.run(
            try Products.path("postern"), arguments + ["--config", folder.file("postern.toml").path])
    }

    /// Warnings of postern-policy and worse.
    var troubles: [String] {
        policy.lines.filter { line in
            ["warning: ", "error: ", "critical: "].contains { line.contains("]: \($0)") }
        }
    }

    // MARK: Greylisting's memory

    var memory: URL { state.appending(path: "greylist.sqlite") }

    private static let filler = """
        import sqlite3, sys, time
        store = sqlite3.connect(sys.argv[1])
        now, count = int(time.time() * 1000), int(sys.argv[2])
        store.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) INSERT INTO entry "
            "(hash, key, kind, first_seen, last_seen, allowed, triplets) SELECT random(), CAST('100.64.0.0/24' "
            "|| char(0) || i || hex(zeroblob(30)) || '@example.com' || char(0) || 'x@y' AS BLOB), 0, ?2, ?2, 0, 0 "
            "FROM n", (count, now))
        store.execute("UPDATE state SET waiting = waiting + ?", (count,))
        store.commit()
        """

    /// Fills it with so many triplets of others, while no daemon has it open.
    func fillMemory(_ count: Int) throws {
        let filled = try Program.run("/usr/bin/python3", ["-c", Self.filler, memory.path, "\(count)"])
        guard filled.status == 0 else { throw HarnessError("filling: \(filled.errors)") }
    }

    /// Writes over the file and its log, to their ends, as a broken disk would.
    func damageMemory() throws {
        for suffix in ["", "-wal"] {
            let place = URL(filePath: memory.path + suffix)
            guard let file = try? FileHandle(forWritingTo: place) else { continue }  // none: nothing to damage
            let octets = try FileManager.default.attributesOfItem(atPath: place.path)[.size] as? Int ?? 0
            try file.write(contentsOf: Data(repeating: 0x5A, count: octets))
            try file.close()
        }
    }

    /// Files that were set aside.
    func setAside() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: state.path).filter {
            $0.contains(".damaged-") && !$0.hasSuffix("-wal") && !$0.hasSuffix("-shm")
        }
    }

    private static let reader = """
        import sqlite3, sys
        for (key,) in sqlite3.connect(sys.argv[1]).execute("SELECT key FROM entry"):
            print(key.replace(b"\\0", b" ").decode())
        """

    /// Waits until an entry is in the file: `192.0.2.0/24`, or `192.0.2.0/24 SENDER RECIPIENT`.
    /// Its owner lets nobody else open it: what is read is a copy, as a crash at this moment would leave it.
    func awaitOnDisk(_ key: String) throws {
        var last = "no file"
        try Await.until("\(key) in greylist.sqlite", context: { last + policy.lines.joined(separator: "\n") }) {
            let copy = try TemporaryFolder()
            for suffix in ["", "-wal"] {
                // Not there yet, or not any more.
                guard let octets = try? Data(contentsOf: URL(filePath: memory.path + suffix)) else { continue }
                try copy.write("greylist.sqlite\(suffix)", Array(octets))
            }
            let result = try Program.run("/usr/bin/python3", ["-c", Self.reader, copy.file("greylist.sqlite").path])
            // A copy made during a write may be of two halves: the next one is better.
            last = result.errors + result.text
            return result.status == 0 && result.text.split(separator: "\n").contains { $0 == key }
        }
    }
}

// MARK: Strangers

extension PolicyHost {
    /// A stranger's session. An IPv6 address is spelled `IPV6:2001:db8::7`, as XCLIENT wants it.
    func session(_ address: String, helo: String = "mx.example.net") throws -> SMTPClient {
        let client = try postfix.connect()
        try client.xclient(name: "mx.example.net", address: address)
        try client.expect("EHLO \(helo)")
        return client
    }

    /// What is answered to one recipient, in a session of its own.
    func rcpt(_ address: String, from sender: String, to recipient: String = "bo@example.org") throws -> SMTPReply {
        try session(address).recipient(recipient, from: sender)
    }
}

extension SMTPClient {
    /// What is answered to one recipient, before a message that never comes.
    func recipient(_ recipient: String, from sender: String) throws -> SMTPReply {
        try expect("MAIL FROM:<\(sender)>")
        return try command("RCPT TO:<\(recipient)>")
    }
}

extension SMTPReply {
    /// What greylisting has to say: come back, or come in.
    var isGreylisting: Bool { isPositive || code == 450 && lines.first?.hasPrefix("4.2.0 ") == true }

    /// The seconds that greylisting asks to wait.
    var seconds: Int? {
        guard let text = lines.last, let range = text.range(of: "try again in ") else { return nil }
        return Int(text[range.upperBound...].prefix { $0.isNumber })
    }
}
