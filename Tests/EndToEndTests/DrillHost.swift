// A machine that is lost and comes back: all daemons behind a real Postfix, with greylisting, a limit, keys and facts,
// whose configuration and state are deleted and restored from a backup.

import Foundation
import Glibc
import PostfixHarness
import Synchronization

final class DrillHost: @unchecked Sendable {
    // Unchecked: daemons are replaced by the test that owns the host, which is one thread.
    let postfix: PostfixInstance
    let keys: HostKeys
    private let folder: TemporaryFolder
    private(set) var daemons: [String: Daemon] = [:]

    static let daemonNames = ["postern-dns", "postern-dkim", "postern-dmarc", "postern-policy", "postern-rate"]
    static let letter = Array("From: Ann <ann@example.net>\r\nSubject: a letter\r\n\r\nHello\r\n".utf8)

    init() throws {
        keys = try HostKeys()
        var settings = try PostfixSettings.shipped()
        settings.mainLines += [
            """
            smtpd_recipient_restrictions = reject_unauth_destination,
                check_policy_service { unix:postern/policy.sock, timeout=100s, default_action=DUNNO },
                check_policy_service { unix:postern/rate.sock, timeout=100s, default_action=DUNNO }
            """,
            "local_header_rewrite_clients =", "smtpd_error_sleep_time = 0",
        ]
        // Users are asked for nothing of that.
        settings.services[1].options.append("smtpd_recipient_restrictions=permit")
        postfix = try PostfixInstance(settings)
        folder = try TemporaryFolder(isGuarded: true)
        try folder.shareRunAndState()
        try folder.write("etc/static.zone", keys.zone + Self.zone)
        try folder.write("etc/postern.toml", Self.configuration(folder.path, postfix), mode: 0o640)
        for (name, pem) in keys.files {
            let file = try folder.write("etc/keys/\(name)", pem, mode: 0o400)
            chown(file.path, try DaemonIdentity.of("postern-dkim").user, DaemonIdentity.commonGroup)
        }
        // As the package has it: root's, for the daemons to read.
        for name in ["etc", "etc/keys", "etc/postern.toml", "etc/static.zone"] {
            chown(folder.file(name).path, 0, DaemonIdentity.commonGroup)
        }
        chmod(folder.file("etc/static.zone").path, 0o640)
        try start()
    }

    private static let zone = """
        net. IN SOA ns.net. admin.net. 1 3600 600 86400 60
        example.net. IN TXT "v=spf1 ip4:192.0.2.0/24 -all"
        _dmarc.example.net. IN TXT "v=DMARC1; p=none"

        """

    private static func configuration(_ folder: String, _ postfix: PostfixInstance) -> String {
        """
        [host]
        name = "mx1.example.org"
        authserv_id = "example.org"
        \(postfix.places(of: ["dkim", "dmarc", "policy", "rate"], in: folder))
        [dkim]
        verify = false
        [[dkim.key]]
        domain = "example.org"
        selector = "r1"
        file = "keys/org-r1.pem"
        [[dkim.key]]
        domain = "example.org"
        selector = "e1"
        file = "\(folder)/etc/keys/org-e1.pem"
        [greylist]
        clients = "all"
        delay = "1s"
        [[rule]]
        name = "let in"
        client = ["192.0.2.128/25"]
        skip = ["greylist"]
        [[limit]]
        name = "per client"
        per = ["client"]
        count = "recipients"
        allow = ["200/1h"]
        action = "defer 4.7.1 Slow down"

        """
    }

    // MARK: Its daemons

    func start() throws {
        for name in Self.daemonNames {
            daemons[name] = try Daemon(name, configuration: configurationPath, as: .of(name))
        }
    }

    func stop() throws {
        for (name, daemon) in daemons {
            let status = try daemon.stop()
            guard status == 0 else { throw HarnessError("\(name) ended with \(status)") }
        }
        daemons = [:]
    }

    /// What an admin would have to look at, but for the limit that a test uses up.
    var troubles: [String] {
        daemons.values.flatMap(\.lines).filter { line in
            ["warning: ", "error: ", "critical: "].contains { line.contains("]: \($0)") }
                && !line.contains("limit per client over: ")
        }
    }

    var configurationPath: String { folder.file("etc/postern.toml").path }
    var backups: String { folder.file("backups").path }
    func state(_ name: String) -> String { folder.file("state/\(name)").path }

    /// Everything but the machine itself is gone.
    func lose() throws {
        for name in ["etc", "state"] { try FileManager.default.removeItem(at: folder.file(name)) }
    }

