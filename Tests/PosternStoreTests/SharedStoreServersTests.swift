// The ways to a shared store's server: a password, an access list, TLS, and Sentinels that know which one is the
// master; against Debian's redis-server.

import Foundation
import PosternAdmission
import PosternMail
import PostfixHarness
import TestSupport
import Testing

@testable import PosternStore

@Suite("A shared store's servers", .enabled(if: RedisInstance.isAvailable))
struct SharedStoreServersTests {
    let log = RecordingLog()

    func store(
        to servers: [(String, UInt16)], scheme: StoreURL.Scheme = .redis, master: String? = nil, database: Int = 0,
        user: String? = nil, password: String? = nil, authorities: String? = nil, timeout: Duration = .seconds(20)
    ) -> SharedStore {
        SharedStore(
            StoreURL(
                scheme: scheme, servers: servers.map { StoreURL.Server(host: $0, port: $1) }, master: master,
                database: database),
            StoreSettings(
                url: nil, timeout: timeout, user: user, passwordPath: password, authoritiesPath: authorities),
            log: log, pauses: .milliseconds(50) ... .milliseconds(200))
    }

    /// What the first command throws, as text; nil when it is answered.
    func trouble(_ store: SharedStore) -> String? {
        do throws(StoreFailure) {
            _ = try store.command(octets("GET", "a"))
            return nil
        } catch {
            return "\(error)"
        }
    }

    // MARK: Passwords

    @Test("a password, read again when it is refused")
    func password() throws {
        let folder = try TemporaryFolder()
        let file = try folder.write("password", "first\nnot this\n").path
        let instance = try RedisInstance(password: "first")
        let store = store(to: [("127.0.0.1", instance.port)], password: file)
        #expect(try store.command(octets("GET", "a")) == .null)
        // What is connected stays so; new connections are refused.
        try instance.command("CONFIG", "SET", "requirepass", "second")
        try instance.command("CLIENT", "KILL", "TYPE", "normal")
        let second = try RedisInstanceClient.words(instance, "second", "CLIENT", "KILL", "TYPE", "normal")
        #expect(second.status == 0)
        #expect(trouble(store)?.contains("store.password_file and store.user must be what it expects") == true)
        try folder.write("password", "second")
        try Await.until("the new password") { store.isWorking }
        #expect(try store.command(octets("GET", "a")) == .null)
    }

