// A stock Postfix of a test's own: private folders and ports, loopback only, as many at once as tests like.
// It needs root, as Postfix does. It delivers every domain's mail into Maildirs that tests read. It is stopped and its
// folder removed with its owner, and by a guardian shell should the test run be killed. Not offered: TLS.

public import Foundation
import Glibc
import Synchronization

public final class PostfixInstance: Sendable {
    public let settings: PostfixSettings
    private let folder: TemporaryFolder
    private let ports: [UInt16]
    private let guardian: Guardian
    private let log: GrowingFile<PostfixLogLine>
    private let read = Mutex<[String: DeliveredMessage]>([:])

    /// Whether this machine can run one: root, and Postfix is installed. contrib/test demands it.
    public static var isAvailable: Bool {
        ProcessInfo.processInfo.environment["POSTERN_TEST_ALL"] != nil
            || (geteuid() == 0 && access("/usr/sbin/postfix", X_OK) == 0)
    }

    /// Starts it, and returns when it accepts connections.
    public init(_ settings: PostfixSettings = PostfixSettings()) throws {
        self.settings = settings
        folder = try TemporaryFolder()
        log = GrowingFile(folder.file("mail.log")) { PostfixLogLine($0) }
        let path = folder.path
        try Self.makeFolders(folder, isChrooted: settings.isChrooted)
        try folder.write("etc/main.cf", settings.main(folder: path))
        for (name, text) in settings.files { try folder.write("etc/\(name)", text) }
        try Self.makeAccounts(settings, folder)

        // A free port may be taken by another before Postfix binds it: then other ones are tried.
        var chosen: [UInt16] = []
        var trouble = ""
        for _ in 0..<5 {
            chosen = try settings.services.map { _ in try FreePort.tcp() }
            try folder.write("etc/master.cf", settings.master(ports: chosen))
            let start = try Program.run("/usr/sbin/postfix", ["-c", "\(path)/etc", "start"])
            if start.status == 0 {
                trouble = ""
                break
            }
            trouble = "status \(start.status)\n\(start.errors)\n\((try? folder.text("mail.log")) ?? "no log")"
        }
        guard trouble.isEmpty else { throw HarnessError("postfix start: \(trouble)") }
        ports = chosen
        guardian = try Guardian(onDeath: "/usr/sbin/postfix -c \(path)/etc abort >/dev/null 2>&1; rm -rf \(path)")
    }

    deinit {
        stop()
        guardian.dismiss()
    }

    /// Stops it; the log and what was delivered stay until the instance goes.
    public func stop() {
        guard let master else { return }
        // What `postfix abort` sends: sessions in progress end as well, so that nothing outlives the test.
        kill(master, SIGTERM)
        try? Await.until("the end of Postfix's master") { !isRunning }  // the guardian's kill is what is left
    }

    public var isRunning: Bool { master.map { kill($0, 0) == 0 } ?? false }

    private var master: pid_t? {
        guard let text = try? folder.text("q/pid/master.pid") else { return nil }  // no file: never started
        return pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines))
    }

    /// `-c` and `-C` of Postfix's own commands.
    public var configurationFolder: String { folder.file("etc").path }
    public var queueFolder: URL { folder.file("q") }

    /// A socket for a daemon, as its configuration spells the path; Postfix dials `unix:postern/NAME`, chrooted or not.
    public func socketPath(_ name: String) -> String { queueFolder.appending(path: "postern/\(name)").path }

    /// The port of a service; default: of the first one.
    public func port(_ service: String? = nil) throws -> UInt16 {
        let named = zip(settings.services, ports).first { service == nil || $0.0.name == service }
        guard let named else { throw HarnessError("no SMTP service \(service ?? "at all")") }
        return named.1
    }

    /// Connects to a service.
    /// - Parameter source: an address of 127.0.0.0/8 to come from.
    public func connect(_ service: String? = nil, from source: String? = nil) throws -> SMTPClient {
        try SMTPClient(address: settings.address, port: try port(service), from: source)
    }

    /// The queue ids of the mail that waits, with the reason in parentheses. Source: postqueue(1).
    public func queued() throws -> String { try command("postqueue", ["-p"]).text }

    /// Runs one of Postfix's commands on this instance: `postqueue`, `postsuper`, `postcat` ...
    public func command(_ name: String, _ arguments: [String]) throws -> ProgramResult {
        try Program.run("/usr/sbin/\(name)", ["-c", configurationFolder] + arguments)
    }

    /// Hands a message to sendmail(1), as cron or a web application does.
    /// - Parameter message: CRLF or LF line ends; sendmail(1) takes LF.
    /// - Returns: its queue id.
    public func sendmail(from: String, to: String, _ message: [UInt8]) throws -> String {
        let before = logLines.count
        let lines = message.filter { $0 != 0x0D }
        let result = try Program.run(
            "/usr/sbin/sendmail", ["-C", configurationFolder, "-i", "-f", from, to], input: lines)
        guard result.status == 0 else { throw HarnessError("sendmail: status \(result.status) \(result.errors)") }
        return try Await.value("pickup of the mail from \(from)", context: logTail) {
            logLines.dropFirst(before).first { $0.service == "pickup" && $0.text.hasSuffix("from=<\(from)>") }?.queueID
        }
    }
}

// MARK: The log

extension PostfixInstance {
    public var logLines: [PostfixLogLine] { log.lines }

