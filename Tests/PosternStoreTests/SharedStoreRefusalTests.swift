// What a real server refuses to a script that writes, in the words of the version that runs: each is told as what it is,
// with what to do, and the store is used again when it is over. Without the scripts nothing is written half.

import PosternAdmission
import PosternMail
import PostfixHarness
import TestSupport
import Testing

@testable import PosternStore

@Suite("A shared store's refusals", .enabled(if: RedisInstance.isAvailable))
struct SharedStoreRefusalTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        /// Lines of redis.conf(5).
        var options: [String] = []
        /// What brings the trouble, and what ends it.
        let begin, end: [String]
        let refusal: StoreFailure.Refusal
        /// What INFO says as soon as the trouble is there.
        var sign: String?
        /// Versions that know no such trouble.
        var exception: String?
        var testDescription: String { name }
    }

    private static let write = StoreScript(
        name: "write", text: "redis.call('SET', KEYS[1], ARGV[1]) redis.call('SET', KEYS[2], ARGV[1]) return 1")

    @Test(
        "a script that writes is refused from its first write on",
        arguments: [
            Row(
                name: "a replica", begin: ["REPLICAOF", "127.0.0.1", "1"], end: ["REPLICAOF", "NO", "ONE"],
                refusal: .readOnly),
            Row(
                name: "full", begin: ["CONFIG", "SET", "maxmemory", "1"], end: ["CONFIG", "SET", "maxmemory", "0"],
                refusal: .full),
            Row(
                name: "a disk that takes no snapshot", options: ["save 3600 1", "dir /proc"], begin: ["BGSAVE"],
                end: ["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"], refusal: .unsafe,
                sign: "rdb_last_bgsave_status:err"),
            Row(
                name: "too few replicas", begin: ["CONFIG", "SET", "min-replicas-to-write", "1"],
                end: ["CONFIG", "SET", "min-replicas-to-write", "0"], refusal: .unsafe, exception: "6.0."),
            Row(
                name: "a user without the right", begin: ["ACL", "SETUSER", "default", "-set"],
                end: ["ACL", "SETUSER", "default", "+set"], refusal: .permission),
        ])
    func refused(row: Row) throws {
        let instance = try RedisInstance(options: row.options)
        if let exception = row.exception, try instance.version().hasPrefix(exception) { return }
        let log = RecordingLog()
        let store = SharedStoreTests.store(instance, timeout: .seconds(20), log: log)
        func write(_ text: String) throws(StoreFailure) -> StoreReply {
            try store.run(Self.write, keys: octets("postern:a", "postern:b"), arguments: octets(text))
        }
        #expect(try write("1") == .integer(1))
        try instance.command(row.begin)
        if let sign = row.sign {
            try Await.until(sign, context: { instance.log }) { try instance.command("INFO").text.contains(sign) }
        }
        let failure = #expect(throws: StoreFailure.self) { try write("2") }
        guard case .refused(row.refusal, _) = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect("\(String(describing: failure))".contains(row.refusal.advice ?? "none"))
        #expect(try instance.command("MGET", "postern:a", "postern:b").text == "1\n1\n")
        #expect(store.isWorking == (row.refusal == .permission))
        try instance.command(row.end)
        try Await.until("the store to be back", context: { log.lines.joined(separator: "\n") }) { store.isWorking }
        #expect(try write("3") == .integer(1))
        #expect(log.warnings.count == 1, "\(log.warnings)")
    }

    @Test("somebody else's script holds the server")
    func busy() throws {
        let instance = try RedisInstance(options: ["lua-time-limit 10"])
        let log = RecordingLog()
        let store = SharedStoreTests.store(instance, timeout: .seconds(20), log: log)
        #expect(try store.command(octets("GET", "a")) == .null)
        let other = try ChildProcess(
            "/usr/bin/redis-cli", ["-h", instance.address, "-p", "\(instance.port)", "EVAL", "while true do end", "0"])
        try Await.until("the other's script to run") { try instance.command("PING").text.hasPrefix("BUSY") }
        let failure = #expect(throws: StoreFailure.self) { try store.command(octets("GET", "a")) }
        guard case .refused(.busy, _) = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(!store.isWorking)
        try instance.command("SCRIPT", "KILL")
        try other.wait()
        try Await.until("the store to be back") { store.isWorking }
        #expect(try store.command(octets("GET", "a")) == .null)
        #expect(log.warnings.count == 1, "\(log.warnings)")
    }

    @Test("a node of a Redis Cluster is no store, and that is said once")
    func cluster() throws {
        let instance = try clusterNode()
        let slots = (0..<16_384).map(String.init)
        try instance.command(["CLUSTER", "ADDSLOTS"] + slots)
        try Await.until("the cluster to work", context: { instance.log }) {
            try instance.command("SET", "postern:x", "1").text == "OK\n"
        }
        let log = RecordingLog()
        let store = SharedStoreTests.store(instance, timeout: .seconds(20), log: log)
        let tries = CounterName("postern_shared_store_failed_tries_total")
        try Await.until("some tries") { (store.readings.first { $0.name == tries }?.value ?? 0) >= 4 }
        #expect(!store.isWorking)
        #expect(log.warnings.count == 1, "\(log.warnings)")
        #expect(log.warnings.first?.contains("a Redis Cluster is not supported") == true, "\(log.warnings)")
    }

    /// Its bus has the port 10,000 above, which may be taken, or not be there.
    private func clusterNode() throws -> RedisInstance {
        for _ in 0..<50 {
            let port = try FreePort.tcp()
            guard port < 55_000 else { continue }
            // The next port is tried then.
            if let instance = try? RedisInstance(port: port, options: ["cluster-enabled yes"]) { return instance }
        }
        throw HarnessError("no port for a cluster's bus")
    }
}
