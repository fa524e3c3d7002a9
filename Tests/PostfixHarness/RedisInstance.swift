// A private Redis server on loopback: a port, a folder and options of its own, nothing of the machine's configuration;
// ended and removed with its owner. Also as a replica or a Sentinel, with a password, and over TLS.
//
// It is Debian's redis-server, or the one that $POSTERN_REDIS_SERVER names: an absolute path of another version's, or
// of valkey-server, built with TLS, so that every suite that needs a store runs against it. redis-cli stays Debian's.

import Foundation
public import Glibc
import Synchronization

public final class RedisInstance: Sendable {
    public let address: String
    public let port: UInt16
    public let password: String?
    private let tls: RedisCertificates?
    private let folder: TemporaryFolder
    private let arguments: [String]
    private let running: Mutex<(child: ChildProcess, guardian: Guardian)?>

    /// What is started, also as a Sentinel.
    public static let server: String = {
        let named = ProcessInfo.processInfo.environment["POSTERN_REDIS_SERVER"] ?? ""
        return named.isEmpty ? "/usr/bin/redis-server" : named
    }()
    public static let programs = [server, "/usr/bin/redis-cli"]
    /// Whether it is there. contrib/test demands it.
    public static var isAvailable: Bool {
        ProcessInfo.processInfo.environment["POSTERN_TEST_ALL"] != nil
            || programs.allSatisfy { access($0, X_OK) == 0 }
    }

    /// Starts a server and waits until it answers.
    ///
    /// - Parameter port: nil for a free one.
    /// - Parameter options: lines of redis.conf(5), such as `maxmemory 2mb`.
    /// - Parameter master: it becomes a replica of that one.
    public convenience init(
        address: String = "127.0.0.1", port: UInt16? = nil, password: String? = nil, tls: RedisCertificates? = nil,
        replicaOf master: RedisInstance? = nil, options: [String] = []
    ) throws {
        var lines = ["save \"\"", "appendonly no"]
        if let password { lines += ["requirepass \(password)", "masterauth \(password)"] }
        if let master {
            lines += ["replicaof \(master.address) \(master.port)", "repl-diskless-sync-delay 0"]
            if let password = master.password, password != "" { lines.append("masterauth \(password)") }
        }
        try self.init(
            kind: [], address: address, port: port, password: password, tls: tls, lines: lines + options)
    }

    /// Sentinels, which watch a master and promote its one replica when it is gone, once they know that and each other;
    /// over TLS where the master speaks that.
    /// - Parameter name: of the master, as they and `redis+sentinel://` know it.
    public static func sentinels(
        _ count: Int, of master: RedisInstance, name: String, quorum: Int
    ) throws -> [RedisInstance] {
        let all = try (0..<count).map { _ in try sentinel(of: master, name: name, quorum: quorum) }
        try Await.until("the Sentinels to know each other and the replica", context: { all.map(\.log).joined() }) {
            try all.allSatisfy {
                let known = try $0.command("SENTINEL", "MASTER", name).text
                return known.contains("num-other-sentinels\n\(count - 1)") && known.contains("num-slaves\n1")
            }
        }
        return all
    }

    private static func sentinel(of master: RedisInstance, name: String, quorum: Int) throws -> RedisInstance {
        var lines = [
            "sentinel monitor \(name) \(master.address) \(master.port) \(quorum)",
            // Longer than a busy machine holds up a master that is not dead.
            "sentinel down-after-milliseconds \(name) 5000",
            "sentinel failover-timeout \(name) 5000",
        ]
        if let password = master.password { lines.append("sentinel auth-pass \(name) \(password)") }
        return try RedisInstance(
            kind: ["--sentinel"], address: "127.0.0.1", port: nil, password: nil, tls: master.tls, lines: lines)
    }

    /// Waits until this replica follows its master.
    public func awaitMaster() throws {
        try Await.until("the replica to follow", context: { log }) {
            try command("INFO", "replication").text.contains("master_link_status:up")
        }
    }

    private init(
        kind: [String], address: String, port: UInt16?, password: String?, tls: RedisCertificates?, lines: [String]
    ) throws {
        (self.address, self.password, self.tls) = (address, password, tls)
        let port = try port ?? FreePort.tcp()
        self.port = port
        folder = try TemporaryFolder(isGuarded: true)
        var configuration = [
            "bind \(address)", "dir \(folder.path)", "daemonize no", "protected-mode no",
            "logfile \(folder.path)/log",
        ]
        if let tls {
            configuration += [
                "port 0", "tls-port \(port)", "tls-cert-file \(tls.certificate)", "tls-key-file \(tls.key)",
                "tls-ca-cert-file \(tls.authority)", "tls-auth-clients no", "tls-replication yes",
            ]
        } else {
            configuration.append("port \(port)")
        }
        // Writable: a Sentinel keeps what it learns there.
        let file = try folder.write("redis.conf", (configuration + lines).joined(separator: "\n") + "\n")
        arguments = [file.path] + kind
        running = Mutex(nil)
        try start()
    }