    /// Everything that a backup brings back: by path, its mode, owner and group.
    func files() throws -> [String: [UInt32]] {
        var found: [String: [UInt32]] = [:]
        for top in ["etc", "state"] {
            for name in try FileManager.default.subpathsOfDirectory(atPath: folder.file(top).path) {
                var status = stat()
                guard lstat(folder.file("\(top)/\(name)").path, &status) == 0 else { continue }
                // What is being written beside its place is gone in a moment.
                if status.st_mode & S_IFMT == S_IFREG, !name.hasSuffix(".new") {
                    found["\(top)/\(name)"] = [status.st_mode & 0o7777, status.st_uid, status.st_gid]
                }
            }
        }
        return found
    }

    /// Runs the CLI.
    func postern(_ arguments: [String]) throws -> ProgramResult {
        try Program.run(try Products.path("postern"), arguments)
    }

    // MARK: Mail

    func session(_ address: String) throws -> SMTPClient {
        let client = try postfix.connect()
        try client.xclient(name: "mx.example.net", address: address)
        try client.expect("EHLO mx.example.net")
        return client
    }

    /// What is answered to one recipient, in a session of its own.
    func rcpt(_ address: String, from sender: String, to recipient: String = "bo@example.org") throws -> SMTPReply {
        try session(address).recipient(recipient, from: sender)
    }

    /// A stranger's message, whole.
    func send(_ address: String, from sender: String, recipients: Int = 1) throws -> SMTPReply {
        let recipients = (0..<recipients).map { "bo\($0)@example.org" }
        return try session(address).send(from: sender, to: recipients, Self.letter)
    }

    /// A user's message, which is signed, as it is delivered.
    func signed() throws -> DeliveredMessage {
        let client = try postfix.connect("submission")
        try client.xclient(name: "laptop.example.com", address: "198.51.100.9")
        try client.expect("EHLO laptop")
        let message = Array("From: Ann <ann@example.org>\r\nSubject: signed\r\n\r\nHello\r\n".utf8)
        let reply = try client.send(from: "ann@example.org", to: ["bo@example.net"], message)
        guard let queueID = reply.queueID else { throw HarnessError("\(reply)") }
        return try postfix.delivered(queueID: queueID)
    }

    // MARK: Facts

    private static let reader = """
        import sqlite3, sys
        for (name,) in sqlite3.connect(sys.argv[1]).execute("SELECT queue_id FROM fact"):
            print(name)
        """

    /// The queue ids that facts.sqlite knows, read from a copy: its owner lets nobody else open it.
    func facts() throws -> Set<String> {
        let copy = try TemporaryFolder()
        for suffix in ["", "-wal"] {
            // Not there yet, or not any more.
            guard let octets = try? Data(contentsOf: URL(filePath: state("facts.sqlite\(suffix)"))) else { continue }
            try copy.write("facts.sqlite\(suffix)", Array(octets))
        }
        let result = try Program.run("/usr/bin/python3", ["-c", Self.reader, copy.file("facts.sqlite").path])
        return Set(result.text.split(separator: "\n").map(String.init))
    }
}

/// Mail of many strangers at once, until it is stopped.
final class DrillLoad: Sendable {
    private let host: DrillHost
    private let isEnding = Atomic<Bool>(false)
    private let running = Atomic<Int>(0)
    private let replies = Mutex<[String: Int]>([:])
    private let count = Atomic<Int>(0)

    init(_ host: DrillHost, sessions: Int) {
        self.host = host
        for number in 0..<sessions {
            running.add(1, ordering: .relaxed)
            Thread.detachNewThread { [self] in
                run(number)
                running.subtract(1, ordering: .relaxed)
            }
        }
    }

    private func run(_ number: Int) {
        while !isEnding.load(ordering: .relaxed) {
            let serial = count.add(1, ordering: .relaxed).newValue
            let answer: String
            do {
                // Every other one is greylisted; the others come in until they have used up their limit.
                let address =
                    serial % 2 == 0 ? "198.18.\(serial / 250 % 250).\(serial % 250)" : "192.0.2.\(130 + number)"
                answer = "\(try host.send(address, from: "s\(serial)@example.net").code)"
            } catch {
                answer = "\(error)".contains("450") ? "450" : "\(error)"
            }
            replies.withLock { $0[answer, default: 0] += 1 }
        }
    }

    /// How many messages were tried so far.
    var tries: Int { count.load(ordering: .relaxed) }

    /// - Returns: how often each answer came.
    func stop() throws -> [String: Int] {
        isEnding.store(true, ordering: .relaxed)
        try Await.until("the end of the load") { running.load(ordering: .relaxed) == 0 }
        return replies.withLock { $0 }
    }
}