    /// The lines of one message.
    public func log(queueID: String) -> [PostfixLogLine] { logLines.filter { $0.queueID == queueID } }

    /// Warnings and worse so far. A test that expects none asserts that this is empty.
    public var troubles: [PostfixLogLine] { logLines.filter(\.isTrouble) }

    /// Waits for a line.
    @discardableResult
    public func await(
        line what: String, matching condition: (PostfixLogLine) -> Bool
    ) throws -> PostfixLogLine {
        try Await.value("Postfix's log line: \(what)", context: logTail) { logLines.first(where: condition) }
    }

    func logTail() -> String { logLines.suffix(30).map { "postfix/\($0)" }.joined(separator: "\n") }
}

// MARK: Delivered mail

extension PostfixInstance {
    /// Waits until a message is delivered, and reads it.
    public func delivered(queueID: String) throws -> DeliveredMessage {
        let removed = try Await.value("delivery of \(queueID)", context: logTail) {
            let lines = log(queueID: queueID)
            guard lines.contains(where: { $0.text.hasSuffix(": removed") }) else {
                return Optional<[PostfixLogLine]>.none
            }
            return lines
        }
        if let found = try messages().first(where: { $0.queueID == queueID }) { return found }
        throw HarnessError("\(queueID) was not delivered\n\(removed.map(\.description).joined(separator: "\n"))")
    }

    /// All that was delivered so far, to anyone or to one recipient; a message to two recipients is delivered twice.
    public func messages(to recipient: String? = nil) throws -> [DeliveredMessage] {
        let new = folder.file("mail/box/new")
        guard FileManager.default.fileExists(atPath: new.path) else { return [] }
        let files = try FileManager.default.contentsOfDirectory(at: new, includingPropertiesForKeys: nil)
        return try files.map(message(in:)).filter { recipient == nil || $0.recipient == recipient }
    }

    /// Each file is read once; it never changes.
    private func message(in file: URL) throws -> DeliveredMessage {
        if let known = read.withLock({ $0[file.lastPathComponent] }) { return known }
        let message = DeliveredMessage(maildir: Array(try Data(contentsOf: file)))
        read.withLock { $0[file.lastPathComponent] = message }
        return message
    }
}

// MARK: Folders

extension PostfixInstance {
    private static func makeFolders(_ folder: TemporaryFolder, isChrooted: Bool) throws {
        guard let postfix = getpwnam("postfix")?.pointee else { throw HarnessError("no user postfix: install Postfix") }
        for name in ["etc", "data", "mail", "q/postern", "q/etc"] {
            try FileManager.default.createDirectory(at: folder.file(name), withIntermediateDirectories: true)
        }
        chown(folder.file("data").path, postfix.pw_uid, 0)
        chown(folder.file("mail").path, 65534, 65534)
        // As contrib's tmpfiles.d makes it: sockets made here belong to Postfix's group, whoever makes them.
        chown(folder.file("q/postern").path, 0, postfix.pw_gid)
        chmod(folder.file("q/postern").path, 0o3770)
        guard isChrooted else { return }
        for name in ["hosts", "services", "resolv.conf", "nsswitch.conf", "localtime"] {
            let octets = try? Data(contentsOf: URL(filePath: "/etc/\(name)"))  // Debian copies what there is, too
            if let octets { try folder.write("q/etc/\(name)", Array(octets)) }
        }
    }
}

// MARK: Accounts

extension PostfixInstance {
    /// Puts the passwords where smtpd(8) looks for them. Source: saslpasswd2(8).
    private static func makeAccounts(_ settings: PostfixSettings, _ folder: TemporaryFolder) throws {
        guard !settings.accounts.isEmpty, let postfix = getpwnam("postfix")?.pointee else { return }
        let database = "/etc/sasldb2"
        try folder.write("etc/sasl/smtpd.conf", settings.sasl(database: database, folder: folder.path))
        let file = folder.file("q" + database).path
        for (user, password) in settings.accounts {
            let result = try Program.run(
                "/usr/sbin/saslpasswd2", ["-p", "-c", "-f", file, "-u", settings.hostName, user],
                input: Array(password.utf8))
            guard result.status == 0 else { throw HarnessError("saslpasswd2: \(result.errors)\(result.text)") }
        }
        chown(file, postfix.pw_uid, postfix.pw_gid)
    }
}

/// Ports that nobody uses at this moment, neither over TCP nor over UDP, below the range of outgoing connections
/// (ip_local_port_range). None is given twice: one that was asked for may be bound later, or again after a restart, and
/// another test would have it meanwhile.
public enum FreePort {
    private static let given = Mutex<Set<UInt16>>([])

    public static func tcp() throws -> UInt16 { try find() }
    public static func udp() throws -> UInt16 { try find() }

    private static func find() throws -> UInt16 {
        for _ in 0..<1000 {
            let port = UInt16.random(in: 10_240..<32_000)
            guard given.withLock({ $0.insert(port).inserted }) else { continue }
            if try [SOCK_STREAM, SOCK_DGRAM].allSatisfy({ try isFree(port, Int32($0.rawValue)) }) { return port }
        }
        throw HarnessError("no free port in 1000 tries")
    }

    private static func isFree(_ port: UInt16, _ type: Int32) throws -> Bool {
        let descriptor = socket(AF_INET, type | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw HarnessError.system("socket") }
        defer { close(descriptor) }
        var address = LoopbackAddress.make(port: port)
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        } == 0
    }
}

enum LoopbackAddress {
    static func make(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }
}