    deinit { kill() }

    public var url: String { "\(tls == nil ? "redis" : "rediss")://\(address):\(port)/0" }
    public var log: String { (try? folder.text("log")) ?? "" }  // none yet is said by an empty one
    public var pid: pid_t? { running.withLock { $0?.child.pid } }

    // MARK: Its life

    /// Starts it again, after `stop` or `kill`.
    public func start() throws {
        let child = try ChildProcess(Self.server, arguments)
        let guardian = try Guardian(onDeath: "kill -CONT \(child.pid); kill -KILL \(child.pid)")
        running.withLock { $0 = (child, guardian) }
        do {
            try Await.until("redis-server to answer", context: { log }) {
                if let status = child.exitStatus { throw HarnessError("redis-server ended with \(status):\n\(log)") }
                // PING is answered with an error while it loads; any line means that it serves.
                return try command("PING").text.hasPrefix("PONG")
            }
        } catch {
            kill()
            throw error
        }
    }

    /// Asks it to end and waits for that.
    public func stop() throws { try end(SIGTERM) }

    /// Ends it on the spot: what it knew is gone.
    public func kill() { try? end(SIGKILL) }  // SIGKILL cannot be refused

    public func restart() throws {
        try stop()
        try start()
    }

    private func end(_ signal: Int32) throws {
        guard let (child, guardian) = running.withLock({ $0 }) else { return }
        child.send(signal: SIGCONT)
        child.send(signal: signal)
        try child.wait()
        running.withLock { $0 = nil }
        guardian.dismiss()
    }

    /// It keeps its connections and answers nothing, until `resume`.
    public func pause() { running.withLock { $0?.child.send(signal: SIGSTOP) } }
    public func resume() { running.withLock { $0?.child.send(signal: SIGCONT) } }

    // MARK: Asking it

    /// Runs redis-cli, which prints strings as they are. Source: redis-cli(1).
    @discardableResult
    public func command(_ words: String...) throws -> ProgramResult { try command(words) }

    @discardableResult
    public func command(_ words: [String]) throws -> ProgramResult {
        var arguments = ["-h", address, "-p", "\(port)"]
        if let tls { arguments += ["--tls", "--cacert", tls.authority] }
        var environment: [String: String] = [:]
        if let password { environment["REDISCLI_AUTH"] = password }
        return try Program.run("/usr/bin/redis-cli", arguments + words, environment: environment)
    }

    /// Of Redis, or the one that Valkey says it behaves like: `7.0.15`.
    public func version() throws -> String {
        let lines = try command("INFO", "server").text.split(whereSeparator: \.isNewline)
        let line = lines.first { $0.hasPrefix("redis_version:") }
        guard let version = line?.split(separator: ":").last else { throw HarnessError("no version: \(lines)") }
        return String(version)
    }

    /// The keys that it holds, in order.
    public func keys(_ pattern: String = "*") throws -> [String] {
        try command("KEYS", pattern).text.split(separator: "\n").map(String.init).filter { !$0.isEmpty }.sorted()
    }
}

/// An authority and a server's certificate of it, made by openssl(1) in a folder of their own.
public final class RedisCertificates: Sendable {
    public var authority: String { folder.file("ca.pem").path }
    public var certificate: String { folder.file("server.pem").path }
    public var key: String { folder.file("server.key").path }
    private let folder: TemporaryFolder

    /// - Parameter names: what the certificate is for, as subjectAltName has it: `DNS:localhost`, `IP:127.0.0.1`.
    public init(for names: [String] = ["DNS:localhost", "IP:127.0.0.1"]) throws {
        folder = try TemporaryFolder(isGuarded: true)
        let script = """
            set -e; cd \(folder.path)
            new='openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256'
            $new -x509 -days 2 -subj /CN=authority -keyout ca.key -out ca.pem
            $new -subj /CN=store -keyout server.key -out server.csr
            printf 'subjectAltName=%s\\n' '\(names.joined(separator: ","))' >names
            openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names \\
                -out server.pem
            chmod 644 *.key *.pem
            """
        let made = try Program.run("/bin/sh", ["-c", script])
        guard made.status == 0 else { throw HarnessError("openssl: \(made.errors)") }
    }
}
