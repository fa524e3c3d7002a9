// A shared store that is slow, gone, wrong or hostile: what the client says of it, that nobody waits longer than the
// timeout, and that it finds back by itself.

import Glibc
import PosternAdmission
import PosternMail
import PostfixHarness
import Synchronization
import TestSupport
import Testing

@testable import PosternStore

@Suite("A shared store that fails", .enabled(if: RedisInstance.isAvailable))
struct SharedStoreFailureTests {
    // MARK: A server that is none

    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let manner: FakeStoreServer.Manner
        let failure: StoreFailure
        var testDescription: String { name }

        init(_ name: String, _ manner: FakeStoreServer.Manner, _ failure: StoreFailure) {
            (self.name, self.manner, self.failure) = (name, manner, failure)
        }
        init(_ name: String, says text: String, _ failure: StoreFailure) {
            self.init(name, .says(Array(text.utf8)), failure)
        }
    }

    /// Over before an answer comes that never comes, and not before a busy machine's server has answered the first probe.
    static let timeout = Duration.seconds(2)
    static func nonsense(_ words: String) -> StoreFailure {
        .malformed(
            "what it sends is not Redis' protocol (\(words)): store.url must name a Redis or Valkey server, "
                + "with rediss:// or rediss+sentinel:// where it speaks TLS")
    }

    @Test(
        "no answer, or none that is one",
        arguments: [
            Row("silence", .silence, .timeout(timeout)),
            Row("half a reply", says: "$10\r\nabc", .timeout(timeout)),
            Row("an array whose end never comes", says: "*3\r\n:1\r\n:2\r\n", .timeout(timeout)),
            Row(
                "an octet now and then",
                .drips(Array("$90000\r\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".utf8), milliseconds: 20), .timeout(timeout)),
            Row("the end of the connection", .closes, .unreachable("it closed the connection")),
            Row("a reset", .resets, .unreachable("read: Connection reset by peer")),
            Row(
                "another protocol", says: "SSH-2.0-OpenSSH_9.2\r\n",
                nonsense("Protocol error, got \"S\" as reply type byte")),
            Row(
                "a TLS alert", .says([21, 3, 3, 0, 2, 2, 40]),
                nonsense("Protocol error, got \"\\x15\" as reply type byte")),
            Row("a count that is none", says: "*x\r\n", nonsense("Bad multi-bulk length")),
            Row(
                "more elements than there could be", says: "*1000000000\r\n",
                .malformed("an array of its reply has more than 65536 elements")),
            Row("a negative length", says: "$-5\r\n", nonsense("Bulk string length out of range")),
            Row(
                "arrays in arrays without end", says: String(repeating: "*1\r\n", count: 100),
                nonsense("No support for nested multi bulk replies with depth > 7")),
            Row("two answers to one question", says: ":1\r\n:2\r\n", .malformed("it answers what nobody asked")),
            Row("an answer and half of another", says: ":1\r\n$5\r\nab", .malformed("it answers what nobody asked")),
            Row(
                "octets without end", .repeats(Array("$1000000000\r\n".utf8) + [UInt8](repeating: 0x61, count: 60_000)),
                .malformed("its reply is longer than 4194304 octets")),
        ])
    func wrongServers(row: Row) throws {
        let server = try FakeStoreServer(row.manner)
        defer { server.end() }
        let log = RecordingLog()
        let slow = row.failure != .timeout(Self.timeout)
        let store = Self.store(port: server.port, timeout: slow ? .seconds(20) : Self.timeout, log: log)
        try Await.until("the first try") { store.isWorking }
        let error = #expect(throws: StoreFailure.self) { try store.command(octets("GET", "a")) }
        #expect(error == row.failure)
        #expect(log.warnings.count == 1 && log.warnings.first?.contains("\(row.failure)") == true)
        #expect(store.outages == 1)
    }

    @Test(
        "errors with a meaning of their own",
        arguments: [
            ("-READONLY You can't write against a read only replica.", StoreFailure.Refusal.readOnly, true),
            ("-OOM command not allowed when used memory > 'maxmemory'.", .full, true),
            ("-NOAUTH Authentication required.", .password, true),
            ("-WRONGPASS invalid username-password pair or user is disabled.", .password, true),
            ("-ERR AUTH <password> called without any password configured", .password, true),
            ("-LOADING Redis is loading the dataset in memory", .loading, true),
            ("-BUSY Redis is busy running a script.", .busy, true),
            ("-MOVED 3999 127.0.0.1:6381", .cluster, true),
            ("-CROSSSLOT Keys in request don't hash to the same slot", .cluster, true),
            ("-MISCONF Redis is configured to save RDB snapshots, but it can't", .unsafe, true),
            ("-NOREPLICAS Not enough good replicas to write.", .unsafe, true),
            ("-MASTERDOWN Link with MASTER is down", .readOnly, true),
            ("-ERR max number of clients reached", .turnedAway, true),
            ("-DENIED Redis is running in protected mode", .turnedAway, true),
            ("-ERR DB index is out of range", .database, true),
            ("-ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed", .full, true),
            ("-NOPERM this user has no permissions to run the 'get' command", .permission, false),
            (
                "-ERR Error running script (call to f_1): @user_script:1: The user executing the script can't run this "
                    + "command or subcommand", .permission, false
            ),
            ("-ERR The user executing the script can't run this command or subcommand", .permission, false),
            ("-ERR ACL failure in script: User default has no permissions to run 'set'", .permission, false),
            ("-WRONGTYPE Operation against a key holding the wrong kind of value", .command, false),
            ("-ERR unknown command", .command, false),
            ("-", .command, false),
        ])
    func refusals(words: String, refusal: StoreFailure.Refusal, opens: Bool) throws {
        let server = try FakeStoreServer(.says(Array("\(words)\r\n".utf8)))
        defer { server.end() }
        let log = RecordingLog()
        let store = Self.store(
            port: server.port, timeout: .seconds(20), log: log, pauses: .seconds(100) ... .seconds(100))
        let error = #expect(throws: StoreFailure.self) { try store.command(octets("GET", "a")) }
        #expect(error == .refused(refusal, String(words.dropFirst())))
        #expect(store.isWorking != opens)
        #expect(log.warnings.count == 1)
        if opens {
            let next = #expect(throws: StoreFailure.self) { try store.command(octets("GET", "a")) }
            #expect(next.map { if case .resting = $0 { true } else { false } } == true)
            #expect("\(error.map { "\($0)" } ?? "")".contains(refusal.advice ?? "none"))
        }
    }

    @Test("mutated replies neither trap nor hang")
    func mutations() throws {
        let samples = [
            "*2\r\n$1\r\na\r\n*2\r\n:5\r\n$-1\r\n", "$5\r\nhello\r\n", ":-42\r\n", "+OK\r\n", "-ERR no\r\n", "*-1\r\n",
            "*0\r\n",
        ]
        let tokens = ["\r\n", "*9", "$3", ":", "-1"]
        try Mutations.of(
            samples.map { Array($0.utf8) }, tokens: tokens.map { Array($0.utf8) }, count: 20_000, seed: 9
        ) { octets in
            let reader = try StoreReader()
            do throws(StoreFailure) {
                try octets.span.bytes.withUnsafeBytes { (octets) throws(StoreFailure) in try reader.feed(octets) }
                while try reader.next() != nil {}
            } catch {
                if case .malformed = error { return }
                Issue.record("\(error) of \(octets)")
            }
        }
    }

    // MARK: The circuit

    static func store(
        port: UInt16, timeout: Duration, log: RecordingLog,
        pauses: ClosedRange<Duration> = .milliseconds(20) ... .milliseconds(200)
    ) -> SharedStore {
        let server = StoreURL.Server(host: "127.0.0.1", port: port)
        return SharedStore(
            StoreURL(scheme: .redis, servers: [server], master: nil, database: 0),
            StoreSettings(url: nil, timeout: timeout), log: log, pauses: pauses)
    }

    @Test("gone and back: one warning, one line, and nobody waits meanwhile")
    func goneAndBack() throws {
        let instance = try RedisInstance()
        let log = RecordingLog()
        let store = Self.store(port: instance.port, timeout: .seconds(20), log: log)
        let returns = Atomic(0)
        store.onReturn { returns.wrappingAdd(1, ordering: .relaxed) }
        #expect(try store.command(octets("SET", "a", "1")).text == "OK")
        instance.kill()
        for _ in 0..<100 {
            #expect(throws: StoreFailure.self) { try store.command(octets("GET", "a")) }
            store.countLocalDecision()
        }
        #expect(!store.isWorking && log.warnings.count == 1)
        #expect(log.warnings.first?.hasPrefix("store redis://127.0.0.1:\(instance.port)/0: ") == true)
        try instance.start()
        try Await.until("the store to be back") { store.isWorking }
        #expect(try store.command(octets("GET", "a")) == .null)
        #expect(store.outages == 1 && log.warnings.count == 1)
        try Await.until("the return to be told") { returns.load(ordering: .relaxed) == 1 }
        #expect(log.lines.last?.contains("; 100 decisions were this host's own") == true)
    }

    @Test("a store that is not there at the start is found later")
    func absentAtFirst() throws {
        let port = try FreePort.tcp()
        let log = RecordingLog()
        let store = Self.store(port: port, timeout: .seconds(20), log: log)
        #expect(throws: StoreFailure.self) { try store.command(octets("GET", "a")) }
        try Await.until("the warning") { log.warnings.count == 1 }
        let instance = try RedisInstance(port: port)
        try Await.until("the store to be there") { store.isWorking }
        #expect(try store.command(octets("GET", "a")) == .null)
        _ = instance
    }

    @Test("a connection that the server closed is replaced unnoticed")
    func closedWhileIdle() throws {
        let instance = try RedisInstance()
        let log = RecordingLog()
        let store = Self.store(port: instance.port, timeout: .seconds(20), log: log)
        #expect(try store.command(octets("GET", "a")) == .null)
        try instance.command("CLIENT", "KILL", "TYPE", "normal")
        #expect(try store.command(octets("GET", "a")) == .null)
        #expect(store.outages == 0 && log.warnings.isEmpty)
    }

    @Test("paused: each of many threads is back in time, later ones at once, and it goes on by itself")
    func paused() throws {
        let instance = try RedisInstance()
        let log = RecordingLog()
        let store = Self.store(port: instance.port, timeout: Self.timeout, log: log)
        try Await.until("the store to work") { store.isWorking }
        instance.pause()
        let failures = Many.threads(200) { try store.command(octets("GET", "a")) }
        #expect(failures.count == 200)
        #expect(
            failures.allSatisfy {
                switch $0 {
                case .timeout(Self.timeout), .resting: true
                default: false
                }
            })
        #expect(log.warnings.count == 1 && log.warnings.first?.contains("no answer within 2 s") == true)
        instance.resume()
        try Await.until("the store to be back") { store.isWorking }
        #expect(try store.command(octets("GET", "a")) == .null)
    }

    @Test("an answer that comes too late is nobody's")
    func lateAnswer() throws {
        let instance = try RedisInstance()
        let store = Self.store(port: instance.port, timeout: .seconds(20), log: RecordingLog())
        #expect(try store.command(octets("MSET", "a", "late", "b", "right")).text == "OK")
        instance.pause()
        #expect(throws: StoreFailure.timeout(.milliseconds(50))) {
            try store.command(octets("GET", "a"), within: .milliseconds(50))
        }
        instance.resume()
        try Await.until("the store to be back") { store.isWorking }
        for _ in 0..<20 { #expect(try store.command(octets("GET", "b")).text == "right") }
    }

    @Test("a script that the server does not know is sent once more in the time that is left, and not in its own")
    func oneDeadline() throws {
        // Each answer takes more than half of it.
        let server = try FakeStoreServer(.drips(Array("-NOSCRIPT no\r\n".utf8), milliseconds: 50))
        defer { server.end() }
        let store = Self.store(port: server.port, timeout: .seconds(1), log: RecordingLog())
        try Await.until("the first try") { store.isWorking }
        #expect(throws: StoreFailure.timeout(.seconds(1))) {
            try store.run(StoreScript(name: "none", text: "return 1"), keys: octets("a"), arguments: [])
        }
    }

    @Test("many threads share few connections")
    func manyThreads() throws {
        let instance = try RedisInstance()
        let store = Self.store(port: instance.port, timeout: .seconds(20), log: RecordingLog())
        let script = StoreScript(name: "add", text: "return redis.call('INCR', KEYS[1])")
        let failures = Many.threads(300) {
            for _ in 0..<20 { _ = try store.run(script, keys: octets("n"), arguments: []) }
        }
        #expect(failures.isEmpty)
        #expect(try store.command(octets("GET", "n")).text == "6000")
        #expect(store.connections <= StorePool.maxConnections)
    }

    @Test("full: writes are refused until there is room, and that is seen")
    func full() throws {
        let instance = try RedisInstance(options: ["maxmemory 3mb", "maxmemory-policy noeviction"])
        let log = RecordingLog()
        let store = Self.store(port: instance.port, timeout: .seconds(20), log: log)
        let piece = [UInt8](repeating: 0x61, count: 100_000)
        var failure: StoreFailure?
        for number in 0..<100 where failure == nil {
            do throws(StoreFailure) { _ = try store.command(octets("SET", "k\(number)") + [piece]) } catch {
                failure = error
            }
        }
        guard case .refused(.full, _) = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(log.warnings.first?.contains("its maxmemory is used up") == true)
        #expect(!store.isWorking)
        try instance.command("CONFIG", "SET", "maxmemory", "100mb")
        try Await.until("the store to be back") { store.isWorking }
    }

    @Test("whoever lets go of it while its thread looks for the server leaves nothing behind")
    func letGo() throws {
        let log = RecordingLog()
        for _ in 0..<20 { _ = Self.store(port: try FreePort.tcp(), timeout: .milliseconds(5), log: log) }
    }
}

/// Threads at the same time.
enum Many {
    /// - Returns: what was thrown, one of each thread at most.
    static func threads(_ count: Int, _ body: @escaping @Sendable () throws -> some Any) -> [StoreFailure] {
        let failures = Mutex<[StoreFailure]>([])
        let threads = (0..<count).compactMap { _ in
            try? SystemThread.start(stackOctets: 512 << 10) {  // one that is not given is missed by the count
                do { _ = try body() } catch let failure as StoreFailure {
                    failures.withLock { $0.append(failure) }
                } catch {}
            }
        }
        for thread in threads { pthread_join(thread, nil) }
        return failures.withLock { $0 }
    }
}