    @Test("no password where one is wanted, a file that is not there, and one that is empty")
    func passwordTrouble() throws {
        let folder = try TemporaryFolder()
        let instance = try RedisInstance(password: "secret")
        let servers = [("127.0.0.1", instance.port)]
        #expect(trouble(store(to: servers))?.contains("NOAUTH Authentication required") == true)
        #expect(trouble(store(to: servers, password: "/nonexistent"))?.contains("No such file") == true)
        let empty = try folder.write("empty", "\nsecret\n").path
        #expect(
            trouble(store(to: servers, password: empty))?.contains("expected the password in its first line") == true)
        try Await.until("the last warning") { log.warnings.count == 3 }
        #expect(log.warnings.allSatisfy { !$0.contains("secret") })
    }

    @Test("a user of its access list, with no more rights than the documentation says")
    func user() throws {
        let folder = try TemporaryFolder()
        let file = try folder.write("password", "secret").path
        let instance = try RedisInstance()
        try instance.command(
            "ACL", "SETUSER", "postern", "on", ">secret", "~postern:*", "+@all", "-@dangerous", "+role")
        let servers = [("127.0.0.1", instance.port)]
        let store = store(to: servers, user: "postern", password: file)
        #expect(try store.command(octets("GET", "postern:a")) == .null)
        #expect(trouble(store)?.contains("NOPERM") == true)
        #expect(store.isWorking)
        #expect(trouble(self.store(to: servers, user: "nobody", password: file))?.contains("WRONGPASS") == true)
    }

    @Test("a database by its number, and one that is not there")
    func databases() throws {
        let instance = try RedisInstance(options: ["databases 4"])
        let servers = [("127.0.0.1", instance.port)]
        let store = store(to: servers, database: 3)
        #expect(try store.command(octets("SET", "a", "1")).text == "OK")
        #expect(try instance.keys() == [])
        #expect(
            trouble(self.store(to: servers, database: 4))?.contains("names a database that it does not have") == true)
    }

    @Test("names are looked up, and what has no address says so")
    func names() throws {
        let instance = try RedisInstance()
        #expect(try store(to: [("localhost", instance.port)]).command(octets("GET", "a")) == .null)
        #expect(trouble(store(to: [("store.invalid", 1)]))?.contains("store.invalid has no address") == true)
    }

    // MARK: TLS

    @Test("TLS: the certificate's names and authority are looked at")
    func tls() throws {
        let certificates = try RedisCertificates(for: ["DNS:localhost", "IP:127.0.0.1"])
        let others = try RedisCertificates()
        let instance = try RedisInstance(tls: certificates)
        let address = [("127.0.0.1", instance.port)]
        let store = store(to: address, scheme: .rediss, authorities: certificates.authority)
        #expect(try store.command(octets("SET", "a", "1")).text == "OK")
        let long: [UInt8] = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        #expect(try store.command(octets("SET", "long") + [long]).text == "OK")
        #expect(try store.command(octets("GET", "long")).octets == long)
        for _ in 0..<50 { #expect(try store.command(octets("GET", "a")).text == "1") }
        #expect(store.connections == 1)
        let named = self.store(to: [("localhost", instance.port)], scheme: .rediss, authorities: certificates.authority)
        #expect(try named.command(octets("GET", "a")).text == "1")
        let failures = Many.threads(100) { for _ in 0..<5 { _ = try store.command(octets("GET", "a")) } }
        #expect(failures.isEmpty)

        func trouble(_ authorities: String?) -> String {
            self.trouble(self.store(to: address, scheme: .rediss, authorities: authorities)) ?? "none"
        }
        #expect(trouble(others.authority).contains("its certificate is not accepted"))
        #expect(trouble(nil).contains("its certificate is not accepted"))
        #expect(trouble("/nonexistent").contains("store.ca_file /nonexistent holds no certificates"))
    }

    @Test("TLS: a certificate of another name, or an address that it does not have")
    func otherNames() throws {
        let certificates = try RedisCertificates(for: ["DNS:store.example.net", "IP:127.0.0.9"])
        let instance = try RedisInstance(tls: certificates)
        for host in ["127.0.0.1", "localhost"] {
            let store = store(to: [(host, instance.port)], scheme: .rediss, authorities: certificates.authority)
            #expect(trouble(store)?.contains(host == "localhost" ? "hostname mismatch" : "IP address mismatch") == true)
        }
    }

    @Test("TLS is wanted by one side only")
    func oneSided() throws {
        let certificates = try RedisCertificates()
        let plain = try RedisInstance()
        let secure = try RedisInstance(tls: certificates)
        let asked = store(to: [("127.0.0.1", plain.port)], scheme: .rediss, authorities: certificates.authority)
        let unspoken = trouble(asked) ?? ""
        #expect(unspoken.contains("does it speak TLS?"), "\(unspoken)")
        let unasked = trouble(store(to: [("127.0.0.1", secure.port)])) ?? ""
        #expect(unasked.contains("store.url wants rediss://"), "\(unasked)")
    }

    @Test("TLS older than 1.2 is refused")
    func oldTLS() throws {
        let certificates = try RedisCertificates()
        let port = try FreePort.tcp()
        // @SECLEVEL=0: else OpenSSL would refuse TLS 1.1 on the server's side.
        let server = try BackgroundProgram(
            "/usr/bin/openssl",
            [
                "s_server", "-www", "-accept", "127.0.0.1:\(port)", "-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0",
                "-cert", certificates.certificate, "-key", certificates.key,
            ], until: { $0.contains { $0.hasPrefix("ACCEPT") } })
        let store = store(
            to: [("127.0.0.1", port)], scheme: .rediss, authorities: certificates.authority)
        let said = trouble(store) ?? ""
        #expect(said.contains("TLS handshake failed"), "\(said)")
        try server.stop()
    }

    // MARK: Replicas and Sentinels

    @Test("a replica says what to do")
    func replica() throws {
        let master = try RedisInstance()
        let replica = try RedisInstance(replicaOf: master)
        let said = trouble(store(to: [("127.0.0.1", replica.port)]))
        #expect(said?.contains("store.url must name the master") == true)
    }

    @Test("Sentinels over TLS: they and the master they name are known by their certificates")
    func secureSentinels() throws {
        let certificates = try RedisCertificates(for: ["IP:127.0.0.1"])
        let others = try RedisCertificates(for: ["IP:127.0.0.1"])
        let master = try RedisInstance(tls: certificates)
        let replica = try RedisInstance(tls: certificates, replicaOf: master)
        try replica.awaitMaster()
        let watcher = try #require(try RedisInstance.sentinels(1, of: master, name: "main", quorum: 1).first)
        let servers = [("127.0.0.1", watcher.port)]
        let store = store(
            to: servers, scheme: .secureSentinel, master: "main", authorities: certificates.authority)
        #expect(try store.command(octets("SET", "a", "1")).text == "OK")
        #expect(try master.command("GET", "a").text == "1\n")
        // Neither is believed without its certificate, nor asked in the clear.
        let stranger = self.store(to: servers, scheme: .secureSentinel, master: "main", authorities: others.authority)
        #expect(trouble(stranger)?.contains("127.0.0.1:\(watcher.port): its certificate is not accepted") == true)
        let named = self.store(
            to: [("localhost", watcher.port)], scheme: .secureSentinel, master: "main",
            authorities: certificates.authority)
        #expect(trouble(named)?.contains("localhost:\(watcher.port): its certificate is not accepted") == true)
        let plain = trouble(self.store(to: servers, scheme: .sentinel, master: "main")) ?? ""
        #expect(plain.contains("store.url wants rediss:// or rediss+sentinel:// where it speaks TLS"), "\(plain)")
        master.kill()
        try Await.until("the failure to be noticed") {
            (try? store.command(octets("GET", "a"))) == nil  // as soon as it is not answered
        }
        try Await.until("the replica to be the master", context: { watcher.log }) { store.isWorking }
        #expect(try store.command(octets("SET", "b", "2")).text == "OK")
        #expect(try replica.command("GET", "b").text == "2\n")
    }

    @Test("Sentinels: the master is found, and the next one after a failover")
    func sentinels() throws {
        let master = try RedisInstance(password: "secret")
        let replica = try RedisInstance(
            password: "secret", replicaOf: master, options: ["replica-priority 10"])
        try replica.awaitMaster()
        let watchers = try RedisInstance.sentinels(3, of: master, name: "main", quorum: 2)
        let folder = try TemporaryFolder()
        let password = try folder.write("password", "secret").path
        // The first one is not there, which is no hindrance.
        let servers = [("127.0.0.1", try FreePort.tcp())] + watchers.map { ("127.0.0.1", $0.port) }
        let store = store(to: servers, scheme: .sentinel, master: "main", password: password)
        #expect(try store.command(octets("SET", "a", "1")).text == "OK")
        #expect(try master.command("GET", "a").text == "1\n")
        try Await.until("the replica to have it") { try replica.command("GET", "a").text == "1\n" }
        master.kill()
        try Await.until("the failure to be noticed") {
            (try? store.command(octets("GET", "a"))) == nil  // as soon as it is not answered
        }
        try Await.until("the replica to be the master", context: { watchers.map(\.log).joined() }) { store.isWorking }
        #expect(try store.command(octets("GET", "a")).text == "1")
        #expect(try store.command(octets("SET", "b", "2")).text == "OK")
        #expect(try replica.command("GET", "b").text == "2\n")
        #expect(log.warnings.count == 1)
        // A name that the Sentinels do not know.
        let other = self.store(to: servers, scheme: .sentinel, master: "other", password: password)
        #expect(trouble(other)?.contains("it does not know that name") == true)
    }
}

/// redis-cli with another password than the instance was started with.
enum RedisInstanceClient {
    static func words(_ instance: RedisInstance, _ password: String, _ words: String...) throws -> ProgramResult {
        try Program.run(
            "/usr/bin/redis-cli", ["-h", instance.address, "-p", "\(instance.port)"] + words,
            environment: ["REDISCLI_AUTH": password])
    }
}
